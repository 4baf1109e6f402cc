"""One waiting message goes to the trash, and back to its own place between the tasks that it waited between."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from opsdash.errors import LOOK_AGAIN, Refused
from opsdash.model.hold import HeldList
from opsdash.services.broker.client import Broker
from opsdash.services.pause.holds import Holds
from opsdash.services.queues import scan, take_out
from opsdash.services.queues.lock import QueueLock, locked
from opsdash.services.queues.put_back import PLACES
from opsdash.services.queues.receipt import Receipt, Scope
from opsdash.services.queues.selective_clear import SelectiveClear
from opsdash.services.queues.take_out import FARTHER, TakeOut, Target, is_near
from opsdash.services.queues.task_message import Wanted, meant_id, texts_of

SLACK = (2, 50, 500)
"""Messages that may be pushed between the look and the step, in the first try and those after it."""
TASK = "task_id"
"""Field of a trash entry's info: it is of one task, which goes back to its own place."""


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
    """Takes one task out of its queue while workers go on taking others.

    Cost: one search of the queue, and one step, or several: see `take_out`.

    Args:
        keep_s: The undo window; 0 deletes it.
        trash_id: If it exists, that is the answer, and nothing is removed again.
        others: Other queues that the receipt counts.

    Raises:
        Refused: It does not wait there any more, or another operation has the queue lock. Nothing was changed.
    """
    keys, at = broker.keys, datetime.now(UTC)
    with locked(broker, queue, by=by, what="remove task") as lock:
        SelectiveClear(broker).prepare(lock, queue)
        scope = Scope.of(broker, queue, others)
        before = scope.count()
        for slack in SLACK:
            step, hit = _waiting(lock, queue, task_id)
            if broker.client.exists(keys.trash(trash_id, "info")):
                return Removed(queue=queue, priority=step, trash_id=trash_id)
            one = TakeOut(
                lock=lock,
                queue=queue,
                step=step,
                texts=texts_of(Wanted(task_id, whole=True)),
                meant=lambda raw, message=hit.message: raw == message,  # type: ignore[misc] # a default binds it
                target=Target(
                    id=trash_id,
                    by=by,
                    tasks=keys.trash(trash_id, str(step)),
                    places=keys.trash(trash_id, f"{PLACES}{queue}"),
                    counter=f"step:{step}",
                    expires="expires_ms",
                    fields={"queue": queue, "by": by, "at": at.isoformat(), TASK: task_id, "newer": 0},
                    until_s=int(at.timestamp()) + keep_s,
                    keep_s=keep_s,
                ),
            )
            if is_near(hit.index, hit.lengths[list(broker.lists(queue)).index(step)], FARTHER * take_out.NEAR):
                one.at([hit], slack)
            else:
                one.between(hit.message)
            if one.taken.number:
                return Removed(
                    queue=queue,
                    priority=step,
                    position=one.taken.place,
                    waiting=one.taken.waiting,
                    trash_id=trash_id if keep_s else None,
                    receipt=scope.since(before),
                )
    raise Refused(f"Tasks arrive too fast in {queue}: {task_id} could not be taken out.", hint=LOOK_AGAIN, retry=True)


def remove_held(broker: Broker, queue: str, task_id: str, *, by: str, keep_s: int, trash_id: str) -> Removed:
    """Takes one held task out of its hold's list of a queue; the hold goes on. As `remove`.

    Raises:
        Refused: It is not held there any more, or another operation has the queue lock. Nothing was changed.
    """
    keys, at, texts = broker.keys, datetime.now(UTC), texts_of(Wanted(task_id, whole=True))

    def meant(raw: bytes) -> bool:
        return bool(meant_id(raw, Wanted(task_id, whole=True)))

    with locked(broker, queue, by=by, what="remove task") as lock:
        if broker.client.exists(keys.trash(trash_id, "info")):
            return Removed(queue=queue, priority=0, trash_id=trash_id)
        for one in of_queue(broker, queue):
            out = TakeOut(
                lock=lock,
                queue=queue,
                step=int(one.step),
                texts=texts,
                meant=meant,
                target=Target(
                    id=trash_id,
                    by=by,
                    tasks=keys.trash(trash_id, one.step),
                    places=keys.trash(trash_id, f"{PLACES}{queue}"),
                    counter=f"step:{one.step}",
                    expires="expires_ms",
                    fields={"queue": queue, "by": by, "at": at.isoformat(), TASK: task_id, "newer": 0},
                    until_s=int(at.timestamp()) + keep_s,
                    keep_s=keep_s,
                ),
                held=one,
            )
            if (taken := out.all()).number:
                return Removed(
                    queue=queue,
                    priority=int(one.step),
                    position=taken.place,
                    waiting=taken.waiting,
                    trash_id=trash_id if keep_s else None,
                )
    raise Refused(f"Task {task_id} is not held from queue {queue} any more.", hint=LOOK_AGAIN, field="task_id")


def of_queue(broker: Broker, queue: str) -> list[HeldList]:
    """The lists of held tasks of a queue, of whichever hold."""
    holds = Holds(broker)
    names = [hold.id for hold in holds.read().holds]
    return [one for one in holds.lists(names) if one.queue == queue and not one.released] if names else []


def _waiting(lock: QueueLock, queue: str, task_id: str) -> tuple[int, scan.Hit]:
    """The step and place of a waiting task; of several the one that runs first.

    Raises:
        Refused: It does not wait there.
    """
    wanted, lists = Wanted(task_id, whole=True), lock.broker.lists(queue)
    for step, key in lists.items():
        hits = list[scan.Hit]()
        for window in scan.find(lock.broker, key, tuple(lists.values()), texts_of(wanted)):
            hits += [hit for hit in window.hits if meant_id(hit.message, wanted)]
            lock.keep()
        if hits:
            return step, hits[-1]
    raise Refused(f"Task {task_id} does not wait in queue {queue} any more.", hint=LOOK_AGAIN, field="task_id")
