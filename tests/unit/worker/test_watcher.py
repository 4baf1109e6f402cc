"""The flag watch: two threads use its link, and neither pulls it away under the other."""

from __future__ import annotations

import contextlib
import threading
import time
from types import SimpleNamespace
from typing import Any

import redis

from opsdash.keys import EVERYTHING, Keys
from opsdash.worker.gate import Gate, PauseState
from opsdash.worker.watcher import APPLYING_S, FlagWatch


class Link:
    """A link that notices when it is closed in the middle of a read."""

    def __init__(self) -> None:
        self.reading = threading.Event()
        self.go_on = threading.Event()
        self.torn = False
        self.answer: Any = [b"3", 0, 0, [b"1764364800.0", 0]]
        self.keys = Keys()
        self.redis = self

    def pipeline(self, *, transaction: bool) -> Any:
        assert not transaction, "a full Redis refuses a transaction"
        return contextlib.nullcontext(self)

    def getrange(self, *_: Any) -> None:
        pass

    def exists(self, *_: Any) -> None:
        pass

    def eval(self, *_: Any) -> None:
        pass

    def execute(self, *, raise_on_error: bool) -> Any:
        self.reading.set()
        self.go_on.wait(5)
        self.reading.clear()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def close(self) -> None:
        self.torn = self.torn or self.reading.is_set()


def watch(link: Link, gate: Gate, **health_does: Any) -> FlagWatch:
    health: Any = SimpleNamespace(**health_does)
    return FlagWatch(
        link,
        gate,
        health,
        queues=list,
        on_change=lambda: None,
        request_tick=lambda: None,
    )


def test_the_listener_does_not_close_the_link_while_the_event_loop_reads_by_it() -> None:
    link, gate = Link(), Gate(lambda request: None, (redis.ConnectionError,))
    made = watch(link, gate)
    reader = threading.Thread(target=made.recheck)
    reader.start()
    assert link.reading.wait(5)
    closer = threading.Thread(target=made._close_link)
    closer.start()
    closer.join(0.1)
    link.go_on.set()
    closer.join(5)
    reader.join(5)
    assert not link.torn


def test_while_nobody_knows_the_flag_a_task_asks_again_before_it_starts() -> None:
    passed: list[Any] = []
    link, gate = Link(), Gate(passed.append, (redis.ConnectionError,))
    link.go_on.set()
    made = watch(link, gate)
    gate.recheck = made.recheck
    gate.set(PauseState(error="cut off"))
    assert gate.closed, "a running worker tests this alone"
    request: Any = SimpleNamespace(acknowledged=False, message=SimpleNamespace(delivery_info={"routing_key": "celery"}))
    gate.on_task_request(request)
    assert passed == [request]
    assert gate.state.error == "", "the flag can be read again, and nothing is paused"
    assert not gate.closed


def test_a_fault_while_asking_again_never_reaches_the_event_loop(caplog: Any) -> None:
    link, gate = Link(), Gate(lambda request: None, (redis.ConnectionError,))
    link.go_on.set()
    link.answer = AttributeError("a bug")
    watch(link, gate).recheck()
    assert "could not be read again" in caplog.text


def test_a_nudge_about_a_pause_that_is_over_by_the_next_read_leaves_the_listener_at_rest() -> None:
    link, gate = Link(), Gate(lambda request: None, (redis.ConnectionError,))
    link.go_on.set()
    made = watch(link, gate)
    made.read_now()
    gate.applied = made._reported = gate.state
    made._next_read = made._next_report = time.monotonic() + 60
    gate.hint(EVERYTHING)
    assert made._timeout_s() <= APPLYING_S, "there is something to apply"
    made.read_now()
    assert made._timeout_s() > APPLYING_S, "nothing has changed after all"


def test_a_report_that_redis_refuses_does_not_cost_the_worker_its_ear() -> None:
    def fails(error: Exception) -> bool:
        def push(_link: Any) -> None:
            raise error

        made = watch(Link(), Gate(lambda request: None, ()), push=push, busy=lambda: False)
        made._report_if_due()
        return made._broken

    assert not fails(redis.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"))
    assert not fails(redis.exceptions.NoPermissionError("NOPERM"))
    assert fails(redis.ConnectionError("cut off"))


def test_a_worker_whose_threads_still_run_says_goodbye_when_the_last_has_ended() -> None:
    left: list[Any] = []
    running = [1]
    made = watch(
        Link(),
        Gate(lambda request: None, ()),
        push=lambda _link: None,
        busy=lambda: bool(running),
        may_leave=lambda: not running,
        remove=left.append,
    )
    made.retire()
    assert not left, "a cold shutdown leaves threads to run on until the process ends"
    running.clear()
    made._next_report = 0.0
    made._report_if_due()
    made.leave()
    assert len(left) == 1, "once"
