"""The last looks before a task runs in the worker's own process: what each pool calls, and what becomes of the task."""

from __future__ import annotations

import os
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from opsdash.worker.final_check import LastLook, NotStarted
from opsdash.worker.gate import Gate, PauseState
from opsdash.worker.message_origin import Origin
from opsdash.worker.requeue import PutBack

KINDS = {
    "threads": "celery.concurrency.thread",
    "solo": "celery.concurrency.solo",
    "gevent": "celery.concurrency.gevent",
    "eventlet": "celery.concurrency.eventlet",
    "prefork": "celery.concurrency.prefork",
}


class Request:
    """A request as Celery has it: accepting it may pause everything meanwhile, as a slow acknowledgement does."""

    def __init__(self, gate: Gate, *, pauses: bool = False, acknowledges: bool = False) -> None:
        self.message = SimpleNamespace(opsdash_origin=Origin("celery", "celery", b"{}"))
        self.acknowledged = False
        self.accepted: list[tuple[int, float]] = []
        self._gate, self._pauses, self._acknowledges = gate, pauses, acknowledges

    def on_accepted(self, pid: int, when: float) -> None:
        self.accepted.append((pid, when))
        self.acknowledged = self._acknowledges
        if self._pauses:
            pause(self._gate)


class Pool:
    """A pool whose ``on_apply`` writes down what it is called with; green and thread pools start later."""

    def __init__(self, kind: str) -> None:
        self.calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self.futures: list[Future[Any]] = []
        self.on_apply: Any = self._apply
        self.__class__ = type("TaskPool", (Pool,), {"__module__": KINDS[kind]})

    def _apply(self, *args: Any, **options: Any) -> Any:
        self.calls.append((args, options))
        self.futures.append(Future())
        return SimpleNamespace(f=self.futures[-1])


def pause(gate: Gate) -> None:
    with gate.lock:
        gate.set(PauseState(everything=True))


