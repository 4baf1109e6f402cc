"""The scale runs, at sizes that take seconds: each dimension is measured, kept and drawn."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from support import programs
from support.workers import ROOT

MARKS = "before\n<!-- workers: begin -->\nold\n<!-- workers: end -->\nafter\n"


def scale(folder: Path, *words: str) -> None:
    command = [sys.executable, "-m", "tests.benchmarks.scale", "--output", str(folder), *words]
    programs.run(command, cwd=ROOT, check=True, capture_output=True, text=True)


@pytest.mark.long
@pytest.mark.timeout(300)
def test_workers_and_messages_are_measured_and_drawn_and_what_was_measured_before_stays(tmp_path: Path) -> None:
    (tmp_path / "scale.md").write_text(MARKS)
    scale(tmp_path, "--only", "workers", "--quick")
    scale(tmp_path, "--only", "messages", "--sizes", "200")
    found = json.loads((tmp_path / "scale.json").read_text())
    assert list(found) == ["workers", "messages"]
    assert found["workers"]["points"]["2"]["pause, the console says safe, ms"] > 0
    assert found["messages"]["points"]["200"]["console's memory, MB"] > 0
    text = (tmp_path / "scale.md").read_text()
    assert text.startswith("before\n<!-- workers: begin -->\n\nMeasured ")
    assert text.endswith("<!-- workers: end -->\nafter\n")
    assert "old" not in text
    assert (tmp_path / "scale-workers.svg").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_dimension_is_measured(tmp_path: Path) -> None:
    scale(tmp_path, "--quick")
    assert len(json.loads((tmp_path / "scale.json").read_text())) == 6
