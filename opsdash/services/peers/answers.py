"""From another console's answer to a reading. It may be of any version, and is trusted with nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from opsdash.model import untrusted
from opsdash.model.peer import PeerReading, State

VERDICTS = frozenset({"held", "draining", "not_held", "unknown"})
_STATES: dict[Any, State] = {"RUNNING": "running", "PAUSED": "paused"}
MOST = 100_000
"""Queues and workers that are counted."""


def reading_of(before: PeerReading, status: Any, failures: Any) -> PeerReading:
    """The reading of an answer to ``status`` and one to ``failures``, each as JSON gave it; None: there was none."""
    found = untrusted.mapping(status)
    behind_s = untrusted.figure(found.get("redis_age_s"))
    known = behind_s is not None  # its console has never reached its Redis otherwise
    queues = _records(found.get("queues")) if known else None
    workers = _records(found.get("workers")) if known else None
    ages = [] if queues is None else [(untrusted.figure(queue.get("oldest_s")), queue) for queue in queues]
    oldest = max(((age, queue) for age, queue in ages if age is not None), key=lambda pair: pair[0], default=None)
    verdict = untrusted.mapping(found.get("verdict")).get("state")
    return replace(
        before,
        state=_STATES.get(_hashable(found.get("processing")), "unknown") if known else "unknown",
        waiting=_sum(queues, "waiting"),
        oldest_s=None if oldest is None else oldest[0],
        oldest_at_least=oldest is not None and oldest[1].get("oldest_at_least") is True,
        workers=_number(workers, reporting=True),
        silent=_number(workers, reporting=False),
        failures=untrusted.whole(untrusted.mapping(failures).get("total")),
        verdict=verdict if isinstance(verdict, str) and verdict in VERDICTS else "unknown" if verdict else "",
        read_at=datetime.now(UTC),
        behind_s=behind_s or 0.0,
        error="" if known else "its console has not reached its Redis yet",
    )


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str) else None


def _records(value: Any) -> list[Mapping[str, Any]] | None:
    if not isinstance(value, list) or len(value) > MOST:
        return None
    return [one for one in value if isinstance(one, Mapping)]


def _sum(records: list[Mapping[str, Any]] | None, name: str) -> int | None:
    """The sum; None where one of them does not say, as a part would look like the whole."""
    if records is None:
        return None
    numbers = [untrusted.whole(record.get(name)) for record in records]
    return None if None in numbers else sum(number for number in numbers if number is not None)


def _number(workers: list[Mapping[str, Any]] | None, *, reporting: bool) -> int | None:
    """Of workers those that report, or those that are silent."""
    if workers is None:
        return None
    states = [worker.get("state") for worker in workers]
    if not all(isinstance(state, str) for state in states):
        return None
    counted = [state not in {"offline", "silent"} if reporting else state == "silent" for state in states]
    return counted.count(True)
