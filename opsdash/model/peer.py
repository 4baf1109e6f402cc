"""What is known of another deployment, as its own console says it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from opsdash.values import frozen

STALE_S = 30.0
"""A reading that is older says nothing of now."""
State = Literal["running", "paused", "unknown"]


@frozen(kw_only=True)
class PeerReading:
    """The last reading of one other deployment. What is not known is None, and never zero.

    Attributes:
        name: As ``OPSDASH_PEERS`` calls it. ``url``: where its page is, by the same setting.
        state: As of the reading; ``unknown``: its console has no figures itself, or says none that is understood.
        waiting: Pending tasks of all its queues.
        oldest_s: Age of its oldest pending task; ``oldest_at_least``: it is at least that old.
        workers: Its workers that report; ``silent``: those that stopped without a word.
        failures: Failed tasks that it keeps.
        verdict: Of its pause of everything: ``held``, ``draining``, ``not_held``, ``unknown``; empty: it has none.
        read_at: When these figures were read here; None: never yet.
        behind_s: How old they were then, as its console said.
        error: Why the last attempt failed; empty: it did not.
    """

    name: str
    url: str
    state: State = "unknown"
    waiting: int | None = None
    oldest_s: float | None = None
    oldest_at_least: bool = False
    workers: int | None = None
    silent: int | None = None
    failures: int | None = None
    verdict: str = ""
    read_at: datetime | None = None
    behind_s: float = 0.0
    error: str = ""

    def age_s(self, now: datetime | None = None) -> float | None:
        """How old the figures are; None: there are none."""
        if self.read_at is None:
            return None
        return max(0.0, ((now or datetime.now(UTC)) - self.read_at).total_seconds()) + self.behind_s

    def stale(self, now: datetime | None = None) -> bool:
        """They say nothing of now."""
        age_s = self.age_s(now)
        return age_s is None or age_s > STALE_S
