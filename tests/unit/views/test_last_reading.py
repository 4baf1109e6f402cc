"""The last reading in words: what it says, what it leaves out, and that whatever others wrote stays text."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import pytest

from opsdash.model import PauseInfo, QueueStats, Snapshot, WorkerStats
from opsdash.views import last_reading as module
from opsdash.views.last_reading import MOST_CHARS, MOST_QUEUES, html_of, last_reading

NOW = datetime(2026, 11, 23, 12, 3, 5, tzinfo=UTC)
HOSTILE = "</style></div><script>alert(1)</script><img src=x onerror=alert(1)>\"'&{{ 7*7 }}"


def worker(**over: Any) -> WorkerStats:
    given = {"state": "online", "heartbeat_at": NOW, "queues": ("celery",), "concurrency": 4, "active": 1, **over}
    return WorkerStats(hostname="w1", **given)


def snapshot(**over: Any) -> Snapshot:
    given: dict[str, Any] = {
        "queues": (QueueStats(name="celery", waiting=1_204, oldest_s=303.0), QueueStats(name="emails", waiting=0)),
        "workers": (worker(),),
        "unacked": 7,
        "redis_ms": 0.84,
        "redis_age_s": 0.0,
        "database_age_s": 0.0,
    }
    return Snapshot(taken_at=NOW, **{**given, **over})


def words(html: str) -> str:
    """What can be read of it."""
    shown: list[str] = []

    class Reader(HTMLParser):
        style = False

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            self.style = tag in {"style", "script"}

        def handle_data(self, data: str) -> None:
            if not self.style:
                shown.append(data)

        def handle_endtag(self, tag: str) -> None:
            self.style = False

    Reader().feed(html)
    return re.sub(r"\s+", " ", " ".join(shown))


def said(of: Snapshot | None, after_s: float = 1.0) -> str:
    return words(last_reading(of, 2.0, NOW + timedelta(seconds=after_s)).html)


def test_the_state_can_be_read_without_any_script() -> None:
    text = said(snapshot())
    for part in (
        "As of 12:03:05 UTC",
        "Processing Status: RUNNING",
        "Workers pick up tasks from every queue",
        "Pending Tasks 1,204 in 2 queues",
        "Unacknowledged 7",
        "Workers online 1 of 1",
        "Busy slots 1 of 4",
        "Redis round trip < 1 ms",
        "celery running 1,204 5m 3s",
        "emails running 0 –",
    ):
        assert part in text
    assert " old" not in text


def test_a_pause_says_who_why_since_and_until() -> None:
    pause = PauseInfo(
        queue=None,
        by="maria",
        reason="deploying 4.2",
        at=NOW - timedelta(minutes=5),
        expires_at=NOW + timedelta(hours=1),
    )
    text = said(snapshot(pause=pause))
    assert "Processing Status: PAUSED" in text
    assert "Paused by maria since 11:58 until 13:03 UTC." in text
    assert "deploying 4.2" in text
    own = PauseInfo(queue="emails", by="joe", reason="bounces")
    text = said(snapshot(paused_queues={"emails": own}))
    assert "Processing Status: PARTLY PAUSED" in text
    assert "Queues paused 1 of 2 queues" in text
    assert "by joe, without an end: bounces" in text


@pytest.mark.parametrize("nothing", [None, snapshot(redis_age_s=None, redis_error="away", redis_ms=None)])
def test_what_was_never_read_is_not_known_and_never_zero(nothing: Snapshot | None) -> None:
    text = said(nothing)
    assert "Processing Status: UNKNOWN" in text
    assert "No figures yet" in text
    assert "Pending Tasks – not known" in text
    assert "Nothing is known of the queues yet." in text
    assert not re.search(r"\d", text)
    assert ("Nothing has been read yet." in text) is (nothing is None)


def test_a_reading_that_nobody_has_renewed_says_its_age_and_is_not_called_running() -> None:
    text = said(snapshot(), after_s=3_725)
    assert "As of 2026-11-23 12:03:05 UTC , 1h 2m 5s old" in text
    assert "Processing Status: UNKNOWN" in text
    assert "Nobody has looked since." in text
    assert "celery" in text


def test_an_outage_of_redis_says_of_when_the_figures_are() -> None:
    text = said(snapshot(redis_age_s=40.0, redis_error="no answer", silent=("redis",)))
    assert "As of 2026-11-23 12:02:25 UTC , 41s old" in text
    assert "Redis did not answer; figures are 40 s old" in text
    assert "Processing Status: UNKNOWN" in text


def test_a_queue_that_cannot_be_read_has_no_figure() -> None:
    text = said(snapshot(queues=(QueueStats(name="celery", waiting=0, error="is a string, not a list"),)))
    assert "celery unreadable is a string, not a list – –" in text


def test_whatever_others_wrote_stays_text() -> None:
    pause = PauseInfo(queue=None, by=HOSTILE, reason=HOSTILE)
    own = PauseInfo(queue=HOSTILE, by=HOSTILE, reason=HOSTILE)
    html = last_reading(
        snapshot(
            pause=pause,
            paused_queues={HOSTILE: own},
            queues=(QueueStats(name=HOSTILE, waiting=1, error=HOSTILE), QueueStats(name=HOSTILE[::-1], waiting=1)),
            redis_error=HOSTILE,
            database_error=HOSTILE,
            tenants_error=HOSTILE,
        ),
        2.0,
        NOW,
    ).html
    plain = last_reading(snapshot(), 2.0, NOW).html
    for tag in ("<script", "<img", "</style", "onerror=alert(1)>", "49"):
        assert html.count(tag) == plain.count(tag)
    assert HOSTILE in words(html)


def test_text_that_no_html_can_be_written_with_is_written_as_escapes() -> None:
    html = last_reading(snapshot(queues=(QueueStats(name="a\ud800b\0", waiting=1),)), 2.0, NOW).html
    assert "a\\ud800b\\x00" in html.encode().decode()


def test_what_no_eye_sees_is_written_as_an_escape() -> None:
    text = said(snapshot(queues=(QueueStats(name="em\u202eails\u200b\x1b", waiting=1),)))
    assert "em\\u202eails\\u200b\\u001b" in text


def test_many_queues_and_long_texts_are_bounded() -> None:
    many = tuple(QueueStats(name=f"q{number:04}", waiting=1) for number in range(1_200))
    text = said(snapshot(queues=many))
    assert f"q{MOST_QUEUES - 1:04}" in text
    assert f"q{MOST_QUEUES:04}" not in text
    assert "and 1,150 queues more" in text
    assert "in 1,200 queues" in text
    long = last_reading(snapshot(pause=PauseInfo(queue=None, by="b" * 9_999, reason="r" * 9_999)), 2.0, NOW)
    assert long.why == "r" * MOST_CHARS + "…"
    assert len(long.story) == MOST_CHARS + 1
    assert "more" not in said(snapshot())


class Console(SimpleNamespace):
    """What the words need of one."""

    __hash__ = object.__hash__


def test_it_is_made_once_per_snapshot_and_an_old_one_ages(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    make = module.last_reading
    monkeypatch.setattr(module, "last_reading", lambda *args: made.append(1) or make(*args))
    fresh = Snapshot(taken_at=datetime.now(UTC), redis_age_s=0.0)
    console: Any = Console(poller=SimpleNamespace(latest=fresh, interval_s=2.0))
    assert html_of(console) == html_of(console)
    assert len(made) == 1
    console.poller.latest = Snapshot(taken_at=datetime.now(UTC), redis_age_s=0.0)
    html_of(console)
    assert len(made) == 2
    console.poller.latest = Snapshot(taken_at=datetime.now(UTC) - timedelta(minutes=2), redis_age_s=0.0)
    assert "2m" in words(html_of(console))
    html_of(console)
    assert len(made) == 4
