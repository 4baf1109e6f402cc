"""Cancel: what is left of a workflow does not run: it goes to the trash, or is revoked."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Refused
from opsdash.model import AuditEntry, Breakdown, Effect, Figure, Line, Part, Preview, Progress, Workflow
from opsdash.operation import Act, Operation, argument
from opsdash.operations.clear_queue import in_trash, undo
from opsdash.services.failures.discard import Discarded
from opsdash.services.queues.find_task import checked_id
from opsdash.services.queues.found_text import looked_at_parts, missing
from opsdash.services.queues.remove_tasks import Bin
from opsdash.services.workflows.cancel import CancelPlan, by_state, cancel, plan_of
from opsdash.services.workflows.cancel_text import lines, result
from opsdash.services.workflows.sightings import Seen
from opsdash.text import count

if TYPE_CHECKING:
    from opsdash.services.services import Services

SAMPLE = 10
"""Tasks that the preview names."""


class CancelWorkflow(Operation):
    """Waiting tasks go to one trash, fetched and running ones are revoked, in steps."""

    name: ClassVar[str] = "cancel_workflow"
    title: ClassVar[str] = "Cancel Workflow"
    help: ClassVar[str] = "Remove and revoke what is left of a chain, group, chord or other workflow."
    warning: ClassVar[str] = "The tasks of this workflow that are left will not run. What has run is not undone."
    danger: ClassVar[bool] = True

    root: str = argument(
        default="", positional=True, help="Id of the root, or of a group; opsdash workflow finds it.", label="Root"
    )
    terminate: bool = argument(
        default=False,
        help="Also end the processes that run its tasks (SIGTERM), in the middle of their work.",
        label="Also end the processes that run its tasks, in the middle of their work",
    )
    discard_failed: bool = argument(
        default=False,
        help="Also discard those of its tasks that are kept as failed.",
        label="Also discard its failed tasks",
    )

    def heading(self) -> str:
        """Which workflow."""
        return f"Cancel workflow {self.root}".rstrip()

    def preview(self, services: Services) -> Preview:
        """How many there are in each state and queue, what happens to them, and what can't be stopped."""
        seen, plan = self._plan(services)
        keep_s = services.settings.undo_window_s
        pools = {worker.hostname: worker.pool for worker in services.workers.read()} if plan.active else {}
        told = lines(plan, terminate=self.terminate, discard=self.discard_failed, keep_s=keep_s, pools=pools)
        sample = [*plan.waiting, *plan.fetched, *plan.active][:SAMPLE]
        names = ", ".join(f"{one.links.name or one.name or 'a task'} {one.id}" for one in sample[:3])
        told += [Line("note", f"For example {names}.")] if sample else []
        told += [Line("warning", text) for text in seen.problems]
        if why := missing(seen.looked_at):
            told.append(Line("warning", f"Not everything could be looked at: {why}."))
        told.append(Line("note", "Tasks of it that are sent after this preview are cancelled as well."))
        told.append(Line("note", f"Looked at: {looked_at_parts(seen.looked_at)}."))
        parts = tuple(Part(name=state, value=number) for state, number in by_state(plan).items())
        queues = tuple(Part(name=queue, value=number) for queue, number in plan.queues.items())
        figures = [
            Figure(name="waiting", label="to the trash", value=len(plan.waiting), unit="tasks"),
            Figure(name="fetched", label="revoked, not started", value=len(plan.fetched), unit="tasks"),
            Figure(name="running", label="running", value=len(plan.active), unit="tasks"),
            Figure(name="not_sent", value=len(plan.follow) + plan.unnamed + plan.behind, unit="tasks"),
            Figure(name="can_not_be_named", value=plan.unnamed, unit="tasks"),
            Figure(name="failed", value=len(plan.failed), unit="tasks"),
            Figure(name="sample", value=tuple(one.id for one in sample)),
        ]
        wanted = {
            "terminate": bool(plan.active) or self.terminate,
            "discard_failed": bool(plan.failed) or self.discard_failed,
        }
        return Preview(
            button=f"Cancel {count(plan.left, 'task')}" if plan.left else "",
            lines=tuple(told),
            figures=tuple(figures),
            breakdowns=(
                Breakdown(name="by_state", label="States", unit="tasks", parts=parts),
                Breakdown(name="by_queue", label="Queues", unit="tasks", parts=queues),
            ),
            choices=tuple(name for name, matters in wanted.items() if matters),
        )

    def execute(self, services: Services, act: Act) -> Effect:
        """In steps; cancelled, it ends with the step it is at, and what is in the trash can be restored."""
        seen, plan = self._plan(services)
        keep_s, trash_id = services.settings.undo_window_s, act.audit_id.hex
        into = Bin(
            id=trash_id,
            root=self.root,
            by=act.actor.name,
            at=datetime.now(UTC).isoformat(),
            until_s=int(time.time()) + keep_s,
            keep_s=keep_s,
        )
        done = cancel(
            services.workflows,
            services.remote,
            seen,
            into,
            terminate=self.terminate,
            on_progress=lambda text: act.on_progress(Progress(done=False, message=text)),
            cancelled=act.cancelled,
        )
        discarded, failed_trash = 0, f"{trash_id}-failed"
        if self.discard_failed and plan.failed and not done.stopped:
            found = list(services.workflows.failed.brief([one.failure_id for one in plan.failed]))
            discarded, _, stopped = Discarded(services.broker).take(
                found, by=act.actor.name, keep_s=keep_s, trash_id=failed_trash, cancelled=act.cancelled
            )
            done.stopped |= stopped
        kept = trash_id if done.removed and keep_s else None
        kept_failed = failed_trash if discarded and keep_s else None
        details = {
            "root": self.root,
            "trash_id": kept,
            "removed": dict(done.removed),
            "revoked": len(done.revoked),
            "confirmed": sorted(done.confirmed),
            "failed": done.failed,
            "unable": sorted(done.unable),
            "silent": sorted(done.silent),
            "ended": sorted(done.ended),
            "running": done.running,
            "queues_left": done.queues_left,
            "discarded": discarded,
            "failed_trash_id": kept_failed,
            "cancelled": done.stopped,
        }
        unconfirmed = bool(done.revoked) and not done.confirmed
        return Effect(
            affected=done.removed.total() + len(done.revoked) + discarded,
            message=result(self.root, done, discarded=discarded, failed_trash=kept_failed),
            details=details,
            ok=not (done.stopped or done.queues_left or done.failed or done.unable or unconfirmed),
            **undo(kept, keep_s),
        )

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """The trash of this act; what it has revoked only the workers remember."""
        found = in_trash(services, entry)
        return {
            **found,
            "message": f"{found['message']} Workers may have received the revoke too. Run it again for the rest.",
        }

    def _plan(self, services: Services) -> tuple[Seen, CancelPlan]:
        """What there is.

        Raises:
            Refused: It is not the root, or nothing of it is left.
        """
        seen = services.workflows.look(checked_id(self.root, "root"))
        plan, top = plan_of(seen), seen.top()
        if top and top != self.root:
            hint = f"For the whole: opsdash cancel-workflow {top}"
            raise Refused(f"Task {self.root} is part of workflow {top}.", hint=hint, field="root")
        if not plan.left and not (self.discard_failed and plan.failed):
            why = missing(seen.looked_at)
            unsure = f" Not everything could be looked at: {why}." if why else ""
            raise Refused(f"Nothing is left of workflow {self.root}.{unsure}", field="root")
        if plan.revoked:
            services.unmanaged.askable()
        for queue in plan.queues:
            services.queues.check_lists(queue)
            services.queues.check_restores(queue)
        return seen, plan


def act_on(found: Workflow) -> CancelWorkflow | None:
    """What cancels a workflow, on every surface; None: nothing of it is left."""
    return CancelWorkflow(root=found.root) if found.root and found.left else None
