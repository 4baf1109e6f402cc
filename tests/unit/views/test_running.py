"""What open rows show of their workers: read for those alone, and told again only when it has changed."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from opsdash.errors import Unavailable
from opsdash.model import Role, RunningTask
from opsdash.operation import Operation
from opsdash.views.running import MOST_OPEN, RunningTasks

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)


class Session:
    """As much of a browser session as the open rows need."""

    has_turns, closed = False, False

    def __init__(self, role: Role = Role.OPERATOR) -> None:
        self.caller, self.role = "page user maria", role
        self.read, self.shown, self.tasks = list[str](), list[tuple[str, list[str]]](), dict[str, Any]()
        self.console = SimpleNamespace(workers=self)
        self.rows = RunningTasks(self, self.tell)  # type: ignore[arg-type] # as much of it as is needed

    def may(self, operation: type[Operation]) -> bool:
        return self.role >= operation.minimum_role

    def tell(self, key: str, rows: list[dict[str, Any]]) -> None:
        self.shown.append((key, [row["key"] for row in rows]))
        self.last = rows

    def running(self, hostname: str) -> tuple[RunningTask, ...]:
        self.read.append(hostname)
        found = self.tasks.get(hostname, ())
        if isinstance(found, Exception):
            raise found
        return found

    def later(self, what: Any) -> None:
        asyncio.run(what())


def task(number: int = 1, at: datetime = NOW) -> RunningTask:
    return RunningTask(task_id=f"t{number}", name="shop.charge", queue="celery", started_at=at)


def test_a_worker_is_read_while_its_row_is_open_and_shown_again_only_when_it_has_changed() -> None:
    session = Session()
    session.rows.read_soon()
    assert session.read == []
    session.tasks["w1"] = (task(),)
    session.rows.open(["w1", "w2", "w1"])
    assert session.shown == [("w1", ["t1"]), ("w2", [])]
    session.shown.clear()
    session.tasks["w1"] = (task(at=NOW + timedelta(seconds=1)),)
    session.rows.read_soon()
    assert session.shown == []
    session.tasks["w1"] = (task(2),)
    session.rows.read_soon()
    assert session.shown == [("w1", ["t2"])]
    session.rows.open([])
    session.read.clear()
    session.rows.read_soon()
    assert session.read == []


def test_a_row_that_is_closed_and_opened_again_is_shown_again() -> None:
    session = Session()
    for keys in (["w1"], [], ["w1"]):
        session.rows.open(keys)
    assert session.shown == [("w1", []), ("w1", [])]


def test_a_row_that_is_drawn_anew_is_told_what_runs_though_nothing_has_changed() -> None:
    session = Session()
    session.rows.open(["w1"])
    session.rows.tell_again("w1")
    assert session.shown == [("w1", []), ("w1", [])]


def test_an_unmanaged_worker_is_not_asked() -> None:
    session = Session()
    session.rows.open(["other:w9"])
    assert session.read == []


def test_a_broker_that_is_away_leaves_what_is_shown_and_a_crafted_list_of_rows_stays_short() -> None:
    session = Session()
    session.tasks["w1"] = Unavailable("Redis did not answer.")
    session.rows.open(["w1"])
    assert session.shown == []
    session.tasks["w1"] = (task(),)
    session.rows.read_soon()
    assert len(session.shown) == 1
    session.read.clear()
    session.rows.open(f"w{i}" for i in range(10_000))
    assert len(session.read) == MOST_OPEN


def test_a_viewer_sees_what_runs_and_is_offered_nothing() -> None:
    session = Session(Role.VIEWER)
    session.tasks["w1"] = (task(),)
    session.rows.open(["w1"])
    assert "acts" not in session.last[0]
