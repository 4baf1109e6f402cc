"""What a dialog shows of a preview: no figure of nothing, no sentence that says a figure again."""

from __future__ import annotations

from opsdash.model import Breakdown, Figure, Line, Part, Preview
from opsdash.operations import RetryFailed
from opsdash.views.form import review


def shown(*figures: tuple[str, int], parts: tuple[Part, ...] = ()) -> tuple[list[str], list[str]]:
    preview = Preview(
        lines=(
            Line("will", "All go.", repeats=("waiting", "running")),
            Line("note", "By kind.", repeats=("kinds",)),
            Line("will_not", "Some stay."),
        ),
        figures=tuple(Figure(name=name, label=name, value=value) for name, value in figures),
        breakdowns=(Breakdown(name="kinds", label="Kinds", parts=parts),),
    )
    told = review(preview)
    return [label for *_, label in told["figures"]], [text for _, text in told["lines"]]


def test_a_sentence_goes_where_the_tiles_and_the_bar_say_all_of_it() -> None:
    assert shown(("waiting", 3), ("running", 0), parts=(Part(name="a", value=3),)) == (["waiting"], ["Some stay."])


def test_a_sentence_names_the_box_that_changes_it() -> None:
    preview = Preview(lines=(Line("will_not", "1 is of chords: c.", choice="include_chords"), Line("note", "All.")))
    assert [text for _, text in review(preview, RetryFailed(task="*"))["lines"]] == [
        "1 is of chords: c. To change that, tick “Send members of chords too”.",
        "All.",
    ]


def test_a_sentence_stays_where_no_tile_says_it() -> None:
    assert shown(("waiting", 0), ("running", 0)) == ([], ["All go.", "Some stay.", "By kind."])
    assert shown(("waiting", 3))[1] == ["All go.", "Some stay.", "By kind."]  # running is not among the figures
