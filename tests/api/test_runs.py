"""Runs of runbooks for programs."""

from __future__ import annotations

from datetime import UTC, datetime

from support.served import Client

from opsdash.runs.state import RunState, StepState, StepStatus
from opsdash.runs.store import RunStore
from opsdash.services.console import Console


def test_a_program_reads_the_runs_and_how_one_is_continued(api: Client, console: Console) -> None:
    assert api.get("/api/v1/runs").json == {"runs": []}
    steps = (
        StepState(name="pause", kind="operation", does="pause_processing", status=StepStatus.DONE),
        StepState(name="command", kind="command", status=StepStatus.BEGUN),
    )
    run = RunState(id="a1b2", runbook="deploy", by="maria", host="ops-1", at=datetime.now(UTC), steps=steps)
    store = RunStore(console.broker)
    with store.leased("deploy", "a1b2", "maria", "ops-1"):
        store.begin(run)
        (shown,) = api.get("/api/v1/runs").json["runs"]
        assert (shown["state"], shown["step"], shown["done"], shown["of"]) == ("running", "command", 1, 2)
        assert shown["continued_by"] == ""
    (shown,) = api.get("/api/v1/runs").json["runs"]
    assert (shown["id"], shown["by"], shown["state"]) == ("a1b2", "maria", "left behind")
    assert shown["continued_by"] == "opsdash run --continue a1b2 -- COMMAND"
    assert api.get("/api/v1/runs?x=1").status == 422
