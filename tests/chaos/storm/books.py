"""What a storm's acts have in common: the servers, and the books of what was done."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Callable

import sqlalchemy as sa
from chaos.storm import truth as read_truth
from chaos.storm.invariants import Expected, Exposure, Fault, Ledger, Limited, Request, Stopped
from chaos.storm.schedule import Act
from chaos.storm.truth import Truth
from chaos.storm.world import CONCURRENCY, World

PREFETCHED = 4
"""Celery's ``worker_prefetch_multiplier``."""


class Books:
    """Who does acts, and keeps the books.

    Attributes:
        do: Does an act; what came of it, in a few words.
        exposure: What Celery may do to tasks in this step. ``last``: what was read last, while the broker answered.
        stopped: Pauses and holds that every worker keeps to. ``limited``: concurrency limits of the same kind.
        beats: How often beat says that it has sent a task.
        synced: The tenants were synced for sure; what was there then is read once the database is left in peace.
        wrong: What was not true while an act was under way.
    """

    do: Callable[[Act], str]

    def __init__(self, world: World) -> None:
        self.world = world
        self.ledger, self.expected = Ledger(), Expected()
        self.exposure = Exposure()
        self.stopped: list[Stopped] = []
        self.limited: list[Limited] = []
        self.requests: dict[str, Request] = {}
        self.counts: Counter[str] = Counter()
        self.last = Truth()
        self.step = 0
        self.beats = 0
        self.synced = False
        self.wrong: list[Fault] = []
        self._ids = random.Random(0)

    def begin(self, step: int) -> None:
        """A new step."""
        self.step, self.exposure = step, Exposure()

    def look(self) -> Truth:
        """Reads everything; only while the broker answers."""
        self.last = read_truth.read(self.world.raw)
        return self.last

    def rows(self) -> dict[str, str]:
        """Tenant → its name in the database; waits until that answers."""
        with self.world.engine.connect() as connection:
            found = connection.execute(sa.text("SELECT tenant_id, name FROM tenant_config")).all()
        return {str(id_): str(name) for id_, name in found}

    def note_synced(self) -> None:
        """After an act and all that was done during it: nothing else changes tenants in between."""
        if self.synced:
            self.expected.tenants, self.synced = self.rows(), False

    def new_id(self) -> str:
        """The next one: the same in each run."""
        return str(uuid.UUID(int=self._ids.getrandbits(128), version=4))

    def during(self, act: Act) -> str:
        """Does what is to be done while it lasts."""
        return "; ".join(f"{inner.kind}: {self.do(inner)}" for inner in act.during)

    def lost_connections(self) -> None:
        """Every worker's: the message under way may be lost, all that it has fetched may come again."""
        for _ in self.world.workers:
            self.exposure.lost += 2
            self.exposure.twice += CONCURRENCY * (PREFETCHED + 1) + 1
            self.exposure.chains += CONCURRENCY
