from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.model import Line, Preview
from opsdash.operations import ClearQueue, PauseProcessing
from opsdash.state import PendingConfirmation

NEAR_MISSES = st.sampled_from(["YES", "yes", "Yes", " YES", "YES ", "YES\n", "YE", "YESS", "ＹＥＳ", "YES\u200b", ""])
PREVIEW = Preview(title="Clear Queue", warning="It goes.", lines=(Line("will", "3 tasks"),))


@given(typed=st.one_of(NEAR_MISSES, st.text()), asked=st.booleans())
def test_it_is_armed_by_exactly_yes_and_only_while_an_operation_waits(typed: str, asked: bool) -> None:
    pending = PendingConfirmation()
    if asked:
        pending.request(ClearQueue(queue="emails"), PREVIEW)
    pending.typed = typed
    assert pending.armed is (asked and typed == "YES")
    assert (pending.take() is not None) is (asked and typed == "YES")


def test_an_operation_is_handed_over_once() -> None:
    pending = PendingConfirmation()
    operation = ClearQueue(queue="emails")
    pending.request(operation, PREVIEW)
    pending.typed = "YES"
    assert pending.take() == (operation, "")
    assert pending.take() is None
    assert (pending.operation, pending.preview, pending.typed, pending.armed) == (None, None, "", False)


@given(typed=st.one_of(NEAR_MISSES, st.text()), phrase=st.one_of(st.sampled_from(["emails", " emails", "Emails", ""])))
def test_where_a_phrase_is_asked_it_is_armed_by_yes_and_exactly_that_phrase(typed: str, phrase: str) -> None:
    pending = PendingConfirmation()
    pending.request(ClearQueue(queue="emails"), replace(PREVIEW, phrase="emails"))
    pending.typed, pending.phrase_typed = typed, phrase
    both = typed == "YES" and phrase == "emails"
    assert pending.armed is both
    assert pending.take() == ((ClearQueue(queue="emails"), "emails") if both else None)


def test_a_preview_that_asks_for_a_phrase_by_now_disarms_what_was_armed_without_one() -> None:
    pending = PendingConfirmation()
    pending.request(ClearQueue(queue="emails"), PREVIEW)
    pending.typed = "YES"
    assert pending.armed
    pending.preview = replace(PREVIEW, phrase="emails")
    assert not pending.armed
    pending.phrase_typed = "emails"
    assert pending.armed


def test_a_phrase_typed_for_one_operation_does_not_confirm_the_next() -> None:
    pending = PendingConfirmation()
    pending.request(ClearQueue(queue="emails"), replace(PREVIEW, phrase="emails"))
    pending.typed, pending.phrase_typed = "YES", "emails"
    pending.request(ClearQueue(queue="emails"), replace(PREVIEW, phrase="emails"))
    pending.typed = "YES"
    assert not pending.armed


def test_an_unconfirmed_operation_is_not_handed_over_and_goes_on_waiting() -> None:
    pending = PendingConfirmation()
    pending.request(ClearQueue(queue="emails"), PREVIEW)
    pending.typed = "yes"
    assert pending.take() is None
    assert pending.operation == ClearQueue(queue="emails")


def test_a_yes_typed_for_one_operation_does_not_confirm_the_next() -> None:
    pending = PendingConfirmation()
    pending.request(PauseProcessing(), PREVIEW)
    pending.typed = "YES"
    pending.request(ClearQueue(queue="emails"), PREVIEW)
    assert not pending.armed
    assert pending.take() is None


def test_cancelling_forgets_the_operation_and_the_typed_text() -> None:
    pending = PendingConfirmation()
    pending.request(ClearQueue(), PREVIEW)
    pending.typed = "YES"
    pending.cancel()
    assert (pending.operation, pending.preview, pending.typed, pending.armed) == (None, None, "", False)


def test_two_sessions_share_nothing() -> None:
    maria, eve = PendingConfirmation(), PendingConfirmation()
    maria.request(PauseProcessing(), PREVIEW)
    maria.typed = "YES"
    assert eve.operation is None
    eve.typed = "YES"
    assert not eve.armed


def test_nobody_arms_it_from_outside() -> None:
    pending = PendingConfirmation()
    with pytest.raises(TypeError, match="Constant"):
        pending.armed = True
    assert not pending.armed


def test_state_is_imported_without_panel() -> None:
    code = "import sys, opsdash.state; sys.exit('panel' in sys.modules or 'bokeh' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
