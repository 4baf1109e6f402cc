"""What opsdash reads as pandas frames: typed, in UTC, with the same columns on a quiet day."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pandas as pd
import pytest
from support.deployment import Deployment
from support.workers import eventually, worker

import opsdash
from opsdash.services.audit.query import Filter
from opsdash.services.console import Console


@pytest.fixture
def ops(console_for: Callable[..., Console], sqlite_url: str) -> Console:
    return console_for(database_url=sqlite_url, queues=("celery", "emails"))


def test_the_audit_log_is_a_frame_with_utc_times_and_a_categorical_status(console: Console) -> None:
    console.run(opsdash.PauseProcessing(reason="a test"), actor="maria", confirm="YES")
    with pytest.raises(opsdash.Refused):
        console.run(opsdash.ResumeProcessing(), actor="maria", confirm="yes")
    frame = console.audit.to_frame()
    assert list(frame["status"]) == ["refused", "success"]
    assert list(frame["status"].cat.categories) == ["in_progress", "success", "failure", "refused", "unknown"]
    for column in ("timestamp", "finished_at"):
        assert str(frame[column].dtype) == "datetime64[us, UTC]"
    assert frame["affected"].dtype == "Int64"
    assert frame["affected"].isna().tolist() == [True, False]  # a refusal affected nothing that could be counted
    entry = console.get_recent_operations()[1]
    assert frame["timestamp"][1] == entry.timestamp
    assert len(console.audit.to_frame(Filter(status="success"))) == 1
    assert len(console.audit.to_frame(limit=1)) == 1


def test_workers_are_a_frame_in_which_unknown_is_not_zero(ops: Console, deployment: Deployment) -> None:
    with worker(pool="solo", env=deployment.env) as running:
        eventually(lambda: running.hostname in ops.get_active_workers(), what="the worker has reported")
        frame = ops.workers.to_frame()
        row = frame.set_index("hostname").loc[running.hostname]
        assert row["state"] == "online"
        assert pd.isna(row["oldest_s"])
        assert (row["failed"], row["load"] >= 0) == (0, True)
    assert frame["state"].dtype.categories.tolist() == ["online", "stalled", "silent", "offline"]
    assert str(frame["heartbeat_at"].dtype) == "datetime64[us, UTC]"
    assert (frame["memory_bytes"].dtype, frame["failed"].dtype, frame["load"].dtype) == ("Int64", "Int64", "Float64")


def test_queues_are_a_frame_with_their_pauses(ops: Console, deployment: Deployment) -> None:
    deployment.send(3, queue="emails")
    deployment.pause("emails")
    deployment.redis.set("celery", "no list")
    frame = ops.queues.to_frame().set_index("name")
    assert frame["waiting"]["emails"] == 3
    assert pd.isna(frame["waiting"]["celery"])
    assert frame["paused"].to_dict() == {"celery": False, "emails": True}


@pytest.mark.parametrize("part", ["audit", "workers", "queues"])
def test_a_quiet_day_has_the_same_columns_and_types(
    console_for: Callable[..., Console], ops: Console, deployment: Deployment, part: str
) -> None:
    from opsdash.services import dataframes

    empty = {"audit": dataframes.of_audit, "workers": dataframes.of_workers, "queues": dataframes.of_queues}[part](())
    ops.run(opsdash.PauseProcessing(), actor="maria", confirm="YES")
    assert empty.dtypes.to_dict() == getattr(ops, part).to_frame().dtypes.to_dict()


def test_connecting_does_not_load_pandas() -> None:
    code = "import sys, opsdash; opsdash.connect(); print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
