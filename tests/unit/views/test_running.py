"""What open rows show of their workers: read for those alone, and told again only when it has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from opsdash.errors import Unavailable
from opsdash.model import Role, RunningTask
from opsdash.views.running import MOST_OPEN, RunningTasks

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)


class Session:
    """As much of a browser session as the open rows need."""

    def __init__(self, role: Role = Role.OPERATOR) -> None:
        self.caller = "page user maria"
        self.role, self.followers = role, list[Callable[[], None]]()
        self.read, self.told, self.tasks = list[str](), list[tuple[str, dict[str, Any]]](), dict[str, Any]()
        self.console = SimpleNamespace(workers=self)
        self.channel = SimpleNamespace(tell=lambda kind, worker, rows: self.told.append((worker, rows)))

    def running(self, hostname: str) -> tuple[RunningTask, ...]:
        self.read.append(hostname)
        found = self.tasks.get(hostname, ())
        if isinstance(found, Exception):
            raise found
        return found

    def later(self, what: Any) -> None:
        asyncio.run(what())

    def tick(self) -> None:
        """Figures have come."""
        for follow in self.followers:
            follow()


def task(number: int = 1, at: datetime = NOW) -> RunningTask:
    return RunningTask(task_id=f"t{number}", name="shop.charge", queue="celery", started_at=at)


def test_a_worker_is_read_while_its_row_is_open_and_told_only_what_has_changed() -> None:
    session = Session()
    shown = RunningTasks(session)  # type: ignore[arg-type]
    session.tick()
    assert session.read == []
    session.tasks["w1"] = (task(),)
    asyncio.run(shown.open(["w1", "w2", "w1"]))
    assert [(worker, list(rows)) for worker, rows in session.told] == [("w1", ["t1"]), ("w2", [])]
    session.told.clear()
    session.tasks["w1"] = (task(at=NOW + timedelta(seconds=1)),)
    session.tick()
    assert session.told == []
    session.tasks["w1"] = (task(2),)
    session.tick()
    assert [(worker, list(rows)) for worker, rows in session.told] == [("w1", ["t2"])]
    asyncio.run(shown.open([]))
    session.read.clear()
    session.tick()
    assert session.read == []


def test_a_row_that_is_closed_and_opened_again_is_told_again() -> None:
    session = Session()
    shown = RunningTasks(session)  # type: ignore[arg-type]
    for hostnames in (["w1"], [], ["w1"]):
        asyncio.run(shown.open(hostnames))
    assert session.told == [("w1", {}), ("w1", {})]


def test_a_broker_that_is_away_leaves_what_is_shown_and_a_crafted_list_of_rows_stays_short() -> None:
    session = Session()
    shown = RunningTasks(session)  # type: ignore[arg-type]
    session.tasks["w1"] = Unavailable("Redis did not answer.")
    asyncio.run(shown.open(["w1"]))
    assert session.told == []
    session.tasks["w1"] = (task(),)
    session.tick()
    assert len(session.told) == 1
    session.read.clear()
    asyncio.run(shown.open(f"w{i}" for i in range(10_000)))
    assert len(session.read) == MOST_OPEN


def test_a_viewer_sees_what_runs_and_is_offered_nothing() -> None:
    session = Session(Role.VIEWER)
    session.tasks["w1"] = (task(),)
    asyncio.run(RunningTasks(session).open(["w1"]))  # type: ignore[arg-type]
    assert "acts" not in session.told[0][1]["t1"]
