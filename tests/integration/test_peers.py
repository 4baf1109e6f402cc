"""Other deployments, read from consoles that are served in their own processes; one of them is killed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import programs
from support.blocks import ROOT, blocks
from support.deployment import deploy
from support.served import serving
from support.services import Valkey, free_port
from support.workers import eventually, worker

import opsdash
from opsdash.config.peers import peers
from opsdash.config.settings import Settings
from opsdash.services.console import Console
from opsdash.services.peers import peers as reading
from opsdash.views.peers import OtherDeployments

TOKEN = "viewer-token-of-the-overview"
OPERATOR = "operator-token-0123456789"


@contextmanager
def served(console: Console, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """``opsdash serve`` in its own process."""
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OPSDASH_REDIS_URL": console.settings.redis_url,
        "OPSDASH_DATABASE_URL": console.settings.database_url,
        "OPSDASH_SECRET_KEY": console.settings.secret_key or "",
        "OPSDASH_AUTH": "dev",
        "OPSDASH_API_TOKENS": f"overview:viewer:{TOKEN}",
    }
    command = [sys.executable, "-m", "opsdash", "serve", "--port", str(port)]
    with programs.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            eventually(lambda: _answers(port), timeout_s=60, what="the console answers")
            yield running
        finally:
            running.kill()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@pytest.mark.long
def test_two_consoles_are_an_overview_and_one_that_is_killed_is_stale_and_never_zero(
    console_for: Callable[..., Console], valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "EVERY_S", 0.3)
    monkeypatch.setattr("opsdash.model.peer.STALE_S", 2.0)
    first, second = free_port(), free_port()
    named = f"eu=http://127.0.0.1:{first}:{TOKEN},us=http://127.0.0.1:{second}:{TOKEN},gone=http://127.0.0.1:1:{TOKEN}"
    here = console_for(
        peers=peers(named), api_tokens=Settings.from_env({"OPSDASH_API_TOKENS": f"bot:viewer:{OPERATOR}"}).api_tokens
    )
    with (
        deploy(valkey) as deployment,
        worker(pool="threads", env=deployment.env),
        served(here, first) as doomed,
        served(here, second),
    ):
        eventually(here.get_active_workers, what="the worker reports")
        here.run(opsdash.PauseProcessing(), actor="maria", confirm="YES")
        deployment.send(3)

        def known() -> bool:
            eu, us, gone = here.peers.read(wait_s=5)
            return eu.waiting == us.waiting == 3 and eu.verdict == "held" and gone.error != ""

        eventually(known, timeout_s=30, what="both are read")
        eu, us, gone = here.peers.read()
        assert (eu.state, eu.workers, eu.failures, eu.error) == ("paused", 1, 0, "")
        assert (gone.state, gone.waiting, gone.workers, gone.failures) == ("unknown", None, None, None)
        widget = OtherDeployments(here)
        widget.get_root()
        eventually(lambda: widget._table is not None, what="the widget is made")
        assert [row["name"] for row in widget._table.rows] == ["eu", "us", "gone"]

        doomed.kill()
        doomed.wait(10)
        eventually(lambda: here.peers.read()[0].stale() and not here.peers.read()[1].stale(), timeout_s=15)
        eu, us, _ = here.peers.read()
        assert (eu.waiting, eu.error) == (3, "it can't be reached"), "its last figures stay"
        assert us.error == ""
        widget._show()
        (row,) = [row for row in widget._table.rows if row["key"] == "eu"]
        assert row["state"][1] == "stale"
        assert row["waiting"] == 3
        widget.close()

        with serving(here, token=OPERATOR) as client:
            told = client.get("/api/v1/peers").json["peers"]
            assert [(one["name"], one["stale"]) for one in told] == [("eu", True), ("us", False), ("gone", True)]
            assert TOKEN not in json.dumps(told)
            assert client.get("/api/v1/peers", token="x" * 20).status == 401

        page = [block.text for block in blocks(ROOT / "docs" / "several-deployments.md") if block.said == "peers"]
        env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OPSDASH_PEERS": named,
            "OPSDASH_DATABASE_URL": f"sqlite:///{tmp_path}/none.sqlite3",
            "OPSDASH_REDIS_URL": "redis://127.0.0.1:1/0",  # this console's own may be down
        }
        typed = subprocess.run(["bash", "-ec", "\n".join(page)], env=env, capture_output=True, text=True, cwd=tmp_path)
        assert typed.returncode == 0, typed.stderr
        assert re.search(r"^us +paused +3 +\S.* 1 +0 +held ", typed.stdout, flags=re.MULTILINE), typed.stdout
        assert re.search(r"^eu +unknown +- ", typed.stdout, flags=re.MULTILINE)
        assert "eu: it can't be reached" in typed.stderr
        assert TOKEN not in typed.stdout + typed.stderr
