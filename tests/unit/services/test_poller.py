from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from support.services import until

from opsdash.model import Snapshot
from opsdash.services.monitoring import poller as polling
from opsdash.services.monitoring.poller import Poller

PATIENCE_S = 10


class Source:
    """Counts its reads; can be told to fail."""

    def __init__(self) -> None:
        self.reads = 0
        self.fail_next = False

    def __call__(self) -> Snapshot:
        self.reads += 1
        if self.fail_next:
            self.fail_next = False
            raise RuntimeError("a bug")
        return Snapshot(taken_at=datetime.now(UTC), unacked=self.reads)


@pytest.fixture
def source() -> Source:
    return Source()


def poller_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "opsdash-poller"}


def test_however_many_subscribe_there_is_one_reader(source: Source):
    before = poller_threads()
    poller = Poller(source, interval_s=0.02)
    arrived = [threading.Event() for _ in range(5)]
    ends = [poller.subscribe(lambda _snapshot, event=event: event.set()) for event in arrived]
    assert all(event.wait(PATIENCE_S) for event in arrived)
    assert len(poller_threads() - before) == 1
    for end in ends:
        end()
        end()  # again does nothing


def test_nobody_looking_nothing_is_read(source: Source):
    before = poller_threads()
    poller = Poller(source, interval_s=0.02)
    first = threading.Event()
    end = poller.subscribe(lambda _snapshot: first.set())
    assert first.wait(PATIENCE_S)
    (thread,) = poller_threads() - before
    end()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    reads = source.reads
    again = threading.Event()
    end = poller.subscribe(lambda snapshot: again.set() if snapshot.unacked > reads else None)
    assert again.wait(PATIENCE_S), "a later subscriber starts the reading again"
    end()


def test_a_new_subscriber_sees_the_latest_snapshot_at_once(source: Source):
    poller = Poller(source, interval_s=60)
    poller.refresh()
    seen: list[Snapshot] = []
    end = poller.subscribe(seen.append)
    assert seen
    end()


def test_a_refresh_reaches_every_subscriber_before_it_returns(source: Source):
    poller = Poller(source, interval_s=60)
    seen: list[int] = []
    end = poller.subscribe(lambda snapshot: seen.append(snapshot.unacked))
    snapshot = poller.refresh()
    assert snapshot.unacked in seen
    end()


def test_one_broken_page_does_not_stop_the_figures_of_the_others(source: Source, caplog: pytest.LogCaptureFixture):
    poller = Poller(source, interval_s=60)

    def broken(_snapshot: Snapshot) -> None:
        raise RuntimeError("a broken page")

    seen: list[Snapshot] = []
    ends = [poller.subscribe(broken), poller.subscribe(seen.append)]
    poller.refresh()
    assert seen
    assert "a subscriber of the poller failed" in caplog.text
    for end in ends:
        end()


def test_a_failed_read_is_logged_and_the_next_one_goes_on(source: Source, caplog: pytest.LogCaptureFixture):
    source.fail_next = True
    poller = Poller(source, interval_s=0.02)
    arrived = threading.Event()
    end = poller.subscribe(lambda _snapshot: arrived.set())
    assert arrived.wait(PATIENCE_S)
    end()
    assert "reading a snapshot failed" in caplog.text


def test_a_closed_poller_tells_nobody_any_more(source: Source):
    before = poller_threads()
    poller = Poller(source, interval_s=0.02)
    first = threading.Event()
    end = poller.subscribe(lambda _snapshot: first.set())
    assert first.wait(PATIENCE_S)
    (thread,) = poller_threads() - before
    poller.close()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    end()  # of a page that closes later: does nothing


class Held:
    """A read that lasts until it is let go of."""

    def __init__(self) -> None:
        self.reads, self.begun, self.let_go = 0, threading.Event(), threading.Event()

    def __call__(self) -> Snapshot:
        self.reads += 1
        number = self.reads
        self.begun.set()
        assert self.let_go.wait(PATIENCE_S)
        return Snapshot(taken_at=datetime.now(UTC), unacked=number)


def test_however_many_refresh_while_one_read_runs_they_share_the_one_that_follows():
    held = Held()
    poller = Poller(held, interval_s=60)
    with ThreadPoolExecutor(21) as crowd:
        first = crowd.submit(poller.refresh)
        assert held.begun.wait(PATIENCE_S)
        others = [crowd.submit(poller.refresh) for _ in range(20)]
        assert until(lambda: poller._following is not None)
        held.let_go.set()
        assert first.result(PATIENCE_S).unacked == 1
        assert {one.result(PATIENCE_S).unacked for one in others} == {2}, "begun after they asked"
    assert held.reads == 2
    assert poller.refresh().unacked == 3, "who comes later sees a later one"


def test_whoever_waits_beside_an_event_loop_needs_no_thread_and_one_who_gives_up_takes_nothing_from_the_others():
    held = Held()
    poller = Poller(held, interval_s=60)

    async def pages() -> None:
        first = asyncio.ensure_future(poller.refreshed())
        assert await asyncio.to_thread(held.begun.wait, PATIENCE_S)
        crowd = [asyncio.ensure_future(poller.refreshed()) for _ in range(200)]
        await asyncio.sleep(0)
        crowd[0].cancel()
        held.let_go.set()
        found = await asyncio.gather(*crowd[1:])
        assert {snapshot.unacked for snapshot in found} == {2}
        assert (await first).unacked == 1

    asyncio.run(pages())
    assert held.reads == 2


def test_an_act_is_not_answered_later_because_a_snapshot_hangs():
    held = Held()
    poller = Poller(held, interval_s=60)
    poller.refresh_soon(0.0)
    assert poller.latest is None
    held.let_go.set()
    assert until(lambda: poller.latest is not None), "it goes on by itself"


def test_a_read_that_fails_fails_for_all_who_share_it_and_the_next_one_goes_on(source: Source):
    source.fail_next = True
    poller = Poller(source, interval_s=60)
    with pytest.raises(RuntimeError, match="a bug"):
        poller.refresh()
    assert poller.refresh().unacked == 2


def test_reads_that_pages_ask_for_on_and_on_begin_apart_and_an_acts_own_at_once(
    source: Source, monkeypatch: pytest.MonkeyPatch
):
    slept: list[float] = []
    monkeypatch.setattr(polling, "APART_S", 100.0)
    monkeypatch.setattr(polling.time, "sleep", slept.append)
    poller = Poller(source, interval_s=60)
    for _ in range(2):
        asyncio.run(poller.refreshed())
    assert slept[0] == 0.0
    assert 90.0 < slept[1] <= 100.0
    poller.refresh()
    assert (len(slept), source.reads) == (2, 3)
