"""A paused queue that loses tasks, although every worker that reports has stopped."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from opsdash.model import PauseInfo, QueueStats, TrashEntry, WorkerStats
from opsdash.services.pause.lost_tasks import QUIET_S, REMEMBERED_S, LeakCheck

NOW = datetime.now(UTC)
PAUSED = {None: PauseInfo(queue=None, epoch=7)}
HELD = WorkerStats(hostname="a", state="online", heartbeat_at=NOW, queues=("emails",), paused=True)


class Looks:
    """One read after the other, a second apart."""

    def __init__(self) -> None:
        self._shrinking = LeakCheck()
        self.at_s = 100.0

    def look(
        self,
        waiting: int,
        *,
        pauses: dict[str | None, PauseInfo] = PAUSED,
        worker: WorkerStats = HELD,
        trash: tuple[TrashEntry, ...] = (),
        after_s: float = 1.0,
    ) -> dict[str, int]:
        self.at_s += after_s
        return self._shrinking.look(pauses, [QueueStats(name="emails", waiting=waiting)], [worker], trash, self.at_s)

    def settle(self, waiting: int) -> None:
        self.look(waiting)
        self.look(waiting, after_s=QUIET_S + 1)


def test_a_paused_queue_that_loses_tasks_is_told_with_how_many():
    looks = Looks()
    looks.settle(12)
    assert looks.look(12) == {}
    assert looks.look(11) == {"emails": 1}
    assert looks.look(9) == {"emails": 3}
    assert looks.look(20) == {"emails": 3}, "what comes in does not undo it"
    assert looks.look(20, after_s=REMEMBERED_S) == {}


def test_a_queue_that_is_not_paused_may_shrink():
    looks = Looks()
    for waiting in (12, 10, 8):
        assert looks.look(waiting, pauses={}, after_s=QUIET_S + 1) == {}


def test_until_every_worker_has_confirmed_and_its_last_fetch_is_back_a_queue_may_shrink():
    looks = Looks()
    late = replace(HELD, paused=False)
    assert [looks.look(n, worker=late, after_s=QUIET_S + 1) for n in (12, 10)] == [{}, {}]
    assert [looks.look(n) for n in (9, 8)] == [{}, {}]


def test_what_opsdash_clears_is_no_workers_doing():
    looks = Looks()
    looks.settle(12)
    cleared = TrashEntry(id="t", queue="emails", count=12)
    assert looks.look(5, trash=(replace(cleared, state="clearing"),)) == {}
    assert looks.look(0, trash=(replace(cleared, state="clearing"),)) == {}
    looks.look(3, trash=(cleared,))
    assert looks.look(2, trash=(cleared,)) == {"emails": 1}


def test_another_pause_begins_anew():
    looks = Looks()
    looks.settle(12)
    assert looks.look(11) == {"emails": 1}
    assert looks.look(9, pauses={None: PauseInfo(queue=None, epoch=9)}) == {}


def test_a_first_look_may_find_trash_and_nothing_is_lost_by_it():
    looks = Looks()
    assert looks.look(12, trash=(TrashEntry(id="t", queue="emails", count=1),)) == {}
