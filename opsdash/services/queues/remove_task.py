"""One waiting message goes to the trash, and back to its own place between the tasks that it waited between."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from opsdash import lua
from opsdash.errors import LOOK_AGAIN, Refused
from opsdash.model import untrusted
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker
from opsdash.services.queues import scan
from opsdash.services.queues.lock import QueueLock, locked
from opsdash.services.queues.receipt import Receipt, Scope
from opsdash.services.queues.selective_clear import SelectiveClear
from opsdash.services.queues.task_message import Wanted, meant_id, texts_of

NEIGHBOURS = 5
"""On either side that are remembered: as long as one of them waits, its place is known."""
SLACK = (2, 50, 500)
"""Messages that may be pushed between the look and the step, in the first try and those after it."""
ROOM = 2_000
"""Messages at the end of a list that are moved aside and back in one step, at most; elsewhere Redis inserts one."""
TASK = "task_id"
"""Field of a trash entry's info: it is of one task, which goes back to its own place."""

Where = Literal["behind", "before", "next"]

_REMOVE = lua.load(__name__, "remove_task", **bounded_reads.MARKS)
_UNDO = lua.load(__name__, "remove_task_undo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """A message that was taken out of its queue.

    Attributes:
        position: The place it had: 1 is the next to run, of ``waiting`` in its list.
        trash_id: Where it is for the undo window; None when it was not kept.
        receipt: What waited before and after; None where it had been done before.
    """

    queue: str
    priority: int
    position: int = 0
    waiting: int = 0
    trash_id: str | None
    receipt: Receipt | None = None


def remove(
    broker: Broker, queue: str, task_id: str, *, by: str, keep_s: int, trash_id: str, others: Iterable[str] = ()
) -> Removed:
    """Takes one task out of its queue, in one step, while workers go on taking others.

    Cost: one search of the queue, and one LREM, which passes over the messages between this one and the nearer end,
    some 50 ms in the middle of 1,000,000.

    Args:
        keep_s: The undo window; 0 deletes it.
        trash_id: If it exists, that is the answer, and nothing is removed again.
        others: Other queues that the receipt counts.

    Raises:
        Refused: It does not wait there any more, or another operation has the queue lock. Nothing was changed.
    """
    keys, lists = broker.keys, broker.lists(queue)
    at = datetime.now(UTC)
    info = ["queue", queue, "by", by, "at", at.isoformat(), TASK, task_id]
    with locked(broker, queue, by=by, what="remove task") as lock:
        SelectiveClear(broker).prepare(lock, queue)
        scope = Scope.of(broker, queue, others)
        before = scope.count()
        for slack in SLACK:
            step, hit = _waiting(broker, queue, task_id)
            trash = keys.trash(trash_id, str(step))
            answer, *places = lock.run(
                _REMOVE,
                [lists[step], keys.trash(trash_id, "info"), keys.trash_index, trash, keys.expires],
                *(hit.message, hit.index, slack, NEIGHBOURS, keep_s, int(at.timestamp()), trash_id, step),
                *info,
            )
            if answer == "known":
                return Removed(queue=queue, priority=step, trash_id=trash_id)
            if answer == "removed":
                place, length = map(int, places)
                return Removed(
                    queue=queue,
                    priority=step,
                    position=length - place,
                    waiting=length,
                    trash_id=trash_id if keep_s else None,
                    receipt=scope.since(before),
                )
    raise Refused(f"Tasks arrive too fast in {queue}: {task_id} could not be taken out.", hint=LOOK_AGAIN, retry=True)


def _waiting(broker: Broker, queue: str, task_id: str) -> tuple[int, scan.Hit]:
    """The step and place of a waiting task; of several the one that runs first.

    Raises:
        Refused: It does not wait there.
    """
    wanted, lists = Wanted(task_id, whole=True), broker.lists(queue)
    for step, key in lists.items():
        hits = [
            hit
            for window in scan.find(broker, key, tuple(lists.values()), texts_of(wanted))
            for hit in window.hits
            if meant_id(hit.message, wanted)
        ]
        if hits:
            return step, hits[-1]
    raise Refused(f"Task {task_id} does not wait in queue {queue} any more.", hint=LOOK_AGAIN, field="task_id")


def put_back(
    lock: QueueLock, trash_id: str, info: Mapping[str, str], step: int, key: str, *, by: str, left_s: int
) -> tuple[str, Where]:
    """Puts a removed task back where it was, in one step.

    Cost: near the oldest message, that of the messages behind it; elsewhere one LINSERT, as an LREM from the newest on.

    Args:
        step: The priority step that it was removed from. ``key``: the list that it goes to.
        left_s: For how long its return is remembered.

    Returns:
        ``done``, or why not; and which neighbour it is next to: ``behind`` a newer one, ``before`` an older one, or
        ``next`` to run, where none of them waits any more.
    """
    broker, keys, queue = lock.broker, lock.broker.keys, info["queue"]
    names = [key, keys.trash(trash_id, "info"), keys.trash_index, keys.trash(trash_id, str(step)), keys.restores]
    at, answer, where = datetime.now(UTC).isoformat(), "moved", "next"
    for slack in SLACK:
        where, neighbour, seen_at = place_among(broker, key, info)
        answer = lock.run(_UNDO, names, trash_id, queue, by, at, left_s, where, neighbour, max(0, seen_at), slack, ROOM)
        if answer != "moved":
            return answer, where
    answer = lock.run(_UNDO, names, trash_id, queue, by, at, left_s, "next", "", 0, 0, ROOM)
    return answer, "next"


def place_among(broker: Broker, key: str, info: Mapping[str, str]) -> tuple[Where, str, int]:
    """Next to which message a removed task goes, and where that was seen.

    A neighbour that is newer than the task is best: it is taken after the task would have been.

    What was pushed since moves it away from the newest message, what was taken brings it nearer to the oldest one:
    where only one of the two has happened its place is known, and it is between them otherwise. Where others were
    removed as well it may be before that: then all of the list is looked through.
    """
    newer, older = _digests(info, "newer_ones"), _digests(info, "older_ones")
    with broker.reading():
        length: int = broker.client.llen(key)
    from_newest = untrusted.whole(info.get("from_newest")) or 0
    from_oldest = untrusted.whole(info.get("from_oldest")) or 0
    start = max(0, max(from_newest, length - from_oldest) - 2 * NEIGHBOURS)
    seen = _seen(broker, key, start, newer, older)
    if start and not seen.keys() & {*newer[:1], *(() if newer else older[:1])}:
        seen = {**_seen(broker, key, 0, newer, older), **seen}
    for digest in newer:
        if digest in seen:
            return "behind", digest, seen[digest]
    for digest in older:
        if digest in seen:
            return "before", digest, seen[digest]
    return "next", "", 0


def _seen(broker: Broker, key: str, start: int, newer: Sequence[str], older: Sequence[str]) -> dict[str, int]:
    """Where the neighbours are, from a place on; those that are looked for go on waiting side by side."""
    seen: dict[str, int] = {}
    for _, found in scan.places(broker, key, start, [*newer, *older]):
        if seen and not found:
            break
        seen |= {one: at for one, at in found.items() if one not in seen}
        if (newer or older) and (newer or older)[0] in seen:
            break
    return seen


def _digests(info: Mapping[str, str], field: str) -> list[str]:
    return [one for one in info.get(field, "").split()[:NEIGHBOURS] if len(one) == 40]


def left_to_remember_s(info: Mapping[str, str], least_s: int) -> int:
    """For how long a return is remembered: until the undo window ends, and for a while at least."""
    return max(least_s, int((untrusted.figure(info.get("until")) or 0.0) - time.time()))
