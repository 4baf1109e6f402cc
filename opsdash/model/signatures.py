"""The tasks that are sent when another one ends: read from the signatures in its message. Workers load this too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from opsdash.model import untrusted
from opsdash.model.workflow import Part
from opsdash.values import frozen

DEEP = 10
"""Signatures in signatures that are looked into."""
MOST_UNSENT = 500
"""Tasks of one message that are not sent yet."""
LONGEST_ID, LONGEST_NAME = 255, 1_000
PARTS = frozenset(get_args(Part))
_CHORD, _GROUP, _CHAIN = "chord", "group", "chain"


@frozen(kw_only=True)
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


def unsent_of(embed: Any, most: int = MOST_UNSENT) -> tuple[tuple[Unsent, ...], bool]:
    """From the third part of a message's body, in the order in which they are sent; and whether there are more."""
    walk = _Walk(most)
    walk.of(untrusted.mapping(embed))
    return tuple(walk.found), walk.cut


def unsent_as_told(told: Any) -> tuple[Unsent, ...]:
    """As a worker reports them: ``[id, name, part, group, after]`` of each; none of a report that can't be read."""
    found = list[Unsent]()
    for one in told[:MOST_UNSENT] if isinstance(told, list) else ():
        if not isinstance(one, list) or list(map(type, one)) != [str, str, str, str, int] or one[2] not in PARTS:
            return ()
        task_id, name, part, group, after = one
        if not -1 <= after < len(found):
            return ()
        found.append(Unsent(id=an_id(task_id), name=untrusted.words(name), part=part, group=an_id(group), after=after))
    return tuple(found)


def an_id(value: Any) -> str:
    """An id as others may name it; empty for what is none."""
    return untrusted.words(value) if isinstance(value, str) and 0 < len(value) <= LONGEST_ID else ""


class _Walk:
    """Goes through the signatures that a message carries."""

    def __init__(self, most: int) -> None:
        self._most = most
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
        if not isinstance(signature, dict) or depth > DEEP or len(self.found) >= self._most:
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
                # A chord's body carries the group that it waits for.
                group=group or ("" if part == "body" else an_id(options.get("group_id"))),
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
