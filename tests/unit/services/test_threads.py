"""Threads by kind, and one line for each who asks."""

from __future__ import annotations

import asyncio
import threading

import pytest
from support.services import until

import opsdash
from opsdash.errors import Unavailable
from opsdash.model import Actor, Role
from opsdash.services import threads
from opsdash.services.threads import ACTS, READS, Pool, by_right


def test_whoever_asks_fifty_times_keeps_nobody_else_from_one_answer() -> None:
    async def asked() -> None:
        pool, gate = Pool("test", 2), threading.Event()
        crowd = [asyncio.ensure_future(pool.run(gate.wait, caller="eve")) for _ in range(50)]
        await asyncio.sleep(0)
        assert await pool.run(lambda: "the figures", caller="maria") == "the figures"
        assert not any(one.done() for one in crowd), "eve's first is still out"
        gate.set()
        assert all(await asyncio.gather(*crowd))
        assert pool._lines == {}, "nobody is remembered who waits for nothing"

    asyncio.run(asked())


def test_a_line_has_an_end_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "MOST_WAITING", 3)

    async def asked() -> None:
        pool, gate = Pool("test", 2), threading.Event()
        crowd = [asyncio.ensure_future(pool.run(gate.wait, caller="eve")) for _ in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="3 requests of eve wait already"):
            await pool.run(lambda: None, caller="eve")
        await pool.run(lambda: None, caller="maria")
        gate.set()
        await asyncio.gather(*crowd)
        await pool.run(lambda: None, caller="eve")

    asyncio.run(asked())


def test_an_error_comes_back_and_the_next_of_the_line_goes_on() -> None:
    async def asked() -> None:
        pool = Pool("test", 1)
        with pytest.raises(ZeroDivisionError):
            await pool.run(lambda: 1 // 0, caller="eve")
        assert await pool.run(lambda: 7, caller="eve") == 7

    asyncio.run(asked())


def test_whoever_gives_up_while_waiting_leaves_the_line() -> None:
    async def asked() -> None:
        pool, gate = Pool("test", 1), threading.Event()
        first = asyncio.ensure_future(pool.run(gate.wait, caller="eve"))
        second = asyncio.ensure_future(pool.run(lambda: None, caller="eve"))
        await asyncio.sleep(0)
        second.cancel()
        gate.set()
        await first
        assert await pool.run(lambda: 7, caller="eve") == 7

    asyncio.run(asked())


def test_threads_are_started_when_they_are_needed() -> None:
    pool = Pool("seldom", 8)
    assert not _named("opsdash-seldom")
    asyncio.run(pool.run(lambda: None))
    assert until(lambda: len(_named("opsdash-seldom")) == 1)


@pytest.mark.parametrize(
    ("role", "expected"),
    [(Role.ADMIN, (ACTS, "")), (Role.OPERATOR, (ACTS, "")), (Role.VIEWER, (READS, "api user eve"))],
)
def test_who_is_only_going_to_be_refused_waits_among_those_who_look(role: Role, expected: tuple[Pool, str]) -> None:
    actor = Actor(name="eve", role=role, surface="api")
    assert by_right(actor, opsdash.PauseProcessing.minimum_role, ACTS) == expected


def _named(prefix: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(prefix)]
