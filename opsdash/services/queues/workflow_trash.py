"""The trash of a cancelled workflow: its tasks go back to their own places, or are deleted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from opsdash.errors import Refused
from opsdash.model import TrashEntry, untrusted
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker
from opsdash.services.queues.lock import locked
from opsdash.services.queues.put_back import PLACES, Kept, end, left_to_remember_s, put_back, why_not
from opsdash.services.queues.remove_tasks import TASKS, queues_of
from opsdash.services.queues.selective_clear import SelectiveClear
from opsdash.services.queues.trash import KEPT_INFO_S, Trash, delete


@dataclass(frozen=True, slots=True, kw_only=True)
class PutBack:
    """What a restore has brought back.

    Attributes:
        tasks: How many, ``own_place`` of them to their own places: the others run next.
        queues: Queue → tasks.
    """

    tasks: int = 0
    own_place: int = 0
    queues: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class WorkflowTrash:
    """Gives back and deletes the tasks of a cancelled workflow."""

    broker: Broker

    def restore(
        self, trash_id: str, *, by: str, on_progress: Callable[[int], None] = lambda _left: None
    ) -> tuple[TrashEntry, PutBack]:
        """Puts the tasks back, each next to the nearest of its old neighbours; safe to run again after an interruption.

        Cost: as `put_back.put_back`, for each queue.

        Returns:
            The entry as it was before, and what this run brought back.

        Raises:
            Refused: There is none, all came back before, or another operation has a queue's lock.
        """
        entry, info, keys = Trash(self.broker).find(trash_id), self._info(trash_id), self.broker.keys
        kept = [
            Kept(
                trash_id=trash_id,
                queue=queue,
                tasks=keys.trash(trash_id, f"{TASKS}{queue}"),
                last=info.get("last", ""),
                expires_ms=info.get(f"expires_ms:{queue}", ""),
                by=by,
                left_s=left_to_remember_s(info, KEPT_INFO_S),
            )
            for queue in queues_of(info, left=False)
        ]
        left, queues, next_ones = entry.count, dict[str, int](), 0

        def on_step(number: int) -> None:
            nonlocal left
            left = max(0, left - number)
            on_progress(left)

        for one in kept:
            with locked(self.broker, one.queue, by=by, what="restore") as lock:
                SelectiveClear(self.broker).finish_broken(lock, one.queue)
                if number := (sides := put_back(lock, one, on_step)).total():
                    queues[one.queue] = number
                    next_ones += sides["next"]
        if not end(self.broker, trash_id, kept) and not queues:
            raise Refused(why_not(trash_id, "short"))
        tasks = sum(queues.values())
        return entry, PutBack(tasks=tasks, own_place=tasks - next_ones, queues=queues)

    def delete(self, trash_id: str) -> TrashEntry:
        """Deletes them for good; memory is freed in the background.

        Raises:
            Refused: There are none of that id, or they were restored. Nothing was changed.
        """
        entry, keys = Trash(self.broker).find(trash_id), self.broker.keys
        queues = queues_of(self._info(trash_id), left=False)
        lists = [keys.trash(trash_id, f"{part}{queue}") for queue in queues for part in (TASKS, PLACES)]
        if (answer := delete(self.broker, trash_id, lists)) != "deleted":
            raise Refused(why_not(trash_id, answer))
        return entry

    def by_queue(self, trash_id: str) -> dict[str, int]:
        """Queue → tasks that are left of it."""
        info = self._info(trash_id)
        return {queue: untrusted.whole(info.get(f"of:{queue}")) or 0 for queue in queues_of(info)}

    def _info(self, trash_id: str) -> Mapping[str, str]:
        with self.broker.reading():
            (info,) = bounded_reads.hashes(self.broker.client, [self.broker.keys.trash(trash_id, "info")])
        return info or {}
