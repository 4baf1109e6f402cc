"""Trash: what was cleared, for as long as the undo window lasts."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from opsdash import lua
from opsdash.errors import Refused
from opsdash.model import TrashEntry, untrusted
from opsdash.model.queue import FAILED_TASKS, WORKFLOW
from opsdash.model.untrusted import Unread
from opsdash.services import dataframes
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker
from opsdash.services.broker.queue_expiry import suspend
from opsdash.services.queues.lock import QueueLock, locked
from opsdash.services.queues.old_places import nearest_step
from opsdash.services.queues.put_back import PLACES, Kept, end, left_to_remember_s, put_back, why_not
from opsdash.services.queues.receipt import Receipt, Scope
from opsdash.services.queues.remove_task import TASK
from opsdash.services.queues.remove_tasks import TASKS, queues_of
from opsdash.services.queues.selective_clear import SelectiveClear
from opsdash.services.queues.task_message import LONGEST_ID
from opsdash.text import count, format_duration

if TYPE_CHECKING:
    import pandas as pd

STEP = "step:"
"""Fields of a trash entry's info that count the messages of one priority step."""
WEIGHED = 5
"""Messages from whose size that of a list is estimated."""
MOST_ENTRIES = 500
"""Clears that are listed: those that are kept longest."""
MOST_STEPS = 1_000
"""Above every priority step."""
_LONG_AGO = datetime.min.replace(tzinfo=UTC)
WITHOUT_QUEUE = frozenset({FAILED_TASKS, WORKFLOW})
"""Kinds of trash that are of no single queue."""
MEMBERS = "failed"
"""Part of a trash of failed tasks: sorted set of their ids; each one's entry is beside it."""
KEPT_INFO_S = 3_600
"""For how long at least a finished restore is remembered, so that a second one is answered and not wondered at."""

