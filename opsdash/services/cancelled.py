"""What a pause has told to workers without the plug-in, as it is written down so that the resume undoes just that."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from redis.client import Pipeline

from opsdash import foreign

LARGE = 1_000_000
"""Characters of a record: thousands of workers, each with some queues."""
Told = dict[str, list[str]]
"""Hostname → queues whose consumer was cancelled there."""


def queue_writes(pipe: Pipeline, key: str, records: Mapping[str, Told]) -> None:
    """Has each record written, or removed where nothing is left of it."""
    for field, told in records.items():
        if told:
            pipe.hset(key, field, json.dumps(told))
        else:
            pipe.hdel(key, field)


def merged(first: Mapping[str, Iterable[str]], second: Mapping[str, Iterable[str]]) -> Told:
    """Both together."""
    return {h: sorted({*first.get(h, ()), *second.get(h, ())}) for h in sorted({*first, *second})}


def told_in(text: str) -> Told:
    """A record as it was read."""
    told = foreign.mapping(foreign.parsed(text, LARGE))
    return {h: list(foreign.names(queues)) for h, queues in told.items() if 0 < len(h) <= foreign.LONG}
