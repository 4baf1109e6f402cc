"""The card that CONTRIBUTING adds works as it is written there."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from support.workers import eventually, producer

from opsdash.services.console import Console
from opsdash.views.components import RowAction

TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module that the text shows; Param looks its annotations up by its name."""
    (text,) = re.findall(r"<!-- tested: card -->\n```python\n(.*?)```", TEXT, re.DOTALL)
    assert text.count("\n") <= 60
    module = ModuleType("longest_waits")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(text, "longest_waits.py", "exec"), module.__dict__)
    return module


def test_the_card_of_the_guide_shows_the_longest_waits_and_pauses_one(
    console_for: Callable[..., Console], sqlite_url: str, card: Any
) -> None:
    ops = console_for(database_url=sqlite_url, queues=("celery", "emails"))
    with producer(ops.settings.redis_url) as app:
        app.send_task("sample.short", [1], queue="emails")

    def known() -> bool:  # how old a task is may not be known at the first look
        return any(queue.oldest_s for queue in ops.poller.refresh().queues)

    eventually(known, what="the age of the oldest task")
    widget = card.LongestWaits(ops, queue="emails")
    widget.get_root()
    assert [(row["key"], [act[0] for act in row["acts"]]) for row in widget._table.rows] == [
        ("emails", ["pause_processing"])
    ]
    asyncio.run(widget._act(RowAction("emails", "pause_processing")))
    assert widget._dialog.pending.operation.heading() == "Pause queue emails"
