"""What pages are told: one state per snapshot and role, and patches that lead from each to the next."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from opsdash.errors import Unavailable
from opsdash.model import HistoryPoint, QueueStats, Role, Snapshot, WorkerStats
from opsdash.views.page_state import Bulletins, difference

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
KEYS = st.sampled_from(["a", "b", "__proto__", "é"])
STATES = st.recursive(
    st.booleans() | st.integers() | st.text(max_size=3) | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(KEYS, inner, max_size=3),
)


def merged(target: Any, patch: Any) -> Any:
    """RFC 7386, as the browser does it."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def snapshot(second: int = 0, **over: Any) -> Snapshot:
    given = {"redis_age_s": 0.0, "database_age_s": 0.0, "queues": (QueueStats(name="celery", waiting=second),)}
    return Snapshot(taken_at=NOW + timedelta(seconds=second), **{**given, **over})


def maker(history: Any = ()) -> Bulletins:
    def read(_span_s: float) -> Any:
        if isinstance(history, Exception):
            raise history
        return history

    known = SimpleNamespace(history=SimpleNamespace(read=read), broker=SimpleNamespace(identity="redis-a:6379/0"))
    return Bulletins(known)  # type: ignore[arg-type]


@given(before=st.dictionaries(KEYS, STATES, max_size=3), after=st.dictionaries(KEYS, STATES, max_size=3))
def test_a_patch_leads_from_any_state_to_any_other(before: dict[str, Any], after: dict[str, Any]) -> None:
    assert merged(before, difference(before, after)) == after


def test_what_did_not_change_does_not_travel() -> None:
    workers = tuple(
        WorkerStats(hostname=f"w{i}", state="online", heartbeat_at=NOW, processed=i, concurrency=4) for i in range(500)
    )
    made = maker()
    made.of(snapshot(workers=workers), Role.ADMIN)
    busier = (replace(workers[0], processed=9), *workers[1:])
    state = made.of(snapshot(1, workers=busier), Role.ADMIN)
    patch = json.loads(state.patch)
    assert patch["workers"] == {"w0": {"processed": 9}}
    assert len(state.patch) < 300
    assert len(state.state) > 50_000


def test_one_snapshot_is_told_once_however_many_pages_ask_and_each_role_has_its_own() -> None:
    made, read = maker(), snapshot()
    first = made.of(read, Role.ADMIN)
    assert made.of(read, Role.ADMIN) is first
    viewer = json.loads(made.of(read, Role.VIEWER).state)
    assert json.loads(first.state)["controls"]["pause"]
    assert not viewer["controls"]["pause"]
    assert "Your role is viewer" in viewer["controls"]["note"]


def test_a_read_that_was_overtaken_by_a_newer_one_tells_nothing() -> None:
    made = maker()
    newer = made.of(snapshot(2), Role.ADMIN)
    assert made.of(snapshot(1), Role.ADMIN) is newer
    assert made.of(snapshot(3), Role.ADMIN).seq == newer.seq + 1


def test_a_history_that_can_not_be_read_costs_the_lines_and_not_the_figures() -> None:
    told = maker(Unavailable("Redis did not answer")).of(snapshot(7), Role.ADMIN)
    state = json.loads(told.state)
    assert state["figures"]["waiting"] == [7, "in 1 queue"]
    assert state["sparks"]["waiting"] == []


def test_throughput_is_the_one_of_the_latest_point() -> None:
    points = tuple(
        HistoryPoint(
            at=NOW + timedelta(seconds=10 * i),
            step=timedelta(seconds=10),
            waiting={"celery": i},
            started_per_s={"celery": float(i)},
        )
        for i in range(3)
    )
    state = json.loads(maker(points).of(snapshot(), Role.ADMIN).state)
    assert state["figures"]["rate"] == [2.0, "started/s, 10 s"]
    assert state["queues"]["celery"]["rate"] == 2.0


def test_a_page_for_which_nothing_is_known_claims_nothing() -> None:
    blank = json.loads(maker().blank(Role.ADMIN))
    assert blank["status"]["word"] == "UNKNOWN"
    assert not blank["controls"]["pause"]
    assert blank["figures"] == {}
