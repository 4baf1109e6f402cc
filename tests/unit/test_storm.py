"""A storm's plan comes from its seed alone, and its invariants see what is not true."""

from __future__ import annotations

from copy import deepcopy
from itertools import islice

import pytest
from chaos.storm import invariants, schedule
from chaos.storm.acts import Acts
from chaos.storm.console_acts import CALLS
from chaos.storm.invariants import Expected, Exposure, Ledger, Limited, Sent, Stopped
from chaos.storm.schedule import Act
from chaos.storm.truth import Truth
from chaos.storm.world import ended_by_celery
from hypothesis import given, settings
from hypothesis import strategies as st


@given(st.integers(0, 10**6), st.integers(1, 500))
@settings(max_examples=100)
def test_a_step_follows_from_seed_and_number_and_survives_its_record(seed: int, number: int) -> None:
    step = schedule.step(seed, number)
    assert schedule.step(seed, number) == step
    assert list(schedule.from_lines([step.line()])) == [step]


def test_every_act_that_is_drawn_can_be_done() -> None:
    drawn = {act.kind for step in islice(schedule.steps(7), 500) for act in schedule.walk(step.acts)}
    assert drawn == {*schedule.CONSOLE_ACTS, *schedule.WORLD_ACTS, *schedule.SCHEDULE_ACTS}
    assert [kind for kind in drawn if kind not in CALLS and not hasattr(Acts, f"_{kind}")] == []


@pytest.fixture
def ledger() -> Ledger:
    """Two tasks of a chain, and one by itself; none has run."""
    made = Ledger()
    for id_, after in (("a", ""), ("b", "a"), ("c", "")):
        made.sent[id_] = Sent(id_, "sample.step", "celery", "", 1, after=after)
    return made


def names(ledger: Ledger, places: dict[str, list[str]], **exposure: int) -> list[str]:
    truth = Truth()
    truth.places.update(places)
    return [fault.invariant for fault in ledger.tasks(truth, Exposure(**exposure))]


WAITS = {"a": ["queue:celery"], "c": ["queue:celery"]}


def test_tasks_that_wait_or_follow_one_that_waits_are_where_they_should_be(ledger: Ledger) -> None:
    assert names(ledger, WAITS) == []


def test_a_lost_task_is_seen_unless_celery_may_have_lost_it(ledger: Ledger) -> None:
    assert names(ledger, {"a": WAITS["a"]}) == ["no task is lost"]
    assert names(ledger, {"a": WAITS["a"]}, lost=1) == []


@pytest.mark.parametrize("places", [{**WAITS, "c": ["queue:celery", "trash:1"]}, {**WAITS, "c": WAITS["c"] * 2}])
def test_a_task_in_two_places_is_seen(ledger: Ledger, places: dict[str, list[str]]) -> None:
    assert names(ledger, places) == ["no task runs or lies twice"]


def test_a_task_that_has_run_and_lies_somewhere_is_seen(ledger: Ledger) -> None:
    ledger.runs["c"] = 1
    assert names(ledger, WAITS) == ["no task runs or lies twice"]


def test_a_chain_that_ends_before_its_end_is_seen(ledger: Ledger) -> None:
    ledger.runs["a"] = 1
    assert names(ledger, {"c": WAITS["c"]}) == ["no chain ends before its end"]
    assert names(ledger, {"c": WAITS["c"]}, chains=1) == []


def test_what_was_deleted_for_good_and_runs_is_seen(ledger: Ledger) -> None:
    ledger.deleted["c"] = True
    assert names(ledger, WAITS) == ["a deleted task is gone"]


SENT = {str(number): Sent(str(number), "sample.short", "celery", "acme", 1, seconds=1.0) for number in range(3)}


@pytest.mark.parametrize(
    ("kind", "name"), [("pause", None), ("pause", "celery"), ("task", "sample.short"), ("tenant", "acme")]
)
def test_a_start_within_a_pause_or_hold_is_seen_and_one_outside_is_none(kind: str, name: str | None) -> None:
    span = Stopped(kind, name, since=10.0, until=20.0)
    assert len(invariants.starts([span], [("0", 15.0)], SENT)) == 1
    assert invariants.starts([span], [("0", 9.0), ("1", 21.0)], SENT) == []


def test_more_at_once_than_a_limit_says_is_seen() -> None:
    span = Limited("sample.short", 2, since=10.0)
    assert invariants.at_once([span], [("0", 11.0), ("1", 11.5), ("2", 12.0)], SENT) == []
    (fault,) = invariants.at_once([span], [("0", 11.0), ("1", 11.5), ("2", 11.9)], SENT)
    assert (fault.expected, fault.found) == (2, 3)
    span.ends(11.8)
    assert invariants.at_once([span], [("0", 11.0), ("1", 11.5), ("2", 11.9)], SENT) == []


def test_a_pause_that_a_clear_has_left_behind_may_end_by_itself_and_must_in_time() -> None:
    expected = Expected()
    assert len(expected.check(Truth(flags=frozenset({"emails"})))) == 1, "nobody has paused it"
    expected = Expected()
    expected.may_leave_a_pause("emails", 200.0)
    assert expected.check(Truth(flags=frozenset({"emails"}), now=20.0)) == []
    assert len(deepcopy(expected).check(Truth(flags=frozenset({"emails"}), now=201.0))) == 1
    assert expected.check(Truth(now=180.0)) == []
    assert len(expected.check(Truth(flags=frozenset({"emails"}), now=190.0))) == 1, "it does not come back"

    own = Expected()
    own.may_leave_a_pause("emails", 200.0)
    own.apply("flags", "emails", True, sure=True)
    assert own.check(Truth(flags=frozenset({"emails"}), now=300.0)) == [], "it is the operator's now"
    own.may_leave_a_pause("emails", 400.0)
    assert own.left == {}, "one that is paused is not paused again"
    assert len(own.check(Truth(now=301.0))) == 1


def test_a_worker_that_celery_ended_is_told_from_one_that_opsdash_ended() -> None:
    ended = "CRITICAL Unrecoverable error: AttributeError\nTraceback (most recent call last):\n"
    own = '  File "/site-packages/celery/worker.py", line 271, in start\n    self.blueprint.start(self)\n'
    passed = '  File "/site-packages/opsdash/worker/gate.py", line 1, in on_task_request\n'
    assert ended_by_celery(f"{passed}{ended}{own}")
    assert not ended_by_celery(f"{ended}{passed}{own}")
    assert not ended_by_celery("worker: Warm shutdown (MainProcess)\n")


def test_an_act_says_what_it_does_during_others() -> None:
    act = Act("cut_workers", {"seconds": 1}, (Act("note"),))
    assert Act.from_plain(act.plain()) == act
