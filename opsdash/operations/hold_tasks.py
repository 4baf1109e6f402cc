"""Hold: tasks of one name are set aside as they come, in order, while all others run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Invalid
from opsdash.model import AuditEntry, Effect, Figure, Line, OtherWorker, Preview, Progress, Snapshot, WorkerStats
from opsdash.model.hold import LONGEST_NAME, HeldTasks, Hold, Kind, hold_id
from opsdash.model.preview import Exactness
from opsdash.operation import Act, Operation, argument
from opsdash.operations.ends_after import endless, ends_after
from opsdash.operations.pause_processing import MAX_TTL_S
from opsdash.operations.release_tasks import ReleaseTasks, again, tasks_of
from opsdash.services.pause.holds import applies, can_not, free
from opsdash.services.queues.held import silent_lines
from opsdash.services.queues.known_tasks import names_of_waiting, unknown_task
from opsdash.services.queues.sampling import sample_tasks
from opsdash.services.queues.task_filter import TaskFilter
from opsdash.text import chosen_time, count

if TYPE_CHECKING:
    from opsdash.services.services import Services

NAMED = 5
"""Workers that are named."""


class HoldTasks(Operation):
    """Has the workers set tasks of a name aside, until someone releases them or the hold expires."""

    name: ClassVar[str] = "hold_tasks"
    title: ClassVar[str] = "Hold Tasks"
    help: ClassVar[str] = "Set tasks of one name aside as they come; all others run."
    warning: ClassVar[str] = "Workers do not run these tasks until someone releases them or the hold expires."
    settles: ClassVar[bool] = True

    task: str = argument(
        default="",
        positional=True,
        help="Name of the task; * matches any text.",
        label="Name of the task",
        placeholder="For example shop.charge or shop.*",
        longest=LONGEST_NAME,
    )
    queue: str | None = argument(
        default=None,
        help="Only tasks of this queue.",
        label="Only tasks of this queue",
        placeholder="Empty: of any queue",
    )
    duration_s: int | None = ends_after({"15 min": "15m", "1 h": "1h", "4 h": "4h"})
    without_end: bool = endless("someone releases them", "I release them")

    def heading(self) -> str:
        """Which tasks, of which queue."""
        if not self.task:
            return self.title
        return f"Hold tasks {self.task}" + (f" of queue {self.queue}" if self.queue else "")

    def preview(self, services: Services) -> Preview:
        """How many match now, which workers hold them, who does not, and when it ends."""
        self._check(services)
        ttl_s = duration(self, services)
        names = services.queue_names() if self.queue is None else (self.queue,)
        matching = sample_tasks(services.broker, names, TaskFilter(task=self.task))
        hold = self._hold()
        workers, others = services.workers.read(), services.unmanaged.known()
        before = services.holds.find("task", self.task, self.queue or "")
        exactness: Exactness = "exact" if matching.counted else "estimated"
        about = (
            f"{matching.number:,}" if matching.counted else f"About {matching.number:,} (± {matching.number_error:,})"
        )
        waiting = f"{about} of the tasks that wait now {'matches' if about == '1' else 'match'}"
        if not matching.counted:
            waiting += f", estimated from {matching.looked_at:,} of them"
        aside = f"{waiting}: each is set aside when a worker receives it, in order."
        if not matching.number:
            seen = "" if matching.counted else f" of the {matching.looked_at:,} looked at"
            aside = (
                f"No waiting task{seen} matches. Those that come are set aside when a worker receives them, in order."
            )
        lines = [
            Line("will", aside),
            *(Line("note", text) for text in matching.sentences()),
            *about_workers(hold, workers, others),
            Line(
                "note", "What runs now finishes. Tasks that wait for their time in a worker are held when it has come."
            ),
            Line("warning", "It has no end: it stays until someone releases it.")
            if ttl_s is None
            else Line("will", f"It ends by itself after {chosen_time(ttl_s)}, and the tasks run then."),
        ]
        if before is None:
            lines += unknown_task(services.remote, self.task, matching)
        else:
            lines.append(
                Line("warning", f"They are held already, by {before.by or 'somebody'}. This replaces the end.")
            )
        return Preview(
            title=f"Change the hold of {self.task}" if before is not None else "",
            lines=tuple(lines),
            figures=(
                Figure(
                    name="matching",
                    label="match now",
                    value=matching.number,
                    unit="tasks",
                    exactness=exactness,
                    error=matching.number_error,
                ),
                *worker_figures(hold, workers, others),
                Figure(name="ttl_s", value=ttl_s, unit="s"),
            ),
            choices=("without_end",),
        )

    def suggest(self, services: Services) -> Mapping[str, tuple[str, ...]]:
        """The names of the tasks that wait most often."""
        queues = services.queue_names() if self.queue is None else self.queue
        return {"task": names_of_waiting(services.broker, queues)}

    def execute(self, services: Services, act: Act) -> Effect:
        """Writes the hold and nudges the workers."""
        self._check(services)
        return begin(
            services,
            act,
            "task",
            self.task,
            self.queue or "",
            reason=self.reason,
            ttl_s=duration(self, services),
            undo=ReleaseTasks(task=self.task, queue=self.queue),
        )

    def progress(self, snapshot: Snapshot) -> Progress:
        """Which workers apply it, and how many tasks are held."""
        return applied(snapshot, hold_id("task", self.task, self.queue or ""))

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """Whether there is such a hold."""
        found = services.holds.find("task", self.task, self.queue or "")
        return {"message": "There is no such hold now." if found is None else "The hold is in force."}

    def _hold(self) -> Hold:
        queue = self.queue or ""
        return Hold(id=hold_id("task", self.task, queue), kind="task", name=self.task, queue=queue)

    def _check(self, services: Services) -> None:
        if not self.task.strip("*?"):
            raise Invalid("expected a task's name.", hint="To stop every task: Pause Processing.", field="task")
        if self.queue is not None:
            services.queues.check(self.queue, services.queue_names())
        check_duration(self, services)


def begin(
    services: Services,
    act: Act,
    kind: Kind,
    name: str,
    queue: str,
    *,
    reason: str,
    ttl_s: int | None,
    undo: Operation,
    key: str = "",
) -> Effect:
    """Begins a hold, or changes the one there is."""
    before = services.holds.find(kind, name, queue)
    hold = services.holds.set(kind, name, queue, key=key, by=act.actor.name, reason=reason, ttl_s=ttl_s)
    until = f"until {hold.expires_at:%Y-%m-%d %H:%M:%S} UTC" if hold.expires_at else "without an end"
    message = f"{tasks_of(hold)} are held {until}."
    if before is not None:
        message += f" Replaced the hold by {before.by or 'somebody'}."
    workers = services.workers.read()
    if missing := can_not(workers, hold):
        message += f" {_named(worker.hostname for worker in missing)} can't hold tasks, and run them."
    if others := free(services.unmanaged.known() or (), hold):
        message += f" Not managed by opsdash, and run them: {_named(other.hostname for other in others)}."
    return Effect(
        affected=1,
        message=message,
        undo=again(before) if before is not None else undo,
        details={"hold": hold.id, "expires_at": hold.expires_at},
    )


def duration(operation: Any, services: Services) -> int | None:
    """How long it lasts; None: without an end."""
    if operation.without_end:
        return None
    ttl_s: int = services.settings.pause_ttl_s if operation.duration_s is None else operation.duration_s
    return ttl_s


def check_duration(operation: Any, services: Services) -> None:
    """Refuses a duration that is none.

    Raises:
        Invalid: Too long, too short, or beside ``without_end``.
    """
    if operation.without_end and operation.duration_s is not None:
        raise Invalid("expected no duration beside it", field="without_end")
    ttl_s = duration(operation, services)
    if ttl_s is not None and not 1 <= ttl_s <= MAX_TTL_S:
        field, setting = ("", "OPSDASH_PAUSE_TTL_S") if operation.duration_s is None else ("duration_s", "")
        raise Invalid(f"expected one second to 365 days, got {ttl_s:,} s", field=field, setting=setting)


def about_workers(hold: Hold, workers: Iterable[WorkerStats], others: Iterable[OtherWorker] | None) -> list[Line]:
    """Who applies a hold, and who runs its tasks nevertheless."""
    known = list(workers)
    meant = [worker for worker in known if applies(worker, hold)]
    able = [worker for worker in meant if worker.holding == "ready"]
    lines = [
        Line(
            "will", f"{count(len(able), 'worker')} {'holds' if len(able) == 1 else 'hold'} them.", repeats=("workers",)
        )
        if able
        else Line("warning", "No worker that can hold tasks reports to opsdash. One that starts later holds them.")
    ]
    for worker in can_not(meant, hold)[:NAMED]:
        why = worker.holding or f"its opsdash {worker.version or '(unknown version)'} is too old".replace("  ", " ")
        lines.append(Line("warning", f"{worker.hostname} can't hold tasks, and runs them: {why}."))
    if others is None:
        lines.append(Line("warning", "Unmanaged workers could not be asked."))
    elif running := free(others, hold):
        names = _named(other.hostname for other in running)
        lines.append(Line("will_not", f"Not managed by opsdash, and run them: {names}."))
    return [*lines, *silent_lines([worker for worker in known if worker.state == "silent"])]


def worker_figures(
    hold: Hold, workers: Iterable[WorkerStats], others: Iterable[OtherWorker] | None
) -> tuple[Figure, ...]:
    """The same as figures."""
    meant = [worker for worker in workers if applies(worker, hold)]
    without = len(can_not(meant, hold))
    return (
        Figure(name="workers", label="workers hold them", value=len(meant) - without, unit="workers"),
        Figure(name="unable", label="workers can't", value=without, unit="workers"),
        Figure(
            name="others",
            label="unmanaged workers",
            value=None if others is None else len(free(others, hold)),
            unit="workers",
        ),
    )


def applied(snapshot: Snapshot, hold: str) -> Progress:
    """How far a hold has come: the workers apply it within two seconds."""
    found = next((one for one in snapshot.holds if one.hold.id == hold), None)
    if found is None:
        return Progress(done=False, message="The hold has ended meanwhile.", final=True)
    return Progress(done=found.workers >= found.of, message=describe(found), stage=f"{found.workers}/{found.of}")


def describe(found: HeldTasks) -> str:
    """How many workers apply it, and how many tasks it holds."""
    return f"{found.workers} of {count(found.of, 'worker')} hold them; {count(found.held, 'task')} held so far."


def _named(hostnames: Iterable[str]) -> str:
    names = list(hostnames)
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"
