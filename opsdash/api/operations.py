"""``POST /api/v1/operations/{name}``: an operation, run or previewed. The service is the guard: ``Console.run``."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from opsdash.api.handler import Handler
from opsdash.api.problems import ProblemError
from opsdash.api.requests import RunQuery, operation_of, request_of
from opsdash.api.schemas import Outcome, undo_read
from opsdash.model import to_plain
from opsdash.operation import Operation, registry
from opsdash.services.best_effort import best_effort
from opsdash.services.console import Console
from opsdash.services.threads import ACTS, PREVIEWS, by_right

AFTER_S = 1.0
"""The answer to an act waits so long for the figures that show it."""


class Run(Handler):
    """One operation."""

    async def post(self, name: str) -> None:
        """Runs it, or with ``?dry_run=1`` says what it would do."""
        kind = registry().get(name)
        if kind is None:
            raise ProblemError(
                HTTPStatus.NOT_FOUND, "not-found", "There is no such operation; /api/v1/operations lists them."
            )
        query = self.query(RunQuery)
        sent: Any = self.sent(request_of(kind))
        if query.dry_run:
            looking = by_right(self.actor, kind.minimum_role, PREVIEWS)
            self.send(await self.work(lambda: self.console.preview(operation_of(kind, sent)), kind, looking))
            return
        outcome = await self.work(lambda: self._run(kind, sent), kind, by_right(self.actor, kind.minimum_role, ACTS))
        if not outcome.ok:
            done = to_plain_outcome(outcome)
            raise ProblemError(HTTPStatus.BAD_GATEWAY, "partial", outcome.message, changed="perhaps", outcome=done)
        self.send(outcome)

    def _run(self, kind: type[Operation], sent: Any) -> Outcome:
        console: Console = self.console
        try:
            effect = console.run(
                operation_of(kind, sent),
                actor=self.actor,
                confirm=sent.confirm,
                phrase=sent.phrase,
                request_id=sent.request_id,
            )
        finally:
            best_effort(
                "the refresh after an act", lambda: console.poller.refresh_soon(AFTER_S)
            )  # the next request sees it
        return Outcome(
            operation=kind.name,
            status="success" if effect.ok else "failure",
            affected=effect.affected,
            message=effect.message,
            details=to_plain(effect.details),
            ok=effect.ok,
            followed=effect.followed,
            undo=undo_read(effect),
            undo_s=effect.undo_s,
            audit_id=effect.audit_id,
        )


def to_plain_outcome(outcome: Outcome) -> dict[str, Any]:
    """For a problem document."""
    return {field: to_plain(getattr(outcome, field)) for field in outcome.__struct_fields__}
