"""Many waiting messages of one queue go to a trash that may have those of other queues too.

Each step moves whole messages. So a task is either in its queue or in the trash, and what was begun has nothing to
finish: it is run again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from opsdash import lua
from opsdash.errors import LOOK_AGAIN, Refused
from opsdash.model import untrusted
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker
from opsdash.services.queues import scan
from opsdash.services.queues.lock import locked
from opsdash.services.queues.old_places import NEIGHBOURS
from opsdash.services.queues.put_back import PLACES
from opsdash.services.queues.selective_clear import SelectiveClear

TASKS = "tasks:"
"""Part of such a trash for each queue: the list of its messages."""
OF = "of:"
"""Fields of its info that count the messages of one queue."""
MOST_QUEUES = 40
"""Queues of one trash."""
SLACK = (20, 500, 500)
"""Messages that may be pushed between the look and the step, in the first try and those after it."""

_REMOVE = lua.load(__name__, "remove_tasks", **bounded_reads.MARKS)


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
    """Takes the messages that are meant out of a queue; the others keep their order. How many it took.

    Cost: one search of the queue; each step of it that finds some moves them at once, with one LREM, some 50 ms in
    the middle of 1,000,000.

    Args:
        texts: Only messages that hold one of these are looked at.
        on_step: Called after each step with how many it took.
        cancelled: Called between two steps; true stops there.

    Raises:
        Refused: Another operation has the queue lock, or messages come too fast. What was taken can be restored.
    """
    taken = 0
    with locked(broker, queue, by=into.by, what="cancel workflow") as lock:
        SelectiveClear(broker).prepare(lock, queue)
        for step, key in broker.lists(queue).items():
            size, start, tries, run = scan.WindowSize(), 0, 0, secrets.token_hex(4)
            while not cancelled():
                window, size_bytes = scan.holding_step(broker, key, texts, start, size.messages)
                hits = [hit for hit in window.hits if meant(hit.message)]
                number = 0
                if hits:
                    pairs = [one for hit in hits for one in (hit.index - start, hit.message)]
                    keys = broker.keys
                    parts = [keys.trash(into.id, part) for part in ("info", f"{TASKS}{queue}", f"{PLACES}{queue}")]
                    answer, number = lock.run(
                        _REMOVE,
                        [key, parts[0], keys.trash_index, *parts[1:], keys.expires],
                        *(start, SLACK[tries], NEIGHBOURS, into.keep_s, into.until_s, into.id, queue, step),
                        *(run, into.root, into.by, into.at, *pairs),
                    )
                    if answer == "moved":
                        tries += 1
                        if tries == len(SLACK):
                            raise Refused(f"Tasks arrive too fast in {queue}.", hint=LOOK_AGAIN, retry=True)
                        start, run = 0, secrets.token_hex(4)
                        continue
                    if answer != "removed":
                        raise Refused(f"Trash {into.id} was restored meanwhile.", hint=LOOK_AGAIN)
                    taken += number
                    on_step(number)
                start += window.looked_at - number
                if not window.looked_at or start >= (window.length or 0) - number:
                    break
                size.learn(window.looked_at, size_bytes)
    return taken
