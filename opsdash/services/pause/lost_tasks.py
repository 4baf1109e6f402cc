"""Whether a paused queue loses tasks, although every worker that reports has confirmed the pause."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from opsdash.model import PauseInfo, QueueStats, TrashEntry, WorkerStats

QUIET_S = 3.0
"""After all have confirmed: a fetch that was under way has gone back by then."""
REMEMBERED_S = 30.0
"""For so long after a queue has lost a task it is said to be losing them."""


class LeakCheck:
    """Compares two reads of the paused queues. Makes no read itself."""

    def __init__(self) -> None:
        self._since_s: dict[str, float] = {}
        self._waiting: dict[str, int] = {}
        self._lost: dict[str, tuple[int, float]] = {}
        self._pauses: dict[str, object] = {}
        self._cleared: frozenset[str] = frozenset()

    def look(
        self,
        pauses: Mapping[str | None, PauseInfo],
        queues: Iterable[QueueStats],
        workers: Iterable[WorkerStats],
        trash: Iterable[TrashEntry],
        now_s: float,
    ) -> dict[str, int]:
        """Queue → tasks it has lost since it was paused, and that opsdash has not cleared.

        Args:
            now_s: A monotonic clock.
        """
        kept = [entry for entry in trash if entry.queue]
        # A clear is new, or still under way: what it takes is no worker's doing.
        clearing = {entry.queue for entry in kept if entry.id not in self._cleared or entry.state != "kept"}
        self._cleared = frozenset(entry.id for entry in kept)
        live = [worker for worker in workers if worker.reports]
        waiting, since_s = {}, {}
        for queue in queues:
            pause = pauses.get(queue.name, pauses.get(None))
            if pause is None or queue.error or not _confirmed(live, queue.name):
                self._lost.pop(queue.name, None)
                continue
            identity = (pause.queue, pause.epoch, pause.at)
            if self._pauses.get(queue.name) != identity:
                self._pauses[queue.name] = identity
                self._lost.pop(queue.name, None)
                since_s[queue.name] = now_s
            else:
                since_s[queue.name] = self._since_s.get(queue.name, now_s)
            waiting[queue.name] = queue.waiting
            before = self._waiting.get(queue.name)
            quiet = now_s - since_s[queue.name] > QUIET_S
            if quiet and before is not None and queue.waiting < before and queue.name not in clearing:
                lost, _ = self._lost.get(queue.name, (0, 0.0))
                self._lost[queue.name] = lost + before - queue.waiting, now_s
        self._waiting, self._since_s = waiting, since_s
        self._pauses = {name: identity for name, identity in self._pauses.items() if name in waiting}
        recent = {name for name, (_, at_s) in self._lost.items() if now_s - at_s < REMEMBERED_S}
        self._lost = {name: lost for name, lost in self._lost.items() if name in recent & waiting.keys()}
        return {name: number for name, (number, _) in self._lost.items()}


def _confirmed(live: Iterable[WorkerStats], queue: str) -> bool:
    return all(worker.paused or queue in worker.paused_queues for worker in live if queue in worker.queues)
