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
from support.services import Valkey
from support.workers import eventually, producer

from opsdash.services.console import Console
from opsdash.views.components import RowAction

TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")


CARDS = re.findall(r"<!-- tested: card -->\n```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def card_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Gives a class that the text shows, from a module of its own: Param looks annotations up by its name."""

    def load(name: str) -> Any:
        (text,) = [one for one in CARDS if f"class {name}(View)" in one]
        assert text.count("\n") <= 60
        module = ModuleType(f"card_{name.lower()}")
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(text, f"{name}.py", "exec"), module.__dict__)
        return getattr(module, name)

    return load


def test_the_card_of_the_guide_shows_the_longest_waits_and_pauses_one(
    console_for: Callable[..., Console], sqlite_url: str, card_of: Callable[[str], Any]
) -> None:
    ops = console_for(database_url=sqlite_url, queues=("celery", "emails"))
    with producer(ops.settings.redis_url) as app:
        app.send_task("sample.short", [1], queue="emails")

    def known() -> bool:  # how old a task is may not be known at the first look
        return any(queue.oldest_s for queue in ops.poller.refresh().queues)

    eventually(known, what="the age of the oldest task")
    widget = card_of("LongestWaits")(ops, queue="emails")
    widget.get_root()
    assert [(row["key"], [act[0] for act in row["acts"]]) for row in widget._table.rows] == [
        ("emails", ["pause_processing"])
    ]
    asyncio.run(widget._act(RowAction("emails", "pause_processing")))
    assert widget._dialog.pending.operation.heading() == "Pause queue emails"


def test_the_card_of_the_guide_that_reads_redis_itself_says_its_memory_and_why_it_cannot(
    console_for: Callable[..., Console], sqlite_url: str, valkey: Valkey, card_of: Callable[[str], Any]
) -> None:
    ops = console_for(database_url=sqlite_url, queues=("celery",))
    widget = card_of("RedisMemory")(ops)
    widget.get_root()
    ((tone, used),) = widget._card.lines
    assert tone == "big"
    assert re.fullmatch(r"[\d.]+[BKMG]", used)
    valkey.stop()
    widget._read_soon()
    ((tone, why),) = widget._card.lines
    assert tone == "bad"
    assert "did not answer" in why
