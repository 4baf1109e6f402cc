"""The arguments of running tasks in a worker's report: without what looks secret, before they leave the worker."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterable
from itertools import islice
from typing import Any
from weakref import WeakKeyDictionary

from opsdash.model import untrusted
from opsdash.redaction.arguments import shown_body

logger = logging.getLogger(__name__)

MOST_TASKS, MOST_BYTES = 20, 8_000
"""Running tasks whose arguments one report has, and what they take of it at most."""
LONG = 200
"""Characters of one task's arguments."""
LARGE = 256 * 1024
"""Bytes of a message that is looked into."""


class RunningArguments:
    """Writes them. Each task's are looked at once, however often they are reported.

    Args:
        redact: ``OPSDASH_REDACT`` of this process: what it finds is hidden as well.
    """

    def __init__(self, redact: str | None = None) -> None:
        self._redact = os.environ.get("OPSDASH_REDACT", "") if redact is None else redact
        self._known: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
        try:
            re.compile(self._redact)
        except re.error as error:
            logger.warning("opsdash: OPSDASH_REDACT is no regular expression (%s): no argument is reported", error)
            self._redact = "."

    def as_json(self, requests: Iterable[Any]) -> str:
        """A text for each of the first of these requests, in their order, as JSON."""
        texts: list[str] = []
        size = 2
        for request in islice(requests, MOST_TASKS):
            text = json.dumps(self._of(request))  # ASCII: one byte each
            size += len(text) + 1
            if size > MOST_BYTES:
                break
            texts.append(text)
        return f"[{','.join(texts)}]"

    def _of(self, request: Any) -> str:
        if request not in self._known:
            text = self._shown(request)
            self._known[request] = text if len(text) <= LONG else f"{text[:LONG]}…"
        return self._known[request]

    def _shown(self, request: Any) -> str:
        message = request.message  # and not what was made of it: that may be of any type, and be changed by the task
        if getattr(message, "content_type", "") != "application/json":
            return "not shown (not JSON)"
        body = untrusted.parsed(message.body, LARGE)
        return shown_body(body, self._redact) if body is not None else "not shown (too large, or not JSON)"
