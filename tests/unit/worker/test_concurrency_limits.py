"""Which limit a task waits for that several limits match: without Redis, with slots that are leased already."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from opsdash.model.hold import Hold
from opsdash.worker import celery_private, message_origin
from opsdash.worker.concurrency_limits import IN_TURN, ConcurrencyLimits, _Limit
from opsdash.worker.slots import Leased, Slots

ALL, CHARGES = "all", "charges"


class Request:
    """As much of Celery's as a limit looks at."""

    def __init__(self, name: str = "shop.charge", in_turn: str = "") -> None:
        self.name = name
        origin = message_origin.Origin("celery", "celery", b"{}")
        self.message = SimpleNamespace(opsdash_origin=origin, acknowledged=False)
        if in_turn:
            setattr(self.message, IN_TURN, in_turn)

    def on_success(self) -> None:
        """Nothing."""

    on_failure = on_timeout = on_success


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> ConcurrencyLimits:
    """One slot of ``shop.*``, the older limit, and one of ``shop.charge``."""
    monkeypatch.setattr(celery_private, "is_reserved", lambda _request: True)
    found = ConcurrencyLimits(SimpleNamespace(), SimpleNamespace(), "me", lambda _call: None)
    for one, name in ((ALL, "shop.*"), (CHARGES, "shop.charge")):
        slots = Slots("me", 1, lambda: 4)
        slots.take()  # it needs one
        slots.renew(lambda _keeps, asks, _needs: Leased(now_s=1.0, slots=asks))
        found._limits[one] = _Limit(Hold(id=one, kind="limit", name=name, most=1), slots)
        slots._asked_at = float("inf")  # it asks for no more
    return found


def waiting(limits: ConcurrencyLimits, **numbers: int) -> None:
    for one, number in numbers.items():
        limits._limits[one].slots.waiting = number


def used(limits: ConcurrencyLimits) -> tuple[int, int]:
    return limits._limits[ALL].slots.used, limits._limits[CHARGES].slots.used


def test_a_task_gets_a_slot_of_each_limit_or_none(limits: ConcurrencyLimits) -> None:
    assert limits.short_of(Request()) == ""
    assert used(limits) == (1, 1)
    assert limits.short_of(Request()) == ALL
    assert used(limits) == (1, 1)


def test_it_waits_behind_others_for_each_limit_the_oldest_first(limits: ConcurrencyLimits) -> None:
    waiting(limits, all=2, charges=2)
    assert limits.short_of(Request()) == ALL
    assert limits.short_of(Request(in_turn=ALL)) == CHARGES
    assert used(limits) == (0, 0)


def test_whose_turn_it_is_does_not_wait_again_for_a_limit_that_it_has_waited_for(limits: ConcurrencyLimits) -> None:
    waiting(limits, all=2, charges=2)
    assert limits.short_of(Request(in_turn=CHARGES)) == ""
    assert used(limits) == (1, 1)


def test_where_an_older_limit_has_none_free_it_goes_back_to_where_it_was_and_is_not_fetched_at_once(
    limits: ConcurrencyLimits,
) -> None:
    waiting(limits, charges=2)
    assert limits.short_of(Request("shop.ship")) == ""
    one = Request(in_turn=CHARGES)
    assert limits.short_of(one) == CHARGES
    limits.note(one, CHARGES, runs=False)
    assert limits._limits[CHARGES].blocked
    assert not limits._limits[ALL].blocked
    assert used(limits) == (1, 0)
