"""The command that makes the table of figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.workers import ROOT


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_table_is_made_and_its_other_rows_stay(tmp_path: Path) -> None:
    (tmp_path / "RESULTS.md").write_text("# Before\n\n<!-- compare: begin -->\nold\n<!-- compare: end -->\nafter\n")

    def compare(*words: str) -> None:
        command = [sys.executable, "-m", "tests.benchmarks.compare", "--quick", "--output", str(tmp_path), *words]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)

    compare("--rows", "restore")
    compare("--rows", "retry", "--rounds", "1")
    compare("--rows", "retry", "--rounds", "2", "--append")
    text, found = (tmp_path / "RESULTS.md").read_text(), json.loads((tmp_path / "compare.json").read_text())["rows"]
    assert text.startswith("# Before\n")
    assert text.endswith("<!-- compare: end -->\nafter\n")
    assert "old" not in text
    assert all(f"| `{name}` |" in text for name in ("restore", "restore-stall", "retry"))
    by = {one["name"]: one for one in found["retry"]["contestants"]}
    assert len(by["opsdash"]["values"]) == 3
    assert by["RQ"]["values"] or by["RQ"]["why"]
    assert by["Celery"]["why"] == "does not"
