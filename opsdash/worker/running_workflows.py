"""What running tasks belong to, and what is sent when they end, in a worker's report.

A running task's message is acknowledged as a rule, and then no more in Redis: only its worker knows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import islice
from typing import Any
from weakref import WeakKeyDictionary

from opsdash.model import untrusted
from opsdash.model.signatures import LONGEST_ID, an_id, unsent_of

MOST_TASKS, MOST_BYTES = 20, 8_000
"""Running tasks of one report, and what they take of it at most."""
MOST_UNSENT, MOST_LATER = 20, 2_000
"""Tasks that one of them would send, and the bytes they take at most."""
LONG = 120
"""Characters of a name."""
LARGE = 256 * 1024
"""Bytes of a message that is looked into."""


class RunningWorkflows:
    """Writes them. Each task's message is looked at once, however often it is reported."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Any, str] = WeakKeyDictionary()

    def as_json(self, requests: Iterable[Any]) -> str:
        """Of the first of these requests: id → ``root``, ``parent``, ``group``, ``chord``, ``unsent``; empty ones out.

        ``unsent`` has ``[id, name, part, group, after]`` of each; see `opsdash.model.signatures.Unsent`; ``cut``: there
        are more.
        """
        texts: list[str] = []
        size = 2
        for request in islice(requests, MOST_TASKS):
            if request not in self._known:
                self._known[request] = self._of(request)
            text = self._known[request]  # ASCII: one byte each
            size += len(text) + 1
            if size <= MOST_BYTES:
                texts.append(text)
            else:
                size -= len(text) + 1
        return f"{{{','.join(texts)}}}"

    def _of(self, request: Any) -> str:
        message = request.message
        headers = untrusted.mapping(getattr(message, "headers", None))
        json_body = getattr(message, "content_type", "") == "application/json"
        body = untrusted.parsed(message.body, LARGE) if json_body else None
        embed = untrusted.mapping(body[2] if isinstance(body, list) and len(body) > 2 else body)
        unsent, cut = unsent_of(embed, MOST_UNSENT)
        later = [[one.id, one.name[:LONG], one.part, one.group, one.after] for one in unsent]
        while len(json.dumps(later)) > MOST_LATER:  # each names only those before it
            later, cut = later[: len(later) // 2], True
        told = {
            "root": an_id(headers.get("root_id")) or an_id(request.id),
            "parent": an_id(headers.get("parent_id")),
            "group": an_id(headers.get("group") or embed.get("taskset")),
            "chord": bool(embed.get("chord")),
            "unsent": later,
            "cut": cut,
        }
        known = {name: value for name, value in told.items() if value}
        return f"{json.dumps(str(request.id)[:LONGEST_ID])}:{json.dumps(known, separators=(',', ':'))}"