_WEIGH = lua.load(__name__, "trash_weigh")
_BEGIN = lua.load(__name__, "trash_begin")
_END = lua.load(__name__, "trash_end")
_DELETE = lua.load(__name__, "trash_delete")


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a restore brought back.

    Attributes:
        entry: As it was before.
        tasks: How many this run brought back; 0: all had come back before.
        receipt: None when all had come back before.
        where: Of one removed task: next to which message it is; see `old_places.Gaps`. Empty for a clear.
    """

    entry: TrashEntry
    tasks: int = 0
    receipt: Receipt | None = None
    where: str = ""


@dataclass(frozen=True, slots=True)
class Trash:
    """Lists, gives back and deletes cleared messages."""

    broker: Broker

    def list(self) -> tuple[TrashEntry, ...]:
        """Everything that can be restored now, the newest first; see `look`."""
        return self.look()[0]

    def look(self) -> tuple[tuple[TrashEntry, ...], tuple[Unread, ...]]:
        """Everything that can be restored now, the newest first, and what of it can't be read or is too much.

        Cost: three round trips, however many entries there are; ``MOST_ENTRIES`` at most are read.
        """
        keys = self.broker.keys
        with self.broker.reading():
            ends = bounded_reads.read_members(
                self.broker.client, keys.trash_index, most=MOST_ENTRIES, low=f"{time.time():.3f}"
            )
            infos = bounded_reads.hashes(
                self.broker.client, [keys.trash(trash_id, "info") for trash_id, _ in ends.found]
            )
        known = [(trash_id, end_s, info) for (trash_id, end_s), info in zip(ends.found, infos, strict=True) if info]
        kept = self._kept([(trash_id, info) for trash_id, _, info in known])
        found = [_entry(trash_id, end_s, info, of) for (trash_id, end_s, info), of in zip(known, kept, strict=True)]
        unread = ends.unread("clears that can be undone", keys.trash_index) if len(ends.found) == MOST_ENTRIES else []
        if ends.total is None:
            unread = ends.unread("clears that can be undone", keys.trash_index)
        bad = [trash_id for (trash_id, _), info in zip(ends.found, infos, strict=True) if info is None]
        bad += [entry.id for entry, (_, _, info) in zip(found, known, strict=True) if _is_odd(entry, info)]
        if bad:
            unread.append(Unread(what="clears that can be undone", names=tuple(untrusted.words(one) for one in bad)))
        fit = [entry for entry in found if entry.queue or entry.kind in WITHOUT_QUEUE]
        return tuple(sorted(fit, key=lambda entry: entry.at or _LONG_AGO, reverse=True)), tuple(unread)

    def lists(self, entries: Sequence[TrashEntry]) -> Sequence[Sequence[tuple[str, int, str, bool]]]:
        """Of each entry its lists: queue, priority step, key, and whether that has what goes back at the end.

        Cost: one round trip.
        """
        keys, known = self.broker.keys, self.broker.priority_steps
        with self.broker.reading():
            infos = bounded_reads.hashes(self.broker.client, [keys.trash(entry.id, "info") for entry in entries])
        found = []
        for entry, info in zip(entries, infos, strict=True):
            if entry.kind == WORKFLOW:
                found.append([(queue, 0, keys.trash(entry.id, f"{TASKS}{queue}"), False) for queue in queues_of(info)])
                continue
            of = entry.queue
            lists = [(of, step, keys.trash(entry.id, str(step)), False) for step in sorted(_steps(info or {}))]
            if entry.state != "kept":
                lists += [(of, step, keys.trash(entry.id, f"kept:{step}"), True) for step in known]
            found.append(lists)
        return found

    def to_frame(self) -> pd.DataFrame:
        """The same as a typed pandas frame, the newest first; warns of what is left out. Cost: as ``look``."""
        entries, unread = self.look()
        for one in unread:
            warnings.warn(one.message, stacklevel=2)
        return dataframes.of_trash(entries)

    def find(self, trash_id: str) -> TrashEntry:
        """One entry.

        Raises:
            Refused: There is none of that id, or its messages are back in the queue.
        """
        info = self._info(trash_id)
        if info.get("state") == "restored":
            raise Refused(_restored(trash_id, info))
        with self.broker.reading():
            end_s: Any = self.broker.client.zscore(self.broker.keys.trash_index, trash_id)
        return self._one(trash_id, end_s, info)

    def kind(self, trash_id: str) -> str:
        """``queue``, ``failed`` for failed tasks, or ``workflow``; also of one that was restored.

        Raises:
            Refused: There is none of that id.
        """
        return _kind(self._info(trash_id))

    def restore(
        self,
        trash_id: str,
        *,
        by: str,
        others: Iterable[str] = (),
        on_progress: Callable[[int], None] = lambda _left: None,
    ) -> Restored:
        """Puts cleared messages back, in order and priority, before what has come since; one task to its own place.

        Safe to run again, whatever it was interrupted by; done twice it is done once.

        Args:
            others: Other queues that the receipt counts.
            on_progress: Called after each step with the number of newer messages still to move behind the restored
                ones.

        Raises:
            Refused: The trash is gone, or another operation has the queue lock. Nothing was changed.
        """
        keys, queue = self.broker.keys, self._of_queue(trash_id)["queue"]
        lists = self.broker.lists(queue)
        with locked(self.broker, queue, by=by, what="restore") as lock:
            SelectiveClear(self.broker).finish_broken(lock, queue)
            info = self._info(trash_id)
            entry = self._one(trash_id, None, info)
            if entry.task_id:
                return self._put_back(lock, entry, info, others, by)
            names = [keys.trash(trash_id, "info"), keys.trash_index, keys.restores]
            # The least urgent first: what meets in one list, since there are fewer lists now, is then in its order.
            kept = {step: keys.trash(trash_id, str(step)) for step in sorted(_steps(info), reverse=True)}
            begun = lock.run(_BEGIN, [*names, *kept.values()], queue, by, trash_id)
            if begun == "restored":
                return Restored(entry=entry)
            if begun not in {"kept", "restoring"}:
                raise Refused(why_not(trash_id, begun))
            into = {step: lists[nearest_step(step, lists)] for step in kept}
            suspend(self.broker, queue, set(into.values()), info)
            scope = Scope.of(self.broker, queue, others)
            before = scope.count()
            for step, key in kept.items():
                lock.join(key, into[step], on_progress)
            left_s = left_to_remember_s(info, KEPT_INFO_S)
            receipt = scope.since(before)
            lock.run(_END, names, queue, datetime.now(UTC).isoformat(), trash_id, left_s)
        return Restored(entry=entry, tasks=entry.count, receipt=receipt)

    def _put_back(
        self, lock: QueueLock, entry: TrashEntry, info: Mapping[str, str], others: Iterable[str], by: str
    ) -> Restored:
        if info.get("state") == "restored":
            return Restored(entry=entry)
        keys, step = self.broker.keys, min(_steps(info), default=0)
        kept = Kept(
            trash_id=entry.id,
            queue=entry.queue,
            tasks=keys.trash(entry.id, str(step)),
            last=info.get("last", ""),
            expires_ms=info.get("expires_ms", ""),
            by=by,
            left_s=left_to_remember_s(info, KEPT_INFO_S),
        )
        scope = Scope.of(self.broker, entry.queue, others)
        before = scope.count()
        sides = put_back(lock, kept)
        receipt = scope.since(before)
        if not end(self.broker, entry.id, [kept]):
            raise Refused(why_not(entry.id, "short"))
        if not sides:  # it was killed before it could say so
            return Restored(entry=self._one(entry.id, None, self._info(entry.id)))
        return Restored(entry=entry, tasks=1, receipt=receipt, where=next(iter(sides)))

    def by_priority(self, trash_id: str) -> dict[int, int]:
        """Priority step that they go back to → messages; see `elsewhere`. Cost: two reads of the entry.

        Raises:
            Refused: There is none of that id.
        """
        info = self._of_queue(trash_id)
        lists = self.broker.lists(info["queue"])
        found: dict[int, int] = {}
        (kept,) = self._kept([(trash_id, info)])
        for step, (left, _) in sorted(_left(info, kept.lengths).items()):
            at = nearest_step(step, lists)
            found[at] = found.get(at, 0) + left
        return {step: left for step, left in found.items() if left}

    def elsewhere(self, trash_id: str) -> dict[int, int]:
        """Priority steps that the app has no more → where their messages go: as kombu would put them."""
        info = self._of_queue(trash_id)
        lists = self.broker.lists(info["queue"])
        return {step: nearest_step(step, lists) for step in sorted(_steps(info)) if step not in lists}

    def delete(self, trash_id: str, *, by: str) -> TrashEntry:
        """Deletes cleared messages for good; memory is freed in the background.

        Raises:
            Refused: There are none of that id, or something was begun with them. Nothing was changed.
        """
        keys, queue = self.broker.keys, self._of_queue(trash_id)["queue"]
        with locked(self.broker, queue, by=by, what="delete trash") as lock:
            SelectiveClear(self.broker).finish_broken(lock, queue)
            info = self._info(trash_id)
            kept = [keys.trash(trash_id, part) for part in (*map(str, _steps(info)), f"{PLACES}{queue}")]
            answer = delete(self.broker, trash_id, kept)
        if answer == "restored":
            raise Refused(_restored(trash_id, info))
        if answer != "deleted":
            raise Refused(why_not(trash_id, answer))
        return self._one(trash_id, None, info)

    def _info(self, trash_id: str) -> Mapping[str, str]:
        with self.broker.reading():
            (info,) = bounded_reads.hashes(self.broker.client, [self.broker.keys.trash(trash_id, "info")])
        if not info or not (info.get("queue") or _kind(info) in WITHOUT_QUEUE):
            raise Refused(why_not(trash_id, "gone"))
        return info

    def _of_queue(self, trash_id: str) -> Mapping[str, str]:
        info = self._info(trash_id)
        if (kind := _kind(info)) in WITHOUT_QUEUE:
            what = "failed tasks" if kind == FAILED_TASKS else "tasks of a workflow"
            raise Refused(f"Trash {trash_id} has {what}, none of a queue.")
        return info

    def _one(self, trash_id: str, end_s: float | None, info: Mapping[str, str]) -> TrashEntry:
        (kept,) = self._kept([(trash_id, info)])
        return _entry(trash_id, end_s, info, kept)

    def _kept(self, infos: Sequence[tuple[str, Mapping[str, str]]]) -> tuple[_Kept, ...]:
        """What each entry has now, its size estimated from a few messages. Cost: one round trip; reads no message."""
        found = tuple(_Kept({}, {}) for _ in infos)
        lists = [(at, step, trash_id) for at, (trash_id, info) in enumerate(infos) for step in sorted(_steps(info))]
        if not lists:
            return found
        keys = [self.broker.keys.trash(trash_id, str(step)) for _, step, trash_id in lists]
        with self.broker.reading(), self.broker.client.pipeline(transaction=False) as pipe:
            for start in range(0, len(keys), bounded_reads.BATCH):
                part = keys[start : start + bounded_reads.BATCH]
                pipe.eval(_WEIGH, len(part), *part, WEIGHED)
            rows = [row for reply in pipe.execute() for row in reply]
        for (at, step, _), (weight, length) in zip(lists, rows, strict=True):
            found[at].weights[step], found[at].lengths[step] = int(weight), int(length)
        return found


@dataclass(frozen=True, slots=True)
class _Kept:
    """Of one entry's lists: priority step → mean size of a message in bytes, and → length."""

    weights: dict[int, int]
    lengths: dict[int, int]


