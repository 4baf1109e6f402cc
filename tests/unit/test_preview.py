"""What a preview is made of, whatever shows it."""

from __future__ import annotations

import pytest

from opsdash.model import Breakdown, Figure, Line, Part, Preview


def test_what_will_be_done_is_read_first_then_warnings_then_what_stays() -> None:
    lines = (Line("note", "n"), Line("will_not", "s1"), Line("warning", "w"), Line("will_not", "s2"), Line("will", "d"))
    assert [line.text for line in Preview(lines=lines).in_order] == ["d", "w", "s1", "s2", "n"]


def test_a_line_of_a_kind_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="kind: expected one of will, warning, will_not, note, got 'danger'"):
        Line("danger", "It burns.")


def test_a_figure_is_found_by_its_name() -> None:
    preview = Preview(figures=(Figure(name="waiting", value=3), Figure(name="held", value=None)))
    assert preview.figure("waiting").value == 3
    with pytest.raises(KeyError, match="running"):
        preview.figure("running")


def test_only_numbers_with_a_label_are_shown_to_people() -> None:
    shown = [
        Figure(name="a", label="a", value=0),
        Figure(name="a", label="a", value=1.5),
        Figure(name="a", value=1),
        Figure(name="a", label="a", value=None),
        Figure(name="a", label="a", value=True),
        Figure(name="a", label="a", value=("x",)),
    ]
    assert [figure.shown for figure in shown] == [True, True, False, False, False, False]


def test_the_audit_log_keeps_values_by_name_and_how_far_an_estimate_may_be_off() -> None:
    parts = (Part(name="shop.mail", value=200, error=12),)
    preview = Preview(
        figures=(
            Figure(name="matching", value=210, exactness="estimated", error=12),
            Figure(name="queues", value=("a",)),
        ),
        breakdowns=(
            Breakdown(name="by_task", parts=parts, exactness="estimated", others=Part(name="others", value=10)),
            Breakdown(name="by_priority", parts=(Part(name="0", value=210),)),
        ),
    )
    assert preview.values() == {
        "matching": 210,
        "matching_error": 12,
        "queues": ["a"],
        "by_task": {"shop.mail": 200, "others": 10},
        "by_task_error": {"shop.mail": 12},
        "by_priority": {"0": 210},
    }


def test_rows_that_find_no_room_are_one_row_with_their_sum() -> None:
    made_of = Breakdown(
        name="by_task",
        parts=tuple(Part(name=f"t{n}", value=10 - n) for n in range(5)),
        others=Part(name="others", value=3),
    )
    assert [(part.name, part.value) for part in made_of.first(3)] == [("t0", 10), ("t1", 9), ("4 others", 24)]
    assert made_of.first(6)[-1] == made_of.others
