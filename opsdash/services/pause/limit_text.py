"""Which limits hold, in one sentence for each kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from opsdash.model import HeldTasks, RateLimit
from opsdash.text import count

MOST_NAMED = 5


class Limits(Protocol):
    """What a snapshot, and the page's status, have of limits."""

    @property
    def rate_limits(self) -> Sequence[RateLimit]:
        """How often tasks start."""

    @property
    def concurrency_limits(self) -> Sequence[HeldTasks]:
        """How many run at once."""


def limited(limits: Limits, *, commands: bool = False) -> Iterator[str]:
    """``Rate limits: shop.charge 10/s``; ``Concurrency limits: shop.* 3 at once, 12 tasks wait``.

    Args:
        commands: With the command that shows more.
    """
    if rates := limits.rate_limits:
        named = _some([f"{one.task} {one.rate}" for one in rates])
        yield f"Rate limits: {named}" + (": opsdash rate-limits" if commands else "")
    if most := limits.concurrency_limits:
        named = _some([f"{one.hold.name} {one.hold.most:,} at once" for one in most])
        waiting = sum(one.held for one in most)
        waits = f", {count(waiting, 'task')} {'waits' if waiting == 1 else 'wait'}" if waiting else ""
        yield f"Concurrency limits: {named}{waits}" + (": opsdash concurrency-limits" if commands else "")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
