"""One turn of the flag watch after the other, by its own clock: what it reads, applies, reports and does meanwhile."""

from __future__ import annotations

import json
import os
from typing import Any

import fakeredis
import pytest
import redis

from opsdash.keys import EVERYTHING, Keys
from opsdash.worker import watcher
from opsdash.worker.gate import Gate, PauseState
from opsdash.worker.watcher import APPLYING_S, DRAINING_S, GRACE_S, POLL_S, RETRY_S, FlagWatch, read_flags

LOST = redis.ConnectionError("cut off")


class Link:
    """A link to a Redis in this process, which a test may cut."""

    def __init__(self) -> None:
        self.keys, self.closed = Keys(), 0
        self.server = fakeredis.FakeServer()
        self.redis: Any = fakeredis.FakeRedis(server=self.server)

    def cut(self, *, off: bool = True) -> None:
        self.server.connected = not off

    def close(self) -> None:
        self.closed += 1


class Clock:
    """Stands in for the module ``time``."""

    now = 1_000.0

    def monotonic(self) -> float:
        return self.now


class Told:
    """What a watch did: its health, and what it was given to call."""

    def __init__(self) -> None:
        self.did: list[Any] = []
        self.is_busy, self.leaves, self.fault, self.again_s = False, True, dict[str, BaseException](), POLL_S

    def _note(self, what: str, *more: Any) -> None:
        self.did.append((what, *more) if more else what)
        if what in self.fault:
            raise self.fault[what]

    def push(self, _link: Any) -> None:
        self._note("push")

    def remove(self, _link: Any) -> None:
        self._note("remove")

    def busy(self) -> bool:
        return self.is_busy

    def may_leave(self) -> bool:
        return self.leaves

    def reconcile(self, _link: Any) -> float:
        self._note("reconcile")
        return self.again_s

    def release(self, _link: Any, ids: Any) -> None:
        self._note("release", *ids)

    def follow(self, _link: Any) -> float:
        self._note("follow")
        return self.again_s

    def take(self) -> list[Any]:
        did, self.did = self.did, []
        return did


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(watcher, "time", made)
    return made


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def link() -> Link:
    return Link()


@pytest.fixture
def gate() -> Gate:
    return Gate(lambda request: None, ())


@pytest.fixture
def watch(clock: Clock, told: Told, link: Link, gate: Gate, monkeypatch: pytest.MonkeyPatch) -> FlagWatch:
    def applied() -> None:
        told.did.append("apply")
        gate.applied = gate.state

    made = FlagWatch(
        link,  # type: ignore[arg-type]
        gate,
        told,  # type: ignore[arg-type]
        queues=lambda: ["celery", "emails"],
        on_change=applied,
        request_tick=lambda: told.did.append("tick"),
        reconcile_expiries=told.reconcile,
        release_holds=told.release,
        follow=told.follow,
    )
    made.nudges = []  # type: ignore[attr-defined]
    monkeypatch.setattr(made, "_next_nudge", lambda: made.nudges.pop() if made.nudges else None)  # type: ignore[attr-defined]
    return made


def nudged(watch: Any, **nudge: Any) -> None:
    watch.nudges.append({"data": json.dumps(nudge).encode()})


def settled(watch: FlagWatch, told: Told) -> None:
    watch._turn()
    told.take()


def pause(link: Link, queue: str | None = None, epoch: int = 1) -> None:
    link.redis.set(link.keys.pause(queue), "1")
    link.redis.set(link.keys.pause_epoch, epoch)


def test_flags_epoch_and_suspended_expiries_are_read_as_they_are(link: Link) -> None:
    queues = ["celery", "emails"]
    assert read_flags(link, queues) == PauseState(epoch=0, known=frozenset(queues))  # type: ignore[arg-type]
    assert not read_flags(link, queues).suspended  # type: ignore[arg-type]
    pause(link, "emails", epoch=7)
    link.redis.hset(link.keys.expires, "emails", "1")
    found = read_flags(link, queues)  # type: ignore[arg-type]
    assert (found.everything, found.queues, found.epoch, found.suspended) == (False, {"emails"}, 7, True)
    pause(link, epoch=8)
    found = read_flags(link, queues)  # type: ignore[arg-type]
    assert (found.everything, found.queues, found.epoch) == (True, {"emails"}, 8)
    link.redis.set(link.keys.pause_epoch, "nonsense")
    assert read_flags(link, queues).epoch == 0  # type: ignore[arg-type]


def test_the_first_turn_reads_settles_expiries_follows_and_reports(watch: FlagWatch, told: Told, clock: Clock) -> None:
    watch._turn()
    assert told.take() == ["apply", "reconcile", "follow", "push", "tick"]
    watch._turn()
    assert told.take() == [], "nothing is due"
    clock.now += POLL_S - 0.01
    watch._turn()
    assert told.take() == []
    clock.now += 0.02
    watch._turn()
    assert told.take() == ["follow", "push", "tick"]


def test_what_must_be_followed_sooner_is_read_sooner(watch: FlagWatch, told: Told, clock: Clock) -> None:
    told.again_s = 0.5
    settled(watch, told)
    clock.now += 0.5
    watch._turn()
    assert told.take() == ["follow"]


