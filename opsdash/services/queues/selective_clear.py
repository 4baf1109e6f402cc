"""Clearing some of a queue's messages: streamed in small steps, in order, while workers go on taking from it.

Messages are taken from the newest end. What matches goes to the trash; what stays is kept aside until the end, since a
list can't be cut in its middle. Workers take from the oldest end meanwhile, so they see no gap. If it is killed,
the next operation on the queue completes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from opsdash import lua
from opsdash.errors import LOOK_AGAIN, Refused
from opsdash.model import untrusted
from opsdash.services.broker import bounded_reads, writes
from opsdash.services.broker.client import Broker
from opsdash.services.broker.messages import LONGEST_NAME
from opsdash.services.broker.queue_expiry import suspended_ms
from opsdash.services.queues.lock import Pace, QueueLock, locked
from opsdash.services.queues.receipt import Receipt, Scope
from opsdash.services.queues.task_filter import TaskFilter
from opsdash.services.queues.watermark import NOTHING, digest, find, raw

MOST_BEGUN = 1_000
"""Interrupted clears that are read."""
ARRIVALS = 20_000
"""Messages that may come between two steps."""
MOST_NAMES = 100
"""Names of tasks that are not meant, and whose messages are not sent here."""
STEP_BYTES = 1_000_000
"""Of messages that one step gives back."""

_TAKE = lua.load(__name__, "selective_clear_take", **bounded_reads.MARKS)
_TAKE_ALL = lua.load(__name__, "selective_clear_take_all", **bounded_reads.MARKS)
_GIVE_BACK = lua.load(__name__, "selective_clear_give_back", MOST=STEP_BYTES, **bounded_reads.MARKS)
BEGIN = lua.load(__name__, "selective_clear_begin")
_END = lua.load(__name__, "selective_clear_end")
_LOOK = lua.load(__name__, "selective_clear_look", LONGEST=LONGEST_NAME, **bounded_reads.MARKS)

Matches = Callable[[bytes], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectiveResult:
    """What a selective clear moved.

    Attributes:
        looked_at: Messages it has read; ``newer`` of them came after the watermark.
        cancelled: It ended before it had looked at all.
        receipt: What waited before and after; None where Redis could not say any more.
    """

    total: int
    by_priority: dict[int, int]
    looked_at: int
    newer: int
    trash_id: str | None
    cancelled: bool = False
    receipt: Receipt | None = None


@dataclass(frozen=True, slots=True)
class SelectiveClear:
    """Moves what matches to the trash, out of one queue; one at a time per queue."""

    broker: Broker

    def clear(
        self,
        queue: str,
        matches: Matches | None,
        *,
        by: str,
        keep_s: int,
        trash_id: str,
        watermark: Mapping[str, Any] | None = None,
        also: Matches | None = None,
        others: Iterable[str] = (),
        on_progress: Callable[[int, int], None] = lambda _at, _of: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> SelectiveResult:
        """Takes the messages that match out of the queue; the others keep their order.

        Memory: one step's messages. Cost: each message is moved twice, in steps of about ``STEP_S``.

        Args:
            matches: Called with each message up to the watermark; None: all of them, each priority in one step.
            watermark: The watermark, from ``boundary.draw``: messages after it are not read.
            also: Called with each message of a list that no longer has the watermark: its previewed messages
                were taken by workers, and some are back.
            others: Other queues that the receipt counts.
            on_progress: Called with the messages read so far, and in total.
            cancelled: Called between two steps; true stops there. The cleared messages can be restored.

        Raises:
            Refused: Another operation has the queue lock, or the previewed messages are gone. Nothing was changed.
        """
        broker, keys, lists = self.broker, self.broker.keys, self.broker.lists(queue)
        info = keys.trash(trash_id, "info")
        with locked(broker, queue, by=by, what="selective clear" if matches else "clear") as lock:
            self.prepare(lock, queue)
            if watermark and _restores(broker, queue) != watermark["restores"]:
                raise Refused("Tasks were restored to this queue after the preview.", hint=LOOK_AGAIN)
            marks = find(broker, queue, watermark)
            at = datetime.now(UTC).isoformat()
            fields = ["queue", queue, "by", by, "at", at, "keep_s", keep_s]
            if expires_ms := suspended_ms(broker, lists.values()):
                fields += ["expires_ms", expires_ms]
            if lock.run(BEGIN, [info, keys.trash_index], trash_id, *fields) != "begun":
                raise Refused(f"Trash {trash_id} already exists.")
            scope = Scope.of(broker, queue, others)
            before = scope.count()
            run = _Run(lock, trash_id, queue, sum(before[: len(lists)]), matches, on_progress, cancelled)
            for step, (newest, message) in marks.items():
                if newest != NOTHING:
                    run.take(step, digest(message) if message else None)
                elif also is None:
                    run.newer += int(broker.client.llen(lists[step]))
                else:
                    run.pick(step, also)
                if run.stopped:
                    break
            self.finish(lock, queue, trash_id)
            receipt = scope.since(before)
        total = sum(run.moved.values())
        kept = trash_id if total and keep_s else None
        return SelectiveResult(
            total=total,
            by_priority={step: number for step, number in run.moved.items() if number},
            looked_at=run.looked_at,
            newer=run.newer,
            trash_id=kept,
            cancelled=run.stopped,
            receipt=receipt,
        )

    def prepare(self, lock: QueueLock, queue: str) -> None:
        """Before a clear: completes those that were killed half-way, and refuses where a restore was.

        Raises:
            Refused: Newer tasks are still set aside in the trash of an interrupted restore.
        """
        check_restores(self.broker, queue)
        self.finish_broken(lock, queue)

    def finish_broken(self, lock: QueueLock, queue: str) -> int:
        """Brings to their end the selective clears of this queue that were killed half-way; returns how many."""
        left = unfinished(self.broker, queue, "clearing")
        for trash_id in left:
            self.finish(lock, queue, trash_id)
        return len(left)

    def finish(self, lock: QueueLock, queue: str, trash_id: str) -> None:
        """Gives back what is set aside, in its order, and ends the clear."""
        broker, keys, lists = self.broker, self.broker.keys, self.broker.lists(queue)
        info = keys.trash(trash_id, "info")
        for step, key in lists.items():
            aside, pace = keys.trash(trash_id, f"kept:{step}"), Pace()
            while True:
                # Where looking stopped: the newest message that was not looked at, or that went back already.
                upto: Any = raw(broker.client, "HGET", info, f"next:{step}")
                if not upto or not broker.client.exists(aside):
                    break
                give = partial(lock.run, _GIVE_BACK, [key, aside, info], upto, ARRIVALS, step)
                answer = pace.timed(give)
                if answer in (0, "gone"):
                    break
            lock.join(aside, key)
        (fields,) = bounded_reads.fields(broker.client, [info], ["keep_s"], 100)
        keep_s = untrusted.whole(fields.get("keep_s")) or 0
        kept = [keys.trash(trash_id, str(step)) for step in lists]
        names = [info, keys.trash_index, keys.restores, *kept]
        lock.run(_END, names, trash_id, keep_s, int(time.time()), queue)


def unfinished(broker: Broker, queue: str, state: str) -> list[str]:
    """Trash ids of what was begun with this queue and is not at its end: ``clearing`` or ``restoring``.

    Cost: two round trips; at most ``MOST_BEGUN`` entries.
    """
    client, keys = broker.client, broker.keys
    begun = [
        name for name, _ in bounded_reads.read_members(client, keys.trash_index, low="+inf", most=MOST_BEGUN).found
    ]
    infos = bounded_reads.fields(client, [keys.trash(one, "info") for one in begun], ["queue", "state"])
    wanted = {"queue": queue, "state": state}
    return [trash_id for trash_id, fields in zip(begun, infos, strict=True) if fields == wanted]


def check_restores(broker: Broker, queue: str) -> None:
    """Refuses a clear while a restore was interrupted: the newer tasks that it set aside would come back later.

    Raises:
        Refused: With the command that finishes it.
    """
    with broker.reading():
        left = unfinished(broker, queue, "restoring")
    if left:
        raise Refused(
            f"A restore of queue {queue} is not finished; its trash still has tasks of the queue.",
            hint=f"To finish it: opsdash restore-queue {untrusted.words(left[0])}",
        )


def _restores(broker: Broker, queue: str) -> str:
    with broker.client.pipeline(transaction=False) as pipe:
        bounded_reads.ask_field(pipe, broker.keys.restores, queue)
        return bounded_reads.field_of(pipe.execute()[0]) or "0"


@dataclass(frozen=True, slots=True)
class _Chunk:
    """The next messages of a list.

    Attributes:
        number: How many they are. ``ended``: no more are behind them; else ``after`` is the next one, or its mark.
        messages: Place, from 1, and message of each that may be meant.
    """

    number: int = 0
    ended: bool = True
    first: bytes = b""
    after: bytes = b""
    messages: tuple[tuple[int, bytes], ...] = ()


class _Run:
    """One selective clear under way."""

    def __init__(
        self,
        lock: QueueLock,
        trash_id: str,
        queue: str,
        waiting: int,
        matches: Matches | None,
        on_progress: Callable[[int, int], None],
        cancelled: Callable[[], bool],
    ) -> None:
        self._lock, self._trash_id, self._waiting = lock, trash_id, waiting
        self._matches, self._on_progress, self._cancelled = matches, on_progress, cancelled
        self._lists = lock.broker.lists(queue)
        self.moved: dict[int, int] = {}
        self._not_meant: list[bytes] = []
        self.looked_at = self.newer = 0
        self.stopped = False

    def pick(self, step: int, matches: Matches) -> None:
        """One priority's list, whose messages count as newer unless they match."""
        self._not_meant = []
        previous, looked_at, moved = self._matches, self.looked_at, self.moved.get(step, 0)
        self._matches = matches
        try:
            self.take(step, None)
        finally:
            self._matches, self._not_meant = previous, []
        self.newer += (self.looked_at - looked_at) - (self.moved.get(step, 0) - moved)

    def take(self, step: int, newest: str | None) -> None:
        """One priority's list, from the newest message to the oldest; up to ``newest`` all stays."""
        keys = self._lock.broker.keys
        key = self._lists[step]
        names = [
            key,
            keys.trash(self._trash_id, f"kept:{step}"),
            keys.trash(self._trash_id, "info"),
            keys.trash(self._trash_id, str(step)),
        ]
        pace, read, upto, reached = Pace(), Pace(), None, newest is None
        while True:
            if self._cancelled():
                self.stopped = True
                return
            look = partial(self._look, key, upto, TaskFilter() if not reached else self._matches)
            chunk: _Chunk = read.timed(look, pace.messages)
            if not chunk.number:
                return  # all was looked at, or workers have taken the rest
            number = chunk.number
            matching: list[int | bytes] = []
            for position, message in chunk.messages:
                if not reached and digest(message) == newest:
                    reached = True
                    if self._matches is None:
                        number = position - 1  # the next step takes all from here on
                        break
                if not reached:
                    self.newer += 1
                elif self._matches is None:
                    number = position - 1
                    break
                elif self._matches(message):
                    matching += [position, message]
            if number == 0:
                answer = self._lock.run(_TAKE_ALL, names, chunk.first, ARRIVALS, step)
            else:
                taken = partial(self._lock.run, _TAKE, names, chunk.first, ARRIVALS, step, number, *matching)
                answer = pace.timed(lambda _messages, taken=taken: taken(), number)  # type: ignore[misc] # a default binds it
            if answer == "gone":
                return
            self.moved[step] = self.moved.get(step, 0) + int(answer[0])
            self.looked_at += int(answer[1])
            self._on_progress(self.looked_at, self._waiting)
            if number == 0 or (chunk.ended and number == chunk.number):
                return
            upto = chunk.after if number == chunk.number else dict(chunk.messages)[number + 1]

    def _look(self, key: str, upto: bytes | None, matches: Matches | None, number: int) -> _Chunk:
        """The next messages; of tasks whose names are not meant only how many, as soon as these names are known."""
        client, by_name = self._lock.broker.client, isinstance(matches, TaskFilter) and bool(matches.task)
        arguments = (number, bounded_reads.MOST_BYTES, upto or b"", ARRIVALS, *(self._not_meant if by_name else ()))
        pipe: Any
        with client.pipeline(transaction=False) as pipe:
            pipe.execute_command("EVAL", _LOOK, 1, key, *arguments, NEVER_DECODE=True)
            reply = writes.run(pipe)
        if not reply:
            return _Chunk()
        looked_at, ended, first, after, kinds, *found = reply
        if isinstance(matches, TaskFilter) and by_name:
            others = [name for name in found[:kinds] if not matches.takes_name(name.decode(errors="replace"))]
            self._not_meant += others[: MOST_NAMES - len(self._not_meant)]
        pairs = iter(found[kinds:])
        return _Chunk(looked_at, bool(ended), first, after, tuple(zip(pairs, pairs, strict=True)))
