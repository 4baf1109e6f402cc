"""Waiting messages go from one list to a trash, wherever they are in it, and no step makes other clients wait.

A list is passed over to take something out of it: in the middle of a million some 45 ms. Near one of its ends that is
less than one, and they are taken out at once. What is farther away is reached by setting aside what is newer, in steps:
see `aside`.

Each step moves whole messages. So a task is either in its queue or in the trash, or it is set aside and goes back.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from opsdash import lua
from opsdash.errors import LOOK_AGAIN, Refused
from opsdash.model.hold import HeldList
from opsdash.services.broker import bounded_reads
from opsdash.services.queues import scan
from opsdash.services.queues.aside import Aside
from opsdash.services.queues.lock import Pace, QueueLock
from opsdash.services.queues.old_places import NEIGHBOURS
from opsdash.services.queues.selective_clear import ARRIVALS

NEAR = 6_000
"""Messages between a task and an end of its list that are passed over in one step: a millisecond of Redis."""
FARTHER = 2.0
"""How much farther it may be where one task is meant: to reach that in small steps takes seconds."""
STEP_BYTES = 500_000
"""Of messages that one step goes through."""
MOST_AT_ONCE = 25
"""Messages that one step takes out: it walks to each."""
SLACK = (20, 500, 500)
"""Messages that may be pushed between the look and the step, in the first try and those after it."""

_NEAR = lua.load(__name__, "take_out_near", **bounded_reads.MARKS)
_ASIDE = lua.load(__name__, "take_out_aside", **bounded_reads.MARKS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The trash that they go to.

    Attributes:
        id: Of the trash. ``by``: whose act it is.
        tasks: Key of their messages. ``places``: key of where each was.
        counter: Field of its info that counts them. ``expires``: field of the expiry of their queue.
        fields: Of its info.
        until_s: When it ends, in seconds since the epoch. ``keep_s``: for how long that is from now on; 0 deletes them.
    """

    id: str
    by: str
    tasks: str
    places: str
    counter: str
    expires: str
    fields: Mapping[str, str | int]
    until_s: int
    keep_s: int


@dataclass(slots=True)
class Taken:
    """What was taken out of one list.

    Attributes:
        place: Of the last one: 1 is the next to run, of ``waiting`` in its list.
    """

    number: int = 0
    place: int = 0
    waiting: int = 0


