"""What ``--wait`` tells while it waits: each change at once, figures that only move now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from opsdash.cli import operations
from opsdash.model import Progress


def test_that_nobody_is_left_counts_once_it_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now_s=100.0)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now_s)
    monkeypatch.setattr(time, "sleep", lambda s: setattr(clock, "now_s", clock.now_s + s))
    gone, back = Progress(done=True, message="none is left", final=True), Progress(done=False, message="one runs")

    def ends(progress: Callable[[], Progress]) -> float:
        began_s = clock.now_s
        console, operation = SimpleNamespace(snapshot=lambda: None), SimpleNamespace(progress=lambda _: progress())
        assert operations._wait(cast(Any, console), cast(Any, operation), 60) == gone
        return float(clock.now_s - began_s)

    assert operations.AGREED_S <= ends(lambda: gone) < 7
    emptied_s = clock.now_s  # Redis; the worker has reported again four seconds later
    assert ends(lambda: back if 4 <= clock.now_s - emptied_s < 5 else gone) >= 5 + operations.AGREED_S


def test_figures_that_only_move_do_not_flood_a_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = SimpleNamespace(now_s=100.0)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now_s)
    monkeypatch.setattr(time, "sleep", lambda s: setattr(clock, "now_s", clock.now_s + s))

    def progress(_snapshot: object) -> Progress:
        passed_s = clock.now_s - 100.0
        who = "a" if passed_s < 25 else "b"
        return Progress(done=passed_s >= 29, message=f"{who} is silent for {passed_s:.0f}s", stage=who)

    console, operation = SimpleNamespace(snapshot=lambda: None), SimpleNamespace(progress=progress)
    made = operations._wait(cast(Any, console), cast(Any, operation), 60)
    assert made.done
    assert capsys.readouterr().err.splitlines() == [
        "a is silent for 0s", "a is silent for 10s", "a is silent for 20s", "b is silent for 25s"
    ]  # fmt: skip
