"""What a message says of its task's place in a workflow: root, parent, group, and what is sent when it ends."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from opsdash.model import untrusted
from opsdash.model.workflow import Part
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.messages import LONGEST_NAME, decoded, envelope, headers_of, moment, task_name
from opsdash.services.queues.task_message import LONGEST_ID, id_of

DEEP = 10
"""Signatures in signatures that are looked into."""
MOST_UNSENT = 500
"""Tasks of one message that are not sent yet."""
_CHORD, _GROUP, _CHAIN = "chord", "group", "chain"
_HEADER = r'"{name}\\?"\s*:\s*\\?"([^"\\]{{1,255}})\\?"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsent:
    """A task that is sent when another one ends.

    Attributes:
        id: Empty where it gets one when it is sent. ``group``: the id of its group.
        after: Index of the one before it among those of the same message; -1: the message's own task.
    """

    id: str
    name: str
    part: Part
    group: str = ""
    after: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """Of one task.

    Attributes:
        unsent: In the order in which they are sent. ``cut``: there are more than those.
    """

    id: str
    name: str = ""
    root: str = ""
    parent: str = ""
    group: str = ""
    chord: bool = False
    retries: int = 0
    eta: datetime | None = None
    unsent: tuple[Unsent, ...] = ()
    cut: bool = False

    def names(self, keys: frozenset[str] | set[str]) -> bool:
        """It belongs to one of these: as itself, by its root, parent or group, or one of them is sent after it."""
        if self.id in keys or self.root in keys or self.parent in keys or self.group in keys:
            return True
        return any(one.id in keys or one.group in keys for one in self.unsent)


def links_of(raw: bytes) -> Links | None:
    """Of a message; None for one without an id. Of one too large to be read its headers are looked for in its ends."""
    if bounded_reads.is_mark(raw) or (message := envelope(raw)) is None:
        return _of_text(raw)
    if not (task_id := id_of(message)):
        return None
    headers, body = headers_of(message), decoded(message)
    first_protocol = isinstance(body, dict)
    embed = untrusted.mapping(body if first_protocol else body[2] if isinstance(body, list) and len(body) > 2 else {})
    unsent = _Unsent()
    unsent.of(embed)
    return Links(
        id=task_id,
        name=task_name(message),
        root=an_id(headers.get("root_id")),
        parent=an_id(headers.get("parent_id")),
        group=an_id(headers.get("group") or embed.get("taskset")),
        chord=bool(embed.get(_CHORD)),
        retries=untrusted.whole(embed.get("retries") if first_protocol else headers.get("retries")) or 0,
        eta=moment(embed.get("eta") if first_protocol else headers.get("eta")),
        unsent=tuple(unsent.found),
        cut=unsent.cut,
    )


def an_id(value: Any) -> str:
    """An id as others may name it; empty for what is none."""
    return untrusted.words(value) if isinstance(value, str) and 0 < len(value) <= LONGEST_ID else ""


def _of_text(raw: bytes) -> Links | None:
    text = raw.decode(errors="replace")
    found = {name: re.findall(_HEADER.format(name=name), text) for name in ("id", "root_id", "parent_id", "group")}
    if not found["id"]:
        return None
    root, parent, group = (an_id(found[name][-1] if found[name] else "") for name in ("root_id", "parent_id", "group"))
    return Links(id=an_id(found["id"][-1]), root=root, parent=parent, group=group, cut=True)


class _Unsent:
    """Goes through the signatures that a message carries."""

    def __init__(self) -> None:
        self.found: list[Unsent] = []
        self.cut = False

    def of(self, embed: Mapping[str, Any]) -> None:
        """Chain, chord, callbacks and errbacks of one message."""
        before = -1
        chain = embed.get(_CHAIN)
        for signature in reversed(chain) if isinstance(chain, list) else ():  # a worker takes them from its end
            before = self._add(signature, "next", before, 0)
        if isinstance(body := embed.get(_CHORD), dict):
            self._add(body, "body", -1, 0)
        for name, part in (("callbacks", "callback"), ("errbacks", "errback")):
            signatures = embed.get(name)
            for signature in signatures if isinstance(signatures, list) else ():
                self._add(signature, part, -1, 0)  # type: ignore[arg-type] # two of its words

    def _add(self, signature: Any, part: Part, before: int, depth: int, group: str = "") -> int:
        """One signature, and those within; the index of the last one that what follows waits for."""
        if not isinstance(signature, dict) or depth > DEEP or len(self.found) >= MOST_UNSENT:
            self.cut |= isinstance(signature, dict)
            return before
        options, kwargs = untrusted.mapping(signature.get("options")), untrusted.mapping(signature.get("kwargs"))
        kind, own_id = signature.get("subtask_type"), an_id(options.get("task_id"))
        if kind == _CHAIN:
            for inner in _listed(kwargs.get("tasks")):
                before = self._add(inner, part, before, depth + 1, group)
            return before
        if kind == _GROUP:
            ends = [self._add(inner, part, before, depth + 1, own_id) for inner in _listed(kwargs.get("tasks"))]
            return ends[-1] if ends else before
        if kind == _CHORD:
            header = kwargs.get("header")
            inner = {"subtask_type": _GROUP, "options": {"task_id": own_id}, "kwargs": {"tasks": header}}
            self._add(header if isinstance(header, dict) else inner, part, before, depth + 1, own_id)
            return self._add(kwargs.get("body"), "body", before, depth + 1)
        name = signature.get("task")
        self.found.append(
            Unsent(
                id=own_id,
                name=untrusted.words(name, LONGEST_NAME),
                part=part,
                group=group or an_id(options.get("group_id")),
                after=before,
            )
        )
        before = len(self.found) - 1
        for inner in _listed(options.get("link")):
            self._add(inner, "callback", before, depth + 1)
        return before


def _listed(value: Any) -> Iterator[Any]:
    """The members of a list; a single signature counts as one."""
    if isinstance(value, dict):
        yield value
    elif isinstance(value, list):
        yield from value