@pytest.fixture
def back(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Requests whose message went back, by whatever way."""
    went: list[Any] = []

    def put_back(channel: Any, requests: Any) -> PutBack:
        went.extend(requests)
        return PutBack(moved=len(requests))

    monkeypatch.setattr("opsdash.worker.gate.put_back", put_back)
    monkeypatch.setattr("opsdash.worker.gate.copy_back", lambda channel, request: went.append(("copy", request)))
    return went


@pytest.fixture
def gate() -> Gate:
    return Gate(lambda request: None, ())


def looks(kind: str, gate: Gate, back: list[Any]) -> tuple[LastLook, Pool]:
    pool = Pool(kind)
    made = LastLook(SimpleNamespace(pool=pool), gate, back.append)
    return made, pool


def accepted(pool: Pool) -> Any:
    """What the pool calls as the task is about to run."""
    return pool.calls[-1][1]["accept_callback"]


@pytest.mark.parametrize("kind", ["threads", "gevent", "eventlet"])
def test_a_task_runs_with_all_that_it_was_given_while_nothing_is_paused(kind: str, gate: Gate, back: list[Any]) -> None:
    if kind == "eventlet":
        pytest.importorskip("greenlet")
    _, pool = looks(kind, gate, back)
    one = Request(gate)
    pool.on_apply("target", ("a",), {"b": 1}, accept_callback=one.on_accepted, callback="c")
    (args, options), *_ = pool.calls
    assert args == ("target", ("a",), {"b": 1})
    assert options["callback"] == "c"
    accepted(pool)(7, 8.0)
    assert (one.accepted, back) == ([(7, 8.0)], [])


@pytest.mark.parametrize("kind", ["threads", "gevent", "eventlet"])
def test_what_has_no_request_is_applied_as_it_is(kind: str, gate: Gate, back: list[Any]) -> None:
    made, pool = looks(kind, gate, back)
    pool.on_apply("target", ("a",), {"b": 1}, callback="c")
    assert pool.calls == [(("target", ("a",), {"b": 1}), {"callback": "c"})]
    assert made.take_waiting(lambda _request: True) == []


@pytest.mark.parametrize("kind", ["threads", "gevent", "eventlet"])
def test_a_task_that_a_pause_has_caught_goes_back_and_is_not_accepted(kind: str, gate: Gate, back: list[Any]) -> None:
    _, pool = looks(kind, gate, back)
    one = Request(gate)
    pool.on_apply("target", accept_callback=one.on_accepted)
    pause(gate)
    with pytest.raises(BaseException) as stopped:
        accepted(pool)(7, 8.0)
    assert stopped.type.__name__ == ("NotStarted" if kind == "threads" else "GreenletExit")
    assert (one.accepted, back) == ([], [one])


@pytest.mark.parametrize("kind", ["threads", "gevent"])
@pytest.mark.parametrize("acknowledges", [False, True])
def test_a_pause_that_comes_as_it_is_accepted_still_catches_it(
    kind: str, acknowledges: bool, gate: Gate, back: list[Any]
) -> None:
    _, pool = looks(kind, gate, back)
    one = Request(gate, pauses=True, acknowledges=acknowledges)
    pool.on_apply("target", accept_callback=one.on_accepted)
    with pytest.raises(BaseException):  # noqa: B017 - either pool's own
        accepted(pool)(7, 8.0)
    assert back == ([("copy", one)] if acknowledges else [one])


def test_a_pause_that_comes_as_a_solo_worker_accepts_still_catches_it(gate: Gate, back: list[Any]) -> None:
    _, pool = looks("solo", gate, back)
    one, two = Request(gate), Request(gate, pauses=True)
    pool.on_apply("target", ("a",), {"b": 1}, "done", one.on_accepted, timeout=3)
    assert pool.calls == [(("target", ("a",), {"b": 1}, "done"), {})]
    ((pid, when),) = one.accepted
    assert pid == os.getpid()
    assert when > 0
    pool.on_apply("target", ("a",), {}, "done", two.on_accepted)
    assert len(pool.calls) == 1, "it never ran"
    assert back == [two]


def test_what_redis_does_not_take_back_runs_in_a_solo_worker(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(channel: Any, requests: Any) -> PutBack:
        raise RuntimeError("no")

    monkeypatch.setattr("opsdash.worker.gate.put_back", refuse)
    _, pool = looks("solo", gate, [])
    one = Request(gate, pauses=True)
    pool.on_apply("target", ("a",), {}, "done", one.on_accepted)
    assert len(pool.calls) == 1


def test_another_pool_looks_in_its_own_way(gate: Gate, back: list[Any]) -> None:
    pool = Pool("prefork")
    before = pool.on_apply
    LastLook(SimpleNamespace(pool=pool), gate, back.append)
    assert pool.on_apply == before


def test_what_waits_for_a_thread_is_taken_once_and_never_starts(gate: Gate, back: list[Any]) -> None:
    made, pool = looks("threads", gate, back)
    one, two = Request(gate), Request(gate)
    for request in (one, two):
        pool.on_apply("target", accept_callback=request.on_accepted)
    pool.futures[1].set_running_or_notify_cancel()
    assert made.take_waiting(lambda request: True) == [one]
    assert pool.futures[0].cancelled()
    pool.futures[1].set_result(None)
    assert made._waiting == {}, "what has ended is forgotten"


def test_what_waits_for_room_for_a_greenlet_is_taken_once_and_never_starts(gate: Gate, back: list[Any]) -> None:
    made, pool = looks("gevent", gate, back)
    one, two = Request(gate), Request(gate)
    for request in (one, two):
        pool.on_apply("target", accept_callback=request.on_accepted)
    first, second = (options["accept_callback"] for _, options in pool.calls)
    assert made.take_waiting(lambda request: request is one) == [one]
    assert made.take_waiting(lambda request: request is one) == []
    with pytest.raises(BaseException) as stopped:
        first(7, 8.0)
    assert stopped.type.__name__ == "GreenletExit"
    second(7, 8.0)
    assert (one.accepted, two.accepted) == ([], [(7, 8.0)])
    assert made.take_waiting(lambda request: True) == [], "one that has started does not wait"


@pytest.mark.parametrize("at", ["holds", "copy_back"])
def test_a_fault_of_a_look_runs_the_task_rather_than_losing_it(
    at: str, gate: Gate, back: list[Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> bool:
        raise RuntimeError("a bug")

    monkeypatch.setattr(gate, at, fail)
    _, pool = looks("threads", gate, back)
    one = Request(gate, pauses=True, acknowledges=at == "copy_back")
    pool.on_apply("target", accept_callback=one.on_accepted)
    if at == "holds":
        pause(gate)
    accepted(pool)(7, 8.0)
    assert one.accepted == [(7, 8.0)]
    assert "so it runs" in caplog.text
    assert issubclass(NotStarted, Exception)