@dataclass(slots=True, kw_only=True)
class TakeOut:
    """One list whose messages are taken out, under the lock of its queue; the others keep their order.

    Attributes:
        texts: Only messages that hold one of these are looked at.
        meant: Called with each of them, or its mark.
        on_step: Called after each step with how many it took.
        cancelled: Called between two steps; true stops there.
        held: Held tasks of the queue, in place of those that wait in it. Nobody takes from its end meanwhile, so
            nothing of it is set aside; a step that takes one from the middle of 200,000 needs some 10 ms.
    """

    lock: QueueLock
    queue: str
    step: int
    texts: Sequence[str]
    meant: Callable[[bytes], bool]
    target: Target
    on_step: Callable[[int], None] = lambda _number: None
    cancelled: Callable[[], bool] = lambda: False
    taken: Taken = field(default_factory=Taken)
    held: HeldList | None = None
    _run: str = ""

    def all(self) -> Taken:
        """All that are meant.

        Cost: one look at the list. Those near its ends leave it as they are found; for others each newer message is
        moved twice, in steps of about `lock.STEP_S`.

        Raises:
            Refused: Messages come too fast, or the trash was restored meanwhile. What was taken can be restored.
        """
        self._run = secrets.token_hex(4)
        if self.held is None and (deepest := self._deepest()):
            self.between(deepest)
            self._near(to_end=True)
        else:
            self._near(to_end=False)
        return self.taken

    def _deepest(self) -> bytes:
        """The oldest of those that are near neither end, or may be so in a moment; empty where there is none."""
        most = NEAR // 2
        size, start, deepest = scan.WindowSize(STEP_BYTES), max(0, most), b""
        while not self.cancelled():
            window = self._look(start, size)
            length = window.length or 0
            hits = [hit for hit in window.hits if not is_near(hit.index, length, most) and self.meant(hit.message)]
            deepest = hits[-1].message if hits else deepest
            start += window.looked_at
            if not window.looked_at or length - start <= most:
                break
        return deepest

    def _near(self, *, to_end: bool) -> None:
        """Those near the ends, the newest first; ``to_end``: only those that run next."""
        size, start, tries = scan.WindowSize(STEP_BYTES), 0, 0
        while not self.cancelled():
            if to_end or (self.held is None and start > NEAR):
                length: Any = self.lock.broker.client.llen(self._key)
                start = max(start, length - NEAR)
            window = self._look(start, size)
            length, looked_at, number = window.length or 0, window.looked_at, 0
            hits = [hit for hit in window.hits if self.meant(hit.message)]
            if len(hits) > MOST_AT_ONCE:
                hits = hits[:MOST_AT_ONCE]
                looked_at = hits[-1].index + 1 - start
            if hits:
                found = self.at(hits, SLACK[tries])
                if found is None:
                    tries += 1
                    if tries == len(SLACK):
                        raise Refused(f"Tasks arrive too fast in {self.queue}.", hint=LOOK_AGAIN, retry=True)
                    start, self._run = 0, secrets.token_hex(4)
                    continue
                number = found
            start += looked_at - number
            if not looked_at or start >= length - number:
                break

    def at(self, hits: Sequence[scan.Hit], slack: int) -> int | None:
        """Takes these out in one step; returns how many; the others are elsewhere by now. None: the first one is.

        Args:
            hits: The newest first. ``slack``: how many may have been pushed since.

        Raises:
            Refused: The trash was restored meanwhile, or changed outside opsdash.
        """
        first = hits[0].index
        pairs = [part for hit in hits for part in (hit.index - first, hit.message)]
        arguments = (first, slack, self.step, hits[-1].index - first, *self._arguments(), *pairs)
        times = [f"{self._key}:order"] if self.held is not None else []
        answer = self.lock.run(_NEAR, [self._key, *times, *self._keys()], *arguments)
        if answer[0] == "moved":
            return None
        self._count(answer)
        self._check(str(answer[0]))
        return int(answer[1])

    def between(self, deepest: bytes) -> None:
        """All that are meant, down to this one or to what is near the end; what is newer is set aside meanwhile.

        Raises:
            Refused: The trash was restored meanwhile, or changed outside opsdash. What was taken can be restored.
        """
        aside = Aside(self.lock, self.queue, self.step, by=self.target.by)
        size, move = scan.WindowSize(STEP_BYTES), Pace()
        answer: Any = ["removed", 0, 0, 0]
        while aside.upto and answer[0] == "removed" and not self.cancelled():
            window = self._look(0, size, most=move.messages, first=aside.upto, within=ARRIVALS)
            if (window.length or 0) <= NEAR:
                break  # the rest is near the end
            hits = [hit for hit in window.hits if self.meant(hit.message)][:MOST_AT_ONCE]
            last = next((hit for hit in hits if hit.message == deepest), None)
            cut = last or (hits[-1] if len(hits) == MOST_AT_ONCE else None)
            number = cut.index + 1 if cut else window.looked_at
            pairs = [part for hit in hits for part in (hit.index, hit.message)]
            take = partial(aside.run, _ASIDE, self._keys(), number, *self._arguments(), *pairs)
            answer = move.timed(lambda _most, take=take: take(), number) if number else "gone"  # type: ignore[misc] # a default binds it
            if answer == "gone" or not self._count(answer) or last:
                break
        aside.give_back()
        if answer != "gone":
            self._check(str(answer[0]))

    def _look(self, start: int, size: scan.WindowSize, **more: Any) -> scan.Window:
        self.lock.keep()
        return scan.holding_step(self.lock.broker, self._key, self.texts, start, size, **more)

    def _count(self, answer: Sequence[Any]) -> bool:
        """Whether the step was done."""
        number = int(answer[1])
        if number:
            self.taken = Taken(number=self.taken.number + number, place=int(answer[2]), waiting=int(answer[3]))
            self.on_step(number)
        return bool(answer[0] == "removed")

    def _check(self, answer: str) -> None:
        if answer != "removed":
            why = "was restored meanwhile" if answer != "short" else "was changed outside opsdash"
            raise Refused(f"Trash {self.target.id} {why}.", hint=LOOK_AGAIN)

    @property
    def _key(self) -> str:
        if (one := self.held) is not None:
            return self.lock.broker.keys.held(one.hold, one.step, one.queue)
        return self.lock.broker.lists(self.queue)[self.step]

    def _keys(self) -> list[str]:
        keys, target = self.lock.broker.keys, self.target
        return [keys.trash(target.id, "info"), keys.trash_index, target.tasks, target.places, keys.expires]

    def _arguments(self) -> list[str | int]:
        target = self.target
        fields: list[str | int] = [part for pair in target.fields.items() for part in pair]
        about: list[str | int] = [
            NEIGHBOURS,
            target.keep_s,
            target.until_s,
            target.id,
            self._run,
            target.counter,
            target.expires,
        ]
        return [*about, len(fields), *fields]


def is_near(index: int, length: int, most: float | None = None) -> bool:
    """Whether a message at this place is near an end of its list; ``most``: how near, ``NEAR`` by default."""
    return min(index, length - index) <= (NEAR if most is None else most)
