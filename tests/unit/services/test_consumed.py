"""Which queues are taken from: of many queues and workers, each worker is looked at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from opsdash.services.queues.discovery import consumed_by


class Looked:
    """A worker that counts how often its queues are looked at."""

    def __init__(self, *queues: str, reports: bool = True) -> None:
        self.reports, self.looks, self._queues = reports, 0, queues

    @property
    def queues(self) -> tuple[str, ...]:
        self.looks += 1
        return self._queues


def test_each_worker_is_looked_at_once_however_many_queues_there_are() -> None:
    workers: list[Any] = [Looked("celery", "emails"), Looked("reports"), Looked("old", reports=False)]
    taken = consumed_by(workers, ())
    assert [taken(queue) for queue in ("celery", "emails", "reports", "old", "nobody's")] == [True] * 3 + [False] * 2
    assert [worker.looks for worker in workers] == [1, 1, 0]


def test_what_unmanaged_workers_take_counts_and_is_not_known_while_they_were_not_asked() -> None:
    others: Any = (SimpleNamespace(queues=("exports",)),)
    assert consumed_by((), others)("exports") is True
    assert consumed_by((), None)("exports") is None
