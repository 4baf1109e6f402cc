"""One outstanding request of each kind for each page; of those that wait the newest."""

from __future__ import annotations

import asyncio
import threading

import pytest

from opsdash.views.request_queue import Turns


def test_of_two_hundred_refreshes_two_are_answered_the_first_and_the_newest() -> None:
    async def page() -> None:
        turns, gate, answered = Turns(), asyncio.Event(), list[int]()

        async def ask(number: int) -> None:
            async with turns.turn("refresh") as mine:
                if mine:
                    answered.append(number)
                    await gate.wait()

        asked = [asyncio.ensure_future(ask(number)) for number in range(200)]
        await asyncio.sleep(0)
        assert answered == [0]
        gate.set()
        await asyncio.gather(*asked)
        assert answered == [0, 199]
        await ask(200)
        assert answered == [0, 199, 200]

    asyncio.run(page())


def test_one_kind_does_not_wait_for_another() -> None:
    async def page() -> None:
        turns = Turns()
        async with turns.turn("log") as log, turns.turn("refresh") as refresh:
            assert (log, refresh) == (True, True)

    asyncio.run(page())


def test_after_one_that_failed_the_one_that_waits_has_its_turn() -> None:
    async def page() -> None:
        turns, gate = Turns(), asyncio.Event()

        async def broken() -> None:
            async with turns.turn("log"):
                await gate.wait()
                raise ValueError("a bug")

        async def ask() -> bool:
            async with turns.turn("log") as mine:
                return mine

        first, given_up, second = (asyncio.ensure_future(one) for one in (broken(), ask(), ask()))
        await asyncio.sleep(0)
        third = asyncio.ensure_future(ask())
        await asyncio.sleep(0)
        gate.set()
        with pytest.raises(ValueError, match="a bug"):
            await first
        assert (await given_up, await second, await third) == (False, False, True)

    asyncio.run(page())


def test_one_that_is_broken_off_just_as_its_turn_comes_passes_the_turn_on() -> None:
    async def page() -> None:
        turns, gate = Turns(), asyncio.Event()

        async def ask() -> bool:
            async with turns.turn("log") as mine:
                return mine

        async def first() -> None:
            async with turns.turn("log"):
                await gate.wait()
            second.cancel()  # it has the turn, and has not seen it

        running = asyncio.ensure_future(first())
        await asyncio.sleep(0)
        second = asyncio.ensure_future(ask())
        await asyncio.sleep(0)
        gate.set()
        await running
        with pytest.raises(asyncio.CancelledError):
            await second
        assert await asyncio.wait_for(ask(), 1), "the kind is free again"

    asyncio.run(page())


def test_threads_with_a_loop_each_get_their_turns_too() -> None:
    turns, order, begun = Turns(), list[str](), threading.Event()
    goes_on = threading.Event()

    async def first() -> None:
        async with turns.turn("draw") as mine:
            assert mine
            begun.set()
            await asyncio.to_thread(goes_on.wait)
            order.append("first")

    async def second() -> None:
        async with turns.turn("draw") as mine:
            assert mine
            order.append("second")

    async def of_another_loop() -> None:
        waits = asyncio.ensure_future(second())
        while "draw" not in turns._waiting:
            await asyncio.sleep(0)
        goes_on.set()
        await waits  # and nothing else wakes its loop

    threads = [threading.Thread(target=asyncio.run, args=(first(),), daemon=True)]
    threads[0].start()
    assert begun.wait(10)
    threads.append(threading.Thread(target=asyncio.run, args=(of_another_loop(),), daemon=True))
    threads[1].start()
    for thread in threads:
        thread.join(10)
    assert order == ["first", "second"]


def test_a_turn_that_a_closed_loop_waited_for_is_passed_on() -> None:
    turns = Turns()

    async def waits() -> None:
        turns._begin_or_wait("draw")

    async def ends() -> None:
        turns._pass_on("draw")

    asyncio.run(waits())  # it has the turn,
    asyncio.run(waits())  # this one waits, and its loop is closed,
    asyncio.run(ends())  # when the first one ends

    async def again() -> bool:
        async with asyncio.timeout(10), turns.turn("draw") as mine:
            return mine

    assert asyncio.run(again())
