"""Clear a tenant's tasks: those that wait in any queue, and those that its hold has set aside, go to the trash."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid5

from opsdash.errors import Invalid, Refused, Uncertain
from opsdash.model import AuditEntry, Breakdown, Effect, Figure, HeldTasks, Hold, Line, Part, Preview, Progress
from opsdash.model.hold import LONGEST_NAME, hold_id
from opsdash.model.preview import Exactness
from opsdash.operation import Act, Operation, argument
from opsdash.operations.clear_queue import name_to_type, undo
from opsdash.operations.release_tasks import held_by
from opsdash.services.queues.clear_preview import by_task
from opsdash.services.queues.release_held import HeldTasksMover
from opsdash.services.queues.sampling import sample_tasks
from opsdash.services.queues.selective_clear import SelectiveClear
from opsdash.services.queues.tenant_filter import TenantFilter
from opsdash.services.queues.watermark import take_watermark
from opsdash.text import chosen_time, count

if TYPE_CHECKING:
    from opsdash.services.services import Services

NAMED = 5
"""Trashes that the result names."""


class ClearTenant(Operation):
    """Moves the tasks of one tenant to the trash, a queue at a time, in small steps; the others keep their order."""

    name: ClassVar[str] = "clear_tenant"
    title: ClassVar[str] = "Clear Tenant"
    help: ClassVar[str] = "Remove the pending and the held tasks of one tenant."
    warning: ClassVar[str] = "Every pending or held task of this tenant is removed and will not run."
    danger: ClassVar[bool] = True

    tenant: str = argument(
        default="",
        positional=True,
        help="The tenant's id, as its tasks carry it in OPSDASH_TENANT_KEY.",
        label="The tenant's id",
        longest=LONGEST_NAME,
    )
    queue: str | None = argument(default=None, help="Only tasks of this queue.", label="Only tasks of this queue")

    def heading(self) -> str:
        """Whose tasks."""
        return f"Clear tasks of tenant {self.tenant}" if self.tenant else self.title

    def preview(self, services: Services) -> Preview:
        """How many wait, counted or estimated, how many are held, and what stays."""
        names, held = self._check(services)
        marks = {queue: take_watermark(services.broker, queue) for queue in names}
        found = sample_tasks(services.broker, names, self._filter(services))
        number = f"{found.number:,}" if found.counted else f"About {found.number:,} (± {found.number_error:,})"
        exactness: Exactness = "exact" if found.counted else "estimated"
        of = f"queue {self.queue}" if self.queue else count(len(names), "queue")
        lines = [Line("will", f"{number} of the tasks that wait in {of} will be removed; the others keep their order.")]
        if not found.counted:
            lines.append(Line("note", f"Estimated from {found.looked_at:,} of them; the clear checks each one."))
        lines += (Line("note", text, repeats=("by_task",)) for text in found.sentences())
        if held.held:
            lines.append(
                Line("will", f"{count(held.held, 'held task')} of this tenant will be removed; the hold stays.")
            )
        key, keep_s = services.settings.tenant_key, services.settings.undo_window_s
        lines += [
            Line(
                "will_not",
                "Not removed: tasks that workers have fetched or run, those held by a task's name, and those that"
                " wait for a concurrency limit.",
            ),
            Line("will_not", "Tasks that come after this preview stay. To stop those: opsdash hold-tenant."),
            Line("note", f"A task is of a tenant by its header {key}, else by its keyword argument {key}."),
            Line("note", f"They can be restored for {chosen_time(keep_s)}, a queue at a time.")
            if keep_s
            else Line("warning", "They are deleted: no undo window is set."),
        ]
        total = found.number + held.held
        return Preview(
            button=f"Clear {'' if found.counted else 'about '}{count(total, 'task')}",
            lines=tuple(lines),
            figures=(
                Figure(
                    name="matching",
                    label="match",
                    value=found.number,
                    unit="tasks",
                    exactness=exactness,
                    error=found.number_error,
                ),
                Figure(name="held", label="held", value=held.held, unit="tasks"),
                Figure(name="looked_at", value=found.looked_at, unit="tasks"),
            ),
            breakdowns=(
                by_task(found),
                Breakdown(
                    name="held_by_queue",
                    unit="tasks",
                    parts=tuple(Part(name=queue, value=n) for queue, n in held.by_queue.items()),
                ),
            ),
            boundary={"queues": marks},
        )

    def phrase(self, services: Services) -> str:
        """The tenant's id, where clearing one of the queues would ask for its name."""
        names = (self.queue,) if self.queue else services.queue_names()
        return self.tenant if any(name_to_type(services, queue) for queue in names) else ""

    def execute(self, services: Services, act: Act) -> Effect:
        """Streams; cancelled, it ends with the step it is at, and what was removed can be restored."""
        names, held = self._check(services)
        keep_s, clear = services.settings.undo_window_s, SelectiveClear(services.broker)
        marks: Mapping[str, Any] | None = act.reviewed.boundary.get("queues") if act.reviewed else None
        removed, trashes, stopped, remark = Counter[str](), list[str](), False, ""
        try:
            for number, queue in enumerate(names):
                if marks is not None and queue not in marks:
                    continue  # nobody has reviewed it
                if stopped := act.cancelled():
                    break

                def on_progress(at: int, of: int, queue: str = queue) -> None:
                    act.on_progress(Progress(done=False, message=f"{queue}: {at:,} of {of:,} looked at", at=at, of=of))

                done = clear.clear(
                    queue,
                    self._filter(services),
                    by=act.actor.name,
                    keep_s=keep_s,
                    trash_id=trash_id(act, number, queue),
                    watermark=marks[queue] if marks is not None else None,
                    on_progress=on_progress,
                    cancelled=act.cancelled,
                )
                removed[queue] += done.total
                trashes += filter(None, [done.trash_id])
                stopped = done.cancelled
            if held.held and not stopped:
                mover, of_held = HeldTasksMover(services.broker), uuid5(act.audit_id, "held").hex
                cleared = mover.clear(held.hold, by=act.actor.name, keep_s=keep_s, act=of_held, queue=self.queue or "")
                remark = cleared.remark
                for queue, (one, number) in cleared.by_queue.items():
                    removed[queue] += number
                    trashes += [one] if keep_s else []
        except Refused as error:
            if not removed.total():
                raise
            said = f"{count(removed.total(), 'task')} cleared by then. {error.message}"
            raise Uncertain(said, hint="Run it again for the rest.") from error
        total = removed.total()
        message = f"Cleared {count(total, 'task')} of tenant {self.tenant}."
        if not total:
            message = f"No task of tenant {self.tenant} was found. Nothing was cleared."
        if stopped:
            message = f"Cancelled. {message} The rest was not checked."
        if len(trashes) > 1:
            named = ", ".join(f"opsdash restore-queue {one}" for one in trashes[:NAMED])
            message += f" To restore: {named}" + (" and more." if len(trashes) > NAMED else ".")
        return Effect(
            affected=total,
            message=message + remark,
            details={
                "by_queue": {queue: number for queue, number in removed.items() if number},
                "trash_ids": trashes,
                "cancelled": stopped,
            },
            ok=not stopped,
            **undo(trashes[0] if len(trashes) == 1 else None, keep_s),
        )

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """How many tasks of the trashes are of this act."""
        names = list(services.queue_names())
        of_held = uuid5(entry.id, "held")
        ids = {entry.id.hex, of_held.hex}
        ids |= {uuid5(base, queue).hex for base in (entry.id, of_held) for queue in names}
        kept = [one for one in services.trash.look()[0] if one.id in ids]
        number = sum(one.count for one in kept)
        if not kept:
            return {"message": "It has no trash: it removed nothing, or nothing is kept."}
        return {
            "message": f"It moved {count(number, 'task')} to the trash.",
            "trash_ids": [one.id for one in kept],
            "count": number,
        }

    def _filter(self, services: Services) -> TenantFilter:
        return TenantFilter(self.tenant, services.settings.tenant_key)

    def _check(self, services: Services) -> tuple[tuple[str, ...], HeldTasks]:
        """The queues that are meant, and what is held of the tenant.

        Raises:
            Invalid: It is no tenant's id. Refused: A queue can't be cleared.
        """
        if not self.tenant.strip():
            raise Invalid("expected a tenant's id", field="tenant")
        known = services.queue_names()
        if self.queue is not None:
            services.queues.check(self.queue, known)
        names = tuple(known) if self.queue is None else (self.queue,)
        for queue in names:
            services.queues.check_lists(queue)
            services.queues.check_priorities(queue)
            services.queues.check_restores(queue)
        return names, _held(services, self.tenant, self.queue)


def trash_id(act: Act, number: int, queue: str) -> str:
    """The trash of the first queue has the act's own id."""
    return act.audit_id.hex if not number else uuid5(act.audit_id, queue).hex


def _held(services: Services, tenant: str, queue: str | None) -> HeldTasks:
    hold = services.holds.find("tenant", tenant)
    if hold is None:
        return HeldTasks(hold=Hold(id=hold_id("tenant", tenant), kind="tenant", name=tenant))
    held = held_by(services, hold)
    if queue is None:
        return held
    number = held.by_queue.get(queue, 0)
    return HeldTasks(hold=hold, held=number, by_queue={queue: number} if number else {})
