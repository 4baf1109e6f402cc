"""Holds: set and read here, applied by every worker. See `opsdash.model.hold`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from opsdash import lua
from opsdash.errors import Refused
from opsdash.model import OtherWorker, Unread, WorkerStats, untrusted
from opsdash.model.hold import (
    LONGEST_FIELD,
    MOST_HOLDS,
    MOST_LISTS,
    READ,
    RELEASING,
    HeldList,
    HeldTasks,
    Hold,
    HoldsRead,
    Kind,
    hold_id,
    lists_of,
    parsed,
)
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker
from opsdash.values import frozen

_SET = lua.load(__name__, "holds_set")
_LENGTHS = lua.load(__name__, "holds_lengths")


@frozen(kw_only=True)
class HoldsLook:
    """The holds, with what each holds.

    Attributes:
        now_s: Redis's time of the read.
        unread: What of them can't be read.
    """

    holds: tuple[HeldTasks, ...] = ()
    now_s: float = 0.0
    unread: tuple[Unread, ...] = ()


@frozen
class Holds:
    """Sets and reads holds."""

    broker: Broker

    def set(
        self,
        kind: Kind,
        name: str,
        queue: str = "",
        *,
        key: str = "",
        most: int = 0,
        by: str,
        reason: str,
        ttl_s: int | None,
    ) -> Hold:
        """Begins a hold, or changes the one there is: its end, its reason. Cost: one round trip.

        Args:
            ttl_s: None: without an end.

        Raises:
            Refused: It is being released just now, or there are too many. Nothing was changed.
        """
        now = datetime.now(UTC)
        hold = Hold(
            id=hold_id(kind, name, queue),
            kind=kind,
            name=name,
            queue=queue,
            key=key,
            most=most,
            by=by,
            reason=reason,
            at=now,
            expires_at=None if ttl_s is None else now + timedelta(seconds=ttl_s),
        )
        keys = self.broker.keys
        answer = self.broker.client.eval(_SET, 1, keys.hold, hold.id, hold.as_json(), str(MOST_HOLDS), keys.nudge)
        if answer == "releasing":
            raise Refused(f"The hold of {hold} is being released just now.", hint="Try again when that is done.")
        if answer == "many":
            hint = "Concurrency limits count: opsdash holds and opsdash concurrency-limits list them."
            raise Refused(f"There are {MOST_HOLDS} holds already.", hint=hint)
        return hold

    def read(self) -> HoldsRead:
        """The holds in force, the oldest first. Cost: one round trip."""
        with self.broker.reading(), self.broker.client.pipeline(transaction=False) as pipe:
            self.ask(pipe)
            (reply,) = pipe.execute(raise_on_error=False)
            return self.answer(reply)

    def ask(self, pipe: Any) -> None:
        """Has them read on a pipeline that also reads other things; `answer` takes the reply."""
        pipe.eval(READ, 1, self.broker.keys.hold)

    @staticmethod
    def answer(reply: Any) -> HoldsRead:
        """The reply to `ask`."""
        if isinstance(reply, Exception):
            raise reply
        return parsed(reply)

    def find(self, kind: Kind, name: str, queue: str = "") -> Hold | None:
        """One of them; None: there is none."""
        wanted = hold_id(kind, name, queue)
        return next((hold for hold in self.read().holds if hold.id == wanted), None)

    def lists(self, holds: Iterable[str], most: int | None = None) -> list[HeldList]:
        """Where the tasks of these holds are. Cost: one round trip.

        Args:
            most: About how many lists are read; None: ``MOST_LISTS``.
        """
        with self.broker.reading():
            fields = bounded_reads.some_fields(
                self.broker.client, self.broker.keys.held_lists, most or MOST_LISTS, LONGEST_FIELD
            )
        return lists_of(fields, holds)

    def look(
        self,
        workers: Sequence[WorkerStats] = (),
        others: Sequence[OtherWorker] | None = (),
        read: HoldsRead | None = None,
    ) -> HoldsLook:
        """The holds with what each holds, and who applies it.

        Args:
            read: The holds, where they were read already.

        Cost: one round trip without ``read``; two more while there are some.
        """
        read = self.read() if read is None else read
        unread = [Unread(what="holds", names=read.unread)] if read.unread else []
        if not read.holds:
            return HoldsLook(now_s=read.now_s, unread=tuple(unread))
        lists = [one for one in self.lists(hold.id for hold in read.holds) if not one.released]
        lengths = self._lengths([self.broker.keys.held(one.hold, one.step, one.queue) for one in lists])
        both = list(zip(lists, lengths, strict=True))
        found = [
            _held(hold, [(one, length) for one, length in both if one.hold == hold.id], workers, others or ())
            for hold in read.holds
        ]
        return HoldsLook(holds=tuple(found), now_s=read.now_s, unread=tuple(unread))

    def lengths(self, lists: Sequence[HeldList]) -> list[int]:
        """How many tasks each list has. Cost: one round trip."""
        keys = [self.broker.keys.held(one.hold, one.step, one.queue) for one in lists]
        return [length for length, _ in self._lengths(keys)]

    def _lengths(self, keys: Sequence[str]) -> list[tuple[int, str]]:
        if not keys:
            return []
        with self.broker.reading(), self.broker.client.pipeline(transaction=False) as pipe:
            for start in range(0, len(keys), bounded_reads.BATCH):
                part = keys[start : start + bounded_reads.BATCH]
                pipe.eval(_LENGTHS, len(part), *part)
            replies = pipe.execute()
        return [(int(length), str(oldest)) for reply in replies for length, oldest in reply]

    def who_releases(self, hold: str) -> str:
        """Who has begun to release it; empty: nobody."""
        with self.broker.reading():
            name = f"{hold}{RELEASING}"
            (fields,) = bounded_reads.fields(self.broker.client, [self.broker.keys.hold], [name])
        return untrusted.words(untrusted.mapping(untrusted.parsed(fields.get(name))).get("by"))


def applies(worker: WorkerStats, hold: Hold) -> bool:
    """It takes tasks that the hold may match."""
    return worker.reports and (not hold.queue or hold.queue in worker.queues) and bool(worker.queues)


def can_not(workers: Iterable[WorkerStats], hold: Hold) -> list[WorkerStats]:
    """Workers that would run what is to be held: an older plug-in, or one that Redis refuses it."""
    return [worker for worker in workers if applies(worker, hold) and not _able(worker, hold)]


def _able(worker: WorkerStats, hold: Hold) -> bool:
    return worker.holding == "ready" and (hold.kind != "limit" or worker.limited is not None)


def free(others: Iterable[OtherWorker], hold: Hold) -> list[OtherWorker]:
    """Unmanaged workers that would."""
    return [other for other in others if not hold.queue or hold.queue in other.queues]


def _held(
    hold: Hold, lists: Sequence[tuple[HeldList, Any]], workers: Sequence[WorkerStats], others: Sequence[OtherWorker]
) -> HeldTasks:
    by_queue: dict[str, int] = {}
    oldest: list[float] = []
    for one, (length, order) in lists:
        by_queue[one.queue] = by_queue.get(one.queue, 0) + length
        at = untrusted.figure(order.partition(" ")[2])
        if length and at:
            oldest.append(at)
    meant = [worker for worker in workers if applies(worker, hold)]
    return HeldTasks(
        hold=hold,
        held=sum(by_queue.values()),
        by_queue={queue: number for queue, number in by_queue.items() if number},
        oldest_at=untrusted.instant(min(oldest)) if oldest else None,
        workers=sum(hold.id in worker.holds_applied and _able(worker, hold) for worker in meant),
        of=len(meant),
        without=tuple(
            [worker.hostname for worker in can_not(meant, hold)] + [other.hostname for other in free(others, hold)]
        ),
        shares={
            worker.hostname: used
            for worker in workers
            if worker.reports and worker.limited and (used := worker.limited.get(hold.id, 0))
        },
    )
