"""What a queue is made of: its tasks by name, counted or estimated, and how long the next one has waited."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker
from opsdash.services.broker.messages import age_s, envelope, task_name
from opsdash.services.queues import scan
from opsdash.services.queues.task_filter import TaskFilter

COUNTED = 10_000
"""Up to so many messages each is looked at."""
FEWEST, BLOCKS = 8, 20
"""Above that, so many blocks of neighbours, one at a random place of each equal part of the queue."""
BLOCK, LARGEST_BLOCK = 50, 500
"""Messages of a block: more where the way to it costs more, since what is near is cheap by then."""
MOST_BYTES = 16 * 1024 * 1024
"""Of messages that are each looked at."""
STEP_BYTES, FIRST_STEP = 250_000, 10
"""Of messages that are sent here at once, about, and the messages of the first step, whose size nobody knows."""
NAMED_BYTES = 500_000
"""Of messages whose names Redis finds at once."""
LOOK_S = 0.012
"""What all blocks are to take, about: there are as few as ``FEWEST`` where they would take longer."""
NODE_BYTES, NODE_S = 8_192, 5e-8
"""Redis keeps a list in nodes of so many bytes, and walks from its nearer end: so long for each, measured."""
NAME_S, MESSAGE_S = 1e-6, 1e-5
"""For a message whose name Redis finds, and for one that is sent here and parsed."""
UNSEEN = 3.0
"""A name in none of n messages may still have a share of 3 / n (95 % confidence)."""


Matches = Callable[[bytes], bool]
NameOf = Callable[[bytes], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSample:
    """One queue's waiting tasks, or those of them that match.

    Attributes:
        number: How many they are. ``number_error``: by how much that may be off, either way.
        by_task: Task name → how many, most first.
        error: Task name → by how much that may be off, either way; empty when all were counted.
        looked_at: How many messages the figures rest on.
        unseen: How many there may be of kinds that none of these was of.
        counted: All messages were looked at: nothing here is an estimate.
        oldest_s: Age of the oldest that was looked at, by names of the last ones of each step; None where none of them
            says when it was sent.
    """

    number: int = 0
    number_error: int = 0
    by_task: Mapping[str, int] = field(default_factory=dict)
    error: Mapping[str, int] = field(default_factory=dict)
    looked_at: int = 0
    unseen: int = 0
    counted: bool = True
    oldest_s: float | None = None

    def sentences(self, named: int = 5) -> list[str]:
        """For a preview."""
        if not self.by_task:
            return []
        about = "about " if self.error else ""
        kinds = [
            f"{about}{n:,} {name}" + (f" (± {self.error[name]:,})" if name in self.error else "")
            for name, n in list(self.by_task.items())[:named]
        ]
        more = len(self.by_task) - named
        text = "By task: " + ", ".join(kinds) + (f" and {more:,} more kinds" if more > 0 else "")
        unseen = f"; of others, which were not seen, up to {self.unseen:,}" if self.unseen else ""
        return [text + (f", estimated from {self.looked_at:,} of them{unseen}." if self.error else ".")]


def sample_tasks(
    broker: Broker, queues: str | Iterable[str], matches: Matches | None = None, chance: random.Random | None = None
) -> TaskSample:
    """Looks through a queue's lists, or those of several queues as if they were one.

    Cost: one round trip for lengths; one for each ``STEP_BYTES`` of at most ``COUNTED`` messages, or one each for
    ``FEWEST`` to ``BLOCKS`` blocks, for about ``LOOK_S``. Each is a millisecond of Redis, and the way to its place:
    3 ms to the middle of a million messages of 0.9 kB.

    Args:
        matches: Only messages that it accepts are counted.
    """
    names = [queues] if isinstance(queues, str) else queues
    lists = [key for queue in names for key in broker.lists(queue).values()]
    return sample_lists(broker, lists, _task_of, matches, chance)


def _task_of(raw: bytes) -> str:
    return task_name(envelope(raw))


def sample_lists(
    broker: Broker,
    lists: Sequence[str],
    name_of: NameOf,
    matches: Matches | None = None,
    chance: random.Random | None = None,
) -> TaskSample:
    """As `sample_tasks`, of any lists of messages as if they were one.

    Args:
        name_of: What ``by_task`` counts by.
    """
    began = time.perf_counter()
    with broker.reading(), broker.client.pipeline(transaction=False) as pipe:
        for key in lists:
            pipe.llen(key)
        replies = pipe.execute(raise_on_error=False)
    trip_s = time.perf_counter() - began
    lengths = [n if isinstance(n, int) else 0 for n in replies]
    total = sum(lengths)
    found = _all(broker, lists, lengths, name_of, matches) if total <= COUNTED else None
    if found is not None:
        by_task = found.names
        return TaskSample(
            number=by_task.total(),
            by_task=dict(by_task.most_common()),
            looked_at=found.looked_at,
            oldest_s=found.oldest_s,
        )
    blocks = _some(broker, lists, lengths, name_of, matches, trip_s, chance or random.Random())  # noqa: S311 - a sample, no secret
    sizes, named = [block.looked_at for block in blocks], [block.names for block in blocks]
    by_task, error = _estimate(named, sizes, total)
    if matches is None:
        number, number_error = total, 0
    else:
        numbers, off = _estimate([Counter({"": names.total()}) for names in named], sizes, total)
        number, number_error = numbers[""], off.get("", total)
    return TaskSample(
        number=number,
        number_error=number_error,
        by_task=dict(by_task.most_common()),
        error=error,
        looked_at=sum(sizes),
        unseen=math.ceil(UNSEEN / max(1, sum(sizes)) * total),
        counted=False,
        oldest_s=max((block.oldest_s for block in blocks if block.oldest_s is not None), default=None),
    )


@dataclass(slots=True)
class _Block:
    """What was found of some neighbours, or of all messages: those that match, by name."""

    looked_at: int = 0
    names: Counter[str] = field(default_factory=Counter)
    oldest_s: float | None = None

    def see(self, messages: Sequence[bytes], name_of: NameOf, matches: Matches | None) -> None:
        """Some more, each parsed."""
        meant = messages if matches is None else list(filter(matches, messages))
        self.names.update(map(name_of, meant))
        self.age(meant)

    def see_names(self, seen: scan.Names, matches: Matches | None) -> None:
        """Some more, of which Redis has found the names."""
        is_meant = matches.takes_name if isinstance(matches, TaskFilter) else None
        for raw, times in seen.by_name.items():
            name = raw.decode(errors="replace")
            if is_meant is None or is_meant(name):
                self.names[name] += times
        self.see(seen.closer, _task_of, matches)
        self.age(seen.last if matches is None else filter(matches, seen.last))

    def age(self, messages: Iterable[bytes]) -> None:
        """How old these are."""
        ages = [age for age in map(age_s, messages) if age is not None]
        self.oldest_s = max((age for age in (self.oldest_s, *ages) if age is not None), default=None)


def _all(
    broker: Broker, lists: Sequence[str], lengths: list[int], name_of: NameOf, matches: Matches | None
) -> _Block | None:
    """Every message; None where they are too large together to be looked at one and all."""
    found, total, plain = _Block(), 0, _by_name(name_of, matches)
    size = scan.WindowSize(NAMED_BYTES) if plain else scan.WindowSize(STEP_BYTES, FIRST_STEP)
    for key, length in zip(lists, lengths, strict=True):
        at = 0
        while at < length:
            if plain:
                seen = scan.names(broker, key, at, length - at, size)
                found.see_names(seen, matches)
                number, weigh = seen.looked_at, seen.size_bytes
            else:
                messages = scan.window(broker, key, at, size, length - at)
                found.see(messages, name_of, matches)
                number, weigh = len(messages), sum(map(bounded_reads.size_of, messages))
            if not number:
                break
            at += number
            found.looked_at += number
            total += weigh
            if total > MOST_BYTES and at < length:
                return None
    return found


def _by_name(name_of: NameOf, matches: Matches | None) -> bool:
    """Only the names of tasks are asked for, which Redis finds without sending the messages."""
    return name_of is _task_of and (matches is None or (isinstance(matches, TaskFilter) and matches.by_name_alone))


def _some(
    broker: Broker,
    lists: Sequence[str],
    lengths: list[int],
    name_of: NameOf,
    matches: Matches | None,
    trip_s: float,
    chance: random.Random,
) -> list[_Block]:
    """Blocks over all lists, each message as likely as any other.

    How many there are is decided before: to stop when time is over would have those that are near looked at more often.
    """
    total, size = sum(lengths), scan.WindowSize(STEP_BYTES, FIRST_STEP)
    longest = lists[lengths.index(max(lengths))]
    newest = scan.window(broker, longest, 0, size, FIRST_STEP)
    mean_bytes = sum(map(bounded_reads.size_of, newest)) / max(1, len(newest))
    plain = _by_name(name_of, matches)
    each_s = NAME_S if plain else MESSAGE_S
    way_s = sum(length**2 for length in lengths) / total / 4 * min(1, mean_bytes / NODE_BYTES) * NODE_S
    number = int(max(BLOCK, min(LARGEST_BLOCK, way_s / each_s)))
    parts = int(max(FEWEST, min(BLOCKS, LOOK_S / (way_s + trip_s + number * each_s))))
    blocks = list[_Block]()
    for part in range(parts):
        at = int((part + chance.random()) * total / parts)
        for key, length in zip(lists, lengths, strict=True):
            if at < length:
                start = max(0, min(at, length - number))
                if plain:
                    block = _names(broker, key, start, number, NAMED_BYTES / max(1, mean_bytes), matches)
                else:
                    block = _messages(broker, key, start, number, size, name_of, matches)
                if block.looked_at:
                    blocks.append(block)
                break
            at -= length
    return blocks


def _names(broker: Broker, key: str, start: int, number: int, fit: float, matches: Matches | None) -> _Block:
    """Neighbours by their tasks' names alone, in steps of as many as fit: one place is walked to once for each."""
    found = _Block()
    while found.looked_at < number:
        step = max(1, min(int(fit), number - found.looked_at))
        seen = scan.names(broker, key, start + found.looked_at, step)
        if not seen.looked_at:
            break
        found.looked_at += seen.looked_at
        found.see_names(seen, matches)
    return found


