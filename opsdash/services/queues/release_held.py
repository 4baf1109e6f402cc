"""Releases a hold: its tasks go back in front of their queues, in order; and clears what it holds, to the trash."""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from uuid import UUID, uuid5

import redis

from opsdash import lua
from opsdash.errors import OpsdashError, Refused, Uncertain
from opsdash.model import untrusted
from opsdash.model.hold import BEGIN, END, EXPIRY, JOIN, MOST_LISTS, RELEASING, HeldList, Hold
from opsdash.services.broker import writes
from opsdash.services.broker.client import Broker
from opsdash.services.pause.holds import Holds
from opsdash.services.queues.lock import Pace, QueueLock, locked
from opsdash.services.queues.selective_clear import SelectiveClear

log = logging.getLogger(__name__)

MOST_TURNS = 20
"""How often the lists of a hold are looked at again, where workers begin new ones meanwhile."""
_CLEAR = lua.load(__name__, "clear_held")


@dataclass(slots=True, kw_only=True)
class Released:
    """What a release has done.

    Attributes:
        by_queue: Queue → tasks that went back.
        ended: The hold is over.
    """

    by_queue: Counter[str] = field(default_factory=Counter)
    ended: bool = False

    @property
    def total(self) -> int:
        """Tasks that went back."""
        return self.by_queue.total()


