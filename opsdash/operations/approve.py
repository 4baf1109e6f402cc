"""Approve: what one operator asked for is done with a second one's YES."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

from opsdash.errors import Refused
from opsdash.model import Approval, AuditEntry, Effect, Figure, Line, Preview, times
from opsdash.operation import Act, Operation, argument
from opsdash.text import format_duration

if TYPE_CHECKING:
    from opsdash.services.audit.approvals import PendingApproval
    from opsdash.services.services import Services


class ApproveOperation(Operation):
    """Runs an operation that waits for a second person, as its requester has reviewed it; once."""

    name: ClassVar[str] = "approve"
    title: ClassVar[str] = "Approve"
    help: ClassVar[str] = "Approve the request of another operator; it then runs."
    warning: ClassVar[str] = "It runs at once, in the name of the requester and with your name beside it."
    layout: ClassVar[tuple[str, ...]] = ()
    approvable: ClassVar[bool] = False

    approval_id: str = argument(default="", positional=True, help="Id of the request; opsdash approvals lists them.")

    def preview(self, services: Services) -> Preview:
        """The request, its user, and what it would do now."""
        pending = services.approvals.find(self.approval_id)
        operation = _operation(pending)
        waits, now = pending.approval, operation.preview(services)
        left_s = (waits.expires_at - now.taken_at).total_seconds()
        elsewhere = pending.entry.broker not in (None, services.broker.identity)
        there = f"The request is for broker {pending.entry.broker}; this console uses {services.broker.identity}."
        what = (
            f"{described(waits)}, requested by {waits.by} at {times.clock(waits.at)}; {format_duration(left_s)} left.",
            f"It runs as {waits.by} reviewed it at {times.clock(pending.reviewed.taken_at)}. Now it would do this:",
        )
        lines = (*([Line("will", there)] * elsewhere), *(Line("will", text) for text in what), *now.lines)
        figures = (
            Figure(name="operation", value=waits.operation),
            Figure(name="params", value=dict(waits.params)),
            Figure(name="asked_by", value=waits.by),
            Figure(name="asked", value=pending.reviewed.values()),
            Figure(name="now", value=now.values()),
        )
        warning = f"{self.warning} {now.warning or operation.warning}"
        title = f"{self.title}: {now.title or operation.heading()}"
        return Preview(title=title, warning=warning, lines=lines, figures=figures)

    def phrase(self, services: Services) -> str:
        """As for the operation that was asked for."""
        return _operation(services.approvals.find(self.approval_id)).phrase(services)

    def execute(self, services: Services, act: Act) -> Effect:
        """Two entries are written: the outcome in the one of who asked, and this one, each naming the other."""
        return services.carry_out(self.approval_id, act)

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """Whether it still waits."""
        try:
            waits = services.approvals.find(self.approval_id).approval
        except Refused:
            return {"message": "It is no longer pending: the requester's entry has the result."}
        return {"message": f"{described(waits)} still waits for approval: it was not done."}


def _operation(pending: PendingApproval) -> Operation:
    return cast("Operation", pending.operation)  # what is kept knows it by its name; it was made from the registry


def described(waits: Approval) -> str:
    """``Clear Queue (queue: emails)``, and why it can't be done where it can't."""
    params: list[Any] = [f"{name}: {value}" for name, value in waits.params.items() if value not in (None, "", False)]
    text = f"{waits.title} ({', '.join(params)})" if params else waits.title
    return f"{text}. {waits.problem}" if waits.problem else text
