"""What opsdash reads as pandas frames: typed, in UTC, with the same columns on a quiet day."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa
from support import tenants
from support.deployment import Deployment
from support.workers import eventually, worker

import opsdash
from opsdash.model import PauseInfo, QueueStats, Snapshot
from opsdash.services.audit.query import Filter
from opsdash.services.console import Console
from opsdash.services.database.tables import audit_log
from opsdash.services.monitoring import history
from opsdash.services.monitoring.history import Series
from opsdash.services.queues import trash

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def ops(console_for: Callable[..., Console], sqlite_url: str) -> Console:
    return console_for(database_url=sqlite_url, queues=("celery", "emails"))


def fill(console: Console, number: int, since: datetime = NOON) -> None:
    """Entries a minute apart, the newest at ``since``; ``affected`` counts them from there."""
    rows = [
        {
            "id": uuid4(),
            "request_id": uuid4(),
            "timestamp": since - timedelta(minutes=at),
            "finished_at": since - timedelta(minutes=at),
            "user": f"user {at % 10}",
            "operation": "clear_queue",
            "status": "refused" if at % 30 == 3 else "success",
            "details": {"message": f"This is number {at}.", "affected": at, "surface": "page", "took_s": 0.004},
            "seq": 1_000_000 + at,
        }
        for at in range(number)
    ]
    with console.engine.begin() as connection:
        connection.execute(sa.insert(audit_log), rows)


def test_the_audit_log_is_a_frame_with_utc_times_and_categories(console: Console) -> None:
    console.run(opsdash.PauseProcessing(reason="a test"), actor="maria", confirm="YES")
    with pytest.raises(opsdash.Refused):
        console.run(opsdash.ResumeProcessing(), actor="maria", confirm="yes")
    frame = console.audit.to_frame()
    assert list(frame["status"]) == ["refused", "success"]
    assert list(frame["status"].cat.categories) == ["in_progress", "success", "failure", "refused", "unknown"]
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
        **dict.fromkeys(("timestamp", "finished_at"), "datetime64[us, UTC]"),
        **dict.fromkeys(("user", "operation", "status", "surface", "broker"), "category"),
        **dict.fromkeys(("message", "id", "request_id"), "string"),
        "took_s": "Float64",
        **dict.fromkeys(("affected", "seq"), "Int64"),
    }
    assert frame["affected"].isna().tolist() == [True, False]  # a refusal affected nothing that could be counted
    refused, paused = console.get_recent_operations()
    row = frame.loc[1]
    assert (row["timestamp"], row["finished_at"]) == (paused.timestamp, paused.finished_at)
    assert (row["id"], row["request_id"]) == (str(paused.id), str(paused.request_id))
    assert (row["user"], row["operation"], row["surface"]) == ("maria", "pause_processing", "python")
    assert (row["message"], row["seq"], row["broker"]) == (paused.details["message"], paused.seq, paused.broker)
    assert (row["took_s"], row["affected"]) == (paused.details["took_s"], paused.details["affected"])
    assert frame["message"][0] == refused.details["message"]


def test_the_details_come_as_json_when_they_are_asked_for(console: Console) -> None:
    console.run(opsdash.PauseProcessing(reason="Größe → \U0001f600"), actor="maria", confirm="YES")
    assert "details" not in console.audit.to_frame()
    frame = console.audit.to_frame(details=True)
    assert frame["details"].dtype == "string"
    assert json.loads(frame["details"][0]) == console.get_recent_operations()[0].details
    assert frame["details"].str.contains("Größe → \U0001f600").tolist() == [True]


def test_all_entries_come_however_many_there_are(console: Console) -> None:
    fill(console, 2_503)
    frame = console.audit.to_frame()
    assert (len(frame), frame["id"].nunique()) == (2_503, 2_503)
    assert frame["timestamp"].is_monotonic_decreasing
    assert frame["affected"].tolist() == list(range(2_503))
    assert len(console.audit.to_frame(Filter(text="number 17"))) == 111  # 17, 170 to 179, 1700 to 1799, and no other
    assert len(console.audit.to_frame(limit=2_503)) == 2_503  # no warning: there are no more


def test_what_a_limit_leaves_out_is_said_with_the_total(console: Console) -> None:
    fill(console, 1_203)
    with pytest.warns(UserWarning, match=r"the newest 1,100 entries; there are 1,203 in all") as said:
        frame = console.audit.to_frame(limit=1_100)
    assert frame["affected"].tolist() == list(range(1_100))
    assert said[0].filename == __file__
    with pytest.warns(UserWarning, match="maybe more"):
        assert console.audit.to_frame(Filter(text="number"), limit=2)["affected"].tolist() == [0, 1]
    with pytest.raises(opsdash.Invalid, match="limit: expected 1 or more"):
        console.audit.to_frame(limit=0)


def test_entries_are_chosen_by_user_operation_status_and_time(console: Console) -> None:
    fill(console, 100)
    frame = console.audit.to_frame
    assert frame(user="user 3")["affected"].tolist() == list(range(3, 100, 10))
    assert frame(user="user 3", status="refused")["affected"].tolist() == [3, 33, 63, 93]
    assert len(frame(operation="sync_tenant_configs")) == 0
    half_an_hour = NOON - timedelta(minutes=30)
    assert frame(Filter(user="user 3"), status="success", since=half_an_hour)["affected"].tolist() == [13, 23]


@pytest.mark.parametrize(
    "since",
    [
        "2026-11-23T11:50",
        "2026-11-23 11:50:00",
        "2026-11-23T12:50+01:00",
        datetime(2026, 11, 23, 11, 50),  # noqa: DTZ001 - one without a zone is UTC
        datetime(2026, 11, 23, 12, 50, tzinfo=timezone(timedelta(hours=1))),
        pd.Timestamp("2026-11-23T11:50"),
        pd.Timestamp("2026-11-23T11:50:00.000000007", tz="UTC"),
        pd.Timestamp("2026-11-23T12:50", tz="Europe/Berlin"),
        np.datetime64("2026-11-23T11:50"),
    ],
    ids=repr,
)
def test_a_time_may_be_given_as_an_analyst_has_it(console: Console, since: Any) -> None:
    fill(console, 30)
    assert console.audit.to_frame(since=since, until=NOON)["affected"].tolist() == list(range(1, 11))
    assert console.audit.to_frame(until=since)["affected"].tolist() == list(range(11, 30))


def test_a_day_begins_at_midnight_in_utc_and_an_age_counts_from_now(console: Console) -> None:
    fill(console, 3, since=datetime(2026, 11, 23, 0, 1, tzinfo=UTC))
    assert console.audit.to_frame(since=date(2026, 11, 23))["affected"].tolist() == [0, 1]
    assert console.audit.to_frame(until="2026-11-23")["affected"].tolist() == [2]
    console.run(opsdash.PauseProcessing(), actor="maria", confirm="YES")
    assert console.audit.to_frame(since="1h")["operation"].tolist() == ["pause_processing"]


@pytest.mark.parametrize(
    "bad", ["yesterday", "", pd.NaT, 1_764_000_000, timedelta(hours=2), pd.Timedelta("2h"), "9999-01-01"]
)
def test_what_is_no_time_is_an_error_that_says_so(ops: Console, bad: Any) -> None:
    with pytest.raises(opsdash.Invalid, match=r"^until: "):
        ops.audit.to_frame(until=bad)


def test_a_status_that_does_not_exist_is_an_error_and_no_empty_frame(ops: Console) -> None:
    with pytest.raises(opsdash.Invalid, match=r"status: expected one of in_progress, success.*'succes'"):
        ops.audit.to_frame(status="succes")


@pytest.mark.parametrize(
    "details", ["[1]", "no json", '{"message": 7, "took_s": "x", "affected": 1e400, "broker": 3}', "[" * 9_000]
)
def test_details_that_opsdash_did_not_write_end_no_frame(ops: Console, details: str) -> None:
    fill(ops, 3)
    with ops.engine.begin() as connection:
        connection.execute(sa.text("UPDATE audit_log SET details = :details WHERE seq = 1000000"), {"details": details})
    frame = ops.audit.to_frame(details=True)
    assert len(frame) == 3
    assert isinstance(json.loads(frame["details"][0]), dict)
    assert pd.isna(frame["affected"][0])


def test_clears_that_can_be_undone_are_a_frame(ops: Console, deployment: Deployment) -> None:
    deployment.send(3, queue="emails")
    ops.run(opsdash.ClearQueue(queue="emails"), actor="maria", confirm="YES")
    (entry,) = ops.trash.list()
    row = ops.trash.to_frame().loc[0]
    assert (row["id"], row["queue"], row["count"], row["by"]) == (entry.id, "emails", 3, "maria")
    assert (row["at"], row["expires_at"], row["state"]) == (entry.at, entry.expires_at, "kept")


def test_clears_that_a_frame_leaves_out_are_said_with_their_total(
    ops: Console, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trash, "MOST_ENTRIES", 1)
    for _ in range(2):
        deployment.send(1, queue="emails")
        ops.run(opsdash.ClearQueue(queue="emails"), actor="maria", confirm="YES")
    with pytest.warns(UserWarning, match="Showing 1 of 2 clears that can be undone"):
        assert len(ops.trash.to_frame()) == 1


def test_tenants_are_a_frame_that_compares_the_row_with_the_key(console: Console) -> None:
    tenants.add(console, "a", "b", "gone", api_key="secret-of-all", settings={"limit": 3, "password": "hunter2"})
    tenants.sync(console)
    tenants.change(console, "b", name="Other", enabled=False)
    tenants.add(console, "new")
    tenants.add(console, "blank in it")
    tenants.remove(console, "gone")
    frame = console.tenants.to_frame().set_index("tenant_id")
    assert frame["state"].to_dict() == {
        "a": "synced",
        "b": "changed",
        "new": "missing",
        "blank in it": "unreadable",
        "gone": "orphaned",
    }
    assert (frame["name"]["b"], frame["enabled"]["b"], frame["enabled"]["a"]) == ("Other", False, True)
    assert pd.isna(frame["name"]["gone"])
    assert json.loads(frame["settings"]["a"])["limit"] == 3
    assert frame["updated_at"]["a"] > pd.Timestamp("2026-01-01", tz="UTC")
    assert frame["problem"]["blank in it"].startswith("tenant_id must be")
    assert not {"hunter2", "secret-of-all"} & set(frame.to_csv().replace('"', " ").replace(",", " ").split())


def test_the_history_is_a_frame_with_a_row_per_time_and_queue(ops: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "SERIES", (Series("10s", 50, 360), history.COARSE))
    queues = (QueueStats(name="celery", waiting=1), QueueStats(name="emails", waiting=5))
    emails = PauseInfo(queue="emails", by="maria")
    for over in ({}, {"paused_queues": {"emails": emails}}, {"pause": PauseInfo(queue=None)}):
        taken, before = Snapshot.example(queues=queues, **over), len(ops.history.read(10))

        def recorded(taken: Snapshot = taken, before: int = before) -> bool:
            ops.history.record(taken)
            return len(ops.history.read(10)) > before

        eventually(recorded, what="a point is recorded")
    frame = ops.history.to_frame(10)
    assert list(frame.columns) == ["at", "step_s", "queue", "waiting", "started_per_s", "oldest_s", "paused", "held"]
    assert frame["at"].is_monotonic_increasing
    paused = frame.pivot(index="at", columns="queue", values="paused")
    assert paused["celery"].tolist() == [False, False, True]
    assert paused["emails"].tolist() == [False, True, True]
    assert frame.groupby("queue")["waiting"].max().to_dict() == {"celery": 1, "emails": 5}


def test_a_history_that_does_not_go_back_so_far_says_so(ops: Console) -> None:
    with pytest.warns(UserWarning, match="goes back 1d 0h 0m 0s"):
        ops.history.to_frame(7 * 86_400)


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


PARTS = ("audit", "workers", "queues", "trash", "tenants", "history")
NAMES = {"workers": "worker", "queues": "queue", "tenants": "tenant"}


@pytest.mark.parametrize("part", PARTS)
def test_a_quiet_day_has_the_same_columns_and_types(
    console_for: Callable[..., Console], sqlite_url: str, deployment: Deployment, part: str
) -> None:
    from opsdash.services import dataframes
    from opsdash.services.audit import frame

    ops = console_for(database_url=sqlite_url, queues=("celery", "emails"))
    types = frame.TYPES if part == "audit" else getattr(dataframes, f"{NAMES.get(part, part).upper()}_TYPES")
    empty = pd.DataFrame({name: dataframes.series([], kind) for name, kind in types.items()})
    if part == "audit":
        assert ops.audit.to_frame(details=True).dtypes.astype(str).to_dict() == empty.dtypes.astype(str).to_dict()
    deployment.send(1, queue="emails")
    ops.run(opsdash.ClearQueue(queue="emails"), actor="maria", confirm="YES")
    tenants.add(ops, "a")
    ops.history.record(ops.snapshot())
    with worker(pool="solo", queues=["other"], env=deployment.env) as running:
        eventually(lambda: running.hostname in ops.get_active_workers(), what="the worker has reported")
        busy = getattr(ops, part).to_frame(**({"details": True} if part == "audit" else {}))
    assert len(busy) > 0
    assert busy.dtypes.astype(str).to_dict() == empty.dtypes.astype(str).to_dict()


def test_connecting_does_not_load_pandas() -> None:
    code = "import sys, opsdash; opsdash.connect(); print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
