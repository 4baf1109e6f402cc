"""What every preview of a clear tells besides its own: what workers hold, how old things are, and what keeps coming."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opsdash.model import WorkerStats, count, format_duration
from opsdash.services.composition import Composition

if TYPE_CHECKING:
    from opsdash.services.console import Console


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the workers on one queue hold, of all their queues together: a worker does not say which.

    Attributes:
        unacked: Messages that workers hold, of all queues and workers: one count of Redis.
    """

    workers: int
    active: int
    reserved: int
    scheduled: int
    unacked: int

    def figures(self) -> dict[str, int]:
        """For programs."""
        return {
            "active": self.active,
            "reserved": self.reserved,
            "scheduled": self.scheduled,
            "unacked": self.unacked,
        }

    def stays(self) -> str:
        """The sentence of a clear that takes what waits."""
        return (
            f"Not removed by this: {self.active:,} running, {self.reserved:,} reserved and {self.scheduled:,} scheduled"
            f" tasks of the {count(self.workers, 'worker')} on this queue ({self.unacked:,} unacknowledged in all"
            " queues)."
        )


def held(console: Console, queue: str) -> Held:
    """Read now. Cost: three round trips."""
    workers: Iterable[WorkerStats] = [w for w in console.workers.read() if w.state != "offline" and queue in w.queues]
    reserved, scheduled, active = (sum(getattr(w, f) for w in workers) for f in ("reserved", "scheduled", "active"))
    return Held(
        workers=len(list(workers)),
        active=active,
        reserved=reserved,
        scheduled=scheduled,
        unacked=console.queues.unacked(),
    )


def age(oldest_s: float | None) -> str:
    """The sentence about the oldest message."""
    return f"Age of the oldest: {'not known' if oldest_s is None else format_duration(oldest_s)}."


def arriving(per_s: float | None) -> str:
    """The sentence about what keeps coming."""
    lately = f": about {per_s:,.1f} tasks a second lately" if per_s is not None else ""
    return f"Producers, beat included, go on adding{lately}; what arrives after this preview stays."


def figures(made_of: Composition) -> Mapping[str, Any]:
    """What was found out about the messages, for programs."""
    return {
        "by_task": dict(made_of.by_task),
        "by_task_error": dict(made_of.error),
        "looked_at": made_of.looked_at,
        "oldest_s": made_of.oldest_s,
    }
