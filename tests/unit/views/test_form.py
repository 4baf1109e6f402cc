"""The dialog's fields: from the operation's declaration, and back from what a browser sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.errors import Invalid
from opsdash.model import Preview
from opsdash.operations import ClearQueue, PauseProcessing
from opsdash.views.form import fields, filled

ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text(), max_size=2)


def preview(*choices: str) -> Preview:
    return Preview(title="Pause", warning="It stops.", lines=(), choices=choices)


def test_the_dialog_asks_for_reason_and_duration_and_for_a_choice_only_when_it_matters() -> None:
    assert [field["name"] for field in fields(PauseProcessing(), preview())] == ["duration_s", "reason"]
    asked = fields(PauseProcessing(), preview("cancel_consumer"))
    assert [(field["name"], field["kind"]) for field in asked][-1] == ("cancel_consumer", "flag")


def test_what_was_filled_in_becomes_the_operations_arguments_and_an_empty_field_changes_nothing() -> None:
    values = {"duration_s": " 1h30m ", "reason": " fire ", "cancel_consumer": True}
    operation = filled(PauseProcessing(queue="emails"), values)
    assert operation == PauseProcessing(queue="emails", duration_s=5400, reason="fire", cancel_consumer=True)
    assert filled(PauseProcessing(duration_s=60), {"duration_s": "  "}) == PauseProcessing(duration_s=60)


@pytest.mark.parametrize(
    ("values", "named"),
    [({"duration_s": "soon"}, "Ends by itself after: 'soon' is not a duration"), ({"reason": "x" * 1001}, "reason")],
)
def test_what_can_not_be_taken_is_refused_by_the_fields_name(values: dict[str, Any], named: str) -> None:
    with pytest.raises(Invalid, match=named):
        filled(PauseProcessing(), values)


@given(values=st.dictionaries(st.sampled_from(["queue", "reason", "duration_s", "name", "__class__"]), ANYTHING))
def test_a_browser_can_send_what_it_likes_and_never_changes_what_it_was_not_asked(values: dict[str, Any]) -> None:
    assert filled(ClearQueue(queue="emails"), values) == ClearQueue(queue="emails")
    try:
        operation = filled(PauseProcessing(queue="emails"), values)
    except Invalid:
        return
    assert isinstance(operation, PauseProcessing)
    assert operation.queue == "emails"
