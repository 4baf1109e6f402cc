"""The pages about runs: each of their commands, in its order, as an operator would type them."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.blocks import ROOT, Block, blocks
from support.deployment import deploy
from support.services import Valkey
from support.workers import eventually, worker

from opsdash.services.console import Console

DEPLOYING = blocks(ROOT / "docs" / "deploying-with-opsdash.md")
INCIDENT = blocks(ROOT / "docs" / "incident.md")


def of(page: list[Block], said: str, language: str = "sh") -> str:
    return "\n".join(block.text for block in page if (block.said, block.language) == (said, language))


@pytest.fixture
def typed(console_for: Callable[..., Console], valkey: Valkey, tmp_path: Path) -> Callable[[str], str]:
    console = console_for()

    def run(script: str) -> str:
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OPSDASH_REDIS_URL": console.settings.redis_url,
            "OPSDASH_DATABASE_URL": console.settings.database_url,
            "OPSDASH_SECRET_KEY": console.settings.secret_key or "",
            "OPSDASH_RUNBOOKS": str(tmp_path / "runbooks.toml"),
            "OPSDASH_PAGE_URL": "https://ops.example.com/operations",
        }
        (tmp_path / "runbooks.toml").write_text(of(DEPLOYING, "runbooks", "toml"))
        (tmp_path / "Makefile").write_text("release:\n\t@echo released\n")
        with deploy(valkey) as deployment, worker(pool="threads", env=deployment.env):
            eventually(console.get_active_workers, what="the worker reports")
            done = subprocess.run(
                ["bash", "-c", f"set -e\n{script}"],
                env=environment,
                cwd=tmp_path,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        assert done.returncode == 0, done.stdout
        assert "Traceback" not in done.stdout
        return done.stdout

    return run


def test_every_block_of_the_pages_is_run_here() -> None:
    assert {block.said for block in DEPLOYING if block.mark != "parsed"} == {"deploying", "broken", "runbooks"}
    assert {block.said for block in INCIDENT} == {"incident"}


@pytest.mark.long
def test_the_commands_of_a_deployment_and_of_a_team_s_runbook(typed: Callable[[str], str]) -> None:
    said = typed(of(DEPLOYING, "deploying") + of(DEPLOYING, "runbooks"))
    assert "Runs here, without a shell: make release" in said
    assert re.search(r"^released$", said, flags=re.MULTILINE)
    assert "Resumed all processing" in said
    assert "Resumed queue celery" in said
    assert "Noted: Index rebuilt for OPS-7." in said


@pytest.mark.slow
def test_a_run_that_breaks_off_is_rolled_back_as_the_page_says(typed: Callable[[str], str]) -> None:
    said = typed(of(DEPLOYING, "broken"))
    assert "left behind" in said
    assert "Resumed all processing" in said


@pytest.mark.long
def test_the_commands_of_an_incident(typed: Callable[[str], str], tmp_path: Path) -> None:
    said = typed(of(INCIDENT, "incident"))
    assert "Processing Status: PAUSED" in said
    assert said.rindex("Processing Status: RUNNING") > said.index("Processing Status: PAUSED")
    assert "https://ops.example.com/operations" in said
    assert "seen by the night shift" in said
    assert stat.S_IMODE((tmp_path / "incident.json").stat().st_mode) == 0o600
    assert json.loads((tmp_path / "incident.json").read_text())["reason"] == "payments are charged twice"
