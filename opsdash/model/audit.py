"""The audit log: entries, how they ended, and what waits for approval."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any
from uuid import UUID

from opsdash.values import frozen

DETAILS_WIDTH = 50
"""Characters of an audit entry's summary that a table shows; the full JSON is one click away."""


TARGETS = (
    "queue",
    "hostname",
    "task_id",
    "trash_id",
    "approval_id",
    "root",
    "failure_id",
    "group",
    "task",
    "tenant",
    "schedule",
    "build",
    "runbook",
)
"""Parameters that name what an operation is done to, the plainest first."""
ALL_QUEUES = "all queues"


class Status(enum.StrEnum):
    """How an audit entry ended."""

    IN_PROGRESS = "in_progress"
    SUCCESS = "success"
    FAILURE = "failure"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@frozen(kw_only=True)
class AuditEntry:
    """One act, or attempt, in the audit log.

    Attributes:
        timestamp: When it was begun, in UTC. ``finished_at``: when its outcome was written; None while in progress.
        details: ``message``, ``params``, ``surface``, ``client``, ``previewed``, ``took_s``; more by operation.
        seq: Its number in the hash chain; None until it is finished. ``key_id``: which key made ``seal``.
        broker: Where it was done, as `broker_identity` gives it; None: unknown. It is taken from
            the details, which the HMAC covers.
    """

    id: UUID
    timestamp: datetime
    user: str
    operation: str
    status: Status
    details: Mapping[str, Any]
    request_id: UUID
    finished_at: datetime | None = None
    seq: int | None = None
    key_id: str | None = None
    seal: str | None = None
    broker: str | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Stored once, in the details: a console of another version keeps it too."""
        broker = self.details.get("broker")
        object.__setattr__(self, "broker", broker if isinstance(broker, str) else None)

    @classmethod
    def from_plain(cls, raw: Mapping[str, Any]) -> AuditEntry:
        """The entry from which ``to_plain`` made the mapping; it has no HMAC yet."""
        return cls(
            id=UUID(raw["id"]),
            timestamp=datetime.fromisoformat(raw["timestamp"]),
            user=raw["user"],
            operation=raw["operation"],
            status=Status(raw["status"]),
            details=raw["details"],
            request_id=UUID(raw["request_id"]),
            finished_at=datetime.fromisoformat(raw["finished_at"]) if raw["finished_at"] else None,
        )

    @property
    def title(self) -> str:
        """The operation's name for people, e.g. ``Clear Queue``."""
        return self.operation.replace("_", " ").title()

    @property
    def target(self) -> str:
        """What it was done to: a queue, a worker, a task, or an id; empty where its parameters don't tell."""
        params = self.details.get("params")
        given = params if isinstance(params, Mapping) else {}
        for named in (self.details.get("queue"), *(given.get(name) for name in TARGETS)):
            if isinstance(named, str) and named:
                return named
        return ALL_QUEUES if "queue" in given and given["queue"] is None else ""

    @property
    def reason(self) -> str:
        """The reason that the user gave."""
        params = self.details.get("params")
        return str(params.get("reason") or "") if isinstance(params, Mapping) else ""

    @property
    def description(self) -> str:
        """What happened: the outcome's message, else the parameters."""
        return str(self.details.get("message") or json.dumps(self.details.get("params", {}), default=str))

    @property
    def summary(self) -> str:
        """The same in at most 50 characters."""
        text = self.description
        return text if len(text) <= DETAILS_WIDTH else text[: DETAILS_WIDTH - 1] + "…"


@frozen(kw_only=True)
class Approval:
    """An act that waits for a different operator's YES.

    Attributes:
        id: What ``opsdash approve`` takes.
        operation: Its name; ``title``: for people. ``params``: its parameters.
        by: Who asked. ``at``: when, in UTC. ``surface``: through which surface.
        expires_at: When its time is over, in UTC.
        problem: Why this opsdash can't do it, in a sentence; empty when it can.
    """

    id: str
    operation: str
    title: str
    params: Mapping[str, Any]
    by: str
    at: datetime
    expires_at: datetime
    surface: str = ""
    problem: str = ""