def _left(info: Mapping[str, str], lengths: Mapping[int, int]) -> dict[int, tuple[int, int]]:
    """Priority step → messages that are still to be restored, and newer ones that a restore has put behind them.

    A list goes back as a whole, in one step; until then newer messages are added to it.
    """
    cleared = {step: untrusted.whole(info[f"{STEP}{step}"]) or 0 for step in _steps(info)}
    if info.get("state") != "restoring":
        return {step: (number, 0) for step, number in cleared.items()}
    return {
        step: (min(number, lengths.get(step, 0)), max(0, lengths.get(step, 0) - number))
        for step, number in cleared.items()
    }


def _entry(trash_id: str, end_s: float | None, info: Mapping[str, str], kept: _Kept) -> TrashEntry:
    left = _left(info, kept.lengths)
    size_bytes = sum(number * kept.weights.get(step, 0) for step, (number, _) in left.items())
    kind = _kind(info)
    if kind in WITHOUT_QUEUE:
        size_bytes = untrusted.whole(info.get("size_bytes")) or 0
    restoring = info.get("state") == "restoring"
    state = untrusted.words(info.get("state", "kept"))
    end = untrusted.instant(info.get("until") if end_s is None else end_s)
    return TrashEntry(
        id=trash_id,
        queue=info.get("queue", "") if len(info.get("queue", "")) <= untrusted.LONG and kind == "queue" else "",
        kind=kind,
        root=untrusted.words(info.get("root"), LONGEST_ID) if kind == WORKFLOW else "",
        count=sum(number for number, _ in left.values()) if restoring else untrusted.whole(info.get("count")) or 0,
        size_bytes=size_bytes or None,
        by=untrusted.words(info.get("by")),
        at=untrusted.moment(info.get("at")),
        expires_at=end if state == "kept" and end is not None and end.timestamp() > 0 else None,
        state=state,
        set_aside=sum(newer for _, newer in left.values()),
        task_id=untrusted.words(info.get(TASK), LONGEST_ID),
    )


