"""Clear: everything that waits in one queue goes to the trash; if asked, what workers hold of it too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import LOOK_AGAIN, Refused
from opsdash.model import AuditEntry, Breakdown, Effect, Figure, Line, Part, Preview, Progress
from opsdash.operation import Act, Operation, argument
from opsdash.operations.restore_queue import RestoreQueue
from opsdash.services.queues.clear_preview import age, arriving, by_task, figures, held_by_workers, set_aside
from opsdash.services.queues.held import HeldByWorkers
from opsdash.services.queues.known_products import products_of
from opsdash.services.queues.receipt import receipt_details
from opsdash.services.queues.reclaim import PAUSE_S, REASON, Reclaim, seen_in
from opsdash.services.queues.sampling import sample_tasks
from opsdash.services.queues.watermark import find, take_watermark
from opsdash.text import count

if TYPE_CHECKING:
    from opsdash.services.services import Services


class ClearQueue(Operation):
    """Moves all waiting messages of one queue, every priority, to the trash in one atomic step."""

    name: ClassVar[str] = "clear_queue"
    title: ClassVar[str] = "Clear Queue"
    help: ClassVar[str] = "Remove all pending tasks of one queue."
    warning: ClassVar[str] = "Every pending task of this queue is removed and will not run."
    danger: ClassVar[bool] = True

    queue: str = argument(default="celery", positional=True, help="The queue to clear.")
    everything: bool = argument(
        default=False,
        help="Also clear unstarted tasks in workers: pause the queue, wait until they are put back, clear, and resume.",
        label="Also clear unstarted tasks in workers: pause the queue, wait until they are put back, clear, resume",
    )

    def heading(self) -> str:
        """Which queue."""
        return f"Clear queue {self.queue}"

    def preview(self, services: Services) -> Preview:
        """What waits, by priority, and what workers hold: whether it goes too, or is not removed by this."""
        services.queues.check(self.queue, services.queue_names())
        services.queues.check_lists(self.queue)
        services.queues.check_priorities(self.queue)
        services.queues.check_restores(self.queue)
        watermark = take_watermark(services.broker, self.queue)
        (stats,) = services.queues.read([self.queue])
        holds = held_by_workers(services.workers, services.queues, services.unmanaged, self.queue)
        removed = f"{count(stats.waiting, 'pending task')} of queue {self.queue} will be removed."
        lines = [Line("will", removed, repeats=("waiting",))]
        priorities = sorted(stats.by_priority.items())
        if len(priorities) > 1:
            lines.append(Line("note", "By priority: " + ", ".join(f"{n:,} at {step}" for step, n in priorities) + "."))
        made_of = sample_tasks(services.broker, self.queue)
        lines += (Line("note", text, repeats=("by_task",)) for text in made_of.sentences())
        lines += (Line("warning", product.cleared) for product in products_of(made_of.by_task))
        if stats.waiting:
            lines.append(age(stats.oldest_s, unsure=stats.oldest_at_least))
        if self.everything:
            lines += self._everything(services, holds)
            watermark["held"] = _reclaim(services).delivery_tags(self.queue)
        else:
            lines += holds.stays(everything=True)
        lines += set_aside(services.holds, self.queue)
        per_s = services.history.arriving_per_s(self.queue)
        lines.append(arriving(per_s))
        return Preview(
            button=f"Clear {count(stats.waiting, 'task')}",
            lines=tuple(lines),
            figures=(
                Figure(name="waiting", label="waiting", value=stats.waiting, unit="tasks"),
                *holds.figures(),
                *figures(made_of, stats.oldest_s),
                Figure(name="oldest_at_least", value=stats.oldest_at_least),
                Figure(name="arriving_per_s", value=per_s, unit="tasks/s"),
            ),
            breakdowns=(
                by_task(made_of),
                Breakdown(
                    name="by_priority",
                    unit="tasks",
                    parts=tuple(Part(name=str(step), value=n) for step, n in priorities),
                ),
            ),
            choices=("everything",) if self.everything or any(holds.unstarted) else (),
            boundary=watermark,
        )

    def phrase(self, services: Services) -> str:
        """The queue's name, where a clear is risky."""
        return name_to_type(services, self.queue)

    def execute(self, services: Services, act: Act) -> Effect:
        """Counts and moves in one script; the audit entry's id names the trash."""
        services.queues.check(self.queue, services.queue_names())
        services.queues.check_lists(self.queue)
        services.queues.check_priorities(self.queue)
        services.queues.check_restores(self.queue)
        if not self.everything:
            return self._clear(services, act)
        reviewed = act.reviewed.boundary if act.reviewed else None
        if reviewed and "held" not in reviewed:
            raise Refused("The preview did not include the tasks in workers.", hint=LOOK_AGAIN)
        find(services.broker, self.queue, reviewed)  # it would be refused later: then before anything is paused
        reclaim = _reclaim(services)
        with reclaim.hold(self.queue, by=act.actor.name) as hold:
            if reclaim.gather(self.queue, hold, on_progress=act.on_progress, cancelled=act.cancelled):
                effect = self._clear(services, act, seen_in(reviewed["held"]) if reviewed else None)
            else:
                effect = Effect(affected=0, message=f"Cancelled. Nothing was cleared from {self.queue}.", ok=False)
        everything = {
            "paused_by_this": hold.paused is not None,
            "scheduled_put_back": hold.recalled,
            "not_reached": list(hold.reach.not_reached),
        }
        return replace(
            effect,
            message=f"{effect.message}{hold.reach.sentence()}{hold.message}",
            details={**effect.details, "everything": everything},
        )

    def _clear(self, services: Services, act: Act, also: Callable[[bytes], bool] | None = None) -> Effect:
        keep_s = services.settings.undo_window_s
        cleared = services.queues.clear(
            self.queue,
            by=act.actor.name,
            keep_s=keep_s,
            trash_id=act.audit_id.hex,
            watermark=act.reviewed.boundary if act.reviewed else None,
            also=also,
            others=services.queue_names(),
            on_progress=lambda at, of: act.on_progress(
                Progress(done=False, message=f"{at:,} newer tasks set aside", at=at, of=of)
            ),
            cancelled=act.cancelled,
        )
        message = f"Cleared {count(cleared.total, 'task')} from {self.queue}."
        if cleared.cancelled:
            message = f"Cancelled. {message}"
        if cleared.newer and not cleared.cancelled:
            message += f" {arrived(cleared.newer)}"
        return Effect(
            affected=cleared.total,
            message=message,
            details={
                "by_priority": cleared.by_priority,
                "trash_id": cleared.trash_id,
                "arrived_after_preview": cleared.newer,
                **receipt_details(cleared.receipt),
            },
            ok=not cleared.cancelled,
            **undo(cleared.trash_id, keep_s),
        )

    def _everything(self, services: Services, holds: HeldByWorkers) -> list[Line]:
        reach = _reclaim(services).reach(self.queue)
        names = {None: "All queues are paused", self.queue: "The queue is paused"}
        paused = [names[name] for name in services.pause.read([self.queue])]
        paused_for = (
            f"{paused[0]} already; that pause stays."
            if paused
            else "The queue is paused for this, and resumed afterwards."
        )
        sure, perhaps = holds.unstarted
        more = f", and perhaps {perhaps:,} more" if perhaps else ""
        least = "" if holds.complete else "at least "
        removed = (
            f"Also removed: the unstarted tasks of this queue in {count(len(reach.reached), 'worker')}, of {least}"
            f"{sure:,}{more} in all its workers."
        )
        left_out = reach.sentence().strip()
        return [
            Line("will", removed),
            Line("will", paused_for),
            Line("will_not", f"Not removed: {least}{holds.active[0]:,} running."),
            *holds.unsure(),
            *([Line("will_not", left_out)] if left_out else []),
        ]

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """The trash of this act, which its id names, and the pause it may have left behind."""
        pause = services.pause.read([self.queue]).get(self.queue) if self.everything else None
        left = pause is not None and pause.by == entry.user and pause.reason == REASON
        stands = f" Its pause of {self.queue} ends within {PAUSE_S} s." if left else ""
        found = in_trash(services, entry)
        return {**found, "message": f"{found['message']}{stands}"}


