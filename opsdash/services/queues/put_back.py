"""Removed tasks go back to their own places: among the messages that run next at once, farther away in steps.

A list can't be opened in its middle without passing over all of it. So the place is looked for first; then what is
newer is set aside, from the newest message on, as `selective_clear` does, and goes back with the tasks between. Workers
take from the oldest end meanwhile. If it is killed, the next operation on the queue gives back what was set aside; each
task is in its queue or in the trash.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from opsdash import lua
from opsdash.errors import Refused
from opsdash.model import untrusted
from opsdash.model.hold import field_of
from opsdash.services.broker import bounded_reads, writes
from opsdash.services.broker.client import Broker
from opsdash.services.broker.queue_expiry import suspend
from opsdash.services.queues.aside import Aside
from opsdash.services.queues.lock import Pace, QueueLock
from opsdash.services.queues.old_places import Gaps, Search, Side, Task, arrange, nearest_step, neighbours, task_of
from opsdash.services.queues.scan import WindowSize

PLACES = "places:"
"""Part of a trash for each queue: where each of its removed tasks was."""
LAST, LAST_BYTES = 500, 400_000
"""Messages that run next, and their bytes: tasks go back among these in one step. No step goes through more of them."""
MOST_AT_ONCE = 200
"""Tasks of such a step."""
SLACK = 50
"""Messages that may be taken or given back between the look and the step."""
MOST = 20_000
"""Tasks that go back while the others are set aside once."""
READ = 500
LONGEST_PLACE = 2_000
"""Characters of where a task was."""
TRIES = 5
"""Turns without a task that goes back, since workers are faster, before the tasks run next."""

_READ = lua.load(__name__, "put_back_read")
_HELD = lua.load(__name__, "put_back_held")
_NEAR = lua.load(__name__, "put_back_near")
_LAST = lua.load(__name__, "put_back_last")
_LOOK = lua.load(__name__, "put_back_look")
_ASIDE = lua.load(__name__, "put_back_aside", MOST=LAST_BYTES, **bounded_reads.MARKS)
_END = lua.load(__name__, "put_back_end")
_BETWEEN = lua.load(__name__, "put_back_between", **bounded_reads.MARKS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Removed tasks of one queue in a trash.

    Attributes:
        tasks: Key of their messages.
        last: Digest and run of the task that went back last.
        expires_ms: Of the queue, if it has had an expiry; see `queue_expiry.suspend`.
        left_s: For how long their return is remembered.
    """

    trash_id: str
    queue: str
    tasks: str
    last: str
    expires_ms: str
    by: str
    left_s: int


def put_back(lock: QueueLock, kept: Kept, on_step: Callable[[int], None] = lambda _number: None) -> Counter[Side]:
    """Puts all of them back; run again after an interruption, it goes on. Those of a hold that lasts are held again.

    Cost: a step for those among the last thousand messages. For others each newer message is read once and moved
    twice, in steps of about `lock.STEP_S`; 20,000 tasks share that.

    Args:
        on_step: Called after each step with how many it put back.

    Returns:
        How many are next to which neighbour.

    Raises:
        Refused: The trash is gone, or deleted in part.
    """
    run = _Run(lock, kept, on_step)
    run.held()
    while tasks := run.read(MOST_AT_ONCE):
        before = run.sides.total()
        if not run.among_last(steps_of(tasks)[0]):
            run.between(run.read(MOST))
        run.tries = 0 if run.sides.total() > before else run.tries + 1
    return run.sides


def end(broker: Broker, trash_id: str, kept: Iterable[Kept]) -> bool:
    """The tasks of a trash are all back: it is known as restored for a while. False: some are gone.

    Raises:
        Refused: The trash is gone, or was restored by another console.
    """
    keys, parts = broker.keys, list(kept)
    lists = [key for one in parts for key in (one.tasks, keys.trash(trash_id, f"{PLACES}{one.queue}"))]
    names = [keys.trash(trash_id, "info"), keys.trash_index, *lists]
    at = datetime.now(UTC).isoformat()
    answer = broker.client.eval(_END, len(names), *names, trash_id, parts[0].by, at, parts[0].left_s)
    if answer not in {"done", "short"}:
        raise Refused(why_not(trash_id, str(answer)))
    return bool(answer == "done")


