"""The dialog's fields: from the operation's declaration, and back from what a browser sent."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.errors import Invalid
from opsdash.model import Breakdown, Figure, Line, Part, Preview
from opsdash.operation import registry
from opsdash.operations import ClearQueue, ClearTasks, PauseProcessing, RetryFailed, RevokeTask, SyncTenantConfigs
from opsdash.views.form import MAX_LABEL, about, asked_for, button_label, fields, filled, in_words, review

ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text(), max_size=2)


def preview(*choices: str) -> Preview:
    return Preview(title="Pause", warning="It stops.", lines=(), choices=choices)


def test_the_dialog_asks_for_duration_and_reason_and_for_a_choice_only_when_it_matters() -> None:
    assert [field["name"] for field in fields(PauseProcessing(), preview())] == ["duration_s", "reason"]
    shown = fields(PauseProcessing(), preview("cancel_consumer"))
    assert [(field["name"], field["kind"]) for field in shown][1:] == [("cancel_consumer", "flag"), ("reason", "text")]


def test_what_was_filled_in_becomes_the_operations_arguments_and_an_empty_field_changes_nothing() -> None:
    values = {"duration_s": " 1h30m ", "reason": " fire ", "cancel_consumer": True}
    operation = filled(PauseProcessing(queue="emails"), values)
    assert operation == PauseProcessing(queue="emails", duration_s=5400, reason="fire", cancel_consumer=True)
    assert filled(PauseProcessing(duration_s=60), {"duration_s": "  "}) == PauseProcessing(duration_s=60)


@pytest.mark.parametrize(
    ("values", "field", "shown"),
    [
        ({"duration_s": "soon"}, "duration_s", "Ends after: 'soon' is not a duration"),
        ({"reason": "x" * 1001}, "reason", "Reason: at most 1,000 characters"),
    ],
)
def test_what_can_not_be_taken_is_refused_by_the_fields_name_and_shown_by_its_label(
    values: dict[str, Any], field: str, shown: str
) -> None:
    with pytest.raises(Invalid) as refused:
        filled(PauseProcessing(), values)
    assert refused.value.field == field
    assert in_words(PauseProcessing(), refused.value).startswith(shown)


def test_a_button_names_its_target_and_stays_in_a_phones_width() -> None:
    assert button_label("Clear 1,204 tasks") == "Clear 1,204 tasks"
    long = button_label("Pause queue emails-of-the-newsletter-of-the-marketing-department")
    assert long == "Pause queue emails-of-the-newsl…"
    assert len(long) == MAX_LABEL


def test_a_tile_of_one_is_not_called_by_many() -> None:
    figures = (
        Figure(name="waiting", label="waiting", value=1, unit="tasks"),
        Figure(name="others", label="unmanaged workers", value=1, unit="workers"),
        Figure(name="arriving", label="arriving", value=1, unit="tasks/s"),
        Figure(name="held", label="unstarted", value=2, unit="tasks"),
    )
    told = review(Preview(title="x", figures=figures))["figures"]
    assert told == [
        ["1", "task", "waiting"],
        ["1", "", "unmanaged worker"],
        ["1", "tasks/s", "arriving"],
        ["2", "tasks", "unstarted"],
    ]


def test_a_selective_clear_asks_for_what_it_looks_for_and_a_sync_for_orphans_only_when_there_are_any() -> None:
    assert [field["name"] for field in fields(ClearTasks(), None)] == ["task", "older_than_s", "containing", "reason"]
    assert [field["name"] for field in fields(SyncTenantConfigs(), preview())] == ["reason"]
    shown = fields(SyncTenantConfigs(), preview("remove_orphans"))
    assert [(field["name"], field["kind"]) for field in shown] == [("remove_orphans", "flag"), ("reason", "text")]


def test_what_was_clicked_on_is_not_asked_again() -> None:
    clicked = fields(RevokeTask(task_id="a1"), preview("terminate"), {"task_id": "a1"})
    assert [(field["name"], field["kind"]) for field in clicked] == [("terminate", "flag"), ("reason", "text")]
    assert [field["name"] for field in fields(RevokeTask(), None)] == ["task_id", "reason"]
    assert about(RevokeTask(task_id="a1"), {"task_id": "a1"}) == [("Task", "a1")]
    assert about(RevokeTask(), {}) == []
    assert about(RevokeTask(task_id="a1"), {"task_id": "a1"}, "Revoke task a1") == []  # once is enough
    assert about(RevokeTask(task_id="a1"), {"task_id": "a1"}, "Revoke task a12") == [("Task", "a1")]


def test_what_is_missing_is_said_by_the_fields_label_and_no_other_word_of_it_is_touched() -> None:
    missing = Invalid("expected one task's id.", field="task_id")
    assert in_words(RevokeTask(), missing) == "Task: expected one task's id."
    assert in_words(RevokeTask(), Invalid("Say: which one.")) == "Say: which one."
    assert in_words(RevokeTask(), Invalid("Nothing", hint="Look.")) == "Nothing. Look."


def test_a_review_has_numbers_kinds_of_tasks_and_what_will_not_happen() -> None:
    parts = tuple(Part(name=f"shop.t{i}", value=10 - i) for i in range(8))
    given = Preview(
        lines=(Line("note", "So it is."), Line("will_not", "1 running stays."), Line("will", "42 go.")),
        figures=(
            Figure(name="waiting", label="waiting", value=42, unit="tasks"),
            Figure(name="matching", label="match", value=7, unit="tasks", exactness="estimated", error=2),
            Figure(name="oldest_s", value=3.5, unit="s"),
            Figure(name="held", label="unstarted in workers", value=None),
        ),
        breakdowns=(Breakdown(name="by_task", label="Kinds", parts=parts), Breakdown(name="by_age", parts=parts)),
    )
    shown = review(given)
    assert shown["figures"] == [["42", "tasks", "waiting"], ["≈ 7", "tasks", "match"]]
    assert shown["lines"] == [["will", "42 go."], ["will_not", "1 running stays."], ["note", "So it is."]]
    assert len(shown["breakdown"]) == 6
    assert shown["breakdown"][-1] == ["3 others", 12, "12 · 23 %"]
    assert sum(n for _, n, _ in shown["breakdown"]) == sum(part.value for part in parts)
    assert review(None) == {"figures": [], "breakdown": [], "lines": []}


def test_numbers_of_a_review_say_how_sure_they_are() -> None:
    old = Figure(name="held", label="held", value=1234.56, unit="s", exactness="old")
    parts = (Part(name="a", value=9_950), Part(name="b", value=5))
    breakdown = Breakdown(name="kinds", label="Kinds", parts=parts)
    for exactness, said in (
        ("exact", ["9,950 · 100 %", "5 · < 1 %"]),
        ("estimated", ["≈ 9,950 · > 99 %", "≈ 5 · ≈ < 1 %"]),
    ):
        shown = review(Preview(figures=(old,), breakdowns=(dataclasses.replace(breakdown, exactness=exactness),)))
        assert shown["figures"] == [["1,234.6", "s", "held, as last reported"]]
        assert [text for *_, text in shown["breakdown"]] == said


@given(name=st.sampled_from([*registry(), "nonsense", ""]), args=st.dictionaries(st.text(max_size=8), ANYTHING))
def test_a_browser_asks_for_declared_operations_with_text_arguments_and_for_nothing_else(
    name: str, args: dict[str, Any]
) -> None:
    try:
        operation = asked_for(name, args)
    except Invalid:
        return
    assert operation.name == name
    assert args.keys() <= operation.params().keys()
    assert all(isinstance(value, str) for value in args.values())


def test_a_browser_can_not_slip_a_value_of_another_kind_into_an_operation() -> None:
    assert asked_for("pause_processing", {"queue": "emails", "duration_s": "2h"}) == PauseProcessing(
        queue="emails", duration_s=7200
    )
    for args in ({"duration_s": "soon"}, {"cancel_consumer": "yes"}, {"queue": 7}, {"__class__": "x"}):
        with pytest.raises(Invalid):
            asked_for("pause_processing", args)


@given(values=st.dictionaries(st.sampled_from(["queue", "reason", "duration_s", "name", "__class__"]), ANYTHING))
def test_a_browser_can_send_what_it_likes_and_never_changes_what_it_was_not_asked(values: dict[str, Any]) -> None:
    try:
        cleared = filled(ClearQueue(queue="emails"), values)
        assert cleared == ClearQueue(queue="emails", reason=cleared.reason)
        operation = filled(PauseProcessing(queue="emails"), values)
    except Invalid:
        return
    assert isinstance(operation, PauseProcessing)
    assert operation.queue == "emails"


def test_what_a_button_leaves_empty_is_neither_asked_nor_shown() -> None:
    args = {"ids": "", "task": "", "error": "", "queue": "", "group": "0a1b", "since_s": ""}
    operation = asked_for("retry_failed", args)
    assert operation == RetryFailed(group="0a1b")
    assert about(operation, args) == [("Group", "0a1b")]
    assert [field["name"] for field in fields(operation, None, args)] == ["per_s", "reason"]
