"""What the address of the page holds: outside input, bounded, and never an error."""

from __future__ import annotations

import pytest

from opsdash.state.location import MAX_CHARS, Location, shortened


@pytest.mark.parametrize(("name", "value"), [("tab", "nonsense"), ("span", "1000y"), ("tab", ["x"]), ("queue", 42)])
def test_what_an_address_can_not_hold_is_as_usual(name: str, value: object) -> None:
    location = Location(queue="emails", tab="queues")
    setattr(location, name, value)
    assert location.queue == "emails"
    assert location.tab in ("overview", "queues")
    assert location.span == "15m"


def test_a_number_in_an_address_stays_the_text_that_it_is() -> None:
    location = Location()
    location.take("queue=007&since=3600&user=true&tab=operations&other=1")
    assert (location.queue, location.since, location.user, location.tab) == ("007", "3600", "true", "operations")


def test_what_is_too_long_is_cut() -> None:
    assert len(Location(user="x" * 5_000).user) == MAX_CHARS


def test_the_address_holds_only_what_is_not_as_usual() -> None:
    assert shortened("tab=overview&queue=&span=15m") == ""
    assert shortened("tab=queues&queue=emails&theirs=1&span=15m") == "tab=queues&queue=emails&theirs=1"
