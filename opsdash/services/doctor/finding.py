"""What one check says, and what a check gets to look at."""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opsdash.services.console import Console


class Level(enum.StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line.

    Attributes:
        check: What was looked at, in a word or two.
        todo: What to do about it; empty when there is nothing to do.
        unreachable: Redis or the database does not answer.
    """

    check: str
    level: Level
    message: str
    todo: str = ""
    unreachable: bool = False


Findings = Iterable[Finding]


class Patient:
    """A deployment as its console sees it.

    Attributes:
        full: Look at all of the audit log, not its newest entries.
    """

    def __init__(self, console: Console, *, full: bool = False) -> None:
        self.console = console
        self.full = full

    @functools.cached_property
    def info(self) -> dict[str, Any]:
        """What the server says of itself; asked once."""
        with self.console.broker.reading():
            found: dict[str, Any] = self.console.broker.client.info()
        return found


def ok(check: str, message: str) -> Finding:
    """Nothing to do."""
    return Finding(check=check, level=Level.OK, message=message)


def warning(check: str, message: str, todo: str) -> Finding:
    """It works, and may not when it matters."""
    return Finding(check=check, level=Level.WARNING, message=message, todo=todo)


def error(check: str, message: str, todo: str, *, unreachable: bool = False) -> Finding:
    """It does not work."""
    return Finding(check=check, level=Level.ERROR, message=message, todo=todo, unreachable=unreachable)


SKEW_S = 2.0
"""Above this, ETAs and expiry times of one machine mean something else on another."""


def skew(whose: str, beside: str, skew_s: float) -> Finding:
    """How far a clock is ahead of (or, negative, behind) another one."""
    if abs(skew_s) <= SKEW_S:
        return ok("clocks", f"The clock of {whose} is {abs(skew_s):.1f} s from {beside}'s.")
    way = "ahead of" if skew_s > 0 else "behind"
    message = (
        f"The clock of {whose} is {abs(skew_s):,.1f} s {way} {beside}'s: ETAs and expiries come at the wrong time."
    )
    return warning("clocks", message, "Run a time service (chrony, systemd-timesyncd) on both machines.")
