"""docs/drills.md, typed as it stands: disasters on real servers, and what must be seen afterwards."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.blocks import ROOT, blocks
from support.services import Valkey, postgres_programs
from support.workers import worker

DRILLS = [block for block in blocks(ROOT / "docs" / "drills.md") if block.said == "drill"]
HEADINGS = re.findall(r"^## (.*)$", (ROOT / "docs" / "drills.md").read_text(), flags=re.MULTILINE)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_drill_ends_as_the_page_says(valkey: Valkey, postgres_url: str, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), str(postgres_programs()), os.environ["PATH"]]),
        "OPSDASH_REDIS_URL": valkey.url,
        "OPSDASH_DATABASE_URL": postgres_url.replace("+psycopg2", ""),  # as PostgreSQL's own programs take it
        "OPSDASH_SECRET_KEY": "a-key-of-the-documentation",
    }
    script = ["set -euo pipefail", *(f"echo '=== {number}'\n{block.text}" for number, block in enumerate(DRILLS))]
    with worker(queues=["celery"], env={"OPSDASH_REDIS_URL": valkey.url}):
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)],
            env=environment,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    assert done.returncode == 0, done.stdout
    _, fill, wrong, killed, unknown, database, broker, flag, backup, over = re.split(
        r"^=== \d+\n", done.stdout, flags=re.M
    )
    assert rows(fill) == rows(wrong) == rows(killed) == ["10,000"]
    assert "Cleared 10,000 tasks from drill" in wrong
    assert "clearing, not finished" in killed
    assert re.search(r"(?i)clear tasks .*unknown ", unknown)
    assert "Processing Status: PAUSED" in database
    assert "steps of the audit log wait in the outbox for the database" in database
    assert re.search(r"Resume Processing +success .*\n.*Pause Processing +success ", database)
    assert "The audit log is whole" in database
    assert broker.count("exit code 4") == 2
    assert "Nothing was changed" in broker
    assert "Processing Status: RUNNING" in flag
    assert "(outside opsdash)" in flag
    assert "is up to date" in backup
    assert "The audit log is whole" in backup
    assert "Cleared 10,000 tasks from drill" in over


def rows(said: str) -> list[str]:
    """What the last table of queues says of the drill's."""
    return re.findall(r"^drill +([\d,]+)", said, flags=re.MULTILINE)[-1:]


def test_the_page_has_a_drill_for_each_disaster_and_every_heading_has_commands() -> None:
    assert len(DRILLS) == len(HEADINGS) + 2  # the preparation before the first, and the killed console's second half
    assert len(HEADINGS) == 7
