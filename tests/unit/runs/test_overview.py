"""How a run is shown: where it is, and what to type about one that was left behind."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from opsdash.errors import Refused
from opsdash.runs.behind import sentence
from opsdash.runs.overview import summary
from opsdash.runs.plan import again
from opsdash.runs.state import RunState, RunStatus, StepState, StepStatus
from opsdash.views.runs import run_row

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
RUN = RunState(
    id="a1b2c3d4",
    runbook="deploy",
    by="maria",
    host="ops-1",
    at=NOW,
    reason="release 42",
    command="make release",
    steps=(
        StepState(name="pause", kind="operation", does="pause_processing", status=StepStatus.DONE, take_back=True),
        StepState(name="verdict", kind="wait_for", does="pause", status=StepStatus.BEGUN, message="2 tasks run."),
        StepState(name="command", kind="command"),
    ),
)


def test_a_run_that_goes_on_says_where_it_is_and_offers_nothing() -> None:
    shown = summary(RUN, "running")
    assert (shown.step, shown.done, shown.of, shown.message) == ("verdict", 1, 3, "2 tasks run.")
    assert (shown.continued_by, shown.rolled_back_by) == ("", "")
    row = run_row(shown)
    assert row["state"] == ["warn", "running", ""]
    assert row["step"] == "verdict (1 of 3 over)"
    assert row["by"] == "maria on ops-1"
    assert row["message"] == "2 tasks run. (release 42)"


def test_a_run_that_was_left_behind_says_how_it_is_continued_or_rolled_back() -> None:
    shown = summary(RUN, "left behind")
    assert shown.continued_by == "opsdash run --continue a1b2c3d4 -- COMMAND"
    assert shown.rolled_back_by == "opsdash run --roll-back a1b2c3d4"
    assert run_row(shown)["state"] == ["bad", "left behind", f"{shown.continued_by} or {shown.rolled_back_by}"]
    ended = RUN.with_step("command", status=StepStatus.FAILED, exit_code=3)
    assert summary(ended, "left behind").continued_by == "opsdash run --continue a1b2c3d4", "it is not run again"


def test_the_command_line_says_the_same_of_it_and_whether_its_command_has_run() -> None:
    assert sentence(RUN).endswith("opsdash run --continue a1b2c3d4 -- COMMAND, or --roll-back a1b2c3d4")
    ended = RUN.with_step("command", status=StepStatus.FAILED, exit_code=3)
    assert sentence(ended).endswith("opsdash run --continue a1b2c3d4, or --roll-back a1b2c3d4")
    with pytest.raises(Refused, match="The command of run a1b2c3d4 has not run yet"):
        again(replace(RUN, steps=RUN.steps[2:]), None, (), None)  # type: ignore[arg-type]  # no operation is made
    begun = RUN.with_step("command", status=StepStatus.BEGUN)
    with pytest.raises(Refused, match="is not known to have ended"):
        again(replace(begun, steps=begun.steps[2:]), None, (), None)  # type: ignore[arg-type] # as above


def test_a_run_that_has_ended_says_how() -> None:
    done = RUN.with_step("verdict", status=StepStatus.DONE).with_step("command", status=StepStatus.DONE)
    shown = summary(done.closed(RunStatus.DONE, "Done. Resumed.", NOW), "done")
    assert (shown.step, shown.done, shown.message, shown.continued_by) == ("command", 3, "Done. Resumed.", "")
    assert run_row(shown)["state"] == ["ok", "done", ""]
    shorter = done.with_step("command", status=StepStatus.LEFT_OUT).closed(RunStatus.DONE, "Done.", NOW)
    assert summary(shorter, "done").step == "verdict", "a step that was left out is not where it ended"
    stays = RUN.closed(RunStatus.NOT_TAKEN_BACK, "Redis is away.", NOW)
    shown = summary(stays, "not taken back")
    assert (shown.continued_by, shown.rolled_back_by) == ("", "opsdash run --roll-back a1b2c3d4")
    assert run_row(shown)["state"][0] == "bad"


def test_a_run_without_steps_is_shown_too() -> None:
    assert summary(replace(RUN, steps=()), "running").step == ""