def test_a_nudge_closes_the_gate_and_has_all_read_at_once(
    watch: FlagWatch, told: Told, link: Link, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(watch, told)
    pause(link, "emails")
    seen: list[bool] = []
    monkeypatch.setattr(watch, "read_now", lambda: seen.append(gate.state.holds("emails")) or FlagWatch.read_now(watch))
    nudged(watch, paused=True, field="emails")
    watch._turn()
    assert seen == [True], "before the flags are read"
    assert gate.state.queues == {"emails"}
    assert told.take() == ["apply", "reconcile", "follow", "push", "tick"]


@pytest.mark.parametrize(
    "data", [b"{", b"[]", b'{"paused": false, "field": "*"}', b'{"paused": true, "field": 7}', b"x" * 100_000]
)
def test_whatever_is_published_has_the_flags_read_and_closes_nothing(
    watch: Any, told: Told, gate: Gate, data: bytes
) -> None:
    settled(watch, told)
    watch.nudges.append({"data": data})
    watch._turn()
    assert told.take() == ["follow"]
    assert not gate.closed


def test_a_nudge_after_the_end_closes_nothing(watch: FlagWatch, gate: Gate, told: Told) -> None:
    settled(watch, told)
    watch.stop()
    watch._heed({"data": json.dumps({"paused": True, "field": EVERYTHING}).encode()})
    assert not gate.closed
    assert not watch.read_now()


def test_while_flags_can_not_be_read_the_last_state_stays_for_the_grace_and_then_tasks_run(
    watch: FlagWatch, told: Told, link: Link, gate: Gate, clock: Clock
) -> None:
    pause(link)
    settled(watch, told)
    link.cut()
    clock.now += POLL_S
    watch._turn()
    assert told.take() == [], "neither followed nor reported: each would wait for an answer"
    assert gate.state.everything
    assert watch._broken
    clock.now += GRACE_S - 0.1
    watch._turn()
    assert gate.state.everything
    clock.now += POLL_S
    watch._turn()
    assert (gate.state.everything, gate.state.error) == (
        False,
        "ConnectionError: FakeRedis is emulating a connection error.",
    )
    assert gate.closed, "each task asks again"
    assert told.take() == ["apply", "push", "tick"]
    link.cut(off=False)
    clock.now += POLL_S
    watch._turn()
    assert (gate.state.everything, gate.state.error) == (True, "")
    assert told.take()[0] == "apply"


def test_a_worker_that_has_never_read_the_flags_waits_for_no_grace(watch: FlagWatch, link: Link, gate: Gate) -> None:
    link.cut()
    assert watch.read_now()
    assert gate.state.error
    assert gate.state.known == {"celery", "emails"}


def test_a_task_asks_again_no_more_often_than_it_should(watch: FlagWatch, told: Told, link: Link, clock: Clock) -> None:
    settled(watch, told)
    pause(link)
    watch.recheck()
    assert told.take() == ["apply"]
    link.redis.delete(link.keys.pause())
    clock.now += RETRY_S - 0.01
    watch.recheck()
    assert told.take() == []
    clock.now += 0.01
    watch.recheck()
    assert told.take() == ["apply"]


def test_expiries_are_settled_while_something_is_paused_and_until_they_are_restored(
    watch: FlagWatch, told: Told, link: Link, clock: Clock
) -> None:
    settled(watch, told)
    pause(link)
    link.redis.hset(link.keys.expires, "celery", "1")
    for over, settles in ((None, True), (link.keys.pause(), True), (link.keys.expires, False)):
        if over:
            link.redis.delete(over)
        clock.now += POLL_S
        watch._turn()
        assert ("reconcile" in told.take()) == settles, over


def test_expiries_that_redis_refuses_are_tried_again_and_are_no_broken_connection(
    watch: FlagWatch, told: Told, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    told.fault["reconcile"] = redis.ResponseError("WRONGTYPE")
    settled(watch, told)
    assert (watch._unsettled, watch._broken) == (True, False)
    told.fault["reconcile"] = LOST
    clock.now += POLL_S
    watch._turn()
    assert told.take()[0] == "reconcile"
    assert watch._broken
    assert caplog.text.count("can't be suspended") == 1, "said once"
    told.fault.clear()
    clock.now += POLL_S
    watch._turn()
    assert not watch._unsettled
    assert "can be suspended again" in caplog.text


def test_holds_that_have_ended_are_released_once_whatever_comes_of_it(watch: FlagWatch, told: Told) -> None:
    watch._turn()
    for fault in (None, LOST, RuntimeError("a bug")):
        told.take()
        told.fault = {"release": fault} if fault else {}
        watch._due = ("h1", "h2")
        watch._release_ended()
        assert told.take() == [("release", "h1", "h2")]
        assert watch._due == ()


def test_a_link_that_breaks_while_following_is_made_again(watch: FlagWatch, told: Told) -> None:
    told.fault["follow"] = LOST
    watch._turn()
    assert watch._broken
    assert "push" in told.take()


def test_what_is_applied_is_reported_at_once_and_draining_until_it_is_over(
    watch: FlagWatch, told: Told, link: Link, gate: Gate, clock: Clock
) -> None:
    settled(watch, told)
    assert watch._timeout_s() == POLL_S
    pause(link)
    told.is_busy = True
    clock.now += POLL_S
    settled(watch, told)
    assert watch._timeout_s() == DRAINING_S
    clock.now += DRAINING_S
    watch._turn()
    assert told.take() == [], "its tasks still run"
    told.is_busy = False
    watch._turn()
    assert told.take() == ["push", "tick"], "the last has ended"
    assert watch._timeout_s() > DRAINING_S
    gate.hint(EVERYTHING)
    with gate.lock:
        gate.set(PauseState(epoch=9, known=frozenset({"celery"})))
    assert watch._timeout_s() == APPLYING_S
    gate.applied = gate.state
    assert watch._timeout_s() == 0.0


def test_a_report_that_fails_is_said_once_and_its_end_too(
    watch: FlagWatch, told: Told, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    told.fault["push"] = LOST
    for _ in range(2):
        clock.now += POLL_S
        watch._turn()
        assert told.take()[-2:] == ["push", "tick"]
    assert (watch._mute, watch._broken) == (True, True)
    assert caplog.text.count("health can't be pushed") == 1
    told.fault.clear()
    clock.now += POLL_S
    watch._turn()
    assert not watch._mute
    assert "is pushed again" in caplog.text


def test_only_the_process_that_watches_leaves_at_its_end(
    watch: FlagWatch, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher.celery_private, "children_live", lambda: True)
    watch.leave_at_exit()
    monkeypatch.setattr(watcher.celery_private, "children_live", lambda: False)
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: -1)
        watch.leave_at_exit()
    assert told.take() == []
    watch.leave_at_exit()
    watch.leave_at_exit()
    assert told.take() == ["remove"]


def test_a_worker_leaves_when_the_last_of_its_tasks_has_ended(watch: FlagWatch, told: Told, clock: Clock) -> None:
    settled(watch, told)
    told.leaves = False
    watch.retire()
    assert told.take() == []
    clock.now += POLL_S
    watch._turn()
    assert told.take() == ["follow", "push", "tick"]
    told.leaves = True
    clock.now += POLL_S
    watch._turn()
    assert told.take() == ["follow", "remove"]
    watch._report_if_due()
    assert told.take() == [], "a report would bring it back to the list"


def test_a_list_that_can_not_be_left_is_said_and_no_error(
    watch: FlagWatch, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    told.fault["remove"] = LOST
    watch.retire()
    assert "stays on the list of workers" in caplog.text


def test_a_worker_that_gave_up_reads_no_flags_and_reports_why(
    watch: FlagWatch, told: Told, gate: Gate, link: Link
) -> None:
    gate.give_up("no such name")
    pause(link)
    watch._turn()
    assert "apply" not in told.take()
    assert not gate.closed


def test_its_thread_ends_with_the_process(watch: FlagWatch) -> None:
    assert watch._thread.daemon


def test_the_ear_outlives_any_fault_and_says_when_it_last_came_round(
    watch: FlagWatch, told: Told, link: Link, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = iter([RuntimeError("a bug"), LOST, None])

    def turn() -> None:
        clock.now += 1
        fault = next(turns, None)
        if fault is None:
            watch._stopped.set()
        elif fault is LOST:
            watch._deaf = True
        else:
            raise fault

    monkeypatch.setattr(watch, "_turn", turn)
    monkeypatch.setattr(watch._stopped, "wait", lambda seconds: told.did.append(seconds))
    watch._run()
    assert told.take() == [POLL_S]
    assert watch.turned_at == clock.now
    assert watch.failed_at == clock.now
    assert link.closed == 1


def test_nudges_are_heard_again_after_a_cut(
    clock: Clock, told: Told, link: Link, gate: Gate, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = FlagWatch(
        link,  # type: ignore[arg-type]
        gate,
        told,  # type: ignore[arg-type]
        queues=lambda: ["celery"],
        on_change=lambda: None,
        request_tick=lambda: None,
    )
    monkeypatch.setattr(made, "_timeout_s", lambda: 0.01)
    monkeypatch.setattr(made._stopped, "wait", lambda seconds: told.did.append(seconds))
    made._next_read = clock.now + 60
    assert made._next_nudge() is None
    assert made._next_read == 0.0, "one may have come while nobody listened"
    link.redis.publish(link.keys.nudge, "hello")
    assert (made._next_nudge() or made._next_nudge())["data"] == b"hello"
    made._broken = True
    link.cut()
    assert made._next_nudge() is None
    assert made._next_nudge() is None
    assert (told.take(), made._deaf) == ([RETRY_S, RETRY_S], True)
    assert caplog.text.count("nudges can't be heard") == 1
    link.cut(off=False)
    closed = link.closed
    assert made._next_nudge() is None
    assert (made._deaf, made._broken, link.closed) == (False, False, closed + 1)
    assert "can be heard again" in caplog.text
