"""The gate: what passes, what goes back, and what happens when going back fails."""

from __future__ import annotations

import os
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from opsdash.model.hold import Hold
from opsdash.worker.gate import MOST_COUNTED, OVER, READY, TOO_LONG, Gate, PauseState
from opsdash.worker.health import memory_bytes
from opsdash.worker.hold_rules import HoldRules
from opsdash.worker.message_origin import Origin
from opsdash.worker.requeue import PutBack
from opsdash.worker.set_aside import Held


class Lost(Exception):  # noqa: N818 - it plays one of kombu's
    """Stands for a broken broker connection."""


def request(queue: str | None = "celery", *, acknowledged: bool = False) -> Any:
    """One whose message came from this queue, whatever its address says; None: from no list, as a broadcast does."""
    home = None if queue is None else Origin(queue, queue, b"{}")
    message = SimpleNamespace(delivery_info={"exchange": "orders", "routing_key": "celery"}, opsdash_origin=home)
    return SimpleNamespace(acknowledged=acknowledged, message=message)


@pytest.fixture
def returned(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Requests whose message went back to its queue."""
    went: list[Any] = []

    def put_back(channel: Any, requests: Sequence[Any]) -> PutBack:
        went.extend(requests)
        return PutBack(moved=len(requests))

    monkeypatch.setattr("opsdash.worker.gate.put_back", put_back)
    return went


@pytest.fixture
def passed() -> list[Any]:
    return []


@pytest.fixture
def gate(passed: list[Any], returned: list[Any]) -> Gate:
    return Gate(passed.append, (Lost, KeyError))


def close(gate: Gate, **state: Any) -> None:
    with gate.lock:
        gate.set(PauseState(epoch=1, known=frozenset({"celery", "emails"}), **state))


def test_an_open_gate_lets_every_task_pass(gate: Gate, passed: list[Any], returned: list[Any]) -> None:
    one = request()
    gate.on_task_request(one)
    assert (passed, returned) == ([one], [])


def test_a_pause_of_everything_sends_every_task_back(gate: Gate, passed: list[Any], returned: list[Any]) -> None:
    close(gate, everything=True)
    one = request()
    gate.on_task_request(one)
    assert (passed, returned) == ([], [one])


def test_a_pause_of_one_queue_lets_the_others_pass(gate: Gate, passed: list[Any], returned: list[Any]) -> None:
    close(gate, queues=frozenset({"emails"}))
    mail, other = request("emails"), request("celery")
    gate.on_task_request(mail)
    gate.on_task_request(other)
    assert (passed, returned) == ([other], [mail])


def test_a_task_that_is_acknowledged_already_runs_since_it_can_not_go_back(gate: Gate, passed: list[Any]) -> None:
    close(gate, everything=True)
    one = request(acknowledged=True)
    gate.on_task_request(one)
    assert passed == [one]


@pytest.mark.parametrize("fault", [RuntimeError, KeyError])
def test_a_task_that_redis_will_not_take_back_runs_rather_than_gets_lost(
    gate: Gate, passed: list[Any], monkeypatch: pytest.MonkeyPatch, fault: type[Exception]
) -> None:
    def refuse(channel: Any, requests: Sequence[Any]) -> PutBack:
        raise fault("no")

    monkeypatch.setattr("opsdash.worker.gate.put_back", refuse)
    close(gate, everything=True)
    one = request()
    gate.on_task_request(one)
    assert passed == [one]


def test_a_job_a_child_did_not_start_goes_back_while_its_queue_is_paused_and_runs_otherwise(
    gate: Gate, passed: list[Any], returned: list[Any]
) -> None:
    exempt: list[Any] = []
    gate.exempt = exempt.append
    close(gate, queues=frozenset({"emails"}))
    mail, other, later = request("emails"), request("celery"), request("emails")
    gate.take_back(mail)
    assert (returned, passed, exempt) == ([mail], [], [])
    gate.take_back(other)
    assert (passed, exempt) == ([other], [other]), "its child must not send it back again"
    close(gate)
    gate.take_back(later)
    assert (returned, passed, exempt) == ([mail], [other, later], [other])


def test_messages_that_can_not_go_back_together_go_one_by_one_and_only_refused_ones_run(
    gate: Gate, passed: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, three = request(), request(), request(acknowledged=True)
    went: list[Any] = []

    def put_back(channel: Any, requests: Sequence[Any]) -> PutBack:
        if len(requests) > 1 or requests[0] is one:
            raise RuntimeError("not these")
        went.extend(requests)
        return PutBack(copied=1)

    monkeypatch.setattr("opsdash.worker.gate.put_back", put_back)
    close(gate, everything=True)
    assert gate.put_back(one, two, three) == PutBack(copied=1)
    assert ([*map(id, went)], [*map(id, passed)]) == ([id(two)], [id(one)]), (
        "what went back before the fault does not run"
    )


def test_a_broadcast_passes_although_everything_is_paused(gate: Gate, passed: list[Any], returned: list[Any]) -> None:
    close(gate, everything=True)
    news = request(None)
    gate.on_task_request(news)
    assert (passed, returned) == ([news], [])


def test_what_is_counted_per_queue_is_bounded_and_forgets_queues_that_are_consumed_no_more(gate: Gate) -> None:
    for number in range(3 * MOST_COUNTED):
        gate.on_task_request(request(f"customer-{number}"))
    consumed = [f"customer-{number}" for number in range(MOST_COUNTED + 5)]
    assert len(gate.started_by_queue(consumed)) == MOST_COUNTED
    assert set(gate.started) == set(consumed)


def test_the_children_are_shown_every_state_and_nothing_after_giving_up(gate: Gate) -> None:
    shown: list[bool] = []
    gate.show = lambda state: shown.append(state.closed)
    gate.hint("*")
    close(gate)
    gate.hint("*")
    gate.give_up("because")
    assert shown == [True, False, True, False]


def test_a_lost_connection_is_celerys_to_mend(gate: Gate, passed: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(channel: Any, requests: Sequence[Any]) -> PutBack:
        raise Lost

    monkeypatch.setattr("opsdash.worker.gate.put_back", lose)
    close(gate, everything=True)
    with pytest.raises(Lost):
        gate.on_task_request(request())
    assert passed == []


def test_a_nudge_closes_the_gate_at_once(gate: Gate) -> None:
    close(gate)
    gate.hint("emails")
    assert gate.closed
    assert gate.state.queues == {"emails"}
    gate.hint("*")
    assert gate.state.everything


def test_a_nudge_about_a_queue_this_worker_does_not_consume_closes_nothing(gate: Gate) -> None:
    close(gate)
    gate.hint("reports")
    assert not gate.closed


def test_an_equal_state_stays_applied(gate: Gate) -> None:
    close(gate, everything=True)
    first = gate.state
    close(gate, everything=True)
    assert gate.state is first


def test_a_worker_that_gave_up_stays_open_and_says_why(gate: Gate) -> None:
    close(gate, everything=True)
    gate.give_up("this version of Celery has no channel._lookup")
    close(gate, everything=True)
    gate.hint("*")
    assert not gate.closed
    assert gate.health() == "this version of Celery has no channel._lookup"


def test_an_unreadable_flag_shows_in_the_health(gate: Gate) -> None:
    assert gate.health() == READY
    with gate.lock:
        gate.set(PauseState(error="TimeoutError: no answer"))
    assert gate.health() == "the pause flag can't be read, so tasks run: TimeoutError: no answer"


def test_memory_counts_this_process_and_its_children_and_not_those_that_ended() -> None:
    alone = int(memory_bytes(SimpleNamespace(info={})))
    same = int(memory_bytes(SimpleNamespace(info={"processes": [os.getpid(), 2**22 + 1]})))
    assert 5_000_000 < alone <= same * 1.1
    assert memory_bytes(SimpleNamespace()) == ""


def test_what_a_pause_takes_back_is_not_counted_as_started(gate: Gate, returned: list[Any]) -> None:
    one = request()
    gate.on_task_request(one)
    assert gate.started == {"celery": 1}
    close(gate, everything=True)
    gate.take_back(one)
    assert (gate.started, returned) == ({"celery": 0}, [one])


HELD = HoldRules((Hold(id="a1", kind="task", name="shop.mail", queue="celery"),))


def mail(queue: str = "celery") -> Any:
    one = request(queue)
    one.name = "shop.mail"
    return one


@pytest.fixture
def aside(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What was set aside; ``answer`` is Redis's, ``left`` are the requests that it does not take."""
    found: dict[str, Any] = {"held": [], "copied": [], "answer": {"refused": 0}, "left": []}

    def set_aside(channel: Any, held: Sequence[Held]) -> Any:
        if isinstance(found["answer"], Exception):
            raise found["answer"]
        found["held"] += held
        return found["answer"], found["left"]

    def copy_aside(channel: Any, held: Held) -> bool:
        found["copied"].append(held)
        return True

    monkeypatch.setattr("opsdash.worker.gate.set_aside", set_aside)
    monkeypatch.setattr("opsdash.worker.gate.copy_aside", copy_aside)
    return found


def test_a_new_worker_passes_all_and_counts_each_start(gate: Gate, passed: list[Any]) -> None:
    assert (gate.closed, gate.refused, gate.holding(), gate.health()) == (False, "", READY, READY)
    for _ in range(3):
        gate.on_task_request(request())
    assert (gate.started, len(passed)) == ({"celery": 3}, 3)


def test_as_many_queues_as_are_counted_stay_whether_consumed_or_not(gate: Gate) -> None:
    for number in range(MOST_COUNTED):
        gate.on_task_request(request(f"customer-{number}"))
    assert len(gate.started_by_queue([])) == MOST_COUNTED
    gate.on_task_request(request("one-more"))
    assert gate.started_by_queue(["one-more"]) == {"one-more": 1}


def test_a_drained_worker_starts_nothing_of_any_queue_and_knows_it(gate: Gate, returned: list[Any]) -> None:
    close(gate)
    assert gate.drain(on=True)
    assert (gate.state.stops_queues, gate.state.holds_all, gate.state.paused) == (True, True, False)
    one = request("reports")
    gate.on_task_request(one)
    assert returned == [one]
    assert not gate.drain(on=True), "nothing to apply"
    assert gate.drain(on=False)
    assert not gate.closed


def test_a_state_says_what_is_paused() -> None:
    assert str(PauseState(everything=True)) == "all queues are paused"
    assert str(PauseState(queues=frozenset({"b", "a"}))) == "paused: a, b"
    assert str(PauseState()) == "nothing is paused"


def test_each_state_is_followed_before_it_counts(gate: Gate) -> None:
    followed: list[Any] = []
    gate.follow = lambda state: followed.append((state.everything, gate.state.everything))
    close(gate, everything=True)
    assert followed == [(True, False)]


def test_a_held_task_is_set_aside_and_those_of_other_queues_run(
    gate: Gate, passed: list[Any], returned: list[Any], aside: dict[str, Any]
) -> None:
    close(gate, rules=HELD)
    one, other = mail(), mail("emails")
    gate.on_task_request(one)
    gate.on_task_request(other)
    assert aside["held"] == [Held(request=one, ids=("a1",))]
    assert (passed, returned) == ([other], [])
    assert gate.holding() == READY


def test_a_pause_of_its_queue_comes_before_a_hold(gate: Gate, returned: list[Any], aside: dict[str, Any]) -> None:
    close(gate, rules=HELD, queues=frozenset({"celery"}))
    one = mail()
    gate.on_task_request(one)
    assert (returned, aside["held"]) == ([one], [])


def test_held_and_paused_messages_go_their_ways_the_last_one_first(
    gate: Gate, returned: list[Any], aside: dict[str, Any]
) -> None:
    close(gate, rules=HELD, queues=frozenset({"emails"}))
    one, two, three = mail(), request("emails"), mail()
    two.name = "other"
    assert gate.put_back(one, two, three) == PutBack(aside=2, moved=1)
    assert [held.request for held in aside["held"]] == [three, one]
    assert returned == [two]
    assert gate.put_back(mail()) == PutBack(aside=1)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ({"refused": 1}, "Redis takes no more"),
        ({"refused": 1, "long": 1}, TOO_LONG),
        (RuntimeError("no"), "RuntimeError: no"),
    ],
)
def test_what_redis_does_not_set_aside_runs_is_told_and_is_not_looked_at_again_by_these_rules(
    gate: Gate, passed: list[Any], aside: dict[str, Any], answer: Any, why: str
) -> None:
    close(gate, rules=HELD)
    one = mail()
    aside["answer"], aside["left"] = answer, [one]
    gate.on_task_request(one)
    assert passed == [one]
    assert gate.holding() == why
    assert getattr(one.message, OVER) is HELD
    assert not gate.stops(one)
    aside["answer"], aside["left"] = {"refused": 0}, []
    gate.on_task_request(mail())
    assert gate.holding() == READY


