"""A repeated request: its user gets the first result, and it is not done again."""

from __future__ import annotations

from uuid import UUID

from opsdash.errors import Unavailable
from opsdash.model import Actor, AuditEntry, DeclaredOperation, Effect, Status
from opsdash.services.audit.log import AuditLog, DuplicateRequest

INTENT = ("broker", "params", "surface", "client", "previewed", "took_s", "approval", "run", "step")
"""What an entry's details hold beside the outcome's own."""


class TakenRequest(DuplicateRequest):
    """A request id that another user has used."""

    def __init__(self, request_id: UUID) -> None:
        super().__init__(request_id, f"The request id {request_id} belongs to another user's request.")


class ElsewhereRequest(DuplicateRequest):
    """A request id that was used on another broker, or nobody can say on which: how that ended is no answer here."""

    def __init__(self, request_id: UUID, broker: str | None) -> None:
        where = f"on another broker, {broker}" if broker else "and its entry does not say on which broker"
        message = f"The request id {request_id} was used {where}."
        super().__init__(request_id, message, hint="Send it under a new one.")


def answered(audit: AuditLog, operation: DeclaredOperation, actor: Actor, error: DuplicateRequest) -> Effect:
    """What this very request did the first time.

    Raises:
        TakenRequest: It is not this actor's. ElsewhereRequest: It is not this broker's.
        Duplicate: It asked for something else, or has not come to its end: ``error`` itself.
        Unavailable: The database did not answer.
    """
    try:
        entry, is_here = audit.writing.run(lambda: _found(audit, error.request_id))
    except Unavailable as away:
        raise Unavailable(
            f"The request {error.request_id} was made before; its result is not known while the database does"
            " not answer. It was not done again."
        ) from away
    if entry is not None and not _is_by(entry, actor):
        raise TakenRequest(error.request_id)
    if entry is not None and not is_here:
        raise ElsewhereRequest(error.request_id, entry.broker)
    same = entry is not None and (entry.operation, entry.details.get("params")) == (
        operation.name,
        operation.params(),
    )
    if entry is None or not same or entry.status not in {Status.SUCCESS, Status.FAILURE}:
        raise error
    details = {name: value for name, value in entry.details.items() if name not in INTENT}
    return Effect(
        affected=int(details.pop("affected", 0)),
        followed=details.pop("followed", True) is not False,
        message=str(details.pop("message", "")),
        details=details,
        ok=entry.status is Status.SUCCESS,
        audit_id=entry.id,
    )


def _found(audit: AuditLog, request_id: UUID) -> tuple[AuditEntry | None, bool]:
    entry = audit.by_request(request_id)
    return entry, entry is not None and audit.is_here(entry)


def _is_by(entry: AuditEntry, actor: Actor) -> bool:
    """A token is another one than a person of the same name."""
    return entry.user == actor.name and (entry.details.get("surface") == "api") == (actor.surface == "api")
