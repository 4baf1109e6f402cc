"""How every operation that ends by itself asks for its duration."""

from __future__ import annotations

import dataclasses

from opsdash.operations import HoldTasks, LimitConcurrency, PauseProcessing
from opsdash.operations.ends_after import endless, ends_after


def test_a_duration_is_typed_as_for_and_is_the_settings_where_none_is_given() -> None:
    found = ends_after({"1 h": "1h"})
    asked = found.metadata
    assert (found.default, asked["option"], asked["suggestions"]) == (None, "--for", {"1 h": "1h"})
    assert asked["parse"]("1h30m") == 5_400
    assert "OPSDASH_PAUSE_TTL_S" in asked["help"]
    assert (asked["label"], asked["placeholder"]) == ("Ends after", "For example 90s, 10m, 2h or 1h30m")


def test_without_an_end_is_said_of_who_ends_it() -> None:
    found = endless("someone resumes", "I resume")
    assert (found.default, found.metadata["help"]) == (False, "Until someone resumes, in place of a duration.")
    assert found.metadata["label"] == "Until I resume, without an end"


def test_pauses_holds_and_limits_ask_alike() -> None:
    for operation in (PauseProcessing, HoldTasks, LimitConcurrency):
        (asked,) = [field for field in dataclasses.fields(operation) if field.name == "duration_s"]
        assert asked.metadata["option"] == "--for", operation.name