def _messages(
    broker: Broker, key: str, start: int, number: int, size: scan.WindowSize, name_of: NameOf, matches: Matches | None
) -> _Block:
    """The same, each parsed here."""
    found = _Block()
    while found.looked_at < number:
        messages = scan.window(broker, key, start + found.looked_at, size, number - found.looked_at)
        if not messages:
            break
        found.looked_at += len(messages)
        found.see(messages, name_of, matches)
    return found


def _estimate(blocks: list[Counter[str]], sizes: list[int], total: int) -> tuple[Counter[str], dict[str, int]]:
    """Shares over the blocks, and their error: neighbours are alike, so a block counts as one observation."""
    estimate: Counter[str] = Counter()
    error: dict[str, int] = {}
    confident = _confident(len(blocks))
    for name in {name for block in blocks for name in block}:
        shares = [block[name] / size for block, size in zip(blocks, sizes, strict=True)]
        spread = statistics.stdev(shares) / math.sqrt(len(shares)) if len(shares) > 1 else 1.0
        estimate[name] = round(statistics.fmean(shares) * total)
        error[name] = math.ceil(max(confident * spread, UNSEEN / sum(sizes)) * total)
    return estimate, error


def _confident(blocks: int) -> float:
    """Standard errors on either side, so that 95 of 100 such estimates hold what is true: Student's t, nearly."""
    free = max(1, blocks - 1)
    return 1.96 + 2.45 / free + 2.8 / free**2
