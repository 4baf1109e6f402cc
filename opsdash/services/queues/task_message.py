"""What a message says of its task: which it is, and what an operator may see of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from opsdash.model import TaskPlace, untrusted
from opsdash.model.found_task import TaskState
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.messages import Message, decoded, envelope, headers_of
from opsdash.services.queues.peek import LARGE, describe, too_large

LONGEST_ID = 255
SHORTEST_PREFIX = 8
"""Characters: with fewer, ids of others would be found."""


def id_of(message: Mapping[str, Any]) -> str:
    """The task's id: from the headers, from the body in Celery's first protocol, or the one its answer is to carry."""
    given = headers_of(message).get("id")
    if not isinstance(given, str) or not given:
        body = decoded(message)
        given = body.get("id") if isinstance(body, dict) else None
    if not isinstance(given, str) or not given:
        given = untrusted.mapping(message.get("properties")).get("correlation_id")
    return given if isinstance(given, str) and len(given) <= LONGEST_ID else ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which ids are meant: one, or those that begin with a text.

    Attributes:
        whole: The text is all of the id, however long it is.
    """

    text: str
    whole: bool = False

    @property
    def is_prefix(self) -> bool:
        """More ids than one may be meant."""
        return not self.whole and len(self.text) >= SHORTEST_PREFIX

    def __call__(self, task_id: str) -> bool:
        """Whether this id is meant."""
        return task_id == self.text or (self.is_prefix and task_id.startswith(self.text))


def texts_of(wanted: Wanted) -> list[str]:
    """An id as it may be written in a message: as Python's JSON has it, plain, and with escaped slashes.

    One that is all of the id comes with the quote behind it.
    """
    ends = ("",) if wanted.is_prefix else ('"', '\\"')
    return [text + end for text in written(wanted.text) for end in ends]


def written(text: str) -> list[str]:
    """How a text may be written in JSON."""
    escaped = json.dumps(text)[1:-1]
    return list(dict.fromkeys([escaped, json.dumps(text, ensure_ascii=False)[1:-1], escaped.replace("/", "\\/")]))


def meant_id(raw: bytes, wanted: Wanted) -> str:
    """The id of a message that may be a wanted one; empty: it is not.

    One that can't be read as a whole, because it is too large or nested too deep, is what its text says.
    """
    mark = bounded_reads.is_mark(raw)
    if not mark and (message := envelope(raw)) is not None:
        task_id = id_of(message)
        return task_id if wanted(task_id) else ""
    if not mark and not _is_deep(raw):
        return ""  # no message of Celery's
    for text in written(wanted.text):
        pattern = rb'"(?:correlation_)?id\\?"\s*:\s*\\?"(%s[^"\\]{0,255})' % re.escape(text.encode())
        if found := re.search(pattern, raw):
            task_id = found[1].decode(errors="replace")
            return wanted.text if task_id == text else task_id if wanted(task_id) else ""
    return wanted.text if mark else ""  # its middle was not sent, and that it is there is known


def _is_deep(raw: bytes) -> bool:
    """It is a JSON object, and nested deeper than is read here."""
    try:
        return isinstance(json.loads(raw), dict)
    except RecursionError:
        return raw.lstrip().startswith(b"{")
    except ValueError:
        return False


def place_of(
    raw: bytes,
    task_id: str,
    state: TaskState,
    *,
    redact: str = "",
    position: int | None = None,
    waiting: int | None = None,
    priority: int | None = None,
    queue: str = "",
    trash_id: str = "",
) -> TaskPlace:
    """What an operator may see of a message, and where it is."""
    large = bounded_reads.size_of(raw) > LARGE
    seen = (
        too_large(bounded_reads.size_of(raw), position=0, priority=0)
        if large
        else describe(raw, position=0, priority=0, redact=redact)
    )
    chord, group, chain = (False, False, False) if large else workflow_of(raw)
    return TaskPlace(
        id=task_id,
        state=state,
        **about(seen),
        queue=queue,
        position=position,
        waiting=waiting,
        priority=priority,
        trash_id=trash_id,
        chord=chord,
        group=group,
        chain=chain,
    )


def about(message: Message) -> dict[str, Any]:
    """What is said of a task wherever it is."""
    return {
        "name": message.name,
        "sent_at": message.sent_at,
        "eta": message.eta,
        "retries": message.retries,
        "arguments": message.arguments,
        "unreadable": message.unreadable,
        "size_bytes": message.size_bytes,
    }


def workflow_of(raw: bytes) -> tuple[bool, bool, bool]:
    """Whether a message says that its task is part of a chord, a group, or that more of a chain follow it."""
    message = envelope(raw)
    if message is None:
        return False, False, False
    body = decoded(message)
    embed = body[2] if isinstance(body, list) and len(body) > 2 else body
    embed = untrusted.mapping(embed)
    group = headers_of(message).get("group") or embed.get("taskset")
    return bool(embed.get("chord")), bool(group), bool(embed.get("chain"))


def entry_of(value: bytes) -> tuple[bytes, str]:
    """Kombu's entry for a fetched message, ``[message, exchange, routing key]``, as the message and its routing key."""
    entry = untrusted.parsed(value, bounded_reads.LARGE_MESSAGE)
    if not isinstance(entry, list) or not entry or not isinstance(entry[0], dict):
        return b"", ""
    key = entry[2] if len(entry) > 2 else ""
    return json.dumps(entry[0]).encode(), untrusted.words(key)


def is_later(eta: datetime | None, now: datetime) -> bool:
    """It waits for its time."""
    return eta is not None and eta > now