def test_a_held_task_that_has_not_begun_is_set_aside_by_the_last_look(gate: Gate, aside: dict[str, Any]) -> None:
    close(gate, rules=HELD)
    one, late, refused = mail(), mail(), mail()
    assert gate.try_put_back(one)
    assert gate.copy_back(late)
    assert (aside["held"], aside["copied"]) == ([Held(request=one, ids=("a1",))], [Held(request=late, ids=("a1",))])
    aside["left"] = [refused]
    assert not gate.try_put_back(refused), "it must run"


def test_a_task_without_a_slot_waits_and_what_redis_refuses_runs(
    gate: Gate, passed: list[Any], aside: dict[str, Any]
) -> None:
    noted: list[Any] = []

    def note(request: Any, limit: str, *, runs: bool) -> None:
        noted.append((request, limit, runs))

    limits: Any = SimpleNamespace(short_of=lambda request: "" if request is free else "l1", note=note, error="")
    free, waits, runs = mail(), mail(), mail()
    gate.limits = limits
    gate.on_task_request(free)
    gate.on_task_request(waits)
    aside["left"] = [runs]
    gate.on_task_request(runs)
    assert passed == [free, runs]
    assert noted == [(waits, "l1", False), (runs, "l1", True)]
    assert [held.ids for held in aside["held"]] == [("l1",), ("l1",)]
    limits.error = "no script"
    assert gate.holding() == "no script"
