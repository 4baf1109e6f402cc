"""Problem documents (RFC 9457): every error of the API, and whether anything was changed."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from tornado.web import HTTPError

from opsdash.errors import Changed, Invalid, NeedsApproval, OpsdashError, PhraseMissing, Refused, Unavailable, Uncertain
from opsdash.model import Actor
from opsdash.operation import Operation
from opsdash.services.audit.log import DuplicateRequest
from opsdash.text import without_folders

CONTENT_TYPE = "application/problem+json"
RETRY_AFTER_S = 5


class Problem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What went wrong. ``type`` is for programs, ``detail`` one sentence for a person."""

    type: str
    title: str
    status: int
    detail: str
    changed: Changed
    """``nothing``, or ``perhaps``: then look before trying again."""
    field: str = ""
    """The parameter at fault."""
    setting: str = ""
    """The console's setting at fault."""
    hint: str = ""
    """What to do now; it is in ``detail`` as well."""
    retry: bool = False
    """The same may work later, as it is."""
    outcome: dict[str, Any] | None = None
    """Of an operation that was done in part: what it did."""
    approval_id: str | None = None
    """Of an act that waits for a second person: what ``approve`` takes."""
    expected: str | None = None
    """What ``phrase`` must now be for this operation."""


class ProblemError(HTTPError):
    """An error of the API on its way to the client."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(status)
        self.headers = dict(headers or {})
        self.problem = problem(status, kind, detail, **more)


def problem(status: int, kind: str, detail: str, *, changed: Changed = "nothing", **more: Any) -> Problem:
    """A problem document; ``kind`` ends its type, ``more`` are its further members."""
    return Problem(
        type=f"urn:opsdash:problem:{kind}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        changed=changed,
        **more,
    )


def problem_error(
    error: OpsdashError, operation: type[Operation] | None = None, actor: Actor | None = None
) -> ProblemError:
    """What an error of the services is over HTTP.

    Args:
        operation: What was asked for; None for a read.
        actor: The user: shows whether the refusal is because of the role.
    """
    status, kind, more = _kind_of(error, operation, actor)
    detail = without_folders(error.explanation if operation is None else str(error))
    facts = {name: without_folders(fact) if isinstance(fact, str) else fact for name, fact in error.facts.items()}
    if operation is None:
        facts["changed"] = "nothing"  # by a read, whatever its error says
    headers = {"Retry-After": str(RETRY_AFTER_S)} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return ProblemError(status, kind, detail, headers=headers, **facts, **more)


def _kind_of(
    error: OpsdashError, operation: type[Operation] | None, actor: Actor | None
) -> tuple[HTTPStatus, str, dict[str, str]]:
    """Status, end of the type, and the members that this kind has for itself."""
    if isinstance(error, Uncertain):
        return HTTPStatus.BAD_GATEWAY, "uncertain", {}
    misconfigured = isinstance(error, Invalid) and (operation is None or bool(error.setting))
    if isinstance(error, Unavailable) or misconfigured:
        return HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", {}
    if isinstance(error, NeedsApproval):
        return HTTPStatus.CONFLICT, "needs-approval", {"approval_id": error.approval_id}
    if isinstance(error, PhraseMissing):
        return HTTPStatus.CONFLICT, "phrase", {"expected": error.expected}
    if isinstance(error, DuplicateRequest):
        return HTTPStatus.CONFLICT, "duplicate", {}
    if operation is not None and actor is not None and (actor.role is None or actor.role < operation.minimum_role):
        return HTTPStatus.FORBIDDEN, "forbidden", {}
    if isinstance(error, Refused | Invalid):  # a rule of the operation; the audit log says refused for both
        return HTTPStatus.CONFLICT, "refused", {}
    return HTTPStatus.INTERNAL_SERVER_ERROR, "bug", {}
