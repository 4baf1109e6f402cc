"""Who is served next where many want to sign in: told by order and number, never by a clock."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from opsdash.web.auth import login_queue as module
from opsdash.web.auth.login_queue import BUSY_S, CHECKS_AT_ONCE, LoginQueue
from opsdash.web.rate_limit import RateLimit


class Desk:
    """Checks passwords by turns, at once: ``served`` are the addresses in the order of their checks."""

    def __init__(self) -> None:
        self.clock = 0.0
        self.turns = LoginQueue(RateLimit(5, lambda: self.clock))
        self.served: list[str] = []
        self.refused: Counter[str] = Counter()
        self.at_once = self.most_at_once = 0

    async def sign_in(self, who: str, *, right: bool) -> bool:
        turn = await self.turns.join(who)
        if turn.wait_s:
            self.refused[who if turn.failures else "crowd"] += 1
            return False
        self.served.append(who)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        self.turns.done(who, right=right)
        return right


def run(story: Callable[[Desk], Coroutine[Any, Any, None]]) -> Desk:
    desk = Desk()

    async def told() -> None:
        await story(desk)

    asyncio.run(told())
    return desk


async def crowd(desk: Desk, number: int, addresses: int) -> list[asyncio.Task[bool]]:
    """So many guesses, sent at once from so many addresses."""
    tasks = [asyncio.create_task(desk.sign_in(f"bot {n % addresses}", right=False)) for n in range(number)]
    await asyncio.sleep(0)
    return tasks


@pytest.mark.parametrize("addresses", [1, 10, 50, 100])
def test_a_genuine_sign_in_behind_a_hundred_guesses_is_among_the_next_checks(addresses: int) -> None:
    async def story(desk: Desk) -> None:
        guesses = await crowd(desk, 100, addresses)
        assert await desk.sign_in("home", right=True)
        await asyncio.gather(*guesses)

    assert run(story).served.index("home") <= 2 * CHECKS_AT_ONCE


def test_a_genuine_sign_in_amid_a_hundred_guesses_waits_for_one_of_each_address_at_most() -> None:
    async def story(desk: Desk) -> None:
        before = await crowd(desk, 100, 20)
        genuine = asyncio.create_task(desk.sign_in("home", right=True))
        await asyncio.sleep(0)
        after = [asyncio.create_task(desk.sign_in(f"other bot {n % 20}", right=False)) for n in range(100)]
        assert all((await asyncio.gather(genuine, *before, *after))[:1])

    assert run(story).served.index("home") <= CHECKS_AT_ONCE + 40


def test_an_address_that_somebody_signed_in_from_is_served_next() -> None:
    async def story(desk: Desk) -> None:
        assert await desk.sign_in("home", right=True)
        guesses = await crowd(desk, 100, 100)
        assert await desk.sign_in("home", right=True)
        assert desk.served.index("home", 1) <= 1 + CHECKS_AT_ONCE
        await asyncio.gather(*guesses)

    run(story)


def test_a_whole_office_signs_in_at_once_from_one_address() -> None:
    async def story(desk: Desk) -> None:
        assert all(await asyncio.gather(*(desk.sign_in("office", right=True) for _ in range(100))))

    assert run(story).most_at_once == CHECKS_AT_ONCE


def test_a_burst_of_guesses_gets_no_more_tries_than_a_slow_row_of_them() -> None:
    async def story(desk: Desk) -> None:
        await asyncio.gather(*(desk.sign_in("bot", right=False) for _ in range(50)))
        assert len(desk.served) == 5
        desk.clock += 12
        await asyncio.gather(*(desk.sign_in("bot", right=False) for _ in range(50)))

    desk = run(story)
    assert len(desk.served) == 6
    assert desk.refused == {"bot": 94}


def test_lines_that_are_full_send_away_whoever_failed_most_and_not_who_comes_fresh(monkeypatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 20)

    async def story(desk: Desk) -> None:
        for _ in range(2):
            assert not await desk.sign_in("bot 0", right=False)
        guesses = await crowd(desk, 22, 1)
        assert await desk.sign_in("home", right=True)
        await asyncio.gather(*guesses)

    desk = run(story)
    assert desk.refused["crowd"] >= 1
    assert "home" in desk.served


def test_many_fresh_addresses_are_bounded_and_told_when_to_come_back(monkeypatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 20)

    async def story(desk: Desk) -> None:
        await asyncio.gather(*await crowd(desk, 100, 100))
        assert (await desk.turns.join("home")).wait_s == 0

    assert run(story).refused == {"crowd": 100 - 20 - CHECKS_AT_ONCE}
    assert BUSY_S <= 5


def test_whoever_leaves_the_line_costs_nothing() -> None:
    async def story(desk: Desk) -> None:
        working = [desk.turns.join(f"bot {n}") for n in range(CHECKS_AT_ONCE)]
        gone = [desk.turns.join(f"gone {n}") for n in range(50)]
        mine = desk.turns.join("home")
        for one in gone:
            one.cancel()
        assert all(one.done() for one in working)
        desk.turns.done("bot 0", right=False)
        assert (await mine).wait_s == 0

    run(story)
