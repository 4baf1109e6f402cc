"""What a queue is made of: its tasks by name, counted or estimated, and how long the next one has waited."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker
from opsdash.services.broker.messages import age_s, envelope, task_name
from opsdash.services.queues import scan

COUNTED = 10_000
"""Up to so many messages each is looked at."""
FEWEST, BLOCKS, BLOCK = 8, 20, 50
"""Above that, so many blocks of neighbours, one at a random place of each equal part of the queue."""
MOST_BYTES = 16 * 1024 * 1024
"""Of messages that are each looked at."""
STEP_BYTES, FIRST_STEP = 250_000, 10
"""Of messages that are read at once, about, and the messages of the first step, whose size nobody knows."""
LOOK_S = 0.025
"""After so long no further block is read: LRANGE walks a list from its nearer end, 2 ms to the middle of a million."""
CONFIDENT = 2.4
"""Standard errors on either side: Student's t of eight blocks, so 95 of 100 such estimates hold what is true."""
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
        oldest_s: Age of the oldest that was looked at; None where none of them says when it was sent.
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
    ``FEWEST`` to ``BLOCKS`` blocks, for ``LOOK_S``. Each is some 2 ms of Redis.

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
    with broker.reading(), broker.client.pipeline(transaction=False) as pipe:
        for key in lists:
            pipe.llen(key)
        replies = pipe.execute(raise_on_error=False)
    lengths = [n if isinstance(n, int) else 0 for n in replies]
    total = sum(lengths)
    blocks = _all(broker, lists, lengths) if total <= COUNTED else None
    counted = blocks is not None
    if blocks is None:
        blocks = _some(broker, lists, lengths, chance or random.Random())  # noqa: S311 - a sample, no secret
    sizes = [len(block) for block in blocks]
    meant = blocks if matches is None else [[text for text in block if matches(text)] for block in blocks]
    named = [Counter(map(name_of, block)) for block in meant]
    ages = map(age_s, (text for block in meant for text in block))
    found = TaskSample(
        looked_at=sum(sizes),
        counted=counted,
        oldest_s=max((age for age in ages if age is not None), default=None),
    )
    if found.counted:
        by_task = sum(named, Counter[str]())
        return replace(found, number=by_task.total(), by_task=dict(by_task.most_common()))
    by_task, error = _estimate(named, sizes, total)
    if matches is None:
        number, number_error = total, 0
    else:
        numbers, off = _estimate([Counter({"": names.total()}) for names in named], sizes, total)
        number, number_error = numbers[""], off.get("", total)
    return replace(
        found,
        number=number,
        number_error=number_error,
        by_task=dict(by_task.most_common()),
        error=error,
        unseen=math.ceil(UNSEEN / max(1, sum(sizes)) * total),
    )


def _all(broker: Broker, lists: Sequence[str], lengths: list[int]) -> list[list[bytes]] | None:
    """Every message; None where they are too large together to be looked at one and all."""
    blocks, total, size = list[list[bytes]](), 0, scan.WindowSize(STEP_BYTES, FIRST_STEP)
    for key, length in zip(lists, lengths, strict=True):
        at = 0
        while at < length and (block := _block(broker, key, at, min(size.messages, length - at), size)):
            blocks.append(block)
            at += len(block)
            total += sum(map(bounded_reads.size_of, block))
            if total > MOST_BYTES and at < length:
                return None
    return blocks


def _some(broker: Broker, lists: Sequence[str], lengths: list[int], chance: random.Random) -> list[list[bytes]]:
    """Blocks over all lists, each message as likely as any other; as many as there is time for, in any order."""
    total, until, blocks = sum(lengths), time.perf_counter() + LOOK_S, list[list[bytes]]()
    size = scan.WindowSize(STEP_BYTES, FIRST_STEP)
    for part in chance.sample(range(BLOCKS), BLOCKS):
        at = int((part + chance.random()) * total / BLOCKS)
        for key, length in zip(lists, lengths, strict=True):
            if at < length:
                if block := _block(broker, key, max(0, min(at, length - BLOCK)), BLOCK, size):
                    blocks.append(block)
                break
            at -= length
        if len(blocks) >= FEWEST and time.perf_counter() > until:
            break
    return blocks


def _block(broker: Broker, key: str, start: int, number: int, size: scan.WindowSize) -> list[bytes]:
    """Neighbours, in steps: one place is walked to once for all of a step, and not for each message."""
    found: list[bytes] = []
    while len(found) < number:
        step = min(size.messages, number - len(found))
        messages, size_bytes = scan.window(broker, key, start + len(found), step)
        if not messages:
            break
        size.learn(len(messages), size_bytes)
        found += messages
    return found


def _estimate(blocks: list[Counter[str]], sizes: list[int], total: int) -> tuple[Counter[str], dict[str, int]]:
    """Shares over the blocks, and their error: neighbours are alike, so a block counts as one observation."""
    estimate: Counter[str] = Counter()
    error: dict[str, int] = {}
    for name in {name for block in blocks for name in block}:
        shares = [block[name] / size for block, size in zip(blocks, sizes, strict=True)]
        spread = statistics.stdev(shares) / math.sqrt(len(shares)) if len(shares) > 1 else 1.0
        estimate[name] = round(statistics.fmean(shares) * total)
        error[name] = math.ceil(max(CONFIDENT * spread, UNSEEN / sum(sizes)) * total)
    return estimate, error
