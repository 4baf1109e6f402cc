"""The last reading in words: HTML that a page comes with, so that the state can be read before any script has run.

It is taken from the poller's latest snapshot alone: nothing is read for it. Every role sees the same of it. Others
wrote much of it, so the template escapes everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from panel.io.resources import _env

from opsdash.model import QueueStats, Snapshot
from opsdash.state import SystemStatus
from opsdash.state.status import STALE_AFTER_S
from opsdash.text import as_text, at_least, count, format_duration, visible
from opsdash.views import rows, strip
from opsdash.views.hero import LABELS

if TYPE_CHECKING:
    from opsdash.services.console import Console

MOST_QUEUES = 50
MOST_NOTICES = 10
MOST_CHARS = 300
"""Of one text that a user or a program wrote, such as a reason or a queue's name."""
NOT_KNOWN = "–"  # noqa: RUF001 - what the tables show too

_HTML = Path(__file__).parent / "assets" / "last_reading.html"
_TEMPLATE = _env.overlay(autoescape=True).from_string(_HTML.read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number of the strip, as text."""

    label: str
    value: str
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueWords:
    """One row of the table of queues, as text."""

    name: str
    tone: str
    state: str
    note: str
    waiting: str
    oldest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LastReading:
    """What there is to say, as text that is not escaped yet.

    Attributes:
        word: The status. ``tone``: its colour. ``story``: who paused, until when, or what needs a look.
        why: The reason for the pause. ``drain``: how far it has come.
        read_at: When Redis was read, in UTC; None: never. ``age``: how old that is, where it is old; else empty.
        more: Queues that are not in ``queues``.
    """

    word: str
    tone: str
    story: str
    why: str
    drain: str
    notices: tuple[str, ...]
    figures: tuple[Figure, ...]
    queues: tuple[QueueWords, ...]
    more: int
    read_at: datetime | None
    age: str

    @property
    def html(self) -> str:
        """For the page's HTML, escaped."""
        return str(_TEMPLATE.render(reading=self, queues_more=count(self.more, "queue")))


def last_reading(snapshot: Snapshot | None, interval_s: float, now: datetime) -> LastReading:
    """A snapshot in words.

    Args:
        snapshot: The last one; None: nothing has been read yet.
        interval_s: How often one is taken.
    """
    status = SystemStatus()
    if snapshot is not None:
        status.update(snapshot)
        if _is_old(snapshot.taken_at, interval_s, now):
            status.tick(now)  # nobody has looked since
    read_at = status.redis_read_at
    old = read_at is not None and _is_old(read_at, interval_s, now)
    queues = status.queues if status.known else []
    return LastReading(
        word=status.condition,
        tone=rows.status_tone(status),
        story=_bounded(_story(status)),
        why=_bounded(status.pause_reason),
        drain="" if old else _bounded(status.drain),
        notices=tuple(_bounded(notice) for notice in status.stale[:MOST_NOTICES] if not status.stalled_s),
        figures=_figures(status),
        queues=_queues(status, queues[:MOST_QUEUES]),
        more=max(0, len(queues) - MOST_QUEUES),
        read_at=read_at,
        age=format_duration((now - read_at).total_seconds()) if read_at is not None and old else "",
    )


def _is_old(at: datetime, interval_s: float, now: datetime) -> bool:
    return (now - at).total_seconds() > max(STALE_AFTER_S, 2 * interval_s)


def _story(status: SystemStatus) -> str:
    if status.updated_at is None:
        return "Nothing has been read yet."
    if status.stalled_s:
        return "Nobody has looked since." if status.known else "Nothing has been read yet."
    return rows.pause_story(status)


def _figures(status: SystemStatus) -> tuple[Figure, ...]:
    found = strip.figures(status)
    if status.known:
        found["unacked"] = [status.unacked, "held by workers"]
        found["paused"] = [len(status.paused_queues), f"of {count(len(status.queues), 'queue')}"]
    labels = {
        "waiting": LABELS["waiting"],
        "unacked": "Unacknowledged",
        "online": LABELS["online"],
        "busy": LABELS["busy"],
        "paused": "Queues paused",
        "redis_ms": LABELS["redis_ms"],
    }
    return tuple(_figure(label, *found.get(key, [None, "not known"])) for key, label in labels.items())


def _figure(label: str, value: float | str | None, unit: str) -> Figure:
    text = NOT_KNOWN if value is None else value if isinstance(value, str) else f"{value:,}"
    return Figure(label=label, value=text, unit=unit)


def _queues(status: SystemStatus, queues: list[QueueStats]) -> tuple[QueueWords, ...]:
    found = rows.queue_rows(queues, status, (), lambda _operation: False)
    return tuple(_queue(queue, *found[queue.name]["state"]) for queue in queues)


def _queue(queue: QueueStats, tone: str, state: str, note: str) -> QueueWords:
    oldest = NOT_KNOWN if queue.oldest_s is None else at_least(queue.oldest_s, unsure=queue.oldest_at_least)
    return QueueWords(
        name=_bounded(queue.name),
        tone=tone,
        state=state,
        note=_bounded(note),
        waiting=NOT_KNOWN if queue.error else f"{queue.waiting:,}",
        oldest=oldest,
    )


def _bounded(text: str) -> str:
    """Text that HTML can be written with, whatever it holds, and no more of it than one can read."""
    text = visible(as_text(text[: MOST_CHARS + 1]))
    return text if len(text) <= MOST_CHARS else f"{text[:MOST_CHARS]}…"


_rendered: WeakKeyDictionary[Console, tuple[Snapshot, str]] = WeakKeyDictionary()


def html_of(console: Console) -> str:
    """The last reading of a console, as HTML. Cost: about 5 ms, once per snapshot."""
    snapshot, interval_s, now = console.poller.latest, console.poller.interval_s, datetime.now(UTC)
    kept = _rendered.get(console)
    if snapshot is None or _is_old(snapshot.taken_at, interval_s, now):
        return last_reading(snapshot, interval_s, now).html  # its age goes on
    if kept is None or kept[0] is not snapshot:
        kept = _rendered[console] = (snapshot, last_reading(snapshot, interval_s, now).html)
    return kept[1]
