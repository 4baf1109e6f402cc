"""Pause: workers stop taking new tasks; nothing is lost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

import redis

from opsdash.errors import Invalid, OpsdashError, Unavailable, explained
from opsdash.model import (
    AuditEntry,
    Effect,
    Figure,
    Line,
    OtherWorker,
    PauseInfo,
    Preview,
    Progress,
    Snapshot,
    WorkerStats,
    to_plain,
    untrusted,
)
from opsdash.model.preview import Kind
from opsdash.operation import Act, Operation, TakenBack, argument
from opsdash.operations import kept_pause
from opsdash.operations.ends_after import endless, ends_after
from opsdash.operations.resume_processing import ResumeProcessing, as_it_was
from opsdash.services.broker import connected_clients
from opsdash.services.pause.verdict import verdict
from opsdash.services.pause.verdict_text import NO_WORKER, describe, remedies
from opsdash.services.queues.clear_preview import expire_by, expiring
from opsdash.services.queues.held import figure, silent_lines, total, unstarted
from opsdash.services.queues.known_products import Noticing
from opsdash.services.queues.sampling import Matches, TaskSample, sample_tasks
from opsdash.text import chosen_time, count, format_duration

if TYPE_CHECKING:
    from opsdash.services.services import Services

MAX_TTL_S = 365 * 86_400
JUST_S = 90
NOBODY_IS_THERE = (
    "No worker is connected to this broker, so nothing takes tasks now. A worker that starts later is paused if it has"
    " the plug-in."
)
NOBODY_REPORTS = "No worker reports to opsdash."
OTHERS_GO_ON = "Workers that are not managed by opsdash do not stop."


class PauseProcessing(Operation):
    """Sets the pause flag of everything, or of one queue, with a TTL so that a forgotten pause ends by itself."""

    name: ClassVar[str] = "pause_processing"
    title: ClassVar[str] = "Pause Processing"
    help: ClassVar[str] = "Stop workers from picking up new tasks; running tasks finish."
    warning: ClassVar[str] = "Workers stop picking up new tasks until someone resumes or the pause expires."

    settles: ClassVar[bool] = True

    queue: str | None = argument(default=None, help="Pause this queue only.")
    duration_s: int | None = ends_after({"15 min": "15m", "30 min": "30m", "1 h": "1h"})
    without_end: bool = endless("someone resumes", "I resume")
    cancel_consumer: bool = argument(
        default=False,
        help="Also send Celery's cancel_consumer to unmanaged workers; the resume sends add_consumer to them.",
        label="Also send cancel_consumer to unmanaged workers; the resume sends add_consumer to them",
    )

    def heading(self) -> str:
        """Of everything, or of which queue."""
        return self.title if self.queue is None else f"Pause queue {self.queue}"

    def preview(self, services: Services) -> Preview:
        """Who will stop, what finishes, what stays, and when it ends."""
        self._check(services)
        ttl_s = self._ttl_s(services)
        known = [w for w in services.workers.read() if _concerned(w, self.queue)]
        workers = [w for w in known if w.reports]
        names = services.queue_names() if self.queue is None else (self.queue,)
        read = services.queues.read(names)
        waiting = sum(queue.waiting for queue in read)
        noticing = Noticing(_expiring_within(ttl_s))
        expiring_tasks = _waiting(services, names, noticing)
        active, perhaps_active = total(w.runs_of(self.queue) for w in workers)
        pauses = services.pause.read(names)
        own = {name for name in pauses if name is not None} if self.queue is None else set[str]()
        stay_waiting = sum(queue.waiting for queue in read if queue.name in own)
        staying, held, perhaps_held = unstarted(workers, self.queue, own)
        silent = [w for w in known if w.state == "silent" or (not w.reports and w.active + w.reserved + w.scheduled)]
        others = services.unmanaged.known()
        free = None if others is None else [w for w in others if _serves(w.queues, self.queue)]
        complete = free is not None and not free
        stop = f"{count(len(workers), 'worker')} will start no more tasks{_of(self.queue)}"
        finishing = _finishing(active, perhaps_active, complete=complete and not silent)
        lines = [
            Line("will", f"{stop}; {finishing}.")
            if workers
            else Line("warning", NOBODY_REPORTS if self.cancel_consumer else f"{NOBODY_REPORTS} {OTHERS_GO_ON}"),
            *_run_later(waiting - stay_waiting, held, self.queue),
            *_own_pauses(stay_waiting, staying),
            *_perhaps(perhaps_held, self.queue),
            *expiring(expiring_tasks),
            *(Line("warning", product.paused) for product in noticing.found),
            Line("warning", "It has no end: it stays until someone resumes.")
            if ttl_s is None
            else Line("will", f"It ends after {chosen_time(ttl_s)}{_at_the_latest(self.duration_s)}."),
        ]
        if (before := pauses.get(self.queue)) is not None:
            lines.append(Line("warning", f"There is already a pause {_pause_details(before)}. This replaces it."))
        unable = [f"{w.hostname} can't pause: {w.pausing}" for w in workers if w.pausing != "ready"]
        lines += [Line("warning", text) for text in unable]
        lines += silent_lines(silent)
        lines += self._about(free)
        figures = (
            Figure(name="waiting", label="waiting", value=waiting, unit="tasks"),
            Figure(name="workers", label="workers", value=len(workers), unit="workers"),
            figure("active", "running", active, perhaps_active, complete=complete),
            figure("held", "unstarted in workers", held, perhaps_held, complete=complete),
            Figure(
                name="others",
                label="unmanaged workers",
                value=None if others is None else len(others),
                unit="workers",
            ),
            Figure(name="silent", value=len(silent), unit="workers"),
            Figure(
                name="expiring",
                value=None if expiring_tasks is None else expiring_tasks.number,
                unit="tasks",
                exactness="exact" if expiring_tasks is None or expiring_tasks.counted else "estimated",
                error=None if expiring_tasks is None else expiring_tasks.number_error,
            ),
            Figure(name="ttl_s", value=ttl_s, unit="s"),
            Figure(name="products", value=tuple(product.name for product in noticing.found)),
        )
        return Preview(
            title=f"Change the pause{_of(self.queue)}" if before is not None else "",
            warning=self.warning
            if self.queue is None
            else "Workers stop picking up tasks of this queue until someone resumes it or the pause expires.",
            lines=tuple(lines),
            figures=figures,
            # Asked only where it is set: by the undo of what replaced such a pause.
            choices=("without_end", *(["cancel_consumer"] if others else [])),
        )

    def execute(self, services: Services, act: Act) -> Effect:
        """Sets the flag, its story and the next epoch in one step, and nudges the workers."""
        self._check(services)
        before = services.pause.read([] if self.queue is None else [self.queue]).get(self.queue)
        ttl_s = self._ttl_s(services)
        info = services.pause.pause(self.queue, by=act.actor.name, reason=self.reason, ttl_s=ttl_s)
        what = "everything" if self.queue is None else f"queue {self.queue}"
        sent, result = self._cancel(services) if self.cancel_consumer else ({}, "")
        until = "without an end." if ttl_s is None else f"until {_moment(info.expires_at)} ({chosen_time(ttl_s)})."
        followed, done = True, f"Paused {what} {until}"
        if not self._reported(services):
            followed = _nobody_is_there(services)
            done = f"The flag is set {until} " + (NOBODY_IS_THERE + _just_started(services) if followed else NO_WORKER)
        return Effect(
            affected=1,
            followed=followed,
            undo=as_it_was(self.queue, before) if before else ResumeProcessing(queue=self.queue),
            message=done + (f" Replaced the one {_pause_details(before)}." if before else "") + result,
            details={
                "epoch": info.epoch,
                "expires_at": info.expires_at,
                **({"replaced": to_plain(before)} if before else {}),
                **({"cancel_consumer": sent} if sent else {}),
            },
        )

    def _cancel(self, services: Services) -> tuple[dict[str, list[str]], str]:
        """The pause is set by now, so an error here is reported and not raised."""
        try:
            sent, confirmed = services.unmanaged.cancel(self.queue)
        except (OpsdashError, redis.RedisError) as error:
            return {}, f" Unmanaged workers were not reached: {explained(error)}"
        if not sent:
            return {}, " There is no unmanaged worker to send it to."
        return (
            sent,
            f" cancel_consumer: {len(confirmed)} of {count(len(sent), 'unmanaged worker')} confirmed.",
        )

    def _reported(self, services: Services) -> bool:
        """A worker that the pause concerns reports. The pause is set by now, so an outage is not raised."""
        try:
            return any(w.reports and _serves(w.queues, self.queue) for w in services.workers.read())
        except OpsdashError:
            return False

    def _about(self, others: Sequence[OtherWorker] | None) -> list[Line]:
        if others is None:
            return [Line("warning", "Unmanaged workers could not be asked.")]
        if not others:
            return []
        free = [w.hostname for w in others]
        kind: Kind = "will" if self.cancel_consumer else "will_not"
        then = "sent cancel_consumer" if self.cancel_consumer else "not paused, unless cancel_consumer is also sent"
        return [Line(kind, f"Not managed by opsdash: {', '.join(free)}: {then}.")]

    def progress(self, snapshot: Snapshot) -> Progress:
        """Which workers have stopped, and what the others still do."""
        found = verdict(snapshot, self.queue)
        if found is None:
            return Progress(done=False, message="The pause has ended meanwhile.", final=True)
        stage = " ".join([found.state, *(part for r in found.reasons for part in (r.kind, *r.workers, r.queue))])
        return Progress(
            done=found.safe, message=describe(found), final=found.final, todo=tuple(remedies(found)), stage=stage
        )

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """Whether the pause in force is the one this act asked for."""
        info = services.pause.read([] if self.queue is None else [self.queue]).get(self.queue)
        if info is None:
            return {"message": "There is no such pause now."}
        own = info.by == entry.user and info.at is not None and info.at >= entry.timestamp
        return {"message": "Its pause is in force." if own else "A pause is in force, set by another operation."}

    def standing(self, services: Services) -> str:
        """A pause that lasts as long as this one would."""
        return kept_pause.standing(services, self.queue, self._ttl_s(services))

    def before(self, services: Services) -> Mapping[str, Any]:
        """The pause that this one replaces."""
        return kept_pause.before(services, self.queue)

    def take_back(self, services: Services, done: TakenBack) -> Operation | str:
        """The resume, or the earlier pause again, until its own end; nobody else's pause is lifted."""
        return kept_pause.take_back(services, self.queue, done)

    def _check(self, services: Services) -> None:
        if self.queue is not None:
            services.queues.check(self.queue, services.queue_names())
        if self.without_end and self.duration_s is not None:
            raise Invalid("expected no duration beside it", field="without_end")
        ttl_s = self._ttl_s(services)
        if ttl_s is not None and not 1 <= ttl_s <= MAX_TTL_S:
            field, setting = ("", "OPSDASH_PAUSE_TTL_S") if self.duration_s is None else ("duration_s", "")
            raise Invalid(
                f"expected one second to {chosen_time(MAX_TTL_S)}, got {ttl_s:,} s", field=field, setting=setting
            )

    def _ttl_s(self, services: Services) -> int | None:
        if self.without_end:
            return None
        return services.settings.pause_ttl_s if self.duration_s is None else self.duration_s


