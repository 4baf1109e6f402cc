"""The trash of a cancelled workflow: its tasks go back to their own places, or are deleted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from opsdash import lua
from opsdash.errors import Refused
from opsdash.model import TrashEntry, untrusted
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker
from opsdash.services.broker.queue_expiry import suspend
from opsdash.services.queues.lock import QueueLock, locked
from opsdash.services.queues.remove_task import ROOM, SLACK, left_to_remember_s, place_among
from opsdash.services.queues.remove_tasks import PLACES, TASKS, queues_of
from opsdash.services.queues.selective_clear import SelectiveClear
from opsdash.services.queues.trash import KEPT_INFO_S, Trash, nearest_step, why_not

MOST_STEP = 200
"""Tasks that go back in one step, where they were taken from one place."""
LONGEST_PLACE = 2_000
"""Characters of where a task was."""

_RESTORE = lua.load(__name__, "workflow_restore")
_LAST = lua.load(__name__, "workflow_last_place")
_DELETE = lua.load(__name__, "workflow_delete")


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

        Cost: a few round trips for each place that tasks were taken from, 200 at once; far from both ends of a long
        list one LINSERT for each.

        Returns:
            The entry as it was before, and what this run brought back.

        Raises:
            Refused: There is none, all came back before, or another operation has a queue's lock.
        """
        entry = Trash(self.broker).find(trash_id)
        queues: dict[str, int] = {}
        own_place = 0
        for queue in queues_of(self._info(trash_id)):
            with locked(self.broker, queue, by=by, what="restore") as lock:
                SelectiveClear(self.broker).finish_broken(lock, queue)
                while True:
                    info = self._info(trash_id)
                    number, own = self._some(lock, trash_id, queue, info, by)
                    if not number:
                        break
                    queues[queue] = queues.get(queue, 0) + number
                    own_place += number if own else 0
                    on_progress(max(0, entry.count - sum(queues.values())))
        return entry, PutBack(tasks=sum(queues.values()), own_place=own_place, queues=queues)

    def _some(self, lock: QueueLock, trash_id: str, queue: str, info: Mapping[str, str], by: str) -> tuple[int, bool]:
        """The last ones of a queue go back: how many, and whether to their own place."""
        broker, keys = self.broker, self.broker.keys
        names = [keys.trash(trash_id, part) for part in ("info", f"{TASKS}{queue}", f"{PLACES}{queue}")]
        last = self._last(names[2])
        if not last:
            return 0, False
        step, newer, from_newest, from_oldest, older = [*last.split("|"), "", "", "", ""][:5]
        lists = broker.lists(queue)
        key = lists[nearest_step(untrusted.whole(step) or 0, lists)]
        suspend(broker, queue, [key], {"expires_ms": info.get(f"expires_ms:{queue}", "")})
        place = {
            "newer_ones": newer,
            "older_ones": older,
            "from_newest": from_newest,
            "from_oldest": from_oldest,
        }
        for slack in (*SLACK, 0):
            where, neighbour, seen_at = place_among(broker, key, place) if slack else ("next", "", 0)
            answer, number, *waited = lock.run(
                _RESTORE,
                [key, names[0], keys.trash_index, *names[1:], keys.restores],
                *(trash_id, queue, by, datetime.now(UTC).isoformat(), left_to_remember_s(info, KEPT_INFO_S)),
                *(where, neighbour, max(0, seen_at), slack, last, ROOM, MOST_STEP),
            )
            if answer == "done":
                return int(number), where != "next" or waited == [0]  # the only ones are where they were
            if answer == "restored":  # another console had the last step
                return 0, False
            if answer != "moved":
                raise Refused(why_not(trash_id, str(answer)))
        return 0, False

    def delete(self, trash_id: str) -> TrashEntry:
        """Deletes them for good; memory is freed in the background.

        Raises:
            Refused: There are none of that id, or they were restored. Nothing was changed.
        """
        entry, keys = Trash(self.broker).find(trash_id), self.broker.keys
        parts = [keys.trash(trash_id, f"{part}{queue}") for queue in self._queues(trash_id) for part in (TASKS, PLACES)]
        names = [keys.trash(trash_id, "info"), keys.trash_index, *parts]
        answer: Any = self.broker.client.eval(_DELETE, len(names), *names, trash_id)
        if answer != "deleted":
            raise Refused(why_not(trash_id, str(answer)))
        return entry

    def by_queue(self, trash_id: str) -> dict[str, int]:
        """Queue → tasks that are left of it."""
        info = self._info(trash_id)
        return {queue: untrusted.whole(info.get(f"of:{queue}")) or 0 for queue in queues_of(info)}

    def _queues(self, trash_id: str) -> list[str]:
        return queues_of(self._info(trash_id))

    def _info(self, trash_id: str) -> Mapping[str, str]:
        with self.broker.reading():
            (info,) = bounded_reads.hashes(self.broker.client, [self.broker.keys.trash(trash_id, "info")])
        return info or {}

    def _last(self, key: str) -> str:
        with self.broker.reading():
            return str(self.broker.client.eval(_LAST, 1, key, LONGEST_PLACE))
