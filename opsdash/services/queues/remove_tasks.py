"""Many waiting messages of one queue go to a trash that may have those of other queues too.

If it is killed, each task is in its queue or in the trash, or is given back by the next operation on the queue: it is
run again for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from opsdash.model import untrusted
from opsdash.model.hold import HeldList
from opsdash.model.queue import WORKFLOW
from opsdash.services.broker.client import Broker
from opsdash.services.queues.lock import locked
from opsdash.services.queues.put_back import PLACES
from opsdash.services.queues.remove_task import of_queue
from opsdash.services.queues.selective_clear import SelectiveClear
from opsdash.services.queues.take_out import TakeOut, Target

TASKS = "tasks:"
"""Part of such a trash for each queue: the list of its messages."""
OF = "of:"
"""Fields of its info that count the messages of one queue."""
MOST_QUEUES = 40
"""Queues of one trash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """The trash that they go to.

    Attributes:
        id: Of the trash. ``root``: what they have in common.
        at: When it was begun, in ISO 8601. ``until_s``: when it ends, in seconds since the epoch.
        keep_s: For how long that is from now on; 0 deletes them.
    """

    id: str
    root: str
    by: str
    at: str
    until_s: int
    keep_s: int


def queues_of(info: Mapping[str, str] | None, *, left: bool = True) -> list[str]:
    """The queues of such a trash; ``left``: those that have something left in it."""
    of = {field.removeprefix(OF): number for field, number in (info or {}).items() if field.startswith(OF)}
    names = [name for name, number in of.items() if number != "0" or not left]
    return sorted(name for name in names if 0 < len(name) <= untrusted.LONG)[:MOST_QUEUES]


def take(
    broker: Broker,
    queue: str,
    texts: Sequence[str],
    meant: Callable[[bytes], bool],
    into: Bin,
    *,
    on_step: Callable[[int], None] = lambda _number: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> int:
    """Takes the messages that are meant out of a queue, and out of what holds have set aside of it. How many it took.

    The others keep their order.

    Cost: one search of the queue, and as `TakeOut.all`.

    Args:
        texts: Only messages that hold one of these are looked at.
        on_step: Called after each step with how many it took.
        cancelled: Called between two steps; true stops there.

    Raises:
        Refused: Another operation has the queue lock, or messages come too fast. What was taken can be restored.
    """
    keys = broker.keys
    target = Target(
        id=into.id,
        by=into.by,
        tasks=keys.trash(into.id, f"{TASKS}{queue}"),
        places=keys.trash(into.id, f"{PLACES}{queue}"),
        counter=f"{OF}{queue}",
        expires=f"expires_ms:{queue}",
        fields={"kind": WORKFLOW, "root": into.root, "by": into.by, "at": into.at},
        until_s=into.until_s,
        keep_s=into.keep_s,
    )
    number = 0
    with locked(broker, queue, by=into.by, what="cancel workflow") as lock:
        SelectiveClear(broker).prepare(lock, queue)
        places: list[tuple[int, HeldList | None]] = [(step, None) for step in broker.lists(queue)]
        for step, held in [*places, *((int(one.step), one) for one in of_queue(broker, queue))]:
            one = TakeOut(
                lock=lock,
                queue=queue,
                step=step,
                held=held,
                texts=texts,
                meant=meant,
                target=target,
                on_step=on_step,
                cancelled=cancelled,
            )
            number += one.all().number
    return number
