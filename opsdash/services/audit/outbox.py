"""The outbox: a Redis stream with the audit entries that could not be written while the database was down."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import field
from typing import NamedTuple

from opsdash import lua
from opsdash.model import AuditEntry, to_plain, untrusted
from opsdash.services.audit.chain import ChainSigner
from opsdash.services.broker import bounded_reads, writes
from opsdash.services.broker.client import Broker
from opsdash.values import frozen

log = logging.getLogger(__name__)

_ADD = lua.load(__name__, "outbox_add")
KINDS = ("begin", "finish", "whole")
FIELDS = ("kind", "entry", "mac")
CHUNK = 100
LOOKED_AT = 1_000
LOOK_S = 0.5
"""One drain looks at so many steps, for so long: the next one goes on."""
LARGE_STEP = 4_000_000
"""Bytes of a step; none of opsdash's is as large."""
CLAIMED_S = 86_400
"""A request that is sent again within this time while the database is away is known to be one."""


_READ = lua.load(__name__, "outbox_read")
_SET_ASIDE = lua.load(__name__, "outbox_set_aside")


class Position(NamedTuple):
    """The position of a step."""

    stream: str
    id: str


@frozen
class Outbox:
    """Steps of the audit log, in the order they were made.

    A step has a keyed digest: a foreign step in the stream never becomes an entry. It is moved to
    another stream, for inspection.
    """

    broker: Broker
    _looked: dict[str, str] = field(default_factory=dict, init=False, compare=False, repr=False)

    def put(self, kind: str, entry: AuditEntry, signer: ChainSigner) -> None:
        """Adds one step, also where Redis is full. Cost: one script.

        The stream has no bound: what it holds must not be lost.

        Raises:
            redis.RedisError: Redis did not take it.
        """
        text = json.dumps(to_plain(entry))
        self.broker.client.eval(_ADD, 1, self.broker.keys.outbox, kind, text, signer.mac(f"{kind}:{text}"))

    def claim(self, entry: AuditEntry) -> bool:
        """Whether this entry is the first with its request id within a day. Cost: one script.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        key = self.broker.keys.request(str(entry.request_id))
        first = writes.put(self.broker.client, key, str(entry.id), ms=CLAIMED_S * 1000, new=True)
        return first or bounded_reads.text(self.broker.client, key, 100) == str(entry.id)

    def waiting(self, signer: ChainSigner) -> Iterator[tuple[Position, str, AuditEntry]]:
        """The oldest steps that are ours, as (place, kind, entry): ``LOOKED_AT`` at most, and for ``LOOK_S``.

        What is not is set aside on the way, so that it is met once; ours that another console has set aside, since its
        key is another, are among those given.
        """
        until_s = time.monotonic() + LOOK_S
        yield from self._own(self.broker.keys.outbox, "-", signer, until_s, aside=True)
        yield from self._own(
            self.broker.keys.outbox_aside, self._looked.get("aside", "-"), signer, until_s, aside=False
        )

    def remove(self, position: Position) -> None:
        """Takes one step off."""
        self.broker.client.xdel(position.stream, position.id)

    def count(self) -> int:
        """Steps that wait. Cost: one XLEN."""
        return self._length(self.broker.keys.outbox)

    def foreign(self) -> int:
        """Steps that were set aside: nobody's, or written with another key. Cost: one XLEN."""
        return self._length(self.broker.keys.outbox_aside)

    def _length(self, key: str) -> int:
        with self.broker.reading():
            return int(bounded_reads.one(self.broker.client, 0, "XLEN", key))

    def _own(
        self, key: str, start: str, signer: ChainSigner, until_s: float, *, aside: bool
    ) -> Iterator[tuple[Position, str, AuditEntry]]:
        """Those of one stream that are ours; with ``aside`` the others are moved away, else passed over for good."""
        looked_at = 0
        while looked_at < LOOKED_AT and time.monotonic() < until_s:
            steps = self._read(key, start)
            if not steps:
                return
            looked_at += len(steps)
            foreign = []
            for position, *fields in steps:
                if (entry := _entry(fields, signer)) is None:
                    foreign.append(position)
                else:
                    yield Position(key, position), fields[0], entry
                    if time.monotonic() > until_s:
                        break
            if aside and foreign:
                self._set_aside(foreign)
            start = f"({position}"
            if not aside:
                self._looked["aside"] = start

    def _read(self, key: str, start: str) -> list[list[str]]:
        """``[id, kind, entry, mac]`` each, the id alone for what can't be one of ours."""
        with self.broker.client.pipeline(transaction=False) as pipe:
            pipe.eval(_READ, 1, key, start, CHUNK, LARGE_STEP)
            (steps,) = pipe.execute()
        return [[str(part) for part in step] for step in steps]

    def _set_aside(self, places: Sequence[str]) -> None:
        keys = self.broker.keys
        moved = int(self.broker.client.eval(_SET_ASIDE, 2, keys.outbox, keys.outbox_aside, *places))
        if moved and not self._looked.get("told"):  # once: there may be any number of them
            self._looked["told"] = "yes"
            log.error(
                "steps of the audit outbox were not written by opsdash, or with another key: they were moved to %s,"
                " the first is %s",
                keys.outbox_aside,
                places[0],
            )


def _entry(fields: Sequence[str], signer: ChainSigner) -> AuditEntry | None:
    if len(fields) != len(FIELDS):
        return None
    kind, text, mac = fields
    # A digest is text of ASCII; another one can't be compared.
    if kind not in KINDS or not mac.isascii() or not signer.is_mac(f"{kind}:{text}", mac):
        return None
    try:
        return AuditEntry.from_plain(untrusted.mapping(untrusted.parsed(text, LARGE_STEP)))
    except (KeyError, TypeError, ValueError, AttributeError):  # of another version
        return None
