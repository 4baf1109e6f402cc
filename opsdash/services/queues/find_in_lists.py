"""Going through the lists of Redis for a task's id: what is found there, and how much was looked at."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from opsdash.model import LookedAt, Progress, TaskPlace
from opsdash.model.found_task import Looked as Kind
from opsdash.model.found_task import TaskState
from opsdash.services.broker.bounded_reads import is_mark
from opsdash.services.broker.client import Broker
from opsdash.services.queues import scan
from opsdash.services.queues.task_message import Wanted, meant_id, place_of, texts_of
from opsdash.services.queues.watermark import digest

MOST_PLACES = 20
"""Places that are listed."""
MOST_FALSE = 10_000
"""Messages that hold the id in another place than their own id, such as an argument, before a list is given up."""
LOOK_S = 30.0
"""The longest that queues and trash are gone through: about ten million messages."""
EDGE = 1_000
"""Messages at either end of a list that are looked at once more."""

OnProgress = Callable[[Progress], None]


@dataclass(slots=True)
class Looked:
    """What one look has come to."""

    number: int = 0
    of: int | None = None
    messages: int | None = None
    problems: list[str] = field(default_factory=list)
    complete: bool = True

    def lacks(self, why: str) -> None:
        """Something of it was not looked at."""
        self.complete = False
        if why not in self.problems:
            self.problems.append(why)


class Looks:
    """What was looked at, each with when its look ended."""

    def __init__(self) -> None:
        self._looked: dict[Kind, tuple[Looked, datetime]] = {}

    def at(self, what: Kind, look: Callable[[Looked], None]) -> None:
        """One look. A second one of the same kind adds to the first."""
        looked = self._looked[what][0] if what in self._looked else Looked()
        look(looked)
        self._looked[what] = (looked, datetime.now(UTC))

    def told(self) -> tuple[LookedAt, ...]:
        """All of them, with their ages now."""
        now = datetime.now(UTC)
        return tuple(
            LookedAt(
                what=what,
                number=looked.number,
                of=looked.of,
                messages=looked.messages,
                complete=looked.complete,
                problem="; ".join(looked.problems),
                read_at=at,
                age_s=round((now - at).total_seconds(), 3),
            )
            for what, (looked, at) in self._looked.items()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One list that is gone through.

    Attributes:
        lists: All lists of its queue, the most urgent priority first.
        state: Of what is in it: set aside by an interrupted operation (``held``) or cleared, where it is trash.
        hold: Which hold has set it aside.
    """

    queue: str
    step: int
    key: str
    lists: tuple[str, ...]
    state: TaskState = "waiting"
    trash_id: str = ""
    hold: str = ""

    def place(self, hit: scan.Hit) -> int:
        """Of a message: 1 is the next to run."""
        at = self.lists.index(self.key)
        return sum(hit.lengths[:at]) + hit.lengths[at] - hit.index


