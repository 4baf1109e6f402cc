"""A lease of a concurrency limit's slots, by its own clock: how many may start, what is asked for, and when again."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from opsdash.worker.slots import ASK_AGAIN_S, IDLE_S, LATER_S, LEASE_S, SOON_S, TURN_S, Leased, Slots


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def slots(clock: Clock, most: int = 10, size: int = 4) -> Slots:
    return Slots("me", most, lambda: size, clock)


def renew(one: Slots, granted: int, waiting: int = 0, **others: tuple[int, int]) -> tuple[tuple[int, int, int], float]:
    """What it asks for, and when it wants to be renewed again."""
    asked: list[Any] = []

    def ask(*figures: int) -> Leased:
        asked.append(figures)
        return Leased(now_s=0.0, slots=granted, waiting=waiting, others=others)

    again_s = one.renew(ask)
    return asked[0], again_s


def test_nothing_starts_before_there_is_a_lease_and_then_as_many_as_it_has(clock: Clock) -> None:
    one = slots(clock)
    assert (one.take(), one.free) == (False, 0)
    assert renew(one, 2) == ((0, 4, 4), LATER_S), "a task has found no slot: it needs as many as it may run"
    assert [one.take() for _ in range(3)] == [True, True, False]
    assert (one.used, one.free) == (2, 0)
    one.give()
    assert (one.used, one.free) == (1, 1)


def test_a_lease_ends_after_its_time_and_not_before(clock: Clock) -> None:
    one = slots(clock)
    one.take()
    renew(one, 4)
    clock.now += LEASE_S - 0.01
    assert one.free == 4
    clock.now += 0.01
    assert (one.free, one.take()) == (0, False)
    assert renew(one, 4)[0] == (0, 4, 4), "what has ended is not kept"


def test_what_runs_without_a_slot_counts_and_more_ends_than_began_never_count(clock: Clock) -> None:
    one = slots(clock)
    one.run()
    assert one.used == 1
    one.give()
    one.give()
    assert one.used == 0


def test_a_worker_that_runs_more_than_its_share_keeps_what_it_uses(clock: Clock) -> None:
    one = slots(clock, most=4)
    one.take()
    renew(one, 4)
    for _ in range(4):
        one.take()
    assert renew(one, 4, other=(0, 4)) == ((4, 4, 4), LATER_S), "all that it has are in use"
    one.give()
    assert renew(one, 4, other=(0, 4)) == ((3, 2, 4), SOON_S), "some are to be given back"


def test_what_a_worker_used_at_its_peak_is_needed_a_while_longer(clock: Clock) -> None:
    one = slots(clock)
    one.take()
    renew(one, 4)
    for _ in range(3):
        one.take()
    for _ in range(3):
        one.give()
    clock.now += IDLE_S
    assert renew(one, 4)[0][2] == 3
    clock.now += 0.01
    assert renew(one, 4) == ((0, 0, 0), SOON_S), "it has some to give back"


def test_a_task_that_finds_no_slot_asks_again_only_a_moment_after_others_had_them(clock: Clock) -> None:
    one = slots(clock)
    assert one.may_ask()
    one.take()
    renew(one, 4)
    assert one.may_ask(), "nobody else had them"
    one.take()
    clock.now += IDLE_S + 1
    one._unmet = True
    renew(one, 3, other=(7, 7))
    assert not one.may_ask()
    clock.now += ASK_AGAIN_S - 0.01
    assert not one.may_ask()
    clock.now += 0.02
    assert one.may_ask()


def test_while_tasks_wait_for_it_a_worker_asks_again_soon_where_more_is_its_due(clock: Clock) -> None:
    one = slots(clock)
    one.take()
    assert renew(one, 2, waiting=5)[1] == SOON_S
    assert one.waiting == 5
    assert renew(one, 4, waiting=5) == ((2, 4, 4), LATER_S), "it has all that it may have"
    clock.now += IDLE_S + 1
    assert renew(one, 2, waiting=0)[1] == LATER_S


def test_slots_that_nobody_needs_are_shared_alike(clock: Clock) -> None:
    one = slots(clock, most=10, size=10)
    one.run()
    renew(one, 1, other=(1, 1), idle=(0, 0))
    assert one._share == 5, "one that it needs, and half of the eight that are left"
    renew(one, 1, other=(1, 2), idle=(0, 0))
    assert one._share == 5, "of seven it is four"


def test_where_more_need_slots_than_there_are_they_take_turns(clock: Clock) -> None:
    shares = set()
    for turn in range(3):
        one = slots(clock, most=1, size=1)
        one.run()
        one.renew(lambda *_, at=turn * TURN_S: Leased(now_s=at, slots=1, others={"a": (0, 1), "b": (0, 1)}))
        shares.add((turn, one._share))
    assert sorted(share for _, share in shares) == [0, 0, 1]


def test_two_renewals_at_once_are_one(clock: Clock) -> None:
    one = slots(clock)
    one.run()
    asked, go_on = threading.Event(), threading.Event()

    def slow(*_: int) -> Leased:
        asked.set()
        assert go_on.wait(5)
        return Leased(now_s=0.0, slots=1)

    first = threading.Thread(target=one.renew, args=[slow])
    first.start()
    assert asked.wait(5)
    assert one.renew(lambda *_: pytest.fail("another thread does just that")) == SOON_S
    go_on.set()
    first.join(5)
    assert one.renew(lambda *_: Leased(now_s=0.0, slots=1)) == LATER_S


def test_a_renewal_that_fails_leaves_the_lease_and_lets_the_next_one_try(clock: Clock) -> None:
    one = slots(clock)
    one.take()
    renew(one, 2)

    def fail(*_: int) -> Leased:
        raise ConnectionError

    one.take()
    with pytest.raises(ConnectionError):
        one.renew(fail)
    assert one.free == 1
    assert renew(one, 3)[1] in (SOON_S, LATER_S)


def test_until_the_answer_is_here_no_more_start_than_are_kept(clock: Clock) -> None:
    one = slots(clock, most=4)
    one.take()
    renew(one, 4)
    free: list[int] = []
    renew(one, 4, other=(0, 4))

    def look(keeps: int, *_: int) -> Leased:
        free.append(one.free)
        assert keeps == free[0]
        return Leased(now_s=0.0, slots=2, others={"other": (2, 4)})

    one._unmet = True
    one.renew(look)
    assert free == [2]
