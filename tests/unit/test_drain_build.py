"""How far the drain of a build has come, and what a deploy does with one."""

from __future__ import annotations

from dataclasses import replace

import pytest

import opsdash.operations  # noqa: F401 - runbooks name operations
from opsdash.model import Snapshot, WorkerStats
from opsdash.operations import DrainBuild
from opsdash.runs.runbook import load
from opsdash.runs.state import RunState, StepState, StepStatus, from_json, to_json, to_take_back

ONE = Snapshot.example().workers[0]
OLD = replace(ONE, hostname="old@a", build="1.41", queues=(), active=0, reserved=0, scheduled=0)
NEW = replace(ONE, hostname="new@a", build="1.42", active=4)


def progress(*workers: WorkerStats) -> tuple[bool, str]:
    found = DrainBuild(build="1.41").progress(Snapshot.example(workers=workers))
    return found.done, found.message


@pytest.mark.parametrize(
    ("workers", "done", "says"),
    [
        ((OLD, NEW), True, "All 1 worker of build 1.41 are drained."),
        ((NEW,), True, "No worker of build 1.41 is left."),
        ((replace(OLD, scheduled=3), NEW), True, "drained"),
        ((replace(OLD, active=2, reserved=1), NEW), False, "0 of 1 worker of build 1.41 drained; 3 tasks left."),
        ((OLD, replace(OLD, hostname="old@b", queues=("celery",))), False, "1 of 2 workers"),
        ((OLD, replace(OLD, hostname="old@b", queues=("celery",))), False, "still taking tasks: old@b"),
        ((OLD, replace(OLD, hostname="old@b", state="offline")), False, "silent: old@b"),
    ],
)
def test_a_build_is_drained_when_no_worker_of_it_takes_or_runs_a_task(
    workers: tuple[WorkerStats, ...], done: bool, says: str
) -> None:
    is_done, message = progress(*workers)
    assert is_done is done
    assert says in message


def test_that_no_worker_is_left_counts_once_it_stays_so() -> None:
    found = DrainBuild(build="1.41").progress(Snapshot.example(workers=(NEW,)))
    assert (found.done, found.final) == (True, True)


def test_nobody_waits_for_workers_that_are_all_silent() -> None:
    silent = replace(OLD, state="offline")
    found = DrainBuild(build="1.41").progress(Snapshot.example(workers=(silent,)))
    assert (found.done, found.final) == (False, True)
    assert "Dismiss" in found.todo[0]


def test_a_deploy_pauses_or_drains_and_a_drain_is_taken_back_if_it_fails() -> None:
    steps = {step.name: step for step in load(None)["deploy"].steps}
    assert [steps[name].only_without for name in ("pause", "verdict")] == ["drain", "drain"]
    assert [steps[name].only_with for name in ("drain", "drained")] == ["drain", "drain"]
    assert (steps["drain"].take_back, steps["drain"].take_back_if_failed) == (False, True)
    state = StepState(
        name="drain", kind="operation", does="drain_build", take_back_if_failed=True, status=StepStatus.DONE
    )
    run = RunState(id="1", runbook="deploy", by="maria", host="a", at=Snapshot.example().taken_at, steps=(state,))
    assert to_take_back(run, failed=False) == ()
    assert to_take_back(run, failed=True) == (state,)
    read = from_json(to_json(run))
    assert read is not None
    assert read.steps == run.steps
