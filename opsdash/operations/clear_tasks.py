"""Selective clear: the tasks of one queue that are meant by name, age or arguments go to the trash."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Invalid
from opsdash.model import AuditEntry, Effect, Figure, Line, Preview, Progress
from opsdash.model.preview import Exactness
from opsdash.operation import Act, Operation, argument
from opsdash.operations.clear_queue import in_trash, name_to_type, undo
from opsdash.services.broker.messages import UNREADABLE
from opsdash.services.queues.clear_preview import age, arriving, by_task, figures, held_by_workers, set_aside
from opsdash.services.queues.known_products import products_of
from opsdash.services.queues.receipt import receipt_details
from opsdash.services.queues.sampling import sample_tasks
from opsdash.services.queues.selective_clear import SelectiveClear
from opsdash.services.queues.task_filter import TaskFilter
from opsdash.services.queues.watermark import take_watermark
from opsdash.text import count, format_duration, parse_duration

if TYPE_CHECKING:
    from opsdash.services.services import Services


SUGGESTED = 8
"""Names of tasks that the dialog offers."""


class ClearTasks(Operation):
    """Moves the waiting messages that match to the trash, in small steps; the others keep their order."""

    name: ClassVar[str] = "clear_tasks"
    title: ClassVar[str] = "Clear Tasks"
    help: ClassVar[str] = "Remove the pending tasks of one queue that match."
    warning: ClassVar[str] = "Every pending task of this queue that matches is removed and will not run."
    danger: ClassVar[bool] = True

    queue: str = argument(default="celery", positional=True, help="The queue to search.")
    task: str = argument(
        default="",
        help="Name of the task; * matches any text.",
        label="Name of the task",
        placeholder="For example shop.charge or shop.*",
    )
    older_than_s: int | None = argument(
        default=None,
        option="--older-than",
        parse=parse_duration,
        help="Sent longer ago than this, e.g. 2h; a task without a send time stays.",
        label="Sent longer ago than",
        placeholder="For example 2h; a task without a send time stays",
    )
    containing: str = argument(
        default="",
        help="A text in the arguments; arguments that are not JSON never match.",
        label="Text in the arguments",
        placeholder="Arguments that are not JSON never match",
    )

    def heading(self) -> str:
        """Of which queue."""
        return f"Clear tasks of {self.queue}"

    def preview(self, services: Services) -> Preview:
        """How many match, counted or estimated, by task name, and what is not looked at."""
        self._check(services)
        watermark = take_watermark(services.broker, self.queue)
        (stats,) = services.queues.read([self.queue])
        made_of = sample_tasks(services.broker, self.queue, self._selection(watermark))
        holds = held_by_workers(services.workers, services.queues, services.unmanaged, self.queue)
        # More may have come since: what is removed ends where the queue did when it was looked at.
        made_of = dataclasses.replace(made_of, number=min(made_of.number, stats.waiting))
        number = f"{made_of.number:,}" if made_of.counted else f"About {made_of.number:,} (± {made_of.number_error:,})"
        exactness: Exactness = "exact" if made_of.counted else "estimated"
        removed = (
            f"{number} of {count(stats.waiting, 'pending task')} of queue {self.queue}, those {self._meant()},"
            " will be removed; the others keep their order."
        )
        lines = [Line("will", removed)]
        if not made_of.counted:
            text = f"Estimated from {made_of.looked_at:,} of them; the clear checks each one."
            lines.append(Line("note", text))
        lines += (Line("note", text, repeats=("by_task",)) for text in made_of.sentences())
        lines += (Line("warning", product.cleared) for product in products_of(made_of.by_task))
        if made_of.number:
            lines.append(age(made_of.oldest_s))
        per_s = services.history.arriving_per_s(self.queue)
        lines += [*holds.stays(), *set_aside(services.holds, self.queue), arriving(per_s)]
        return Preview(
            button=f"Clear {'' if made_of.counted else 'about '}{count(made_of.number, 'task')}",
            lines=tuple(lines),
            figures=(
                Figure(
                    name="matching",
                    label="match",
                    value=made_of.number,
                    unit="tasks",
                    exactness=exactness,
                    error=made_of.number_error,
                ),
                Figure(name="waiting", label="waiting", value=stats.waiting, unit="tasks"),
                *holds.figures(),
                *figures(made_of, made_of.oldest_s),
                Figure(name="arriving_per_s", value=per_s, unit="tasks/s"),
            ),
            breakdowns=(by_task(made_of),),
            boundary=watermark,
        )

    def suggest(self, services: Services) -> Mapping[str, tuple[str, ...]]:
        """The names of the tasks that wait most often in the queue."""
        services.queues.check(self.queue, services.queue_names())
        names = sample_tasks(services.broker, self.queue).by_task
        return {"task": tuple(name for name in names if name != UNREADABLE)[:SUGGESTED]}

    def phrase(self, services: Services) -> str:
        """The queue's name, where a clear is risky."""
        return name_to_type(services, self.queue)

    def execute(self, services: Services, act: Act) -> Effect:
        """Streams; cancelled, it ends with the step it is at, and what was removed can be restored."""
        self._check(services)
        keep_s = services.settings.undo_window_s
        watermark = act.reviewed.boundary if act.reviewed else {}

        def on_progress(at: int, of: int) -> None:
            act.on_progress(Progress(done=False, message=f"{at:,} of {of:,} looked at", at=at, of=of))

        done = SelectiveClear(services.broker).clear(
            self.queue,
            self._selection(watermark),
            by=act.actor.name,
            keep_s=keep_s,
            trash_id=act.audit_id.hex,
            watermark=watermark,
            others=services.queue_names(),
            on_progress=on_progress,
            cancelled=act.cancelled,
        )
        message = f"Cleared {count(done.total, 'task')} {self._meant()} from {self.queue}."
        if not done.total:
            message = f"No task {self._meant()} was found in {self.queue}. Nothing was cleared."
        if done.cancelled:
            message = f"Cancelled. {message} The rest was not checked."
        if done.newer and act.reviewed:
            message += f" {count(done.newer, 'task')} that arrived after the preview were not checked."
        return Effect(
            affected=done.total,
            message=message,
            details={
                "by_priority": done.by_priority,
                "trash_id": done.trash_id,
                "looked_at": done.looked_at,
                "arrived_after_preview": done.newer,
                "cancelled": done.cancelled,
                **receipt_details(done.receipt),
            },
            ok=not done.cancelled,
            **undo(done.trash_id, keep_s),
        )

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """The trash of this act."""
        return in_trash(services, entry)

    def _selection(self, watermark: Mapping[str, Any]) -> TaskFilter:
        # What has grown old enough since it was reviewed was not reviewed.
        return TaskFilter.of(
            task=self.task,
            older_than_s=self.older_than_s,
            containing=self.containing,
            now_s=watermark.get("read_at"),
        )

    def _meant(self) -> str:
        conditions = [
            f"named {self.task}" if self.task else "",
            f"older than {format_duration(self.older_than_s)}" if self.older_than_s is not None else "",
            f"containing {self.containing!r}" if self.containing else "",
        ]
        return " and ".join(part for part in conditions if part)

    def _check(self, services: Services) -> None:
        if not self._meant():
            raise Invalid("Say which tasks: by name, age or a text in their arguments.")
        if self.older_than_s is not None and self.older_than_s < 0:  # all that is there, and all that is to come
            raise Invalid(f"expected 0 or more, got {self.older_than_s:,}.", field="older_than_s")
        services.queues.check(self.queue, services.queue_names())
        services.queues.check_lists(self.queue)
        services.queues.check_priorities(self.queue)
        services.queues.check_restores(self.queue)