@dataclass(slots=True, kw_only=True)
class ClearedHeld:
    """What a clear of held tasks has done.

    Attributes:
        by_queue: Queue → trash id, and how many tasks.
        foreign: Keys in the place of held lists that are none: nothing is held there, and they stay as they are.
    """

    by_queue: dict[str, tuple[str, int]] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Tasks that were cleared."""
        return sum(number for _, number in self.by_queue.values())

    @property
    def remark(self) -> str:
        """What was left as it is; empty: nothing."""
        if not self.foreign:
            return ""
        what = "Another program's key is" if len(self.foreign) == 1 else "Other programs' keys are"
        return f" {what} in the place of a list, and stays: {', '.join(map(untrusted.words, self.foreign[:5]))}."


@dataclass(frozen=True, slots=True)
class HeldTasksMover:
    """Moves held tasks: back to their queues, or to the trash."""

    broker: Broker

    def release(
        self, hold: Hold, *, by: str, on_progress: Callable[[int, int], None] = lambda _at, _of: None
    ) -> Released:
        """Puts a hold's tasks back, and ends it. Safe to run again, whatever it was interrupted by.

        Cost: one step where fewer tasks are held than wait, else as many as wait in the queue are moved behind them, in
        steps of about `lock.STEP_S`.

        Args:
            on_progress: Called after each step with how many tasks went back, of how many.

        Raises:
            Refused: Another operation moves a queue's tasks. Nothing was changed.
            Uncertain: It began: it goes on by itself where this one ended.
        """
        keys, client, done = self.broker.keys, self.broker.client, Released()
        with writes.aside():  # until something has moved it can be taken back
            begun = client.eval(BEGIN, 1, keys.hold, hold.id, _who(by))
        if begun == "gone":
            return done
        holds = Holds(self.broker)
        for turn in range(1, MOST_TURNS + 1):  # each reads further, past the lists that have gone back
            lists = [one for one in holds.lists([hold.id], turn * MOST_LISTS) if not one.released]
            of = sum(holds.lengths(lists)) + done.total
            for queue in dict.fromkeys(one.queue for one in lists):
                self._release_queue(
                    [one for one in lists if one.queue == queue],
                    by=by,
                    done=done,
                    undo=hold.id if begun == "begun" and not done.by_queue and by != EXPIRY else "",
                    on_progress=partial(_tell, on_progress, done, of),
                )
            names = (keys.hold, keys.held_lists, keys.hold_ended)
            story = hold.as_json() if holds.who_releases(hold.id) == EXPIRY else ""
            ended = f"{hold.id}:{datetime.now(UTC).isoformat()}"
            if client.eval(END, len(names), *names, hold.id, keys.nudge, ended, story):
                done.ended = True
                break
        return done

    def _release_queue(
        self, lists: list[HeldList], *, by: str, done: Released, undo: str, on_progress: Callable[[], None]
    ) -> None:
        queue, keys = lists[0].queue, self.broker.keys
        try:
            with locked(self.broker, queue, by=by, what="release") as lock:
                SelectiveClear(self.broker).finish_broken(lock, queue)
                if by != EXPIRY:
                    with writes.aside():
                        self.broker.client.eval(BEGIN, 1, keys.hold, lists[0].hold, _who(by), "1")
                for one in lists:
                    (number,) = Holds(self.broker).lengths([one])
                    names = [keys.held(one.hold, one.step, one.queue), one.list, keys.held_lists, keys.restores]
                    pace = Pace()
                    while pace.timed(lambda step: lock.run(JOIN, names, one.field, step, queue)):  # noqa: B023 - at once
                        on_progress()
                    done.by_queue[queue] += number
                    on_progress()
        except redis.ResponseError:
            if undo and not writes.possible():  # Redis refuses the first step: it is as if this had not begun
                with writes.aside():
                    self.broker.client.hdel(keys.hold, f"{undo}{RELEASING}")
            raise
        except Refused as error:
            if undo and not done.by_queue:
                with writes.aside():
                    self.broker.client.hdel(keys.hold, f"{undo}{RELEASING}")
                raise
            raise Uncertain(
                f"{error.message} {done.total:,} tasks are back; the hold is released further by itself.",
                hint="opsdash holds shows what is left.",
            ) from error

    def clear(self, hold: Hold, *, by: str, keep_s: int, act: str, queue: str = "") -> ClearedHeld:
        """Moves what a hold holds to the trash, a queue at a time; the hold goes on.

        Args:
            act: Hexadecimal digits of an id: names the trash of the first queue, those of others follow from it.
            queue: Only what is held of this one.

        Raises:
            Refused: Another operation moves a queue's tasks, or the hold is being released.
        """
        done = ClearedHeld()
        lists = [one for one in Holds(self.broker).lists([hold.id]) if not one.released and queue in ("", one.queue)]
        for number, name in enumerate(dict.fromkeys(one.queue for one in lists)):
            trash_id = act if not number else uuid5(UUID(hex=act), name).hex
            with locked(self.broker, name, by=by, what="clear held tasks") as lock:
                of = [one for one in lists if one.queue == name]
                total, *foreign = self._clear(lock, hold, of, trash_id, by, keep_s)
            if total:
                done.by_queue[name] = (trash_id, total)
            done.foreign += [self.broker.keys.held(of[at].hold, of[at].step, of[at].queue) for at in foreign]
        return done

    def _clear(
        self, lock: QueueLock, hold: Hold, lists: list[HeldList], trash_id: str, by: str, keep_s: int
    ) -> list[int]:
        """How many went, and which of the lists are none."""
        keys = self.broker.keys
        pairs = [
            name for one in lists for name in (keys.held(one.hold, one.step, one.queue), keys.trash(trash_id, one.step))
        ]
        names = [keys.hold, keys.trash(trash_id, "info"), keys.trash_index, *pairs]
        now = datetime.now(UTC)
        steps = [one.step for one in lists]
        answer = lock.run(
            _CLEAR,
            names,
            hold.id,
            trash_id,
            keep_s,
            f"{now.timestamp():.3f}",
            lists[0].queue,
            by,
            now.isoformat(),
            *steps,
        )
        if answer == -2:
            raise Refused(f"The hold of {hold} is being released just now.", hint="Try again when that is done.")
        return [int(part) for part in answer]


def _tell(on_progress: Callable[[int, int], None], done: Released, of: int) -> None:
    on_progress(done.total, of)


def _who(by: str) -> str:
    return json.dumps({"by": by, "at": datetime.now(UTC).isoformat()})


class DueHolds:
    """Releases holds that have ended, in its own thread: one at a time, whatever a look at them waits for."""

    def __init__(self, broker: Broker) -> None:
        self._mover = HeldTasksMover(broker)
        self._thread: threading.Thread | None = None
        self._failing = False

    def settle(self, holds: Iterable[Hold], wait_s: float = 0.5) -> None:
        """Begins to release these, and waits a moment for it; while some are being released, does nothing."""
        due = list(holds)
        if not due or (self._thread is not None and self._thread.is_alive()):
            return
        self._thread = threading.Thread(target=self._release, args=(due,), name="opsdash-holds", daemon=True)
        self._thread.start()
        self._thread.join(wait_s)

    def _release(self, due: list[Hold]) -> None:
        for hold in due:
            try:
                self._mover.release(hold, by=EXPIRY)
            except (Refused, Uncertain) as error:  # another operation moves its tasks: the next look tries again
                log.info("the hold of %s has ended and is not released yet: %s", hold, error)
            except (OpsdashError, redis.RedisError) as error:
                if not self._failing:
                    log.warning("the hold of %s has ended and can't be released yet: %s", hold, error)
                self._failing = True
            else:
                self._failing = False
