"""The spool: what the audit log could not write while its database was away waits in a Redis stream."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass

from opsdash.model import AuditEntry, to_plain
from opsdash.services import writes
from opsdash.services.broker import Broker
from opsdash.services.seal import Sealer

log = logging.getLogger(__name__)

# The first command changes nothing; after it a full Redis lets the other through. KEYS: the stream.
_ADD = """
redis.call('XDEL', KEYS[1], '0-1')
redis.call('XADD', KEYS[1], '*', 'kind', ARGV[1], 'entry', ARGV[2], 'mac', ARGV[3])
"""
KINDS = ("begin", "finish", "whole")
CHUNK = 100
CLAIMED_S = 86_400
"""A request that is sent again within this time while the database is away is known to be one."""


@dataclass(frozen=True, slots=True)
class Spool:
    """Steps of the audit log, in the order they were made.

    A step carries a keyed digest: what somebody else puts into the stream never becomes an entry, and stays there to be
    looked at.
    """

    broker: Broker

    def put(self, kind: str, entry: AuditEntry, sealer: Sealer) -> None:
        """Adds one step, also where Redis is full. Cost: one script.

        The stream has no bound: what it holds must not be lost.

        Raises:
            redis.RedisError: Redis did not take it.
        """
        text = json.dumps(to_plain(entry))
        self.broker.client.eval(_ADD, 1, self.broker.keys.spool, kind, text, sealer.mac(f"{kind}:{text}"))

    def claim(self, entry: AuditEntry) -> bool:
        """Whether this entry is the first with its request id within a day. Cost: one script.

        Raises:
            redis.RedisError: Redis did not answer.
        """
        key = self.broker.keys.request(str(entry.request_id))
        first = writes.put(self.broker.client, key, str(entry.id), ms=CLAIMED_S * 1000, new=True)
        return first or self.broker.client.get(key) == str(entry.id)

    def waiting(self, sealer: Sealer) -> Iterator[tuple[str, str, AuditEntry]]:
        """Every step that is ours, oldest first, as (place, kind, entry)."""
        start = "-"
        while True:
            steps: list[tuple[str, dict[str, str]]] = self.broker.client.xrange(  # type: ignore[assignment]
                self.broker.keys.spool, min=start, count=CHUNK
            )
            for place, fields in steps:
                entry = _entry(fields, sealer)
                if entry is None:
                    log.error("step %s of the audit spool was not written by opsdash, or with another key", place)
                else:
                    yield place, fields["kind"], entry
            if len(steps) < CHUNK:
                return
            start = f"({steps[-1][0]}"

    def remove(self, place: str) -> None:
        """Takes one step off."""
        self.broker.client.xdel(self.broker.keys.spool, place)

    def count(self) -> int:
        """Steps that wait. Cost: one XLEN."""
        with self.broker.reading():
            return int(self.broker.client.xlen(self.broker.keys.spool))


def _entry(fields: dict[str, str], sealer: Sealer) -> AuditEntry | None:
    kind, text = fields.get("kind", ""), fields.get("entry", "")
    if kind not in KINDS or not sealer.is_mac(f"{kind}:{text}", fields.get("mac", "")):
        return None
    return AuditEntry.from_plain(json.loads(text))