def _nobody_is_there(services: Services) -> bool:
    """No worker is connected, and none has gone that may run something. An outage is not raised here either.

    Asked only where nobody reports: a pause that stops nobody, since nobody is there, is no uncertain one.
    """
    try:
        # As in the verdict: a worker that was not paused in its last report may have started a task since. A record
        # that names no process is not a worker's report.
        gone = [worker for worker in services.workers.read() if not worker.reports and worker.pid]
        if any(worker.active + worker.reserved or not worker.paused for worker in gone):
            return False
        return connected_clients.nobody(services.broker)
    except (OpsdashError, redis.RedisError):
        return False


def _just_started(services: Services) -> str:
    """Workers come back to a Redis that was away when their next try is due, up to half a minute apart."""
    try:
        up_s = untrusted.whole(services.broker.client.info("server").get("uptime_in_seconds"))
    except redis.RedisError:
        return ""
    if up_s is None or up_s > JUST_S:
        return ""
    return f" Redis was started {format_duration(up_s)} ago: workers may still be reconnecting."


def _expiring_within(ttl_s: int | None) -> Matches:
    now = datetime.now(UTC)
    return expire_by(now, now + timedelta(seconds=MAX_TTL_S if ttl_s is None else ttl_s))


def _waiting(services: Services, names: Iterable[str], matches: Matches) -> TaskSample | None:
    """What of the waiting tasks matches; None when it can't be read: a pause needn't wait for it."""
    try:
        return sample_tasks(services.broker, names, matches)
    except Unavailable:  # huge messages, for one
        return None


