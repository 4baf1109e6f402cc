"""The table of figures: its arithmetic, its Markdown, and the order of its rounds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from benchmarks.compare import runner, table
from benchmarks.compare.table import Measured, Row


def row(*contestants: Measured, more: bool = False, **given: Any) -> Row:
    own = Measured("opsdash", "opsdash", "audited", (2.0, 4.0, 3.0))
    return Row("clear", "a queue", "ms", more, (own, *contestants), date="2026-11-29", **given)


def test_a_ratio_is_how_many_times_as_good_opsdash_is_in_the_same_round() -> None:
    slow, fast = Measured("slow", "rival", values=(4.0, 40.0, 9.0)), Measured("fast", "rival", values=(1.0, 1.0, 3.0))
    assert row(slow).ratio(slow) == 3
    assert row(fast).ratio(fast) == 0.5
    assert row(fast, more=True).ratio(fast) == 2


def test_there_is_no_ratio_to_nothing() -> None:
    nothing, zero = Measured("a", "rival"), Measured("b", "limit", values=(0.0, 0.0, 0.0))
    assert row(nothing).ratio(nothing) is None
    assert row(zero, more=True).ratio(zero) is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (1234567.8, "1,234,568"), (12.345, "12.3"), (1.2345, "1.23"), (0.12345, "0.123"), (0.0123, "0.012")],
)
def test_a_number_has_three_digits_that_count(value: float, shown: str) -> None:
    assert table.number(value) == shown


def test_a_figure_has_its_spread_unless_it_is_always_the_same() -> None:
    assert table.spread((3.0, 1.0, 2.0), "ms") == "2.00 ms (1.00 to 3.00)"
    assert table.spread((5.0, 5.0), "MB") == "5.00 MB"


def test_the_table_says_who_does_not_do_it_and_where_another_one_is_better() -> None:
    others = [
        Measured("RQ", "rival", "`empty()`", (1.0, 1.0, 1.0)),
        Measured("Huey", "rival", why="does not"),
        Measured("Taskiq", "rival", why="does not"),
        Measured("Flower", "rival", why="did not install: no | network"),
        Measured("", "limit", "`DEL`", (6.0, 8.0, 9.0)),
    ]
    text = table.markdown([row(*others, load=(1.0, 2.5), versions={"rq": "3.0.0", "celery": "5.7.0"})])
    assert text.splitlines()[0] == "celery 5.7.0, rq 3.0.0."
    assert text.splitlines()[-1] == "Where a rival is better, and how many times: `clear` RQ 3.00."
    assert text.splitlines()[-3] == (
        "| `clear` | a queue | 3.00 ms (2.00 to 4.00), audited |"
        " RQ 1.00 ms, `empty()`: **0.333**<br>Huey, Taskiq: does not<br>Flower: did not install: no \\| network |"
        " 8.00 ms (6.00 to 9.00), `DEL`: 3.00 | 3; 1.0 to 2.5; 2026-11-29 |"
    )


def test_what_was_lost_is_named_worst_first() -> None:
    rivals = [Measured(str(value), "rival", values=(value,) * 3) for value in (1.5, 1.0, 9.0)]
    assert [(name, ratio) for _, name, ratio in table.lost([row(*rivals)])] == [("1.0", 1 / 3), ("1.5", 0.5)]


def test_a_row_is_the_same_after_the_file() -> None:
    before = row(Measured("RQ", "rival", values=(1.0,)), load=(1.0, 2.0), versions={"rq": "3.0.0"})
    assert Row.from_plain("clear", before.to_plain()) == before


def test_later_rounds_come_behind_the_earlier_ones() -> None:
    first = row(Measured("RQ", "rival", values=(1.0,)), load=(1.0, 1.4))
    joined = first.more_rounds(row(Measured("RQ", "rival", values=(5.0,)), Measured("new", "rival"), load=(1.2, 2.0)))
    assert [one.values for one in joined.contestants] == [(2.0, 4.0, 3.0) * 2, (1.0, 5.0), ()]
    assert joined.load == (1.0, 2.0)


class Contest:
    """Contestants that note when it was their turn."""

    def __init__(self, **kinds: str) -> None:
        self.turns: list[str] = []
        self.work = SimpleNamespace(figures=[SimpleNamespace(name="time")], warm=False)
        self.contestants: list[Any] = [
            SimpleNamespace(name=name, kind=kind, how="", why="", only="", once=lambda name=name: self.turn(name))
            for name, kind in kinds.items()
        ]

    def turn(self, name: str) -> dict[str, float]:
        self.turns.append(name)
        if name == "broken":
            raise RuntimeError("on\npurpose")
        return {"time": float(len(self.turns))}

    def run(self, rounds: int) -> Any:
        loads = iter([2.0, 1.0, 3.0, 2.5, 2.5])
        return runner.measured(self.work, self.contestants, rounds, load=lambda: [next(loads)])


def test_every_other_round_runs_the_other_way() -> None:
    contest = Contest(a="opsdash", b="rival", c="limit")
    taken, load = contest.run(3)
    assert "".join(contest.turns) == "abccbaabc"
    assert [one.values for one in taken["time"]] == [(1, 6, 7), (2, 5, 8), (3, 4, 9)]
    assert load == (1.0, 3.0)


def test_the_first_round_of_what_has_to_warm_up_does_not_count() -> None:
    contest = Contest(a="opsdash", b="rival")
    contest.work.warm = True
    taken, _ = contest.run(1)
    assert "".join(contest.turns) == "baab"
    assert [one.values for one in taken["time"]] == [(3,), (4,)]


def test_a_rival_that_fails_is_left_out_and_the_reason_kept() -> None:
    contest = Contest(a="opsdash", broken="rival")
    taken, _ = contest.run(3)
    assert contest.turns == ["a", "broken", "a", "a"]
    assert taken["time"][1] == Measured("broken", "rival", why="failed: RuntimeError on purpose")


def test_a_failure_of_opsdash_is_none_of_the_table() -> None:
    with pytest.raises(RuntimeError, match="purpose"):
        Contest(broken="opsdash").run(1)
