"""The state of a run: what is next, what is taken back, where a broken-off one goes on. No server."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.errors import Refused
from opsdash.runs.state import (
    RunState,
    RunStatus,
    StepState,
    StepStatus,
    command_is_left,
    for_continuing,
    from_json,
    next_step,
    to_json,
    to_take_back,
)

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
DEPLOY = RunState(
    id="a1b2c3d4",
    runbook="deploy",
    by="maria",
    host="ops-1",
    at=NOW,
    steps=(
        StepState(name="pause", kind="operation", does="pause_processing", params={"queue": None}, take_back=True),
        StepState(name="verdict", kind="wait_for", does="pause", timeout_s=600),
        StepState(name="command", kind="command", digest="d"),
    ),
)


def at(**steps: StepStatus) -> RunState:
    run = DEPLOY
    for name, status in steps.items():
        run = run.with_step(name, status=status)
    return run


def test_steps_come_in_their_order_and_a_failed_one_ends_the_run_unless_it_goes_on() -> None:
    assert next_step(DEPLOY) == DEPLOY.steps[0]
    assert next_step(at(pause=StepStatus.DONE)) == DEPLOY.steps[1]
    assert next_step(at(pause=StepStatus.SKIPPED, verdict=StepStatus.DONE)) == DEPLOY.steps[2]
    failed = at(pause=StepStatus.FAILED)
    assert next_step(failed) == failed.steps[0]
    assert next_step(failed.with_step("pause", go_on=True)) == DEPLOY.steps[1]
    assert next_step(at(pause=StepStatus.DONE, verdict=StepStatus.DONE, command=StepStatus.DONE)) is None


def test_what_may_have_been_done_is_taken_back_the_last_first_and_nothing_else() -> None:
    second = StepState(name="quiet", kind="operation", does="quiet_worker")
    run = replace(DEPLOY, steps=(*DEPLOY.steps, second))
    for status, back in ((StepStatus.PENDING, False), (StepStatus.SKIPPED, False), (StepStatus.TAKEN_BACK, False)):
        assert bool(to_take_back(run.with_step("pause", status=status))) is back
    for status in (StepStatus.BEGUN, StepStatus.DONE, StepStatus.FAILED):
        assert [step.name for step in to_take_back(run.with_step("pause", status=status))] == ["pause"]
    done = run.with_step("pause", status=StepStatus.DONE).with_step("quiet", status=StepStatus.DONE)
    assert [step.name for step in to_take_back(done)] == ["pause"]
    assert [step.name for step in to_take_back(done, everything=True)] == ["quiet", "pause"]


def test_a_continued_run_waits_again_and_pauses_again_only_where_its_pause_has_ended() -> None:
    broken = at(pause=StepStatus.DONE, verdict=StepStatus.DONE, command=StepStatus.BEGUN)
    same = for_continuing(broken, {"pause": True})
    assert [step.status for step in same.steps] == [StepStatus.DONE, StepStatus.PENDING, StepStatus.BEGUN]
    ended = for_continuing(broken, {"pause": False})
    assert [step.status for step in ended.steps] == [StepStatus.PENDING, StepStatus.PENDING, StepStatus.BEGUN]
    # Somebody else's pause was left alone then; it may have ended since. What was taken back is to be done again.
    for status in (StepStatus.SKIPPED, StepStatus.TAKEN_BACK):
        again = for_continuing(at(pause=status, verdict=StepStatus.DONE, command=StepStatus.BEGUN), {})
        assert again.steps[0].status is StepStatus.PENDING


def test_a_command_that_has_ended_is_not_run_again() -> None:
    ended = at(pause=StepStatus.DONE, verdict=StepStatus.DONE).with_step("command", status=StepStatus.DONE, exit_code=0)
    assert for_continuing(ended, {"pause": True}) == ended
    assert not command_is_left(ended)
    assert command_is_left(at(pause=StepStatus.DONE, verdict=StepStatus.DONE, command=StepStatus.BEGUN))
    with pytest.raises(Refused, match="has ended: rolled back"):
        for_continuing(DEPLOY.closed(RunStatus.ROLLED_BACK, "x", NOW), {})


def test_a_run_comes_back_as_it_was_stored() -> None:
    run = DEPLOY.begun("pause", NOW, by="maria", before={"pause": {"by": "bob"}}).ended(
        "pause", StepStatus.DONE, "Paused.", effect={"epoch": 5, "undo": None}
    )
    run = run.with_step("command", exit_code=3, pid=1234, started="99").closed(RunStatus.FAILED, "It failed.", NOW)
    assert from_json(to_json(run)) == run
    assert run.step("pause").attempt == 1


@pytest.mark.long
@given(
    st.text()
    | st.recursive(st.none() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner)).map(
        json.dumps
    )
)
def test_a_foreign_value_is_no_run(text: str) -> None:
    assert from_json(text) is None


@given(
    st.sampled_from(["id", "runbook", "at", "status", "steps"]),
    st.none() | st.integers() | st.text(max_size=5) | st.just([]) | st.just({}),
    st.booleans(),
)
def test_a_run_with_a_foreign_part_is_none_or_harmless(name: str, value: object, in_a_step: bool) -> None:
    stored = json.loads(to_json(DEPLOY))
    (stored["steps"][0] if in_a_step else stored)[name] = value
    found = from_json(json.dumps(stored))
    assert found is None or not found.steps or next_step(found) is not None
