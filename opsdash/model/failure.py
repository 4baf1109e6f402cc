"""Tasks that failed, as a person may see them: frozen, comparable, standard library only."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta

from opsdash.values import frozen

FAILED = "failed"
REJECTED = "rejected"
UNREGISTERED = "unregistered"
UNREADABLE = "unreadable"
KILLED = "killed"
TIME_LIMIT = "time_limit"
POISON = "poison"
KEPT = (FAILED, REJECTED, UNREGISTERED, UNREADABLE, KILLED, TIME_LIMIT, POISON)
"""How a task can fail: an exception, its message rejected, no such task, a message that can't be read, its process
gone, its time limit, and redelivered again and again because its process goes each time."""
EXPIRED, REVOKED = "expired", "revoked"
COUNTED = (EXPIRED, REVOKED)
"""How a task can end without having failed: it is counted, and nothing of it is kept."""
LONGEST_ID = 120
"""Characters of a task's id by which its failure goes."""
_HOUR_S = 3_600.0
_PLAIN = frozenset(string.ascii_letters + string.digits + string.punctuation)


def is_failure_id(text: str) -> bool:
    """The text can be a failure's id: printable ASCII without blanks, ``LONGEST_ID`` characters at most, not ``*``."""
    return 0 < len(text) <= LONGEST_ID and text != "*" and _PLAIN.issuperset(text)


@frozen(kw_only=True)
class Failure:
    """One task that failed and is kept. Its texts were made in the worker, without what looks secret.

    Attributes:
        id: The task's, where that can be one; else ``unreadable-`` and a hash of the message.
        version: New at each write: what it was when it was read.
        kind: One of ``KEPT``.
        task_id: Empty where the message does not say. ``task``: its name; as well.
        error: The exception's type, such as ``requests.exceptions.ConnectTimeout``.
        message_text: What the exception says.
        place: Function and file in which it was raised; empty where that is no part of the task.
        arguments: What can be shown of them; else why not.
        first_at: When it failed first. ``at``: when it failed last. In UTC, by Redis's clock.
        times: How often it failed since it is kept.
        retries: As the message says: earlier tries of the same task.
        queue: The queue it came from, and ``list``: which of its Redis lists, with the key prefix; ``priority``: its
            step. Empty for a broadcast, and where the plug-in could not note it: it can't be sent again then.
        chord: It is a member of a chord.
        redelivered: The message said that it had been delivered before.
        sendable: Its message is kept. ``too_large``: it is not, since it is too large.
        message_bytes: Of its message, kept or not.
    """

    id: str
    version: str
    kind: str
    at: datetime
    first_at: datetime
    fingerprint: str = ""
    task_id: str = ""
    task: str = ""
    queue: str = ""
    list: str = ""
    priority: int = 0
    exchange: str = ""
    routing_key: str = ""
    error: str = ""
    message_text: str = ""
    place: str = ""
    traceback: str = ""
    arguments: str = ""
    worker: str = ""
    times: int = 1
    retries: int = 0
    eta: str = ""
    expires: str = ""
    root_id: str = ""
    parent_id: str = ""
    group_id: str = ""
    chord: bool = False
    traceparent: str = ""
    redelivered: bool = False
    sendable: bool = False
    too_large: bool = False
    message_bytes: int = 0


@frozen(kw_only=True)
class FailureGroup:
    """Failures of one kind, of one task, by one error in one place.

    Attributes:
        fingerprint: Its id: a hash of these four.
        kind: One of ``KEPT`` or ``COUNTED``.
        message_text: What the last exception said that is kept.
        count: How often it came, within the time for which failures are kept.
        kept: Entries that it has now. ``not_kept``: failures that were counted alone, because they were too many at
            once, or went when others needed their room. What is neither was sent again, discarded, or has expired.
        queues: Queue → failures from it, the empty name for those of an unknown queue and ``*`` for further queues.
            ``workers``: the same by hostname.
        hours: When an hour began, in UTC → failures in it; hours without are left out.
    """

    fingerprint: str
    kind: str
    task: str
    error: str
    place: str
    count: int
    first_at: datetime
    last_at: datetime
    message_text: str = ""
    kept: int = 0
    not_kept: int = 0
    queues: Mapping[str, int] = field(default_factory=dict)
    workers: Mapping[str, int] = field(default_factory=dict)
    hours: Mapping[datetime, int] = field(default_factory=dict)

    @property
    def queue(self) -> str:
        """The queue that most of them came from; empty: not known."""
        return max((name for name in self.queues if name != "*"), key=lambda name: self.queues[name], default="")

    @property
    def open(self) -> bool:
        """There is something to look at: all that was kept of others was sent again, discarded, or has expired."""
        return bool(self.kept or self.not_kept or self.kind in COUNTED)

    def per_hour(self, now: datetime) -> float:
        """How often it came in this hour and the one before; what came within less than an hour is that of an hour."""
        hour = now.replace(minute=0, second=0, microsecond=0)
        seen_s = min(_HOUR_S + (now - hour).total_seconds(), max(_HOUR_S, (now - self.first_at).total_seconds()))
        number = self.hours.get(hour, 0) + self.hours.get(hour - timedelta(seconds=_HOUR_S), 0)
        return round(number * _HOUR_S / seen_s, 1)


@frozen(kw_only=True)
class FailurePage:
    """Some of the failures that were asked for, those that came last first.

    Attributes:
        total: How many there are. ``upto``: the number of the last one here; the next page begins after it.
    """

    failures: tuple[Failure, ...] = ()
    total: int = 0
    upto: int = 0


@frozen(kw_only=True)
class FailureOverview:
    """The groups that were asked for, and their sums.

    Attributes:
        total: Failed tasks that are kept and can be looked at. ``not_kept``: failures that were counted alone.
        groups: Those that have something to look at, the one that came last first.
        problems: What of the store can't be read, one sentence each.
    """

    total: int = 0
    not_kept: int = 0
    groups: tuple[FailureGroup, ...] = ()
    problems: tuple[str, ...] = ()
