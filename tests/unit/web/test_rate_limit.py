from __future__ import annotations

from opsdash.web import rate_limit
from opsdash.web.rate_limit import RateLimit


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_so_many_at_once_and_then_one_after_the_other() -> None:
    clock = Clock()
    allowance = RateLimit(6, clock)
    assert [allowance.take("a") for _ in range(8)] == [0] * 6 + [10, 10]
    clock.now += 10
    assert [allowance.take("a"), allowance.take("a")] == [0, 10]
    assert allowance.take("b") == 0
    clock.now += 3_600
    assert [allowance.take("a") for _ in range(7)] == [0] * 6 + [10]


def test_what_did_not_count_is_given_back_and_never_more() -> None:
    allowance = RateLimit(2, Clock())
    for _ in range(20):
        assert allowance.take("a") == 0
        allowance.give_back("a")
    allowance.give_back("a")
    assert [allowance.take("a") for _ in range(3)] == [0, 0, 30]


def test_a_million_addresses_do_not_fill_the_memory_and_free_nobody(monkeypatch) -> None:
    monkeypatch.setattr(rate_limit, "MOST_CLIENTS", 100)
    clock = Clock()
    allowance = RateLimit(1, clock)
    for number in range(1_000):
        clock.now += 0.001
        allowance.take(str(number))
    assert len(allowance._left) <= 100
    assert allowance.take("999") > 0
