"""What Redis keeps of each bucket of tenants, so that a sync sees at once where nothing has changed on either side.

Of a bucket it keeps the keyed digest of its rows in the database, and digests of what a sync has written of just these
rows. So nothing of it is ever out of date: rows that have this digest go with keys that have those. Where one of both
differs, the bucket is read and compared tenant by tenant.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import platform
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import opsdash
from opsdash import lua, redaction
from opsdash.redaction import formats
from opsdash.services.audit.chain import mac_with
from opsdash.services.broker import bounded_reads, writes
from opsdash.services.broker.client import Broker
from opsdash.services.queues.lock import LEASE_S, LOST, QueueLock, lost
from opsdash.services.tenants import redaction as tenant_redaction
from opsdash.services.tenants.digests import BUCKETS, BucketDigest, RowDigest
from opsdash.services.tenants.index import RENEW, Config

MOST_ROWS, MOST_BYTES = 1_000, 500_000
"""Of a bucket of which something is kept. A larger one is always read."""
STEP_ROWS, STEP_BYTES = 200, 100_000
"""What one script looks at, about, and half as much again at most: a millisecond of Redis."""
AT_ONCE = 10
"""Scripts that are sent together."""
LONGEST = 400_000
"""Bytes of what is kept of a bucket."""
_DIGEST = 32
_PURPOSE = "opsdash: rows of tenants"

_SAME = lua.load(__name__, "kept_same", LONGEST=LONGEST)
_STORE = lua.load(__name__, "kept_store")


@lru_cache
def rules() -> str:
    """Digest of what makes a configuration of a row: another one than Redis was written by makes it all differ."""
    code = [Path(str(module.__file__)).read_bytes() for module in (redaction, formats, tenant_redaction)]
    return hashlib.sha256(
        b"\0".join([opsdash.__version__.encode(), platform.python_version().encode(), *code])
    ).hexdigest()


@dataclass(frozen=True, slots=True)
class Keyed:
    """Makes the keyed digests of rows that may be in Redis.

    Attributes:
        secret: Key of the tenants' fingerprints, too. ``context``: of the source (`digests.context`).
    """

    secret: bytes
    context: str

    def of(self, digests: Mapping[int, BucketDigest]) -> dict[int, str]:
        """Bucket → keyed digest."""
        mac = mac_with(self.secret)
        begun = mac(f"{_PURPOSE}\0{rules()}\0{self.context}".encode())
        return {
            bucket: mac(f"{begun} {bucket} {rows} {first} {second}".encode())[:_DIGEST]
            for bucket, (rows, first, second) in digests.items()
        }


class Seen:
    """What the rows of buckets come to, as they are read: buckets are of use when all of their rows were seen."""

    def __init__(self) -> None:
        self._buckets: dict[int, _Bucket] = {}

    @property
    def numbers(self) -> Collection[int]:
        """The buckets."""
        return self._buckets.keys()

    def add(self, digests: Iterable[RowDigest], configs: Iterable[Config | None]) -> None:
        """Rows, each with its configuration; None: it has none, and its bucket is to be read each time."""
        buckets = self._buckets
        for (number, first, second), config in zip(digests, configs, strict=True):
            bucket = buckets.get(number)
            if bucket is None:
                bucket = buckets[number] = _Bucket()
            bucket.rows += 1
            bucket.first += first
            bucket.second += second
            if config is None:
                bucket.size = MOST_BYTES + 1
            elif bucket.size <= MOST_BYTES:
                bucket.size += config.size
                bucket.tenants += b"%b\n" % config.tenant_id.encode()
                bucket.written.update(b"%b\n%b\n" % (config.text.encode(), config.note.encode()))

    def kept(self, keyed: Keyed) -> Iterator[tuple[int, bytes]]:
        """Bucket → what Redis is to keep of it; empty: nothing."""
        digests = {
            number: BucketDigest(bucket.rows, bucket.first, bucket.second) for number, bucket in self._buckets.items()
        }
        for number, digest in keyed.of(digests).items():
            bucket = self._buckets[number]
            fits = bucket.rows <= MOST_ROWS and bucket.size <= MOST_BYTES
            yield number, bucket.text(digest) if fits else b""


class _Bucket:
    __slots__ = ("first", "rows", "second", "size", "tenants", "written")

    def __init__(self) -> None:
        self.rows = self.first = self.second = self.size = 0
        self.tenants = bytearray()
        # Redis has this hash alone for its scripts. Nobody is to be deceived with it: who writes to Redis can do more.
        self.written = hashlib.sha1(usedforsecurity=False)

    def text(self, digest: str) -> bytes:
        tenants = json.dumps(self.tenants.decode().splitlines(), ensure_ascii=False)
        return f"{digest} {self.written.hexdigest()} {self.size}\n{tenants}".encode()


@dataclass(frozen=True, slots=True)
class KeptBuckets:
    """Reads and writes what Redis keeps."""

    broker: Broker

    def same(self, lock: QueueLock | None = None) -> Iterator[dict[int, str]]:
        """Buckets whose keys and index entries are as they were written, each with the keyed digest of its rows then.

        Step by step; empty where a step has found none. Cost: a round trip for each ``AT_ONCE`` steps of ``STEP_ROWS``
        tenants; a millisecond of Redis for each step.

        Raises:
            Refused: The lease was lost before anything was written.
            Uncertain: It was lost later.
        """
        client, keys = self.broker.client, self.broker.keys
        tenants = bounded_reads.one(client, 0, "HLEN", keys.tenants)
        fit = max(1, STEP_ROWS * BUCKETS // max(1, tenants))
        waiting = list(range(BUCKETS)) if tenants else []
        while waiting:
            asked, waiting = waiting[: AT_ONCE * fit], waiting[AT_ONCE * fit :]
            steps = [asked[at : at + fit] for at in range(0, len(asked), fit)]
            found = self._look(steps, lock)
            waiting = [
                number for step, rows in zip(steps, found, strict=True) for number in step[len(rows) :]
            ] + waiting
            pairs = (pair for step, rows in zip(steps, found, strict=True) for pair in zip(step, rows, strict=False))
            yield {number: rows for number, rows in pairs if rows}

    def _look(self, steps: Sequence[Sequence[int]], lock: QueueLock | None) -> list[list[str]]:
        """Of each bucket that was come to, the digest; empty: something differs."""
        keys, most = self.broker.keys, (STEP_ROWS * 3 // 2, STEP_BYTES * 3 // 2)
        with writes.aside(), self.broker.client.pipeline(transaction=False) as pipe:
            for step in steps:
                names = (keys.tenants, keys.tenants_buckets)
                pipe.eval(_SAME, len(names), *names, keys.tenant_config(""), *most, *step)
            if lock is not None:
                pipe.eval(RENEW, 1, lock.key, lock.value, str(int(LEASE_S * 1000)))
            answers: list[Any] = pipe.execute()
        if lock is not None and answers.pop() == LOST:
            raise lost("the lock of the sync")
        return answers

    def store(self, lock: QueueLock, kept: Iterable[tuple[int, bytes]]) -> None:
        """Keeps these. Cost: a round trip for each ``AT_ONCE`` steps.

        Raises:
            Refused: The lease was lost before anything was written.
            Uncertain: It was lost later.
        """
        steps = _steps(kept)
        while some := list(itertools.islice(steps, AT_ONCE)):
            self._store(lock, some)

    def drop_others(self, lock: QueueLock, numbers: Collection[int]) -> None:
        """Keeps nothing of buckets that no row is in. Cost and errors: as `store`."""
        with self.broker.client.pipeline(transaction=False) as pipe:
            bounded_reads.ask_names(pipe, self.broker.keys.tenants_buckets, 2 * BUCKETS)
            (names,) = pipe.execute()
        others = set(names) - {str(number) for number in numbers}
        if others:
            self._store(lock, [[(name, b"") for name in others]])

    def _store(self, lock: QueueLock, steps: Iterable[Iterable[tuple[int | str, bytes]]]) -> None:
        """Not as a part of the act: what this is about was written before."""
        names = [lock.key, self.broker.keys.tenants_buckets]
        with writes.aside(), self.broker.client.pipeline(transaction=False) as pipe:
            for step in steps:
                args = [part for one in step for part in one]
                pipe.eval(_STORE, len(names), *names, lock.value, str(int(LEASE_S * 1000)), *args)
            answers = pipe.execute()
        if LOST in answers:
            raise lost("the lock of the sync")


def _steps(kept: Iterable[tuple[int, bytes]]) -> Iterator[list[tuple[int, bytes]]]:
    step, size = list[tuple[int, bytes]](), 0
    for one in kept:
        step.append(one)
        size += len(one[1])
        if size > STEP_BYTES:
            yield step
            step, size = [], 0
    if step:
        yield step