def _serves(queues: tuple[str, ...], queue: str | None) -> bool:
    return queue is None or queue in queues


def _concerned(worker: WorkerStats, queue: str | None) -> bool:
    """It takes tasks of the queue, or has some that it took before."""
    return _serves(worker.queues, queue) or any((worker.runs_of(queue)[0], worker.holds_of(queue)[0]))


def _run_later(waiting: int, unstarted: int, queue: str | None) -> list[Line]:
    if not waiting + unstarted:
        return []
    text = f"{count(waiting, 'task')} waiting and {unstarted:,} unstarted in workers{_of(queue)} run after the resume."
    return [Line("will_not", text)]


def _own_pauses(waiting: int, unstarted: int) -> list[Line]:
    if not waiting + unstarted:
        return []
    text = (
        f"{count(waiting, 'task')} waiting and {unstarted:,} unstarted in workers stay: their queues have own pauses."
    )
    return [Line("will_not", text)]


def _finishing(active: int, perhaps: int, *, complete: bool) -> str:
    also = f", and {count(perhaps, 'task')} of any queue" if perhaps else ""
    least = "" if complete else "at least "
    if active or perhaps:
        return f"{least}{count(active, 'task')} running now{also} will finish"
    return "nothing runs now" if complete else "nothing runs now in those that report"


def _perhaps(unstarted: int, queue: str | None) -> list[Line]:
    if not unstarted:
        return []
    text = (
        f"{count(unstarted, 'more unstarted task')} in these workers may be of {queue}: they do not report the queue."
        if queue is not None
        else f"{count(unstarted, 'more unstarted task')} may be of queues with their own pause, and stay then."
    )
    return [Line("note", text)]


def _of(queue: str | None) -> str:
    return "" if queue is None else f" of queue {queue}"


def _pause_details(pause: PauseInfo) -> str:
    who = f"by {pause.by}" if pause.by else "set outside opsdash"
    why = f" ({pause.reason})" if pause.reason else ""
    return f"{who}{why}, until {_moment(pause.expires_at)}" if pause.expires_at else f"{who}{why}, without an end"


def _moment(when: datetime | None) -> str:
    return f"{when:%Y-%m-%d %H:%M:%S} UTC" if when else "further notice"


def _at_the_latest(asked_s: int | None) -> str:
    return ", if nobody resumes it before" if asked_s is None else ""
