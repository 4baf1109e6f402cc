"""Rounds, interleaved."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import redis
from playwright.sync_api import Error as BrowserError
from sqlalchemy.exc import SQLAlchemyError

from opsdash.errors import OpsdashError

from .table import OPSDASH, Measured

if TYPE_CHECKING:
    from .work import Contestant, Work

FAULTS = (RuntimeError, OSError, AssertionError, ValueError, KeyError, redis.RedisError, subprocess.SubprocessError)
FAULTS += (OpsdashError, BrowserError, SQLAlchemyError)


def order(contestants: Sequence[Contestant], number: int) -> list[Contestant]:
    """Those of one round: ABC, CBA, ABC …, so that what one leaves behind does not always meet the same one."""
    return list(contestants) if number % 2 == 0 else list(reversed(contestants))


def measured(
    work: Work, contestants: Sequence[Contestant], rounds: int, *, load: Callable[[], Sequence[float]]
) -> tuple[dict[str, tuple[Measured, ...]], tuple[float, float]]:
    """Values of each figure, and the least and the greatest load average.

    A rival that fails is left out from then on, and the table says so.

    Raises:
        Exception: opsdash or a limit failed.
    """
    values: dict[str, dict[int, list[float]]] = {figure.name: {} for figure in work.figures}
    failed: dict[int, str] = {}
    loads = [load()[0]]
    for number in range(-1 if work.warm else 0, rounds):
        for one in order(contestants, number):
            if one.once is None or id(one) in failed:
                continue
            try:
                found = one.once()
            except FAULTS as error:
                if one.kind == OPSDASH:
                    raise
                failed[id(one)] = f"failed: {type(error).__name__} {' '.join(str(error).split())[:160]}"
                continue
            if number >= 0:
                for name, value in found.items():
                    values[name].setdefault(id(one), []).append(value)
        loads.append(load()[0])
    taken = {
        name: tuple(
            Measured(one.name, one.kind, one.how, tuple(by.get(id(one), ())), _why(one, failed, by))
            for one in contestants
            if id(one) in by or ((one.once is None or id(one) in failed) and one.only in ("", name))
        )
        for name, by in values.items()
    }
    return taken, (min(loads), max(loads))


def _why(one: Contestant, failed: dict[int, str], by: dict[int, list[float]]) -> str:
    return one.why if id(one) not in failed else "" if id(one) in by else failed[id(one)]
