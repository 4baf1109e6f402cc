"""What green pools need: a byte ends the sleep of kombu's poller, and what yields in between takes nothing twice."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from queue import Empty
from types import SimpleNamespace
from typing import Any

import pytest
from kombu.transport.redis import MultiChannelPoller

from opsdash.worker import celery_private
from opsdash.worker.recall import Recall
from opsdash.worker.waker import Waker


class Hashable(SimpleNamespace):
    """As Celery's requests are: each equal to itself only."""

    __hash__ = object.__hash__
    __eq__ = object.__eq__


def consumer_with(poller: Any) -> Any:
    return SimpleNamespace(connection=SimpleNamespace(transport=SimpleNamespace(cycle=poller)))


@pytest.fixture
def waker() -> Iterator[Waker]:
    made = Waker()
    yield made
    for end in (made._reader, made._writer):
        end.close()


def test_a_byte_ends_the_sleep_of_kombus_poller_once(waker: Waker) -> None:
    poller = MultiChannelPoller()
    waker.listen_in_green_loop(consumer_with(poller))
    waker.listen(True)
    for _ in range(3):
        waker.wake()
        waker.wake()
        began = time.monotonic()
        poller.get(None, timeout=5)
        assert time.monotonic() - began < 1
        with pytest.raises(Empty):
            poller.get(None, timeout=0.01)
    poller.close()


def test_a_waker_listens_in_the_poller_of_each_new_connection(waker: Waker) -> None:
    for _ in range(2):
        poller = MultiChannelPoller()
        waker.listen_in_green_loop(consumer_with(poller))
        waker.listen(True)
        waker.wake()
        poller.get(None, timeout=5)
        poller.close()


def test_while_tasks_flow_the_poller_looks_at_no_socket_of_ours(waker: Waker) -> None:
    poller = MultiChannelPoller()
    waker.listen_in_green_loop(consumer_with(poller))
    waker.wake()
    with pytest.raises(Empty):
        poller.get(None, timeout=0.01)
    waker.listen(True)
    poller.get(None, timeout=5)
    waker.listen(False)
    waker.wake()
    with pytest.raises(Empty):
        poller.get(None, timeout=0.01)
    poller.close()


@pytest.mark.parametrize("poller", [None, SimpleNamespace(poller=None)])
def test_a_poller_that_has_moved_on_is_left_alone_and_named(
    waker: Waker, poller: Any, caplog: pytest.LogCaptureFixture
) -> None:
    waker.listen_in_green_loop(consumer_with(poller))
    assert "this kombu has no transport.cycle._fd_to_chan" in caplog.text


def test_a_rate_limited_task_that_starts_while_it_is_asked_about_is_not_taken_as_well() -> None:
    bucket = SimpleNamespace(contents=deque([("first", 1), ("second", 1)]))

    def wanted(request: str) -> bool:
        if request == "second":
            assert bucket.contents.popleft() == ("first", 1), "its time has come meanwhile"
        return True

    assert celery_private.take_rate_limited(SimpleNamespace(task_buckets={"t": bucket}), wanted) == ["second"]
    assert not bucket.contents


def test_a_scheduled_task_leaves_once_however_often_a_green_worker_is_told_meanwhile() -> None:
    """Twice would take two places of the prefetch limit for one task, until the worker fetches one task at a time."""
    requests = [
        Hashable(eta="soon", acknowledged=False, message=SimpleNamespace(delivery_tag=str(n))) for n in range(3)
    ]
    entries = [SimpleNamespace(args=[request], canceled=False, cancel=lambda: None) for request in requests]
    freed: list[int] = []
    consumer = SimpleNamespace(
        pool=None,
        timer=SimpleNamespace(queue=[SimpleNamespace(entry=entry) for entry in entries]),
        qos=SimpleNamespace(decrement_eventually=lambda: freed.append(1)),
    )
    gate = SimpleNamespace(
        holds=lambda request: not request.acknowledged,
        channel=SimpleNamespace(_in_poll=False, qos=SimpleNamespace(_delivered={})),
    )
    recall = Recall(consumer, gate, None)

    def put_back(request: Any) -> bool:
        recall.run_scheduled()  # another greenlet, while this one waits for Redis
        request.acknowledged = True
        return True

    gate.try_put_back = put_back
    recall.run_scheduled()
    assert len(freed) == 3
    assert recall.run_scheduled() == 0