def in_trash(services: Services, entry: AuditEntry) -> dict[str, Any]:
    """The trash of one operation; its id is the id of the audit entry."""
    try:
        kept = services.trash.find(entry.id.hex)
    except Refused:
        return {"message": "It has no trash: it removed nothing, or nothing is kept."}
    return {
        "message": f"It moved {count(kept.count, 'task')} to the trash.",
        "trash_id": kept.id,
        "count": kept.count,
    }


def _reclaim(services: Services) -> Reclaim:
    return Reclaim(broker=services.broker, pause=services.pause, workers=services.workers, unmanaged=services.unmanaged)


def name_to_type(services: Services, queue: str) -> str:
    """The queue's name in production, and where more tasks wait than OPSDASH_NAME_QUEUE_ABOVE; else nothing."""
    if (services.settings.environment or "").lower() == "production":
        return queue
    above = services.settings.name_queue_above
    return queue if above is not None and services.queues.read([queue])[0].waiting > above else ""


def undo(trash_id: str | None, keep_s: int) -> dict[str, Any]:
    """For the effect: what takes it back, and for how long; nothing where nothing is kept."""
    return {"undo": RestoreQueue(trash_id=trash_id), "undo_s": keep_s} if trash_id else {}


def arrived(newer: int) -> str:
    """The sentence about what came after the preview."""
    return f"{count(newer, 'task')} arrived after the preview and {'stays' if newer == 1 else 'stay'}."
