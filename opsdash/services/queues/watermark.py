"""Where what was reviewed ends in a queue: what came after it is left alone."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

from opsdash.errors import LOOK_AGAIN, Refused
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker

FAR = 20_000
"""Messages that are searched for the watermark; a queue that has moved further needs a new preview."""
READ = 500
EVERYTHING, NOTHING = -1, -2
"""In place of a position: there is no watermark; all pending messages came after it."""

Mark = tuple[int, bytes]
"""How many messages are newer than the watermark, and its message; or one of the two above, and nothing."""


def take_watermark(broker: Broker, queue: str) -> dict[str, Any]:
    """The watermark now: per priority step the length, and the digest of the newest message.

    Cost: one round trip. Message texts do not get into it: it is shown with the preview.
    """
    lists = broker.lists(queue)
    with broker.reading(), broker.client.pipeline(transaction=False) as pipe:
        bounded_reads.ask_field(pipe, broker.keys.restores, queue)
        for key in lists.values():
            # First the newest message: one that comes between the two reads is newer than the watermark.
            bounded_reads.ask(pipe, key, 0, 1)
            pipe.llen(key)
        restores, *read = pipe.execute(raise_on_error=False)
    steps = {}
    for index, step in enumerate(lists):
        newest, length = read[2 * index : 2 * index + 2]
        if isinstance(length, int) and (last := bounded_reads.given(newest)):
            steps[str(step)] = {"length": length, "newest": digest(last[0])}
    return {"queue": queue, "restores": bounded_reads.field_of(restores) or "0", "read_at": time.time(), "steps": steps}


def find(broker: Broker, queue: str, watermark: Mapping[str, Any] | None) -> dict[int, Mark]:
    """Where the watermark is now, per priority step. Cost: usually a few reads of ``READ`` messages.

    Raises:
        Refused: Too much has happened since. Nothing was changed.
    """
    lists = broker.lists(queue)
    if not watermark:
        return dict.fromkeys(lists, (EVERYTHING, b""))
    if watermark.get("queue") != queue:
        raise Refused(f"The preview is of another queue than {queue}.")
    with broker.reading():
        return {step: _find(broker, queue, key, watermark["steps"].get(str(step))) for step, key in lists.items()}


def raw(client: Any, *command: Any) -> Any:
    """A command, on a client or a plain pipeline, whose reply stays bytes: a message need not be text."""
    return client.execute_command(*command, NEVER_DECODE=True)


def digest(message: bytes) -> str:
    """A message's identity: kombu gives each its own delivery tag, so no two are alike."""
    return hashlib.sha1(message, usedforsecurity=False).hexdigest()


def _find(broker: Broker, queue: str, key: str, mark: Mapping[str, Any] | None) -> Mark:
    if mark is None:
        return NOTHING, b""
    length: Any = broker.client.llen(key)
    # Taken at one end, added at the other: nothing taken means that it moved by as much as was added.
    for start in _starts(max(0, length - int(mark["length"])), length):
        at = start
        while at < start + READ and (found := bounded_reads.messages(broker.client, key, at, start + READ - at)):
            for index, message in enumerate(found):
                if digest(message) == mark["newest"]:
                    return at + index, message
            at += len(found)
    if length > FAR:
        raise Refused(f"More than {FAR:,} tasks came and went in {queue} since it was looked at.", hint=LOOK_AGAIN)
    return NOTHING, b""


def _starts(guess: int, length: int) -> Iterator[int]:
    yield from range(guess, min(length, guess + FAR), READ)
    # Tasks that workers gave back meanwhile make the queue longer at the other end: it is nearer than was guessed.
    yield from (max(0, start) for start in range(guess - READ, max(0, guess - FAR) - READ, -READ))
