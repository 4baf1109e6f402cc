"""Notifications: what happened, as facts. Texts are made where they are sent."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta
from typing import Any, ClassVar

from opsdash.model.serialization import to_plain
from opsdash.model.times import clock
from opsdash.text import count, format_duration
from opsdash.values import frozen

LONG_S = 300.0
"""Messages that wait so long because they are not taken are shown."""
_TIMES = ("at", "since", "expires_at", "first_at")


@frozen(kw_only=True)
class Notification:
    """Something that happened.

    Attributes:
        kind: As the settings name it.
        at: When it was noticed, in UTC.
    """

    kind: ClassVar[str] = ""
    at: datetime

    @property
    def recovery(self) -> bool:
        """It says that something is well again."""
        return bool(getattr(self, "recovered", False))


@frozen(kw_only=True)
class OperationEnded(Notification):
    """An audit entry that was finished.

    Attributes:
        audit_id: The entry's id. ``number``: its number in the hash chain.
        status: ``success``, ``failure`` or ``unknown``.
        target: What it was done to; empty where that is not known.
        params: Its parameters as the log has them; none unless they are asked for.
    """

    kind: ClassVar[str] = "acts"
    audit_id: str
    number: int
    user: str
    operation: str
    status: str
    target: str = ""
    message: str = ""
    reason: str = ""
    approved_by: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)


@frozen(kw_only=True)
class PauseEnds(Notification):
    """A pause that ends by itself in a few minutes. ``queue``: None for the pause of all queues."""

    kind: ClassVar[str] = "pause_ends"
    queue: str | None
    expires_at: datetime
    by: str = ""
    reason: str = ""


@frozen(kw_only=True)
class ApprovalWanted(Notification):
    """An operation that waits for a second user's YES."""

    kind: ClassVar[str] = "approval"
    approval_id: str
    operation: str
    title: str
    by: str
    expires_at: datetime
    params: Mapping[str, Any] = field(default_factory=dict)


@frozen(kw_only=True)
class WorkerLost(Notification):
    """A worker stopped reporting without having been shut down; ``recovered``: it reports again."""

    kind: ClassVar[str] = "worker"
    hostname: str
    since: datetime
    recovered: bool = False


@frozen(kw_only=True)
class ServiceLost(Notification):
    """Redis or the database does not answer; ``recovered``: it does again. ``service``: ``redis`` or ``database``."""

    kind: ClassVar[str] = "service"
    service: str
    since: datetime
    error: str = ""
    recovered: bool = False


@frozen(kw_only=True)
class BacklogHigh(Notification):
    """A queue has more pending tasks than the bound; ``recovered``: no longer."""

    kind: ClassVar[str] = "backlog"
    queue: str
    waiting: int
    bound: int
    since: datetime
    paused: bool = False
    recovered: bool = False


@frozen(kw_only=True)
class OldestHigh(Notification):
    """The oldest pending task of a queue is older than the bound; ``recovered``: no longer."""

    kind: ClassVar[str] = "age"
    queue: str
    oldest_s: float
    bound_s: int
    since: datetime
    paused: bool = False
    recovered: bool = False


@frozen(kw_only=True)
class FailuresNew(Notification):
    """A failure that is new came many times; ``recovered``: not any more.

    Attributes:
        message_text: What the exception says, which may have arguments in it: empty unless they are asked for.
    """

    kind: ClassVar[str] = "failures"
    fingerprint: str
    task: str
    error: str
    count: int
    first_at: datetime
    since: datetime
    place: str = ""
    queue: str = ""
    message_text: str = ""
    recovered: bool = False


@frozen(kw_only=True)
class ChainBroken(Notification):
    """The newest entries of the audit log break its hash chain; ``recovered``: they no longer do."""

    kind: ClassVar[str] = "chain"
    problems: tuple[str, ...]
    since: datetime
    recovered: bool = False


@frozen(kw_only=True)
class PushStopped(Notification):
    """Finished audit entries wait, and the receiver of ``OPSDASH_AUDIT_PUSH`` takes none; ``recovered``: it does again.

    Attributes:
        waiting: How many entries. ``problem``: why the last attempt failed; empty: there was none, or it did not.
    """

    kind: ClassVar[str] = "push"
    waiting: int
    since: datetime
    problem: str = ""
    recovered: bool = False


@frozen(kw_only=True)
class TestNotification(Notification):
    """Sent by ``opsdash notify test``."""

    __test__: ClassVar[bool] = False  # of pytest
    kind: ClassVar[str] = "test"
    by: str


KINDS: Mapping[str, type[Notification]] = {
    one.kind: one
    for one in (
        OperationEnded,
        PauseEnds,
        ApprovalWanted,
        WorkerLost,
        ServiceLost,
        BacklogHigh,
        OldestHigh,
        FailuresNew,
        ChainBroken,
        PushStopped,
        TestNotification,
    )
}


@frozen(kw_only=True)
class NotificationFigures:
    """How sending notifications goes, as the console that sends them says.

    Attributes:
        waiting: Messages that are to be sent: one for each notification and address. ``oldest_s``: for how long the
            oldest of them waits; None: none does.
        sent: Messages that were taken since the first start. ``given_up``: messages that were not, within a day.
        given_up_at: When that happened last, in UTC. ``problem``: why the last attempt failed; empty: it did not.
        sender: The console that sends; empty: none does just now.
    """

    waiting: int = 0
    oldest_s: float | None = None
    sent: int = 0
    given_up: int = 0
    given_up_at: datetime | None = None
    problem: str = ""
    sender: str = ""

    def fault(self, now: datetime) -> str:
        """What a user must know of it, as a sentence without its full stop; empty: all is well."""
        if self.given_up_at is not None and now - self.given_up_at < timedelta(days=1):
            last = f"the last at {clock(self.given_up_at, now)}"
            return f"{count(self.given_up, 'notification')} could not be sent and were given up, {last}"
        if self.problem and (self.oldest_s or 0.0) > LONG_S:
            waits = f"for {format_duration(self.oldest_s or 0.0)}"
            return f"{count(self.waiting, 'notification')} can't be sent {waits}; {self.problem}"
        return ""


def to_record(notification: Notification) -> dict[str, Any]:
    """A notification as plain values, with its kind."""
    return {"kind": notification.kind, **to_plain(notification)}


def from_record(record: Mapping[str, Any]) -> Notification:
    """The notification of which ``to_record`` made it.

    Raises:
        ValueError, TypeError, KeyError: It is none, or one of another version.
    """
    kind = KINDS[record["kind"]]
    values = {one.name: record[one.name] for one in dataclasses.fields(kind) if one.name in record}
    for name in _TIMES:
        if name in values:
            values[name] = datetime.fromisoformat(values[name])
    if isinstance(values.get("problems"), list):
        values["problems"] = tuple(values["problems"])
    return kind(**values)
