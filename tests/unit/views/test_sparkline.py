"""The small lines: what is drawn of some points, and what their title says."""

from __future__ import annotations

import pytest

from opsdash.views.components import sparkline


@pytest.mark.parametrize("points", [[], [[0, 1]], [[0], [10]], [[0, 5], [10]]])
def test_fewer_than_two_values_make_no_line(points: list[list[float]]) -> None:
    assert sparkline(points) is None


def test_a_line_goes_from_edge_to_edge_and_its_title_says_least_and_most() -> None:
    line, area, title = sparkline([[0, 0], [10, 2], [20, 4.5]]) or ["", "", ""]
    assert line == "M1.0 26.0L48.0 15.3L95.0 2.0"
    assert area == f"M1.0 28L{line[1:]}L95.0 28Z"
    assert title == "20s: least 0, most 4.5"


@pytest.mark.parametrize(
    "points",
    [
        [[0, 1], [10, 1], [20], [30, 1], [40, 1]],  # nobody could read it at 20
        [[0, 1], [10, 1], [100, 1], [110, 1]],  # no console ran in between
    ],
)
def test_a_missing_value_and_a_missing_time_are_gaps(points: list[list[float]]) -> None:
    line, area, _ = sparkline(points) or ["", "", ""]
    assert line.count("M") == area.count("M") == 2


def test_a_single_value_between_gaps_is_a_dot_and_zeros_lie_on_the_ground() -> None:
    line, _, title = sparkline([[0, 0], [10], [20, 0]]) or ["", "", ""]
    assert line == "M1.0 26.0L1.0 26.0M95.0 26.0L95.0 26.0"
    assert title.endswith("least 0, most 0")
