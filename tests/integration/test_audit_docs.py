"""The page about the audit log: each of its commands, in its order, as an operator would type them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import opsdash
from opsdash.services.console import Console

PAGE = Path(__file__).parents[2] / "docs" / "audit.md"
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_every_command_of_the_page_runs_and_the_drill_finds_what_was_done(
    console_for: Callable[..., Console], tmp_path: Path
) -> None:
    console = console_for(queues=("celery", "emails"))
    console.run(opsdash.PauseProcessing(), actor="maria", confirm="YES")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "OPSDASH_REDIS_URL": console.settings.redis_url,
        "OPSDASH_DATABASE_URL": console.settings.database_url,
        "OPSDASH_SECRET_KEY": console.settings.secret_key or "",
        "OPSDASH_QUEUES": "celery,emails",
    }
    script = "set -e\n" + "\n".join(BLOCKS)
    done = subprocess.run(["bash", "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("The audit log is whole") == 4
    assert "There are no pending approvals." in done.stdout
    assert re.search(r"Changed: entry \d+ \(.*resume_processing by mallory", done.stdout)
    assert done.stdout.rstrip().endswith("found, exit code 3")
    for written in ("audit.jsonl", "audit.csv", "audit-before.csv", "audit-heads.txt"):
        assert (tmp_path / written).exists()
