"""Waiting a bounded time for a database: what is late goes on by itself, and nobody waits for it twice."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest
from support.errors import fails
from support.services import until

from opsdash.errors import Refused, Unavailable
from opsdash.services.database import time_limit
from opsdash.services.database.time_limit import TimeLimit

pytestmark = pytest.mark.impatient

WHO = "The database"


@pytest.fixture
def release() -> threading.Event:
    return threading.Event()


def held(release: threading.Event, value: int = 1) -> Callable[[], int]:
    def call() -> int:
        assert release.wait(60)
        return value

    return call


def refuses() -> None:
    raise Unavailable("The database did not answer (refused)")


def test_what_answers_is_answered_and_what_fails_is_raised_where_it_is_waited_for():
    one = TimeLimit(WHO, wait_s=60)
    assert one.run(lambda: 7) == 7
    with pytest.raises(Refused, match="no"):
        one.run(lambda: (_ for _ in ()).throw(Refused("no")))
    assert not one.hangs


def test_while_one_call_hangs_nobody_waits_for_another_one(release: threading.Event):
    one = TimeLimit(WHO, wait_s=0.01)
    with pytest.raises(Unavailable, match=r"The database did not answer within 0\.01 s"):
        one.run(held(release))
    assert one.hangs
    calls: list[int] = []
    with pytest.raises(Unavailable, match="a moment ago"):
        one.run(lambda: calls.append(1), wait_s=60)
    assert calls == [], "it was not even tried"
    release.set()
    assert until(lambda: not one.hangs)
    assert one.run(lambda: 7, wait_s=60) == 7, "the late answer was the news that it answers again"


def test_what_came_too_late_is_handed_over(release: threading.Event):
    one, came = TimeLimit(WHO, wait_s=0.01), list[int]()
    with pytest.raises(Unavailable):
        one.run(held(release, 5), late=came.append)
    release.set()
    assert until(lambda: came == [5])


def test_the_rest_after_failures_grows_up_to_a_bound_and_ends_with_an_answer(monkeypatch: pytest.MonkeyPatch):
    now = [1_000.0]
    monkeypatch.setattr(time_limit.time, "monotonic", lambda: now[0])
    one, rests = TimeLimit(WHO, wait_s=60, rests="any"), list[float]()
    for _ in range(8):
        with pytest.raises(Unavailable):
            one.run(refuses)
        rests.append(one._rests_until_s - now[0])
        with pytest.raises(Unavailable, match="a moment ago"):
            one.run(lambda: 7)
        now[0] = one._rests_until_s
    assert rests[:4] == [2.0, 4.0, 8.0, 16.0]
    assert set(rests[4:]) == {time_limit.LONGEST_REST_S}
    assert one.run(lambda: 7) == 7
    with pytest.raises(Unavailable):
        one.run(refuses)
    assert one._rests_until_s - now[0] == time_limit.REST_S


def test_who_does_not_wait_long_for_a_refusal_needs_no_rest():
    one = TimeLimit(WHO, wait_s=60)
    for _ in range(3):
        with fails(Unavailable, silent=False, retry=True):
            one.run(refuses)
    assert one.run(lambda: 7) == 7


def test_calls_that_follow_each_other_share_a_thread(monkeypatch: pytest.MonkeyPatch):
    threads = time_limit._Threads()
    monkeypatch.setattr(time_limit, "_THREADS", threads)
    one, idents = TimeLimit(WHO, wait_s=60), set[int]()
    for _ in range(20):
        idents.add(one.run(threading.get_ident))
        assert until(lambda: len(threads._idle) == 1)
    assert len(idents) == 1


def test_a_thread_that_waits_for_nothing_ends_and_another_one_takes_the_next_call(monkeypatch: pytest.MonkeyPatch):
    threads = time_limit._Threads()
    monkeypatch.setattr(time_limit, "_THREADS", threads)
    monkeypatch.setattr(time_limit, "IDLE_S", 0.0)
    one = TimeLimit(WHO, wait_s=60)
    for number in range(20):
        assert one.run(lambda number=number: number) == number
    assert until(lambda: not threads._idle)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_process_does_not_wait_for_its_parents_threads():
    one = TimeLimit(WHO, wait_s=60)
    one.run(lambda: None)
    assert until(lambda: len(time_limit._THREADS._idle) > 0)
    child = os.fork()
    if not child:
        os._exit(one.run(lambda: 7))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