class _Run:
    """One return under way."""

    def __init__(self, lock: QueueLock, kept: Kept, on_step: Callable[[int], None]) -> None:
        self._lock, self._kept, self._on_step = lock, kept, on_step
        self._client, self._keys = lock.broker.client, lock.broker.keys
        self._lists = lock.broker.lists(kept.queue)
        self._list = (-1, "")
        self._last = kept.last
        self.sides = Counter[Side]()
        self.tries = 0

    def held(self) -> None:
        """Those that a hold has held go back among its tasks, while it lasts, the oldest first; a step each."""
        keys, kept, found, passed = self._keys, self._kept, list[tuple[int, str, str, str]](), 0
        while places := self._places(passed, READ):
            for at, place, _, _ in places:
                hold, _, times = place.split("|")[4].partition(" ") if place.count("|") == 4 else ("", "", "")
                step = place.partition("|")[0]
                if times and hold.isalnum() and step.isdigit():
                    found.append((at, hold, step, times))
            passed += len(places)
        info, tasks, where, restores = self._names()
        for at, hold, step, times in found:
            field, key = field_of(hold, step, kept.queue), keys.held(hold, step, kept.queue)
            names = [info, tasks, where, restores, keys.hold, keys.held_lists, key, f"{key}:order"]
            answer, number = self._lock.run(_HELD, names, kept.queue, kept.left_s, at, hold, field, times)
            if answer == "done" and number:
                self.sides["held"] += number
                self._on_step(number)
            elif answer not in {"over", "done"}:
                raise Refused(why_not(kept.trash_id, answer))

    def _places(self, passed: int, most: int) -> list[tuple[int, str, str, int]]:
        """Of some of the last tasks of the trash: place in its list, place in the queue, digest, and bytes.

        Raises:
            Refused: Some are gone.
        """
        kept = self._kept
        with self._lock.broker.reading(), self._client.pipeline(transaction=False) as pipe:
            pipe.eval(_READ, 2, kept.tasks, self._names()[2], passed, most, LONGEST_PLACE, LAST_BYTES)
            ((tasks, places, *read),) = pipe.execute()
        if tasks != places:
            raise Refused(why_not(kept.trash_id, "short"))
        each = zip(read[::3], read[1::3], read[2::3], strict=True)
        return [(tasks - n, place, digest, int(size)) for n, (place, digest, size) in enumerate(each, passed + 1)]

    def read(self, most: int) -> list[Task]:
        """The last tasks of the trash that go to one list, the oldest first; those that are back are passed over.

        Raises:
            Refused: Some are gone.
        """
        found, passed = list[Task](), 0
        while len(found) < most:
            read = self._places(passed, min(READ, most))
            for at, place, digest, size in read:
                if not place:
                    continue
                task = task_of(at, place, digest, size)
                step = nearest_step(task.step, self._lists)
                if not found:
                    self._go_to(step)
                if step != self._list[0] or len(found) == most:
                    return found
                found.append(task)
            passed += len(read)
            if not read:
                break
        return found

    def _go_to(self, step: int) -> None:
        """The next ones go to this list."""
        if step != self._list[0]:
            self._list = (step, self._lists[step])
            suspend(self._lock.broker, self._kept.queue, [self._list[1]], {"expires_ms": self._kept.expires_ms})

    def among_last(self, tasks: Sequence[Task], *, lost: str | None = None, follow: bool = False) -> bool:
        """Those whose place is among the messages that run next, in one step; false: the first one's is not.

        Args:
            lost: They have no neighbour anywhere and run next; this is noted as the one that went back last.
            follow: They have no neighbour but the one that went back last.
        """
        _, key = self._list
        with self._lock.broker.reading(), self._client.pipeline(transaction=False) as pipe:
            pipe.eval(_NEAR, 1, key, LAST, LAST_BYTES)
            ((length, *digests),) = pipe.execute()
        window = [str(one) for one in digests[::-1]]
        seen = {one: at for at, one in enumerate(window)}
        known, near = set(seen), list[Task]()
        for task in tasks:
            led = self._last_of(task)
            is_near = known.intersection(led if follow else task.newer or task.older[:1] or led)
            is_alone = not (task.newer or task.older or led)
            if not (is_near or is_alone or lost is not None or len(window) == length or self.tries > TRIES):
                break
            near.append(task)
            known.add(task.digest)
        if not near:
            return False
        if self.tries > TRIES or lost is not None:
            seen, window = {}, []
        gaps = arrange(near, seen, len(window), self._last)
        top = min(gaps.at)
        pairs, sent, at = list[int](), list[Task](), top
        for gap in sorted(gaps.at):
            for task in reversed(gaps.at[gap]):
                pairs += [gap - at, task.at]
                sent.append(task)
                at = gap
        behind = len(window) - top
        before = self._last
        last = self._last_one(near) if lost is None else lost
        arguments = (self._kept.queue, self._kept.left_s, last)
        first = (window[top] if behind else "", behind, SLACK)
        answer, number = self._lock.run(_LAST, [key, *self._names()], *arguments, *first, *pairs)
        if answer == "done":
            self._count(number, sent, gaps)
        elif answer == "moved":
            self._last = before
        else:
            raise Refused(why_not(self._kept.trash_id, answer))
        return True

    def _last_of(self, task: Task) -> tuple[str, ...]:
        """The task of the same search that went back last."""
        return neighbours(task, self._last)[1][len(task.older) :]

    def between(self, tasks: Sequence[Task]) -> None:
        """Sets aside what is newer than the places of the first of these tasks, and puts it back with them."""
        search, start, size = Search(tasks, self._last), 0, WindowSize(LAST_BYTES)
        while not search.complete:
            with writes.clock() as clock:
                size_bytes, *digests = self._lock.run(_LOOK, [self._list[1]], start, size.messages)
            if not digests:
                break
            search.see(digests)
            start += len(digests)
            size.learn(len(digests), size_bytes, clock.s)
        if lost := search.lost():
            self._next(lost)
        elif not self.among_last(steps_of(search.followers())[0], follow=True):
            self._open(*search.placed())

    def _next(self, tasks: Sequence[Task]) -> None:
        """They run next: the newest first, so that each goes to the list's end, behind nothing."""
        last, steps = f"{tasks[-1].digest} {tasks[-1].run}", steps_of(tasks)
        for at in reversed(range(len(steps))):
            # If it is killed before the oldest ones, those go to the end, too: only then the others are behind them.
            self.among_last(steps[at], lost="" if at else last)
        self._last = last

    def _open(self, tasks: Sequence[Task], nearest: set[str]) -> None:
        aside = Aside(self._lock, self._kept.queue, self._list[0], by=self._kept.by)
        seen, size = self._set_aside(tasks, nearest, aside)
        gaps = arrange(tasks, seen, size, self._last)
        left, at_gap = deque[tuple[int, Task]](), size
        for gap in sorted(gaps.at, reverse=True):
            for task in gaps.at[gap]:
                left.append((at_gap - gap, task))
                at_gap = gap
        answer, pace = "done", Pace()
        while left and answer == "done":
            answer = pace.timed(lambda most: self._give_back(most, left, gaps, aside))
        aside.give_back()
        if answer not in {"done", "moved"}:
            raise Refused(why_not(self._kept.trash_id, answer))

    def _set_aside(self, tasks: Sequence[Task], nearest: set[str], aside: Aside) -> tuple[dict[str, int], int]:
        """From the newest message on, until each task has its neighbour: digests → places, and how many messages."""
        wanted = {one for task in tasks for side in neighbours(task, self._last) for one in side}
        missing, seen, size, pace = set(nearest), dict[str, int](), 0, Pace()
        while aside.upto and missing:
            digests = pace.timed(partial(aside.run, _ASIDE, []))
            if digests == "gone":
                break
            for one in digests:
                if one in wanted:
                    seen[one] = size
                    missing.discard(one)
                size += 1
        return seen, size

    def _give_back(self, most: int, left: deque[tuple[int, Task]], gaps: Gaps, aside: Aside) -> str:
        """One step: messages that were set aside, the oldest first, and the tasks between them."""
        pairs, sent, rest, size_bytes = list[int](), list[Task](), 0, 0
        while left and ((most > 0 and size_bytes <= LAST_BYTES) or (sent and sent[-1].at in gaps.glued)):
            number, task = left[0]
            if number > most > 0:
                rest, left[0] = most, (number - most, task)
                break
            left.popleft()
            pairs += [number, task.at]
            sent.append(task)
            size_bytes += task.size_bytes
            most -= number + 1
        arguments = (self._kept.queue, self._kept.left_s, self._last_one(sent), rest)
        answer = aside.run(_BETWEEN, self._names(), *arguments, *pairs)
        if answer == "gone":
            return "moved"  # workers have taken all that went back
        self._count(int(answer[1]), sent, gaps)
        return str(answer[0])

    def _last_one(self, sent: Sequence[Task]) -> str:
        """The newest of those that go back, the oldest first: what has no neighbour any more goes behind it."""
        if sent:
            self._last = f"{sent[-1].digest} {sent[-1].run}"
        return self._last

    def _names(self) -> list[str]:
        keys, kept = self._keys, self._kept
        places = keys.trash(kept.trash_id, f"{PLACES}{kept.queue}")
        return [keys.trash(kept.trash_id, "info"), kept.tasks, places, keys.restores]

    def _count(self, number: int, sent: Sequence[Task], gaps: Gaps) -> None:
        self.sides.update(gaps.sides[task.at] for task in sent[:number])
        if number:
            self._on_step(number)


def steps_of(tasks: Sequence[Task]) -> list[list[Task]]:
    """In their order, so many together as one step puts back: by their number, and by their bytes."""
    steps, size_bytes = [list[Task]()], 0
    for task in tasks:
        size_bytes += task.size_bytes
        if steps[-1] and (len(steps[-1]) == MOST_AT_ONCE or size_bytes > LAST_BYTES):
            steps.append([])
            size_bytes = task.size_bytes
        steps[-1].append(task)
    return steps


def left_to_remember_s(info: Mapping[str, str], least_s: int) -> int:
    """For how long a return is remembered: until the undo window ends, and for a while at least."""
    return max(least_s, int((untrusted.figure(info.get("until")) or 0.0) - time.time()))


def why_not(trash_id: str, answer: str) -> str:
    """The refusal, from what a script has answered."""
    why = {
        "gone": (
            "There is no such trash: its undo window has ended, it was deleted, or the id is wrong."
            " The command opsdash trash lists what there is."
        ),
        "short": "Some of its messages are gone: they were deleted outside opsdash.",
        "restoring": "A restore of it has started and must be completed first: run restore-queue again.",
    }.get(answer, answer)
    return f"Trash {trash_id}: {why}"
