"""Times as people and programs give them: limited, so that later arithmetic never overflows.

Standard library only.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from opsdash.text import parse_duration

EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(3000, 1, 1, tzinfo=UTC)
"""Nothing here is older, or will be asked about later; a zone's offset on either never leaves the calendar."""


def in_utc(moment: datetime) -> datetime:
    """The same moment in UTC.

    Raises:
        ValueError: It has no zone, or is before ``EARLIEST`` or not before ``LATEST``.
    """
    if moment.tzinfo is None:
        raise ValueError("expected a time with its zone, such as 2026-11-23T03:00:00Z")
    try:
        found = moment.astimezone(UTC)
    except OverflowError:  # 0001-01-01T00:00+14:00: by that offset it is before the first year
        found = None
    if found is None or not EARLIEST <= found < LATEST:
        raise ValueError(f"expected a time from {EARLIEST:%Y} to {LATEST.year - 1}")
    return found


def clock(moment: datetime, now: datetime | None = None) -> str:
    """A time in UTC as people read it: ``13:31 UTC`` if it is today, else ``2026-11-29 13:31 UTC``."""
    today = (now or datetime.now(UTC)).astimezone(UTC).date()
    moment = moment.astimezone(UTC)
    return f"{moment:%H:%M} UTC" if moment.date() == today else f"{moment:%Y-%m-%d %H:%M} UTC"


def ago(seconds: float, now: datetime | None = None) -> datetime:
    """The moment so many seconds before now, in UTC.

    Raises:
        ValueError: It is outside ``in_utc``'s bounds.
    """
    try:
        return in_utc((now or datetime.now(UTC)) - timedelta(seconds=seconds))
    except OverflowError:
        raise ValueError(f"expected an age that does not reach back beyond {EARLIEST:%Y}") from None


def typed(text: str) -> datetime:
    """A typed time, in UTC if it has no zone; or an age: ``2h``.

    Raises:
        ValueError: With a sentence for the user.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        try:
            age_s = parse_duration(text)
        except ValueError:
            raise ValueError(f"{text[:40]!r} is neither a time (2026-11-23T03:00) nor how long ago (2h)") from None
        return ago(age_s)
    return in_utc(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
