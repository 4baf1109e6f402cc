"""Other deployments: the setting, what is made of an answer, and hostile servers on real sockets."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.config.peers import Peer, peers
from opsdash.config.settings import Settings
from opsdash.errors import Invalid
from opsdash.model.peer import STALE_S, PeerReading
from opsdash.services.peers import fetch
from opsdash.services.peers.answers import reading_of
from opsdash.services.peers.fetch import NoAnswerError
from opsdash.services.peers.peers import Peers
from opsdash.views.peers import row_of

TOKEN = "a-token-of-sixteen-letters"
BEFORE = PeerReading(name="eu", url="https://ops.example/operations")
STATUS = {
    "processing": "PAUSED",
    "redis_age_s": 0.5,
    "queues": [
        {"name": "a", "waiting": 3, "oldest_s": 5.0, "oldest_at_least": False},
        {"name": "b", "waiting": 4, "oldest_s": 60.0, "oldest_at_least": True},
    ],
    "workers": [{"state": "online"}, {"state": "stalled"}, {"state": "silent"}, {"state": "offline"}],
    "verdict": {"state": "held"},
}


def test_the_setting_is_read_from_the_right_and_its_tokens_are_secret() -> None:
    found = peers(f"eu=https://ops.example:8443/ops/:{TOKEN}/+==, us west=http://[::1]:5006:{TOKEN}")
    assert found == (
        Peer(name="eu", url="https://ops.example:8443/ops", token=f"{TOKEN}/+=="),
        Peer(name="us west", url="http://[::1]:5006", token=TOKEN),
    )
    assert found[0].page == "https://ops.example:8443/ops/operations"
    settings = Settings.from_env({"OPSDASH_PEERS": f"eu=https://ops.example:{TOKEN}"})
    assert TOKEN not in repr(settings) + repr(settings.peers)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("eu", "expected name=url:token; number 1 is none"),
        (f"=https://ops.example:{TOKEN}", "number 1 is none"),
        ("eu=https://ops.example:short", "expected at least 16"),
        (f"eu=http://ops.example:{TOKEN}", "begins with https://, or http:// and a loopback"),
        (f"eu=http://10.0.0.7:5006:{TOKEN}", "loopback"),
        (f"eu=http://127.0.0.1.example.com:{TOKEN}", "loopback"),
        (f"eu=https://user:password@ops.example:{TOKEN}", "without user"),
        (f"eu=https://ops.example/?x:{TOKEN}", "query"),
        (f"eu=javascript:{TOKEN}", "begins with https"),
        (f"eu=https://:{TOKEN}", "begins with https"),
        (f"eu=https://ops.example:99999999:{TOKEN}", "begins with https"),
        (f"eu=https://ops.example:{TOKEN},eu=https://ops.example:{TOKEN}", "named twice"),
        (",".join(f"n{n}=https://ops.example:{TOKEN}" for n in range(51)), "at most 50"),
    ],
)
def test_a_wrong_setting_is_one_line_without_the_token(value: str, expected: str) -> None:
    with pytest.raises(Invalid) as refused:
        Settings.from_env({"OPSDASH_PEERS": value})
    assert expected in str(refused.value)
    assert TOKEN not in str(refused.value)


def test_an_answer_is_counted_and_what_is_not_known_is_no_zero() -> None:
    found = reading_of(BEFORE, STATUS, {"total": 7})
    assert (found.state, found.waiting, found.oldest_s, found.oldest_at_least) == ("paused", 7, 60.0, True)
    assert (found.workers, found.silent, found.failures, found.verdict) == (2, 1, 7, "held")
    assert reading_of(BEFORE, STATUS, None).failures is None
    # A console that has never reached its Redis has empty lists, and knows nothing.
    never = reading_of(BEFORE, {**STATUS, "redis_age_s": None, "queues": [], "workers": []}, {"total": 0})
    assert (never.state, never.waiting, never.workers, never.silent) == ("unknown", None, None, None)
    assert "has not reached its Redis" in never.error
    # Another version: names that are not there, states that are new.
    other = reading_of(BEFORE, {"processing": "DRAINING", "redis_age_s": 1, "queues": [{"name": "a"}]}, {})
    assert (other.state, other.waiting, other.workers, other.failures) == ("unknown", None, None, None)
    assert reading_of(BEFORE, {**STATUS, "verdict": {"state": "new"}}, None).verdict == "unknown"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*STATUS, "waiting", "state", "oldest_s", "total"]), inner, max_size=5)
    ),
    max_leaves=20,
)


@given(anything, anything)
def test_any_json_is_a_reading(status: Any, failures: Any) -> None:
    found = reading_of(BEFORE, status, failures)
    assert (found.name, found.url) == (BEFORE.name, BEFORE.url)
    json.dumps(row_of(found), allow_nan=False)


def test_an_old_reading_is_stale_and_keeps_its_figures() -> None:
    now = datetime.now(UTC)
    fresh = replace(reading_of(BEFORE, STATUS, None), read_at=now - timedelta(seconds=STALE_S - 5))
    assert not fresh.stale(now)
    old = replace(fresh, read_at=now - timedelta(minutes=5), error="it can't be reached")
    assert old.stale(now)
    row = row_of(old)
    assert row["waiting"] == 7
    assert row["state"] == ["bad", "stale", "was paused; it can't be reached"]
    assert "oldest" not in row, "nobody knows whether it still waits"
    assert row_of(BEFORE) == {"key": "eu", "name": "eu", "state": ["none", "not read yet", ""]}
    assert BEFORE.stale(now)


@contextlib.contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[Peer]:
    """Something that listens and answers each connection in its own way."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.1)

        def serve() -> None:
            while not ended.is_set():
                with contextlib.suppress(OSError):
                    connection, _ = listening.accept()
                    with connection:
                        connection.settimeout(2)
                        connection.recv(65_536)
                        answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield Peer(name="x", url=f"http://127.0.0.1:{listening.getsockname()[1]}", token=TOKEN)
        ended.set()
        thread.join(10)


