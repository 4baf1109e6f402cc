"""The tenants' side in Redis: their keys, the index of all that were written, and one sync at a time.

The index makes orphans and differences findable without a look at every key of the server. It is written in the same
step as the configuration it is about.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import redis

from opsdash import lua
from opsdash.errors import Refused
from opsdash.model import untrusted
from opsdash.services.broker import bounded_reads, writes
from opsdash.services.broker.client import Broker
from opsdash.services.queues.lock import LEASE_S, LOST, QueueLock, lost
from opsdash.services.tenants.redaction import MAX_CONFIG_BYTES, digest, digest_of, usable

CHUNK = 500
"""Tenants read and written at a time: bounds memory here and the time Redis spends on one step."""
STEP = 100
"""Of these, how many one script reads or writes: Redis serves nobody else meanwhile. Some are sent together."""
LOOKED_AT = 200
"""Keys that one look compares with what was written."""
CHUNK_BYTES = 1_000_000
"""And their configurations together, unless a single one is larger."""
COMPARED_BYTES = 64 * 1024
"""Of what a key holds in place of a configuration, where its size shows that it differs."""
_ADOPTED, _NOTICED, _BEGUN = "adopted", "noticed", "begun"

_WRITE = lua.load(__name__, "index_write")
_REMOVE = lua.load(__name__, "index_remove")
_STORE = lua.load(__name__, "index_store")
_REPLACE = lua.load(__name__, "index_replace")
RENEW = lua.load(__name__, "index_renew")
_RELEASE = lua.load(__name__, "index_release")


@dataclass(frozen=True, slots=True)
class Config:
    """One tenant's configuration as it should be in Redis."""

    tenant_id: str
    text: str
    note: str = field(init=False)
    """What the index has of it."""
    size: int = field(init=False)
    """Bytes."""

    def __post_init__(self) -> None:
        """What is asked for more than once."""
        data = self.text.encode()
        object.__setattr__(self, "note", digest_of(data))
        object.__setattr__(self, "size", len(data))


