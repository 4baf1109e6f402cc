"""Failures on their way to Redis, and the script that writes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from opsdash import lua
from opsdash.worker.connection import Link
from opsdash.worker.failures.settings import FailureSettings

MOST_GROUPS = 1_000
"""Groups that are kept: of more the oldest goes, with its entries."""
MOST_NAMES = 20
"""Queues, and workers, that one group counts by name."""
MOST_HOURS = 168
"""Hours that one group counts by themselves."""
MOST_BYTES = 48 * 1024 * 1024
"""Of all entries: with the groups, 16 MB at their most, 64 MB."""
FIELD_BYTES, ENTRY_BYTES = 80, 700
"""What Redis takes beside each field's own bytes and beside each entry; measured by ``MEMORY USAGE``."""

_WRITE = lua.load(__name__, "write")


class Group(NamedTuple):
    """What failures have in common. A tuple: it is a key for each failure."""

    kind: str
    task: str
    error: str
    place: str

    @property
    def fingerprint(self) -> str:
        """The group's id: 16 hexadecimal digits."""
        return hashlib.sha256("\0".join(self).encode(errors="surrogateescape")).hexdigest()[:16]


@dataclass(slots=True, kw_only=True)
class Count:
    """Failures of one group and queue.

    Attributes:
        last: When the last one came, by the monotonic clock.
        text: What the last one says that is kept; empty: nothing new.
    """

    times: int = 0
    not_kept: int = 0
    last: float = 0.0
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One failure as it is kept.

    Attributes:
        at: When it failed, by the monotonic clock.
        fields: The hash; what Redis counts itself is left out.
    """

    id: str
    group: Group
    at: float
    fields: Mapping[str, str | bytes]

    @property
    def size_bytes(self) -> int:
        """About what it takes of Redis's memory."""
        length = sum(len(name) + len(value) + FIELD_BYTES for name, value in self.fields.items())
        return length + 2 * len(self.id) + ENTRY_BYTES


class Held(NamedTuple):
    """A message that goes into the store in place of being run: it is no longer unacknowledged then.

    Attributes:
        unacked: kombu's hash, and ``unacked_index``: its index, with the key prefix. ``field``: the message there.
        runs: The key of what is known of its earlier runs.
    """

    unacked: str
    unacked_index: str
    field: str
    runs: str


def write(
    link: Link,
    instance: str,
    number: int,
    counts: Mapping[tuple[Group, str], Count],
    entries: Sequence[Entry],
    *,
    worker: str,
    now: float,
    settings: FailureSettings,
    held: Held | None = None,
) -> float | None:
    """Writes counts and entries, once however often the same number is written. Cost: one script.

    Args:
        instance: Of the worker; ``number`` grows with each of its batches.
        counts: Group and queue → how many failed, those that are kept included.
        now: The monotonic clock.
        held: Whose entry it is, if it still has to be acknowledged.

    Returns:
        How long ago the youngest failed that had to make room, in seconds; None when none had to.

    Raises:
        LINK_ERRORS: Redis does not answer, then it may have done it; or refuses, then it did nothing.
    """
    redis = link.redis  # first: it learns the key prefix
    keys = [link.keys.failed, link.keys.failed_batch(instance)]
    if held is not None:
        keys += [held.unacked, held.unacked_index, held.runs]
    young: Any = redis.eval(
        _WRITE,
        len(keys),
        *keys,
        *(str(each) for each in (number, settings.most, settings.ttl_s, MOST_BYTES, MOST_GROUPS, MOST_NAMES)),
        str(MOST_HOURS),
        "" if held is None else held.field,
        str(len(counts)),
        *_of_counts(counts, worker, now),
        *_of_entries(entries, now),
    )
    return None if young is None else float(young)


def _of_counts(counts: Mapping[tuple[Group, str], Count], worker: str, now: float) -> Iterator[str]:
    for (group, queue), count in counts.items():
        yield from (group.fingerprint, str(count.times), str(count.not_kept), f"{max(0.0, now - count.last):.3f}")
        yield from (*group, count.text, queue, worker)


def _of_entries(entries: Sequence[Entry], now: float) -> Iterator[str | bytes]:
    for entry in entries:
        yield from (entry.id, entry.group.fingerprint, str(entry.size_bytes), f"{max(0.0, now - entry.at):.3f}")
        yield str(2 * len(entry.fields))
        for name, value in entry.fields.items():
            yield name
            yield value
