"""Messages that are to be sent: which one is next, and when it is tried again. Each decision is a function."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from opsdash.config.notify_parsers import QuietHours
from opsdash.model import untrusted
from opsdash.model.notification import Notification, from_record, to_record
from opsdash.values import frozen

MOST_MESSAGES = 1_000
"""Messages that wait: above it the oldest are given up."""
FIRST_RETRY_S, LONGEST_RETRY_S = 5.0, 120.0
GIVEN_UP_S = 86_400.0
"""A message that was not taken for so long is given up."""
REFUSED_MOST = 5
"""Attempts for a message that the receiver refuses for what it is: it will not take it later."""
STEPS_ASIDE = 10
"""A message that failed so often lets those behind it pass, once for each so many failures."""


@frozen(kw_only=True)
class Message:
    """One notification for one address.

    Attributes:
        id: The notification's, the same at each address and each attempt: by it a repeated message is known.
        number: Messages go in the order of their numbers.
        target: The address, by a keyed digest.
        attempts: How often it was tried, the attempt that is under way included.
    """

    id: str
    number: int
    target: str
    notification: Notification
    created_at: datetime
    attempts: int = 0

    @property
    def field(self) -> str:
        """Its name in the outbox."""
        return f"{self.number:015d}:{self.target}:{self.id[:8]}"

    def record(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "id": self.id,
            "number": self.number,
            "target": self.target,
            "created_at": self.created_at.isoformat(),
            "attempts": self.attempts,
            "notification": to_record(self.notification),
        }

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Message | None:
        """The message of which ``record`` made it; None: it is none, or one of another version."""
        try:
            return cls(
                id=str(record["id"]),
                number=int(record["number"]),
                target=str(record["target"]),
                notification=from_record(untrusted.mapping(record["notification"])),
                created_at=datetime.fromisoformat(record["created_at"]),
                attempts=int(record["attempts"]),
            )
        except (KeyError, TypeError, ValueError):
            return None


@frozen(kw_only=True)
class TargetState:
    """How one address did lately. Times in seconds, monotonic.

    Attributes:
        failures: In a row. ``since_s``, ``failed_s``: when the first and the last of them were. ``next_s``: when it is
            tried again.
    """

    failures: int = 0
    since_s: float = 0.0
    failed_s: float = 0.0
    next_s: float = float("-inf")


@dataclass(slots=True)
class Waiting:
    """The messages that are to be sent, as the console that sends them has them in memory.

    Attributes:
        messages: By their names in the outbox. ``number``: of the newest.
    """

    messages: dict[str, Message] = field(default_factory=dict)
    number: int = 0

    def load(self, messages: Iterable[Message]) -> None:
        """Takes over what another console has left, in place of what this one knew."""
        self.messages = {message.field: message for message in messages}
        self.number = max([self.number, *(message.number for message in self.messages.values())])

    def add(self, notifications: Iterable[Notification], targets: Iterable[str], now: datetime) -> list[Message]:
        """Messages for each notification and address; returns the new ones."""
        targets, new = tuple(targets), []
        for notification in notifications:
            self.number += 1
            message_id = uuid4().hex
            for target in targets:
                new.append(
                    Message(
                        id=message_id,
                        number=self.number,
                        target=target,
                        notification=notification,
                        created_at=now,
                    )
                )
        self.messages.update({message.field: message for message in new})
        return new

    def surplus(self) -> list[Message]:
        """The oldest, of more than ``MOST_MESSAGES``."""
        over = len(self.messages) - MOST_MESSAGES
        return [self.messages[name] for name in sorted(self.messages)[:over]] if over > 0 else []

    def next_of(
        self,
        target: str,
        now: datetime,
        *,
        urgent: frozenset[str],
        quiet: QuietHours | None,
        among: Callable[[Message], bool] = lambda _: True,
    ) -> Message | None:
        """The message that this address gets next; None: none, or none in these hours."""
        silent = quiet is not None and quiet.within(now)
        own = [
            message
            for message in self.messages.values()
            if message.target == target and is_due(message, silent=silent, urgent=urgent) and among(message)
        ]
        return min(own, key=lambda message: (message.attempts // STEPS_ASIDE, message.number), default=None)

    def oldest_s(self, now: datetime) -> float | None:
        """For how long the oldest waits; None: none does."""
        oldest = min((message.created_at for message in self.messages.values()), default=None)
        return None if oldest is None else max(0.0, (now - oldest).total_seconds())


def is_due(message: Message, *, silent: bool, urgent: frozenset[str]) -> bool:
    """Whether it is sent now. ``silent``: these are quiet hours."""
    return not silent or is_urgent(message.notification, urgent)


def is_urgent(notification: Notification, urgent: frozenset[str]) -> bool:
    """Whether it is sent in quiet hours, too."""
    return notification.kind in urgent or str(getattr(notification, "operation", "")) in urgent


def tried(message: Message) -> Message:
    """The same with one attempt more."""
    return replace(message, attempts=message.attempts + 1)


def is_given_up(message: Message, now: datetime, *, refused: bool) -> bool:
    """Whether it is not tried again after a failure."""
    if refused and message.attempts >= REFUSED_MOST:
        return True
    return (now - message.created_at).total_seconds() >= GIVEN_UP_S


def after_failure(state: TargetState, now_s: float, jitter: Callable[[], float] = random.random) -> TargetState:
    """Twice as long as the last time, up to a bound, and a random part of it: many senders must not come at once."""
    wait_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(state.failures, 20))
    return TargetState(
        failures=state.failures + 1,
        since_s=state.since_s if state.failures else now_s,
        failed_s=now_s,
        next_s=now_s + wait_s * (0.5 + jitter()),
    )


def now_utc() -> datetime:
    """This moment."""
    return datetime.now(UTC)
