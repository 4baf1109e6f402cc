"""A report stays small, whatever whoever sends a task has called it."""

from __future__ import annotations

import json
import os
import time
from types import SimpleNamespace
from typing import Any

import pytest

from opsdash.worker import health


def request(task_id: str, name: str = "orders.send", queue: str | None = "emails", ran_s: float = 3.0) -> Any:
    info = {"routing_key": queue}
    return SimpleNamespace(
        id=task_id, name=name, time_start=time.time() - ran_s, message=SimpleNamespace(delivery_info=info)
    )


def test_a_running_task_is_told_by_id_name_queue_and_for_how_long() -> None:
    assert json.loads(health.running_json([request("a", ran_s=2.04), request("b", queue=None, ran_s=-5)])) == [
        ["a", "orders.send", "emails", pytest.approx(2.0, abs=0.11)],
        ["b", "orders.send", "", 0.0],  # the clock was set back
    ]


def test_of_more_than_twenty_the_first_twenty_are_told() -> None:
    tasks = json.loads(health.running_json(request(str(n)) for n in range(30)))
    assert [task[0] for task in tasks] == [str(n) for n in range(20)]


@pytest.mark.parametrize("letter", ["x", "\0", "é", "\N{PILE OF POO}", "\ud800", '"'])
def test_long_and_odd_names_leave_a_report_small_and_sendable(letter: str) -> None:
    text = health.running_json(request(letter * 10_000, letter * 10_000, letter * 10_000) for _ in range(20))
    assert len(text.encode()) <= health.MOST_BYTES
    assert json.loads(text)[0][0] == letter * health.LONG


def test_a_system_without_a_load_average_leaves_it_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert float(health.load()) >= 0

    def unknown() -> None:
        raise OSError

    monkeypatch.setattr(os, "getloadavg", unknown)
    assert health.load() == ""
    monkeypatch.delattr(os, "getloadavg")
    assert health.load() == ""
