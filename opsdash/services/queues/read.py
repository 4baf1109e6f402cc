"""Queues: how much waits in each, and clearing one."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from opsdash import lua
from opsdash.errors import LOOK_AGAIN, Refused
from opsdash.model import QueueStats
from opsdash.model.key_layout import ASSUMED
from opsdash.services import dataframes
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker
from opsdash.services.broker.messages import Message
from opsdash.services.pause.flags import PauseFlags
from opsdash.services.queues.age import Ages
from opsdash.services.queues.discovery import Discovery
from opsdash.services.queues.lock import busy, locked
from opsdash.services.queues.peek import LARGE, describe, too_large
from opsdash.services.queues.receipt import Receipt, Scope
from opsdash.services.queues.selective_clear import SelectiveClear, check_restores
from opsdash.services.queues.watermark import NOTHING, Mark, find
from opsdash.services.workers.reports import Workers
from opsdash.text import choices

if TYPE_CHECKING:
    import pandas as pd

_NEXT = lua.load(__name__, "read_next")
_CLEAR = lua.load(__name__, "read_clear", **bounded_reads.MARKS)
FEW = 300
"""Messages moved one by one in the step that clears: a millisecond. Are there more, they are set aside beforehand."""
SLACK = 500
"""Messages that may come between finding the watermark and the step that clears."""
TRIES = 5
STEPS = range(1, 10)
"""Priority steps that an app may have beside 0."""


@dataclass(frozen=True, slots=True)
class Cleared:
    """What one clear moved, counted in the step that moved it.

    Attributes:
        trash_id: Where the messages are for the undo window; None when nothing was kept.
        newer: Messages that came after the watermark, and stay.
        cancelled: It ended before its end; what was cleared by then can be restored.
        receipt: What waited before and after; None where it had been done before.
    """

    total: int
    by_priority: dict[int, int]
    trash_id: str | None
    newer: int = 0
    cancelled: bool = False
    receipt: Receipt | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Queues:
    """Reads and clears queues over all of kombu's priority lists.

    Attributes:
        ages: What it remembers of the tasks that run next.
    """

    broker: Broker
    ages: Ages = field(default_factory=Ages, compare=False, repr=False)

    def check(self, queue: str, known: Sequence[str]) -> None:
        """Refuses a name that neither the settings nor a worker knows.

        Raises:
            Refused: With the names that exist.
        """
        if queue not in known:
            hint = f"Known queues: {choices(known, queue)}."
            raise Refused(f"Queue {queue!r} is not known.", hint=hint, field="queue")

    def check_lists(self, queue: str) -> None:
        """Refuses a queue one of whose keys is no list. Cost: one round trip.

        Raises:
            Refused: Naming the key and what it is.
        """
        keys = list(self.broker.lists(queue).values())
        with self.broker.reading(), self.broker.client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.type(key)
            kinds = pipe.execute()
        for key, kind in zip(keys, kinds, strict=True):
            if kind not in {"list", "none"}:
                raise Refused(f"The key {key!r} of queue {queue} is a {kind}, not a list.")

    def check_restores(self, queue: str) -> None:
        """Refuses a clear while a restore of the queue was interrupted: see `selective_clear.check_restores`."""
        check_restores(self.broker, queue)

    def check_priorities(self, queue: str) -> None:
        """Refuses a queue with tasks of an unknown priority step: a clear would leave them behind.

        Cost: nothing if app, setting or workers give the priority steps, else one round trip.

        Raises:
            Refused: Naming the priorities, and what would tell them.
        """
        layout = self.broker.layout
        if layout.source_of("priority_steps") != ASSUMED:
            return
        others = replace(layout, priority_steps=tuple(step for step in STEPS if step not in layout.priority_steps))
        lists = others.lists(queue)
        with self.broker.reading(), self.broker.client.pipeline(transaction=False) as pipe:
            for key in lists.values():
                pipe.type(key)
            kinds = pipe.execute()
        if missed := [str(step) for step, kind in zip(lists, kinds, strict=True) if kind == "list"]:
            raise Refused(
                f"Tasks of queue {queue} wait at priority {', '.join(missed)}, where opsdash does not look.",
                hint="Set OPSDASH_CELERY_APP, or OPSDASH_PRIORITY_STEPS as the app has them.",
            )

    def read(self, queues: Iterable[str]) -> tuple[QueueStats, ...]:
        """Waiting messages. Cost: one MULTI; per queue one LLEN for each priority step, and one look at their ends."""
        names = tuple(queues)
        with self.broker.reading(), self.broker.client.pipeline(transaction=True) as pipe:
            self.ask(pipe, names)
            return self.answer(names, pipe.execute(raise_on_error=False))

    def to_frame(self) -> pd.DataFrame:
        """The known queues as a typed pandas frame, read now."""
        names = Discovery(self.broker).names(Workers(self.broker).read(), None)
        pauses = PauseFlags(self.broker).read(names)
        read = self.read(names)
        return dataframes.of_queues(replace(queue, paused=None in pauses or queue.name in pauses) for queue in read)

    def ask(self, pipe: Any, names: Iterable[str]) -> None:
        """Queues the reads on a pipeline that also reads other things; `answer` takes their replies."""
        for name in names:
            lists = list(self.broker.lists(name).values())
            for key in lists:
                pipe.llen(key)
            pipe.eval(_NEXT, len(lists), *lists, LARGE)

    def answer(self, names: Sequence[str], replies: Sequence[Any]) -> tuple[QueueStats, ...]:
        """The replies to `ask`, in its order; a list that can't be counted costs its queue, not the page."""
        steps = self.broker.priority_steps
        stats = []
        for index, name in enumerate(names):
            *given, ends = replies[index * (len(steps) + 1) : (index + 1) * (len(steps) + 1)]
            by_priority = {step: n for step, n in zip(steps, given, strict=True) if n and isinstance(n, int)}
            bad = [
                key for key, n in zip(self.broker.lists(name).values(), given, strict=True) if isinstance(n, Exception)
            ]
            error = f"not a list: {', '.join(bad)}" if bad else ""
            lists = self.broker.lists(name).values()
            oldest = self.ages.oldest(dict(zip(lists, ends, strict=True))) if isinstance(ends, list) else None
            stats.append(
                QueueStats(
                    name=name,
                    waiting=sum(by_priority.values()),
                    by_priority=by_priority,
                    error=error,
                    oldest_s=None if oldest is None else oldest.seconds,
                    oldest_at_least=oldest is not None and oldest.at_least,
                )
            )
        return tuple(stats)

    def unacked(self) -> int:
        """Messages fetched and not acknowledged yet, of all queues: one HLEN."""
        with self.broker.reading():
            return int(self.broker.client.hlen(self.broker.unacked))

    def peek(self, queue: str, number: int, redact: str = "") -> tuple[Message, ...]:
        """The first and last messages of a queue, in the order workers would take them. Runs and unpickles nothing.

        Cost: three round trips for each priority step, more for large messages; what is larger than ``LARGE`` is not
        looked into.

        Raises:
            Refused: One of its keys is no list.
        """
        self.check_lists(queue)
        lists = self.broker.lists(queue)
        with self.broker.reading():
            found: dict[int, tuple[int, bytes]] = {}
            before = 0
            for step, key in lists.items():
                length: Any = self.broker.client.llen(key)
                first, last = (self._end(key, min(number, length), way) for way in (-1, 1))
                found |= {before + i + 1: (step, message) for i, message in enumerate(first)}
                found |= {before + length - i: (step, message) for i, message in enumerate(last)}
                before += length
        ends = sorted(found)
        shown = [*ends[:number], *(position for position in ends[-number:] if position not in ends[:number])]
        return tuple(
            too_large(bounded_reads.size_of(message), position=position, priority=step)
            if bounded_reads.size_of(message) > LARGE
            else describe(message, position=position, priority=step, redact=redact)
            for position in shown
            for step, message in (found[position],)
        )

    def _end(self, key: str, number: int, way: int) -> list[bytes]:
        """The last messages of a list, or with 1 the first ones, from its end on."""
        found: list[bytes] = []
        while len(found) < number:
            start = len(found) if way == 1 else -1 - len(found)
            if not (more := bounded_reads.messages(self.broker.client, key, start, number - len(found), step=way)):
                break
            found += more
        return found

    def clear(
        self,
        queue: str,
        *,
        by: str,
        keep_s: int,
        trash_id: str | None = None,
        watermark: Mapping[str, Any] | None = None,
        also: Callable[[bytes], bool] | None = None,
        others: Iterable[str] = (),
        on_progress: Callable[[int, int], None] = lambda _at, _of: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Cleared:
        """Moves everything that waits in one queue, all priorities, to the trash, atomically.

        When more than ``FEW`` messages have come since the watermark, those are set aside in small steps first; each
        priority is then cleared in its own step.

        Args:
            keep_s: The undo window; 0 deletes at once.
            trash_id: If it exists, its result is returned and the clear is not repeated.
            watermark: The watermark, from ``boundary.draw``: messages after it stay.
            also: Finds previewed messages in a list that no longer has the watermark.
            others: Other queues that the receipt counts.
            on_progress: Called while messages are set aside, with how many, of how many. ``cancelled``: called
                meanwhile.

        Raises:
            Refused: Another operation has the queue lock, a restore was interrupted, or the previewed messages are
                gone.
        """
        trash_id = trash_id or secrets.token_hex(8)
        keys, lists = self.broker.keys, self.broker.lists(queue)
        names = [keys.trash(trash_id, "info"), keys.trash_index, keys.busy(queue), keys.restores, keys.expires]
        for step, key in lists.items():
            names += [key, keys.trash(trash_id, str(step))]
        scope = Scope.of(self.broker, queue, others)
        names += scope.other_keys
        now = datetime.now(UTC)
        restores = watermark["restores"] if watermark else ""
        fields = [keep_s, queue, by, now.isoformat(), trash_id, int(now.timestamp()), restores, FEW, SLACK]
        self._finish_broken(queue, by)
        for _ in range(TRIES):
            found = find(self.broker, queue, watermark)
            if also is not None and self._one_by_one(lists, found):
                answer, counts = "many", []
                break
            marks = [part for step, mark in found.items() for part in (step, *mark)]
            answer, *counts = self.broker.client.eval(_CLEAR, len(names), *names, *fields, *marks)
            if answer != "moved":
                break
        if answer == "many":
            done = SelectiveClear(self.broker).clear(
                queue,
                None,
                by=by,
                keep_s=keep_s,
                trash_id=trash_id,
                watermark=watermark,
                also=also,
                others=others,
                on_progress=on_progress,
                cancelled=cancelled,
            )
            return Cleared(done.total, done.by_priority, done.trash_id, done.newer, done.cancelled, done.receipt)
        if answer != "done":
            raise busy(queue, counts[0]) if answer == "busy" else Refused(_WHY_NOT[answer], hint=LOOK_AGAIN)
        newer, *numbers = (int(number) for number in counts)
        moved, counted = numbers[: len(lists)], numbers[len(lists) :]
        middle = len(counted) // 2
        receipt = scope.receipt(counted[:middle], counted[middle:], at_once=True) if counted else None
        by_priority = {step: n for step, n in zip(lists, moved, strict=True) if n}
        total = sum(moved)
        return Cleared(total, by_priority, trash_id if total and keep_s else None, newer, receipt=receipt)

    def _one_by_one(self, lists: Mapping[int, str], found: Mapping[int, Mark]) -> bool:
        """A list has messages, and no watermark that says which of them are newer."""
        return any(at == NOTHING and self.broker.client.llen(lists[step]) for step, (at, _) in found.items())

    def _finish_broken(self, queue: str, by: str) -> None:
        """A clear or a restore that was killed half-way has messages aside that belong to this queue."""
        if self.broker.client.zcount(self.broker.keys.trash_index, "+inf", "+inf"):
            with locked(self.broker, queue, by=by, what="clear") as lock:
                SelectiveClear(self.broker).prepare(lock, queue)


_WHY_NOT = {
    "restored": "Tasks were restored to this queue after the preview.",
    "moved": "Tasks arrive too fast: the previewed tasks can't be separated from newer ones.",
}
