"""Clear: everything that waits in one queue goes to the trash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Refused
from opsdash.model import AuditEntry, Effect, Preview, Progress, count, format_duration
from opsdash.operation import Act, Operation, argument
from opsdash.services.boundary import draw
from opsdash.services.composition import compose
from opsdash.services.trash import span

if TYPE_CHECKING:
    from opsdash.services.console import Console


class ClearQueue(Operation):
    """Moves all waiting messages of one queue, every priority, to the trash in one atomic step."""

    name: ClassVar[str] = "clear_queue"
    title: ClassVar[str] = "Clear Queue"
    help: ClassVar[str] = "Remove all pending tasks of one queue."
    warning: ClassVar[str] = "Every pending task of this queue is removed and will not run."

    queue: str = argument(default="celery", positional=True, help="The queue to clear.")

    def preview(self, console: Console) -> Preview:
        """What waits, by priority, and what workers hold already and a clear does not remove."""
        console.queues.check(self.queue, console.queue_names())
        boundary = draw(console.broker, self.queue)
        (stats,) = console.queues.read([self.queue])
        workers = [w for w in console.workers.read() if w.state != "offline" and self.queue in w.queues]
        reserved, scheduled, active = (
            sum(getattr(w, field) for w in workers) for field in ("reserved", "scheduled", "active")
        )
        unacked = console.queues.unacked()
        lines = [f"{count(stats.waiting, 'pending task')} of queue {self.queue} will be removed."]
        if len(stats.by_priority) > 1:
            lines.append(
                "By priority: " + ", ".join(f"{n:,} at {step}" for step, n in sorted(stats.by_priority.items())) + "."
            )
        made_of = compose(console.broker, self.queue)
        lines += made_of.sentences()
        if stats.waiting:
            age = "not known" if made_of.oldest_s is None else format_duration(made_of.oldest_s)
            lines.append(f"Age of the oldest: {age}.")
        lines.append(
            f"Not removed by this: {active:,} running, {reserved:,} reserved and {scheduled:,} scheduled tasks"
            f" of the {count(len(workers), 'worker')} on this queue ({unacked:,} unacknowledged in all queues)."
        )
        arriving = console.history.arriving_per_s(self.queue)
        lines.append(
            "Producers, beat included, go on adding"
            + (f": about {arriving:,.1f} tasks a second lately" if arriving is not None else "")
            + "; what arrives after this preview stays."
        )
        figures = {
            "by_task": dict(made_of.by_task),
            "by_task_error": dict(made_of.error),
            "looked_at": made_of.looked_at,
            "oldest_s": made_of.oldest_s,
            "arriving_per_s": arriving,
            "waiting": stats.waiting,
            "by_priority": dict(stats.by_priority),
            "active": active,
            "reserved": reserved,
            "scheduled": scheduled,
            "unacked": unacked,
        }
        return Preview(title=self.title, warning=self.warning, lines=tuple(lines), figures=figures, boundary=boundary)

    def phrase(self, console: Console) -> str:
        """The queue's name, where a clear is risky."""
        return name_to_type(console, self.queue)

    def execute(self, console: Console, act: Act) -> Effect:
        """Counts and moves in one script; the audit entry's id names the trash."""
        console.queues.check(self.queue, console.queue_names())
        reviewed = act.reviewed.boundary if act.reviewed else None
        keep_s = console.settings.undo_window_s
        cleared = console.queues.clear(
            self.queue,
            by=act.actor.name,
            keep_s=keep_s,
            trash_id=act.audit_id.hex,
            boundary=reviewed,
            told=lambda at, of: act.on_progress(
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
                **undo(cleared.trash_id, keep_s),
            },
            ok=not cleared.cancelled,
        )

    def evidence(self, console: Console, entry: AuditEntry) -> Mapping[str, Any]:
        """The trash of this act, which its id names."""
        try:
            kept = console.trash.find(entry.id.hex)
        except Refused:
            return {"message": "There is no trash of it: it removed nothing, or nothing is kept."}
        return {
            "message": f"{count(kept.count, 'task')} of it lie in the trash.",
            "trash_id": kept.id,
            "count": kept.count,
        }


def name_to_type(console: Console, queue: str) -> str:
    """The queue's name in production, and where more tasks wait than OPSDASH_NAME_QUEUE_ABOVE; else nothing."""
    if (console.settings.environment or "").lower() == "production":
        return queue
    above = console.settings.name_queue_above
    return queue if above is not None and console.get_queue_length(queue) > above else ""


def undo(trash_id: str | None, keep_s: int) -> dict[str, str]:
    """For the details: how to take it back; nothing where nothing is kept."""
    return {"undo": f"Undo within {span(keep_s)}: opsdash restore-queue {trash_id}"} if trash_id else {}


def arrived(newer: int) -> str:
    """The sentence about what came after the preview."""
    return f"{count(newer, 'task')} arrived after the preview and {'stays' if newer == 1 else 'stay'}."
