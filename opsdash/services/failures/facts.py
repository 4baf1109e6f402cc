"""Groups and failed tasks as fields, for programs: the same on the command line and in the API."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from opsdash.model import Failure, FailureGroup, to_plain
from opsdash.services.failures.reading import FailedTasks

STORE_ONLY = frozenset({"version", "list"})
"""Fields of a failed task that only who sends it again needs."""


def group_facts(group: FailureGroup, now: datetime) -> dict[str, Any]:
    """A group, the queue that most came from, how often it comes lately, and its hours as ISO text."""
    hours = {f"{hour:%Y-%m-%dT%H:%M:%SZ}": number for hour, number in group.hours.items()}
    return {**to_plain(group), "queue": group.queue, "per_hour": group.per_hour(now), "hours": hours}


def failure_facts(failed: FailedTasks, failure: Failure) -> dict[str, Any]:
    """A failed task, and where else it is shown."""
    facts = {name: value for name, value in to_plain(failure).items() if name not in STORE_ONLY}
    return {**facts, "links": list(failed.links(failure))}