def says(body: bytes, head: str = "200 OK", more: str = "") -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(f"HTTP/1.1 {head}\r\n{more}\r\n".encode() + body)


def drips(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for number in range(200):
            connection.sendall(f"X-{number}: y\r\n".encode())
            time.sleep(0.02)


def never_ends(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"[" * 65_536)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (says(b"<html>"), "not JSON"),
        (says(b"[" * 100_000), "not JSON"),
        (says(b'{"a": ' + b"9" * 10_000 + b"}"), "not JSON"),
        (says(b"", "302 Found", "Location: http://127.0.0.1:1/\r\n"), "redirects to another address"),
        (says(b"", "401 Unauthorized"), "refuses the token"),
        (says(b"", "503 Service Unavailable"), "status 503"),
        (says(b"x" * 10, "200 OK", "Content-Length: 500\r\n"), "not JSON|can't be reached"),
        (lambda connection: connection.sendall(b"SSH-2.0-OpenSSH\r\n"), "can't be reached"),
        (lambda _connection: None, "can't be reached"),
        (drips, "in time"),
        (never_ends, "more than 8 MB"),
    ],
)
def test_a_hostile_or_broken_console_is_one_sentence_in_bounded_time(
    answer: Callable[[socket.socket], None], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "TOTAL_S", 1.0)
    with server(answer) as peer:
        began = time.monotonic()
        with pytest.raises(NoAnswerError, match=expected):
            fetch.fetch(peer, "/api/v1/status")
        assert time.monotonic() - began < 5


def test_a_dead_console_delays_nobody_and_its_last_figures_stay() -> None:
    with server(says(json.dumps(STATUS).encode())) as good, server(lambda _: time.sleep(1.5)) as slow:
        many = Peers([replace(good, name="good"), replace(slow, name="slow")])
        began = time.monotonic()
        first, second = many.read()
        assert time.monotonic() - began < 0.5
        first, second = many.read(wait_s=10)
        assert first.waiting == 7
        assert second.read_at is None
        assert second.error
    reader = many._readers[0]
    reader._attempt()
    assert reader.latest.waiting == 7
    assert reader.latest.error == "it can't be reached"


def test_a_bug_in_reading_an_answer_does_not_end_the_thread_of_a_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opsdash.services.peers.peers.EVERY_S", 0.0)
    monkeypatch.setattr(fetch, "fetch", lambda _peer, _path: STATUS)
    answers = iter([TypeError("a bug")])

    def broken_once(before: PeerReading, status: Any, failures: Any) -> PeerReading:
        for error in answers:
            raise error
        return reading_of(before, status, failures)

    monkeypatch.setattr("opsdash.services.peers.peers.reading_of", broken_once)
    many = Peers([Peer(name="x", url="http://127.0.0.1:9", token=TOKEN)])
    (found,) = many.read(wait_s=5)
    assert found.error == "it can't be read; the log says why"
    deadline = time.monotonic() + 5
    while many.read()[0].waiting != 7 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert (many.read()[0].waiting, many.read()[0].error) == (7, "")
