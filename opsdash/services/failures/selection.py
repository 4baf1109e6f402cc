"""Which failed tasks are meant, and which of them are left out of a retry, with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import UTC, datetime
from typing import Any

from opsdash.errors import Invalid, Refused
from opsdash.model import WorkerStats, untrusted
from opsdash.model.failure import Failure
from opsdash.services.broker.client import Broker
from opsdash.services.failures.later_tries import LaterTries, later_tries
from opsdash.services.failures.store import MOST_FAILURES, FailureFilter, FailureStore
from opsdash.services.queues.old_places import nearest_step
from opsdash.text import count
from opsdash.values import frozen

CHORD, WAITING, TOO_LARGE, NOT_KEPT, NO_QUEUE = "chord", "waiting", "too_large", "not_kept", "no_queue"
"""Why a failed task is not sent again."""
NAMED = 3
"""Ids that one sentence names."""


@frozen(kw_only=True)
class Meant:
    """Failed tasks by id, or by what they have in common.

    Attributes:
        ids: In any order; then nothing else counts.
        where: What they have in common. ``since_s``: failed last within so many seconds.
    """

    ids: tuple[str, ...] = ()
    where: FailureFilter = field(default_factory=FailureFilter)
    since_s: int | None = None

    @classmethod
    def of(cls, *, ids: str, task: str, error: str, queue: str, group: str, since_s: int | None) -> Meant:
        """From an operation's parameters.

        Raises:
            Invalid: They name nothing, or both ids and something else.
        """
        named = tuple(dict.fromkeys(ids.replace(",", " ").split()))
        where = FailureFilter(task=task, error=error, queue=queue, fingerprint=group)
        if since_s is not None and since_s < 0:
            raise Invalid(f"expected 0 or more, got {since_s:,}.", field="since_s")
        if not named and where == FailureFilter() and since_s is None:
            raise Invalid("Say which failed tasks: by ids, group, task, error, queue or time. For all: --task '*'.")
        if named and (where != FailureFilter() or since_s is not None):
            raise Invalid("expected ids alone, or none of them.", field="ids")
        return cls(ids=named, where=where, since_s=since_s)

    @property
    def text(self) -> str:
        """In words, for a sentence: ``named shop.charge, with the error TimeoutError``."""
        where = self.where
        parts = [
            f"of {count(len(self.ids), 'id')}" if self.ids[1:] else "".join(f"with the id {one}" for one in self.ids),
            f"named {where.task}" if where.task else "",
            f"with the error {where.error}" if where.error else "",
            f"of queue {where.queue}" if where.queue else "",
            f"of group {where.fingerprint}" if where.fingerprint else "",
            f"of the last {count(self.since_s, 'second')}" if self.since_s is not None else "",
        ]
        return ", ".join(part for part in parts if part)

    def read(self, store: FailureStore, read_at: float) -> list[Failure]:
        """Those that had failed by then, the oldest first. Cost: as `FailureStore.every`.

        Raises:
            Refused: None is kept.
            Unavailable: Redis did not answer.
        """
        where = self.where
        if self.since_s is not None:
            where = replace(where, since=datetime.fromtimestamp(read_at - self.since_s, UTC))
        named = self.ids or store.ids(where)
        found = [one for one in store.brief(named) if where.takes(one)]
        if not found:
            raise Refused(f"No failed task {self.text} is kept.", hint="opsdash failed lists those that are.")
        return sorted((one for one in found if one.at.timestamp() <= read_at), key=lambda one: one.at)


@frozen(kw_only=True)
class RetryPlan:
    """What a retry sends, where to, and what it leaves out.

    Attributes:
        going: The oldest first. ``lists``: id → the Redis list it goes to.
        left_out: One of the reasons above → failures.
        other_step: Ids of those whose list the app has no more: they go to the nearest one.
        unknown: Ids that are not kept.
        looked: Where later tries were searched for.
    """

    going: tuple[Failure, ...]
    lists: Mapping[str, str]
    left_out: Mapping[str, tuple[Failure, ...]]
    other_step: tuple[str, ...]
    unknown: tuple[str, ...]
    looked: LaterTries


def redis_now(broker: Broker) -> float:
    """Seconds since the epoch by the clock that failures are written by."""
    with broker.reading():
        found: Any = broker.client.time()
    return float(found[0]) + float(found[1]) / 1e6


def read_at(broker: Broker, reviewed: Mapping[str, Any] | None) -> float:
    """When the preview was read; now where there was none."""
    told = untrusted.figure(reviewed.get("read_at")) if reviewed else None
    return redis_now(broker) if told is None else told


def plan(
    broker: Broker,
    meant: Meant,
    failures: Sequence[Failure],
    *,
    known: Iterable[str],
    workers: Iterable[WorkerStats],
    chords: bool = False,
    waiting: bool = False,
) -> RetryPlan:
    """Decides for each. Cost: see `later_tries`.

    Args:
        known: Queues that are known: nothing is sent to any other list.
        chords: Members of chords go too. ``waiting``: those that are on their way already go too.
    """
    queues = frozenset(known)
    looked = later_tries(broker, workers, failures)
    going: list[Failure] = []
    lists: dict[str, str] = {}
    left_out: dict[str, list[Failure]] = {}
    other_step: list[str] = []
    for failure in failures:
        target, moved = _target(broker, failure, queues)
        if why := _left_out(failure, target, looked, chords=chords, waiting=waiting):
            left_out.setdefault(why, []).append(failure)
            continue
        going.append(failure)
        lists[failure.id] = target
        if moved:
            other_step.append(failure.id)
    kept = {failure.id for failure in failures}
    return RetryPlan(
        going=tuple(going),
        lists=lists,
        left_out={why: tuple(found) for why, found in left_out.items()},
        other_step=tuple(other_step),
        unknown=tuple(one for one in meant.ids if one not in kept),
        looked=looked,
    )


def _left_out(failure: Failure, target: str, looked: LaterTries, *, chords: bool, waiting: bool) -> str:
    if failure.too_large:
        return TOO_LARGE
    if not failure.sendable:
        return NOT_KEPT
    if not target:
        return NO_QUEUE
    if failure.chord and not chords:
        return CHORD
    if (failure.task_id or failure.id) in looked.found and not waiting:
        return WAITING
    return ""


def _target(broker: Broker, failure: Failure, known: frozenset[str]) -> tuple[str, bool]:
    """The list it goes to, and whether that is another one than it came from; empty: it has none here.

    The list that the entry names is never written to unless the layout has it: an entry may say anything.
    """
    if failure.queue not in known:
        return "", False
    lists = broker.lists(failure.queue)
    if failure.list in lists.values():
        return failure.list, False
    if not failure.list.startswith(broker.layout.prefix + failure.queue + broker.separator):
        return "", False
    return lists[nearest_step(failure.priority, lists)], True


def some_ids(failures: Sequence[Failure]) -> str:
    """``a, b, c and 12 more``."""
    more = f" and {len(failures) - NAMED:,} more" if len(failures) > NAMED else ""
    return ", ".join(one.id for one in failures[:NAMED]) + more


__all__ = ["MOST_FAILURES", "Meant", "RetryPlan", "plan", "read_at", "redis_now", "some_ids"]
