from __future__ import annotations

import asyncio

import pytest

from opsdash.web.memory import MANY, Tidy, malloc_trim


@pytest.mark.parametrize(
    ("counts", "given_back"),
    [
        ((1, 3, MANY, MANY), 0),  # more and more come
        ((MANY, 0), 1),
        ((MANY, 0, 0, 0), 1),  # once
        ((MANY, MANY // 2, 0), 1),  # little by little
        ((MANY - 1, 0), 0),  # few have ended
        ((3 * MANY, MANY, 0), 2),
    ],
)
def test_memory_goes_back_once_many_sessions_have_ended(counts: tuple[int, ...], given_back: int) -> None:
    left, given = list(counts), []
    tidy = Tidy(lambda: left.pop(0), lambda pad: given.append(pad) or 1)
    for _ in counts:
        asyncio.run(tidy.look())
    assert given == [0] * given_back


def test_where_the_c_library_can_not_nothing_is_given_back() -> None:
    asyncio.run(Tidy(lambda: MANY).look())
    tidy = Tidy(iter((MANY, 0)).__next__)
    asyncio.run(tidy.look())
    asyncio.run(tidy.look())


def test_the_c_librarys_own_is_found_and_works_here() -> None:
    trim = malloc_trim()
    assert trim is None or trim(0) in {0, 1}
