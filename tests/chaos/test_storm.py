"""A minute of a storm on real servers: the steps of one seed, and all of its invariants."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from support import programs
from support.services import postgres_programs, provide, valkey_program

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_storm_of_a_minute_finds_everything_true(tmp_path: Path) -> None:
    provide("valkey", valkey_program)
    provide("postgres", postgres_programs)
    words = [sys.executable, "-m", "tests.chaos", "--seed", "1", "--minutes", "1", "--flush", "--json"]
    done = programs.run(words, cwd=ROOT, capture_output=True, text=True, timeout=380)
    assert done.returncode == 0, done.stderr[-20_000:]
    found = json.loads(done.stdout)
    assert found["end"] == "all was true"
    assert found["tasks"] > 50
    assert found["runs"] > 20