class Places:
    """The places that were found.

    Attributes:
        found: ``MOST_PLACES`` at most. ``more``: there are more than those.
        wanted: Which ids. ``texts``: how they may be written.
    """

    def __init__(self, broker: Broker, wanted: Wanted, redact: str, on_progress: OnProgress) -> None:
        self._broker, self._redact, self._on_progress = broker, redact, on_progress
        self._until_s = time.monotonic() + LOOK_S
        self._seen = set[tuple[str, str]]()
        self._waiting: list[tuple[TaskPlace, str, bytes]] = []
        self.wanted, self.texts = wanted, texts_of(wanted)
        self.found: list[TaskPlace] = []
        self.more = False

    def add(self, place: TaskPlace) -> None:
        """One more."""
        if len(self.found) < MOST_PLACES:
            self.found.append(place)
        else:
            self.more = True

    def full(self, looked: Looked) -> bool:
        """No further look would change the answer, or there is no time for one."""
        if time.monotonic() > self._until_s:
            looked.lacks(f"the search ended after {LOOK_S:g} s")
            return True
        return self.more

    def is_new(self, where: str, message: bytes) -> bool:
        """It was not seen there before; it counts as seen from now on."""
        new = (where, digest(message)) not in self._seen
        self._seen.add((where, digest(message)))
        return new

    def go_through(self, looked: Looked, sources: Sequence[Source], where: str) -> None:
        """All messages of these lists, each from its newest one on."""
        lengths = self.lengths([source.key for source in sources])
        total, looked.messages = sum(filter(None, lengths)), looked.messages or 0
        for source, length in zip(sources, lengths, strict=True):
            if length is None:
                looked.lacks(f"a key of {source.queue} is not a list")
            for window in self._windows(source, looked) if length else ():
                looked.messages += window
                text = f"{where}: {looked.messages:,} of {max(total, looked.messages):,} messages"
                self._on_progress(Progress(done=False, message=text, at=min(looked.messages, total), of=total))

    def _windows(self, source: Source, looked: Looked) -> Iterator[int]:
        false = 0
        for window in scan.find(self._broker, source.key, source.lists, self.texts):
            if window.length is None:
                looked.lacks(f"a key of {source.queue} is not a list")
            yield window.looked_at
            false += len(window.hits) - self._take(source, window.hits)
            if false > MOST_FALSE:
                looked.lacks(f"too many messages of {source.queue} hold this id in another place")
                return
            if self.full(looked):
                return

    def _take(self, source: Source, hits: Sequence[scan.Hit]) -> int:
        """Adds those that are meant; how many they were."""
        taken = 0
        for hit in hits:
            if not (task_id := meant_id(hit.message, self.wanted)):
                continue
            taken += 1
            if not self.is_new(source.key, hit.message):  # it was seen before others were pushed
                continue
            waits = source.state == "waiting"
            place = place_of(
                hit.message,
                task_id,
                source.state,
                redact=self._redact,
                position=source.place(hit) if waits else None,
                waiting=sum(hit.lengths) if waits else None,
                priority=source.step,
                queue=source.queue,
                trash_id=source.trash_id,
            )
            self.add(replace(place, hold=source.hold) if source.hold else place)
            if waits:
                self._waiting.append((place, source.key, hit.message))
        return taken

    def edges(self, queues: Sequence[str]) -> None:
        """Both ends of each queue once more: what a worker gave back, or sent again, came there meanwhile."""
        for name in queues:
            of = self._broker.lists(name)
            for (step, key), length in zip(of.items(), self.lengths(list(of.values())), strict=True):
                source = Source(queue=name, step=step, key=key, lists=tuple(of.values()))
                for start in dict.fromkeys([0, max(0, (length or 0) - EDGE)] if length else []):
                    seen = 0
                    for window in scan.find(self._broker, key, source.lists, self.texts, start):
                        self._take(source, window.hits)
                        seen += window.looked_at
                        if seen >= EDGE:
                            break

    def drop_taken(self) -> None:
        """What was next to run and is with a worker by now has been taken from its queue meanwhile."""
        held = {place.id for place in self.found if place.state in {"active", "reserved", "scheduled"}}
        for place, key, message in self._waiting:
            if place.id not in held or (place.position or 0) > EDGE or is_mark(message):
                continue
            with self._broker.reading():
                client: Any = self._broker.client
                at = client.lpos(key, message, rank=-1, maxlen=2 * EDGE)
            if at is None and place in self.found:
                self.found.remove(place)

    def lengths(self, keys: Sequence[str]) -> list[int | None]:
        """None for what is no list."""
        with self._broker.reading(), self._broker.client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.llen(key)
            replies = pipe.execute(raise_on_error=False) if keys else []
        return [reply if isinstance(reply, int) else None for reply in replies]

    def moving(self, names: Sequence[str]) -> list[str]:
        """Queues whose messages are being moved by an operation just now."""
        with self._broker.reading(), self._broker.client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.exists(self._broker.keys.busy(name))
            replies = pipe.execute() if names else []
        return [name for name, reply in zip(names, replies, strict=True) if reply]
