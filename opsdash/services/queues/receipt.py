"""The receipt of an act on a queue: how much waited right before and right after it, here and in the other queues."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis

from opsdash import lua
from opsdash.services.broker.client import Broker

_COUNT = lua.load(__name__, "receipt_count")
MOST_OTHERS = 100
"""Other queues that a receipt tells of."""
NAMED = 5
"""Other queues that are named in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """How much waited before and after an act.

    Attributes:
        before: Priority step → messages of the queue; ``after``: the same. Steps that had none at either time are out.
        others: Other queue → messages before and after: what differs came or was taken meanwhile, by others.
        at_once: Counted in the very step that moved them; else in a step right before and one right after the act.
    """

    queue: str
    before: Mapping[int, int]
    after: Mapping[int, int]
    others: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    at_once: bool = False

    def details(self) -> dict[str, Any]:
        """As plain values, for an effect's details."""
        return {
            "queue": self.queue,
            "before": dict(self.before),
            "after": dict(self.after),
            "others": {name: {"before": before, "after": after} for name, (before, after) in self.others.items()},
            "at_once": self.at_once,
        }


def receipt_details(receipt: Receipt | None) -> dict[str, Any]:
    """``receipt`` for an effect's details; nothing where there is none."""
    return {} if receipt is None else {"receipt": receipt.details()}


def receipt_text(details: Mapping[str, Any]) -> str:
    """The receipt in an effect's details as one line; empty where there is none."""
    receipt = details.get("receipt")
    if not isinstance(receipt, Mapping):
        return ""
    before, after, others = receipt["before"], receipt["after"], receipt["others"]
    steps = ", ".join(f"priority {step}: {number:,} → {after[step]:,}" for step, number in sorted(before.items()))
    parts = [f"{receipt['queue']} {sum(before.values()):,} → {sum(after.values()):,} waiting"]
    if len(before) > 1 or set(before) - {0}:
        parts[0] += f" ({steps})"
    counted = [(name, one["before"], one["after"]) for name, one in others.items()]
    kept = [f"{name} {was:,}" for name, was, now in counted if was == now]
    moved = [f"{name} {was:,} → {now:,}" for name, was, now in counted if was != now]
    if kept:
        parts.append(f"as they were: {_few(kept)}")
    if moved:
        parts.append(f"changed meanwhile by others: {_few(moved)}")
    if not receipt.get("at_once"):
        parts.append("counted before and after; workers and producers went on meanwhile")
    return f"Receipt: {'; '.join(parts)}."


def _few(named: Sequence[str]) -> str:
    more = f" and {len(named) - NAMED:,} more" if len(named) > NAMED else ""
    return ", ".join(named[:NAMED]) + more


@dataclass(frozen=True, slots=True)
class Scope:
    """The lists that a receipt counts.

    Attributes:
        lists: Priority step → the queue's own list. ``others``: other queue → its lists.
    """

    broker: Broker
    queue: str
    lists: Mapping[int, str]
    others: Mapping[str, Sequence[str]]

    @classmethod
    def of(cls, broker: Broker, queue: str, known: Iterable[str]) -> Scope:
        """That queue and the first of the other known ones."""
        names = [name for name in known if name != queue][:MOST_OTHERS]
        return cls(broker, queue, broker.lists(queue), {name: list(broker.lists(name).values()) for name in names})

    @property
    def other_keys(self) -> list[str]:
        """The lists of the other queues, in one row."""
        return [key for keys in self.others.values() for key in keys]

    def count(self) -> list[int]:
        """Their lengths now, at one moment. Cost: one script, one LLEN a list."""
        keys = [*self.lists.values(), *self.other_keys]
        found: Any = self.broker.client.eval(_COUNT, len(keys), *keys)
        return [int(number) for number in found]

    def since(self, before: Sequence[int]) -> Receipt | None:
        """The receipt of what has been done since that count; None where Redis does not say: done is done."""
        try:
            return self.receipt(before, self.count())
        except redis.RedisError:
            return None

    def receipt(self, before: Sequence[int], after: Sequence[int], *, at_once: bool = False) -> Receipt:
        """What two counts say."""
        steps = len(self.lists)
        own = {
            step: (max(0, was), max(0, now))
            for step, was, now in zip(self.lists, before[:steps], after[:steps], strict=True)
            if was > 0 or now > 0
        }
        return Receipt(
            queue=self.queue,
            before={step: was for step, (was, _) in own.items()},
            after={step: now for step, (_, now) in own.items()},
            others={
                name: (was, now)
                for name, was, now in zip(self.others, self._sums(before), self._sums(after), strict=True)
            },
            at_once=at_once,
        )

    def _sums(self, counted: Sequence[int]) -> list[int]:
        at, sums = len(self.lists), list[int]()
        for keys in self.others.values():
            sums.append(sum(max(0, number) for number in counted[at : at + len(keys)]))
            at += len(keys)
        return sums
