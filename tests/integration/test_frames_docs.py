"""The recipes of docs/frames.md, on a day of history with one pause in it."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from support.blocks import ROOT, blocks

from opsdash.services.console import Console

MINUTE_MS = 60_000
PAGE = blocks(ROOT / "docs" / "frames.md")


@pytest.fixture
def day(console_for: Callable[..., Console], sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Ten hours of points, a pause of emails of 30 minutes in it and an hour later no points for ten minutes.

    Gives the beginning of the pause, in ms.
    """
    with closing(console_for(database_url=sqlite_url, queues=("celery", "emails"))) as ops:
        now = int(time.time() * 1000) // MINUTE_MS * MINUTE_MS
        for minute in range(600, 0, -1):
            if 200 < minute <= 210:
                continue
            paused = 270 < minute <= 300
            queues = {"celery": [0, 1.5], "emails": [minute, 0.0 if paused else 12.5]}
            point = json.dumps({"queues": queues, "paused": ["emails"] if paused else []})
            ops.broker.client.xadd(ops.broker.keys.history("1m"), {"point": point}, id=f"{now - minute * MINUTE_MS}-0")
        monkeypatch.setenv("OPSDASH_REDIS_URL", ops.settings.redis_url)
        monkeypatch.setenv("OPSDASH_DATABASE_URL", sqlite_url)
        monkeypatch.setenv("OPSDASH_QUEUES", "celery,emails")
        yield now - 300 * MINUTE_MS


def recipe(*marks: str) -> str:
    return "\n".join(block.text for block in PAGE if block.mark == "tested" and block.said in marks)


def test_the_recipes_say_when_a_queue_was_paused_and_what_it_did_meanwhile(day: int) -> None:
    space: dict[str, Any] = {}
    exec(compile(recipe("frames"), "frames.md", "exec"), space)
    space["ops"].close()
    begin = pd.Timestamp(day, unit="ms", tz="UTC")
    assert space["pauses"].values.tolist() == [[begin, begin + pd.Timedelta("30min")]]
    throughput = space["throughput"]
    assert throughput[begin : begin + pd.Timedelta("29min")].tolist() == [0.0] * 30
    assert int(throughput.isna().sum()) == 10  # nobody looked: a gap, and no line through it


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("hvplot") is None, reason="hvplot is not installed")
def test_the_recipe_draws_the_pauses_over_the_throughput(day: int, tmp_path: Path) -> None:
    code = recipe("frames", "hvplot") + "\nops.close()\nprint(len(plot))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)  # it loads Panel
    assert (done.returncode, done.stdout.strip()) == (0, "2"), done.stderr
    assert "VSpan" in (tmp_path / "pauses.html").read_text()


def test_the_page_names_the_columns_and_dtypes_that_the_frames_have(
    console_for: Callable[..., Console], sqlite_url: str
) -> None:
    rows = [line for line in (ROOT / "docs" / "frames.md").read_text().splitlines() if line.startswith("| `ops.")]
    ops = console_for(database_url=sqlite_url)
    frames = {"audit.to_frame": ops.audit.to_frame(details=True)}
    frames["failed.entries_to_frame"] = ops.failed.entries_to_frame()
    for name in ("history", "queues", "workers", "trash", "failed", "tenants"):
        frames[f"{name}.to_frame"] = getattr(ops, name).to_frame()
    assert len(rows) == len(frames)
    for row in rows:
        name = row.split("`ops.")[1].split("(")[0]
        missing = [] if "and more" in row else [one for one in frames[name].columns if f"`{one}`" not in row]
        assert missing == [], name