@dataclass(frozen=True, slots=True)
class TenantIndex:
    """Reads and writes the keys of tenants, and what is known about them."""

    broker: Broker

    def differing(self, configs: Sequence[Config], lock: QueueLock | None = None) -> list[tuple[Config, str | None]]:
        """Those whose key or index entry is not what it should be, each with what its key holds now.

        Of one that holds more than a configuration can have, nothing is read: empty. Cost and errors: as `compared`.
        """
        both = zip(configs, self.compared(configs, lock), strict=True)
        return [(config, one.text) for config, one in both if one.text != config.text or one.note != config.note]

    def compared(self, configs: Sequence[Config], lock: QueueLock | None = None) -> list[bounded_reads.Noted]:
        """What key and index entry of each hold now.

        Compares what the key itself holds, so that one altered or lost outside opsdash is put right. Cost: one round
        trip as a rule; as many bytes as the configurations have.

        Raises:
            Refused: The lease was lost before anything was written.
            Uncertain: It was lost later.
        """
        if not configs:
            return []
        keys = self.broker.keys
        with writes.aside():
            if lock is not None:
                renewed = self.broker.client.eval(RENEW, 1, lock.key, lock.value, str(int(LEASE_S * 1000)))
                if renewed == LOST:
                    raise lost("the lock of the sync")
            named = [(one.tenant_id, keys.tenant_config(one.tenant_id), one.size) for one in configs]
            found = {
                one.name: one
                for one in bounded_reads.noted(self.broker.client, keys.tenants, named, most=COMPARED_BYTES, step=STEP)
            }
        return [found[config.tenant_id] for config in configs]

    def write(self, lock: QueueLock, configs: Sequence[Config]) -> int:
        """As `write_in_steps`; how many were written in all."""
        return sum(self.write_in_steps(lock, configs))

    def write_in_steps(self, lock: QueueLock, configs: Sequence[Config]) -> Iterator[int]:
        """Key and index entry of each, both in one step; how many each step has written.

        Cost: one round trip for all of them.

        Raises:
            Refused: The lease was lost before anything was written.
            Uncertain: It was lost later.
        """
        keys = self.broker.keys
        with self.broker.client.pipeline(transaction=False) as pipe:
            for start in range(0, len(configs), STEP):
                part = configs[start : start + STEP]
                names = [lock.key, keys.tenants, *(keys.tenant_config(config.tenant_id) for config in part)]
                args = [text for config in part for text in (config.tenant_id, config.text, config.note)]
                pipe.eval(_WRITE, len(names), *names, lock.value, int(LEASE_S * 1000), *args)
            answers = pipe.execute(raise_on_error=False)
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
            if answer == LOST:
                raise lost("the lock of the sync")
            yield int(answer)

    def is_empty(self) -> bool:
        """No tenant has a key. Cost: one HLEN."""
        return not self.broker.client.hlen(self.broker.keys.tenants)

    def number(self) -> int | None:
        """How many tenants have a key; None before the first sync that kept an index. Cost: one round trip."""
        with self.broker.client.pipeline(transaction=False) as pipe:
            pipe.hlen(self.broker.keys.tenants)
            pipe.hexists(self.broker.keys.tenants_synced, _ADOPTED)
            number, adopted = pipe.execute()
        return int(number) if adopted else None

    def remove(self, lock: QueueLock, tenant_ids: Sequence[str]) -> int:
        """Key and index entry of each; the number of keys that were there."""
        keys = self.broker.keys
        names = [keys.tenants, *(keys.tenant_config(tenant_id) for tenant_id in tenant_ids)]
        return int(lock.run(_REMOVE, names, *tenant_ids))

    def known(self) -> Iterator[list[str]]:
        """Tenants with a key, in chunks; one may come twice.

        Cost: the index, in steps. Before the first sync that kept one: every key of the server, in steps.
        """
        cursor: int | None = None
        while cursor != 0:
            cursor, tenants = bounded_reads.scan_names(self.broker.client, self.broker.keys.tenants, cursor or 0, CHUNK)
            yield from _chunks(iter(tenants))
        if not self.broker.client.hexists(self.broker.keys.tenants_synced, _ADOPTED):
            yield from self._found()

    def adopt(self, lock: QueueLock) -> None:
        """Takes into the index, once, what was written before there was one."""
        if self.broker.client.hexists(self.broker.keys.tenants_synced, _ADOPTED):
            return
        with writes.aside():
            for found in self._found():
                fields = (part for tenant in found for part in (tenant, ""))
                lock.run(_STORE, [self.broker.keys.tenants], "nx", *fields)
            lock.run(_STORE, [self.broker.keys.tenants_synced], "", _ADOPTED, "1")

    def _found(self) -> Iterator[list[str]]:
        start = self.broker.keys.tenant_config("")
        pattern = re.sub(r"([\\*?\[\]])", r"\\\1", start) + "*"
        keys = bounded_reads.all_keys(self.broker.client, pattern)
        yield from _chunks(tenant for key in keys if usable(tenant := key.removeprefix(start)))

    def stored(self) -> tuple[dict[str, str], int]:
        """What the last sync that came to its end has left, and how many tenants have a key now.

        ``rows``, ``newest``, ``mark``, ``keys``, ``unreadable``, ``at``, ``by``; ``noticed`` and ``begun``: when those
        methods were called, since.
        """
        with self.broker.reading(), self.broker.client.pipeline(transaction=False) as pipe:
            bounded_reads.ask_hash(pipe, self.broker.keys.tenants_synced)
            pipe.hlen(self.broker.keys.tenants)
            stored, keys = pipe.execute(raise_on_error=False)
        # A key of another type in their place, or far too large, holds nothing of ours.
        return bounded_reads.hash_of(stored) or {}, 0 if isinstance(keys, redis.RedisError) else keys

    def begin(self, lock: QueueLock) -> None:
        """Says that something will be written, until `tell` says that all is."""
        with writes.aside():
            lock.run(_STORE, [self.broker.keys.tenants_synced], "", _BEGUN, datetime.now(UTC).isoformat())

    def finish(self, lock: QueueLock, stored: Mapping[str, Any]) -> None:
        """Stores it, in place of the last one."""
        known = self.broker.client.hlen(self.broker.keys.tenants)
        whole = {**stored, "keys": known, _ADOPTED: "1"}
        lock.run(_REPLACE, [self.broker.keys.tenants_synced], *(part for item in whole.items() for part in item))

    def notice(self, at: datetime | None) -> None:
        """Keeps, until the next sync, when it was first seen that something differs; None: it does no more."""
        with self.broker.reading(), contextlib.suppress(redis.ResponseError):  # as in `story`
            if at is None:
                self.broker.client.hdel(self.broker.keys.tenants_synced, _NOTICED)
            else:
                self.broker.client.hsetnx(self.broker.keys.tenants_synced, _NOTICED, at.isoformat())

    def look(self, cursor: int, again: Iterable[str]) -> tuple[int, list[str]]:
        """Compares some keys with what was last written to them.

        Args:
            cursor: Where the last look ended; 0: at the beginning. ``again``: tenants to look at in any case.

        Returns:
            Where the next look goes on, and the tenants whose key was changed or removed.
            Cost: two round trips as a rule, about `LOOKED_AT` configurations.
        """
        keys, client = self.broker.keys, self.broker.client
        with self.broker.reading():
            try:
                cursor, found = bounded_reads.scan_names(client, keys.tenants, cursor, LOOKED_AT)
            except redis.ResponseError:  # as in `story`
                return 0, []
            tenants = list(dict.fromkeys([*again, *found]))
            if not tenants:
                return cursor, []
            named = [(tenant, keys.tenant_config(tenant), None) for tenant in tenants]
            read = bounded_reads.noted(client, keys.tenants, named, most=MAX_CONFIG_BYTES)
            return cursor, [one.name for one in read if one.note and (one.text is None or one.note != digest(one.text))]

    @contextmanager
    def lock(self, *, by: str) -> Iterator[QueueLock]:
        """Takes the right to sync.

        Raises:
            Refused: Another sync has it; with who runs it and since when.
        """
        value = json.dumps({"by": by, "at": datetime.now(UTC).isoformat(), "token": secrets.token_hex(8)})
        key, client = self.broker.keys.tenants_busy, self.broker.client
        for last_try in (False, True):
            with writes.aside():
                writes.drop_nobodys(client, key)
                taken = client.set(key, value, nx=True, px=int(LEASE_S * 1000))  # refused where Redis is full
            if taken:
                break
            holder = bounded_reads.text(client, key)
            if holder or last_try:  # empty: it ended between the two commands
                raise _busy(holder)
        try:
            yield QueueLock(self.broker, key, value)
        finally:
            # It ends by itself; what went wrong is on its way up already.
            with contextlib.suppress(redis.RedisError), writes.aside():
                client.eval(_RELEASE, 1, key, value)


def in_steps(configs: Sequence[Config]) -> Iterator[list[Config]]:
    """The same in parts of at most `CHUNK_BYTES` characters, or of one."""
    part: list[Config] = []
    size = 0
    for config in configs:
        if part and size + len(config.text) > CHUNK_BYTES:
            yield part
            part, size = [], 0
        part.append(config)
        size += len(config.text)
    if part:
        yield part


def _chunks(tenants: Iterator[str]) -> Iterator[list[str]]:
    part: list[str] = []
    for tenant in tenants:
        part.append(tenant)
        if len(part) == CHUNK:
            yield part
            part = []
    if part:
        yield part


def _busy(value: Any) -> Refused:
    holder = untrusted.mapping(untrusted.parsed(value))
    by, at = untrusted.words(holder.get("by")), untrusted.moment(holder.get("at"))
    who = f"{by} (since {at:%H:%M:%S} UTC)" if by and at else "another user"
    return Refused(f"The tenants are being synced by {who}.", hint="Try again when that is done.", retry=True)
