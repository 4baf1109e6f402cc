"""Discard: failed tasks go to the trash."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Refused
from opsdash.model import AuditEntry, Breakdown, Effect, Figure, Line, Part, Preview, Progress
from opsdash.model.failure import Failure
from opsdash.operation import Act, Operation
from opsdash.operations.chosen_failures import ChosenFailures
from opsdash.operations.clear_queue import undo
from opsdash.services.failures.discard import Discarded
from opsdash.services.failures.selection import Meant, read_at, redis_now, some_ids
from opsdash.services.failures.store import FailureStore
from opsdash.text import chosen_time, count

if TYPE_CHECKING:
    from opsdash.services.services import Services


class DiscardFailed(ChosenFailures, Operation):
    """Moves failed tasks to the trash, in small steps."""

    name: ClassVar[str] = "discard_failed"
    title: ClassVar[str] = "Discard Failed Tasks"
    help: ClassVar[str] = "Move failed tasks to the trash, by ids, group or filter."
    warning: ClassVar[str] = "They are off the list of failed tasks, and can't be retried unless they are restored."
    danger: ClassVar[bool] = True
    layout: ClassVar[tuple[str, ...]] = ("prefix", "db")

    def heading(self) -> str:
        """Which tasks."""
        return self._heading("Discard")

    def preview(self, services: Services) -> Preview:
        """How many, of which tasks, and for how long they can be restored."""
        meant = self._meant()
        now = redis_now(services.broker)
        failures = self._read(services, meant, now)
        number, keep_s = len(failures), services.settings.undo_window_s
        kept = (
            f"They can be restored for {chosen_time(keep_s)}." if keep_s else "The undo window is 0: nothing is kept."
        )
        lines = [
            Line("will", f"{count(number, 'failed task')} {meant.text} will be discarded."),
            Line("note", f"For example {some_ids(failures)}."),
            Line("note" if keep_s else "warning", kept),
            Line("will_not", "Tasks that fail after this preview stay on the list."),
        ]
        if unknown := [one for one in meant.ids if one not in {failure.id for failure in failures}]:
            lines.append(Line("will_not", f"Not kept as failed: {', '.join(unknown[:3])}."))
        counted = Counter(one.task or "(unreadable)" for one in failures).most_common(50)
        by_task = Breakdown(
            name="by_task",
            label="Kinds of tasks",
            unit="tasks",
            parts=tuple(Part(name=name, value=n) for name, n in counted),
        )
        return Preview(
            title=self._title("Discard", failures),
            button=f"Discard {count(number, 'task')}",
            lines=tuple(lines),
            figures=(
                Figure(name="failed", label="will be discarded", value=number, unit="tasks"),
                Figure(name="sample", value=tuple(one.id for one in failures[:10])),
            ),
            breakdowns=(by_task,),
            boundary={"read_at": now},
        )

    def execute(self, services: Services, act: Act) -> Effect:
        """In steps; cancelled, it ends with the step it is at, and what was discarded can be restored."""
        at = read_at(services.broker, act.reviewed.boundary if act.reviewed else None)
        failures = self._read(services, self._meant(), at)
        keep_s, trash_id = services.settings.undo_window_s, act.audit_id.hex

        def on_progress(done: int, of: int) -> None:
            act.on_progress(Progress(done=False, message=f"{done:,} of {of:,} discarded", at=done, of=of))

        moved, changed, cancelled = Discarded(services.broker).take(
            failures,
            by=act.actor.name,
            keep_s=keep_s,
            trash_id=trash_id,
            on_progress=on_progress,
            cancelled=act.cancelled,
        )
        message = f"Discarded {count(moved, 'failed task')}."
        if changed:
            message += f" {changed:,} had changed meanwhile: retried or discarded by another act, or failed again."
        if cancelled:
            message = f"Cancelled. {message} {len(failures) - moved - changed:,} are still kept as failed."
        return Effect(
            affected=moved,
            message=message,
            details={"trash_id": trash_id if moved and keep_s else None, "changed": changed},
            ok=not cancelled,
            **undo(trash_id if moved and keep_s else None, keep_s),
        )

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """The trash of this act, which its id names."""
        try:
            kept = services.trash.find(entry.id.hex)
        except Refused:
            return {"message": "It has no trash: it discarded nothing, or nothing is kept."}
        message = f"It moved {count(kept.count, 'failed task')} to the trash. Run it again for the rest."
        return {"message": message, "trash_id": kept.id, "count": kept.count}

    def _read(self, services: Services, meant: Meant, at: float) -> list[Failure]:
        return meant.read(FailureStore(services.broker), at)
