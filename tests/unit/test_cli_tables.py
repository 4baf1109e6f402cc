"""Tables of the command line on narrow terminals: which columns give way, and that nothing is cut without a mark."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import pytest
from rich.console import Console as Screen

from opsdash.cli.output import table
from opsdash.cli.summary import queue_table
from opsdash.model import QueueStats

COLUMNS = ["Worker", "State", "Uptime", "Load", "Pause"]
ROWS = [
    ("worker-with-a-long-name@a-machine-of-theirs", "online", "2h 34m 12s", "0.50", "paused: emails, celery"),
    ("w2@host", "silent for 3m 12s", "1m", "-", "-"),
]


def drawn(width: int, columns: Sequence[str] = COLUMNS, rows: Any = ROWS, **options: Any) -> list[str]:
    screen = Screen(width=width, file=io.StringIO())
    with screen.capture() as shown:
        screen.print(table(columns, rows, empty="nothing", **options))
    return shown.get().splitlines()


@pytest.mark.parametrize("width", [60, 80])
def test_columns_give_way_in_their_order_and_names_stay_whole(width: int) -> None:
    lines = drawn(width, wraps=("Pause",), gives_way=("Load", "Uptime", "State"))
    assert all(len(line) <= width for line in lines)
    assert any("worker-with-a-long-name@a-machine-of-theirs" in line for line in lines)
    assert "Load" not in lines[0]
    assert lines[-1].startswith("Not shown, for lack of room: Load")
    assert not any("…" in line for line in lines)
    text = " ".join(" ".join(lines).split())
    assert "paused: emails," in text


def test_where_there_is_room_everything_is_shown() -> None:
    lines = drawn(200, gives_way=("Load",))
    assert lines[0].split() == COLUMNS
    assert "Not shown" not in "".join(lines)


def test_what_fits_nowhere_is_cut_with_a_mark() -> None:
    lines = drawn(30, ["Queue", "Tasks"], [("q" * 100, 5)], gives_way=("Tasks",))
    assert all(len(line) <= 30 for line in lines)
    assert any("qqq…" in line for line in lines)


def test_words_are_not_broken_to_go_on_in_the_next_line() -> None:
    details = "Cleared 1,204 tasks from the queue emails. Reason: the template of the newsletter was wrong"
    lines = drawn(60, ["Time", "Details"], [("2026-11-28 09:00:00", details)], wraps=("Details",))
    words = " ".join(lines[2:]).split()
    assert (
        " ".join(words).removeprefix("2026-11-28 09:00:00 ").replace("2026-11-28 09:00:00", "").split()
        == details.split()
    )


def test_the_queues_keep_their_names_counts_and_states_at_sixty_columns() -> None:
    name = "a-queue-with-quite-a-long-name-of-30"
    queue = QueueStats(name=name, waiting=1_204, by_priority={0: 1_000, 3: 100, 6: 4, 9: 100}, oldest_s=7_300.0)
    screen = Screen(width=60, file=io.StringIO())
    with screen.capture() as shown:
        screen.print(queue_table((queue,)))
    text = shown.get()
    assert name in text
    assert "1,204" in text
    assert "running" in text
    assert "Not shown, for lack of room: By priority" in text