def _is_odd(entry: TrashEntry, info: Mapping[str, str]) -> bool:
    """Something of it is there and can't be read."""
    return (
        (not entry.queue and entry.kind not in WITHOUT_QUEUE)
        or entry.at is None
        or untrusted.whole(info.get("count")) is None
    )


def delete(broker: Broker, trash_id: str, lists: Iterable[str]) -> str:
    """Deletes a trash with these lists, if nothing was begun with it: ``deleted``, or why not."""
    names = [broker.keys.trash(trash_id, "info"), broker.keys.trash_index, *lists]
    return str(broker.client.eval(_DELETE, len(names), *names, trash_id))


def time_left(entry: TrashEntry) -> str:
    """``23h 59m``: how long an entry can still be restored."""
    if entry.expires_at is None:
        return "until it is finished"
    return span((entry.expires_at - datetime.now(UTC)).total_seconds())


def span(seconds: float) -> str:
    """A duration in its two largest units: ``1d 0h``, ``59m 12s``."""
    return " ".join(format_duration(seconds).split()[:2])


def _kind(info: Mapping[str, str]) -> str:
    kind = info.get("kind", "")
    return kind if kind in WITHOUT_QUEUE else "queue"


def _steps(info: Mapping[str, str]) -> set[int]:
    names = (field.removeprefix(STEP) for field in info if field.startswith(STEP) and info[field] != "0")
    return {step for name in names if (step := untrusted.whole(name)) is not None and step < MOST_STEPS}


def _restored(trash_id: str, info: Mapping[str, str]) -> str:
    at = untrusted.moment(info.get("restored_at"))
    when = f" at {at:%Y-%m-%d %H:%M:%S} UTC" if at else ""
    tasks, by = count(untrusted.whole(info.get("count")) or 0, "task"), untrusted.words(info.get("restored_by"))
    if _kind(info) == WORKFLOW:
        return f"The {tasks} of trash {trash_id} went back to their queues{when}, by {by or 'somebody'}."
    if info.get("kind") == FAILED_TASKS:
        return f"The failed tasks of trash {trash_id} were restored{when}, by {by or 'somebody'}."
    return f"The {tasks} of trash {trash_id} went back to {info['queue']}{when}, by {by or 'somebody'}."
