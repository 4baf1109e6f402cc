"""What was known at the last look: from it and the present follows what is new. Kept in Redis, for the next console."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime, timedelta
from typing import Any

from opsdash.model import untrusted
from opsdash.values import frozen

MOST = 2_000
"""Alarms, or notifications that must not come twice, that are remembered."""


@frozen(kw_only=True)
class Alarm:
    """Something that is not well, or was not a moment ago.

    Attributes:
        since: When it began.
        raised: A notification of it was made.
        normal_since: Since when it is well again; None: it is not.
        known: It was so before anybody looked: neither that nor its end is a notification.
    """

    since: datetime
    raised: bool = False
    normal_since: datetime | None = None
    known: bool = False


@frozen(kw_only=True)
class Facts:
    """Everything that is known from before.

    Attributes:
        number: Audit entries up to this one were looked at; None: none was, and those that are there now are old news.
        alarms: What is not well, by kind and name.
        noted: What was made a notification once and must not be again → until when it could be.
        redis_since: Since when Redis answers; None: it does not.
    """

    number: int | None = None
    alarms: Mapping[str, Alarm] = field(default_factory=dict)
    noted: Mapping[str, datetime] = field(default_factory=dict)
    redis_since: datetime | None = None

    @property
    def first(self) -> bool:
        """Nothing is known yet."""
        return self.number is None and not self.alarms and not self.noted and self.redis_since is None


def read(record: Mapping[str, Any]) -> Facts:
    """The facts of which ``to_plain`` made the record; what can't be read of it is not known."""
    alarms: dict[str, Alarm] = {}
    for name, raw in untrusted.mapping(record.get("alarms")).items():
        values = untrusted.mapping(raw)
        if (since := untrusted.moment(values.get("since"))) is not None:
            alarms[name] = Alarm(
                since=since,
                raised=values.get("raised") is True,
                normal_since=untrusted.moment(values.get("normal_since")),
                known=values.get("known") is True,
            )
    noted = {name: untrusted.moment(until) for name, until in untrusted.mapping(record.get("noted")).items()}
    return Facts(
        number=untrusted.whole(record.get("number")),
        alarms=alarms,
        noted={name: until for name, until in noted.items() if until is not None},
        redis_since=untrusted.moment(record.get("redis_since")),
    )


def step(alarm: Alarm | None, active: bool, now: datetime, raise_s: float, normal_s: float) -> tuple[Alarm | None, str]:
    """One look at one thing.

    Args:
        active: It is not well now.
        raise_s: Seconds it must last before it is a notification. ``normal_s``: the same of its end.

    Returns:
        What is to be remembered, and ``raised`` or ``recovered`` where that is a notification; else empty.
    """
    if alarm is None:
        if not active:
            return None, ""
        alarm = Alarm(since=now)
    if active:
        if not alarm.raised and now - alarm.since >= timedelta(seconds=raise_s):
            return Alarm(since=alarm.since, raised=True, known=alarm.known), "" if alarm.known else "raised"
        return Alarm(since=alarm.since, raised=alarm.raised, known=alarm.known), ""
    if not alarm.raised:
        return None, ""
    normal_since = alarm.normal_since or now
    if now - normal_since < timedelta(seconds=normal_s):
        return Alarm(since=alarm.since, raised=True, normal_since=normal_since, known=alarm.known), ""
    return None, "" if alarm.known else "recovered"
