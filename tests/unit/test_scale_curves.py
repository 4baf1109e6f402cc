"""The curves of the scale runs: how they say a figure grows, their table and their picture."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest
from benchmarks.scale import plot
from benchmarks.scale.curves import Curve, medians, number, table
from benchmarks.scale.light_workers import served_by

CURVE = Curve(
    "workers",
    {
        10: {"snapshot, ms": 5.0, "memory, MB": 100.0},
        100: {"snapshot, ms": 14.0, "memory, MB": 100.0},
        1_000: {"snapshot, ms": 140.0, "memory, MB": 100.0, "late, ms": 7.0},
        10_000: {"snapshot, ms": 1_400.0, "memory, MB": 100.0},
    },
    {"date": "2026-11-29"},
)


def test_growth_is_that_of_the_large_end_where_what_is_there_anyway_hides_nothing() -> None:
    assert CURVE.growth("snapshot, ms") == pytest.approx(1.0)
    assert CURVE.growth("memory, MB") == pytest.approx(0.0)
    assert CURVE.growth("late, ms") is None


def test_a_table_has_a_row_for_each_figure_and_nothing_where_nothing_was_measured() -> None:
    lines = table(CURVE).splitlines()
    assert lines[0] == "|  | 10 | 100 | 1,000 | 10,000 | grows as |"
    assert lines[2] == "| snapshot, ms | 5.00 | 14.0 | 140 | 1,400 | size^1.0 |"
    assert lines[4] == "| late, ms |  |  | 7.00 |  |  |"


@pytest.mark.parametrize(("value", "shown"), [(0, "0"), (0.0123, "0.0123"), (4.567, "4.57"), (1234.5, "1,234")])
def test_a_number_has_three_digits_that_count(value: float, shown: str) -> None:
    assert number(value) == shown


def test_a_curve_comes_back_from_its_file_as_it_was() -> None:
    assert Curve.from_plain("workers", CURVE.to_plain()) == CURVE


def test_rounds_become_their_medians() -> None:
    assert medians([{"a": 1.0}, {"a": 9.0, "b": 2.0}, {"a": 3.0}]) == {"a": 3.0, "b": 2.0}


def test_a_picture_is_well_formed_names_its_lines_and_follows_the_readers_theme() -> None:
    drawn = plot.picture(CURVE)
    words = [one.text or "" for one in ET.fromstring(drawn).iter("{http://www.w3.org/2000/svg}text")]
    assert "snapshot: 1,400 ms" in words
    assert not any("memory" in one for one in words)
    assert "prefers-color-scheme:dark" in drawn


def test_names_at_the_ends_of_lines_do_not_stand_on_one_another() -> None:
    places = sorted(plot._apart(dict(zip("abcdefgh", [30, 31, 32, 33, 370, 371, 372, 380], strict=True))).values())
    assert all(low + plot.LINE_PX <= high + 1e-6 for low, high in pairwise(places))
    assert places[-1] <= plot.HEIGHT - plot.BOTTOM


def test_light_workers_leave_no_queue_without_one() -> None:
    served = [served_by(number, 20, 3) for number in range(10)]
    assert {queue for queues in served for queue in queues} == {f"queue{number:03}" for number in range(20)}
    assert all(len(set(queues)) == 3 for queues in served)
