"""Failed tasks in words, for people: the same on the command line and on the page."""

from __future__ import annotations

from collections.abc import Mapping

from opsdash.model import Failure, FailureGroup
from opsdash.text import count

MOST_NAMED = 5
"""Queues, or workers, that are named with their figures."""


def error_of(group: FailureGroup) -> str:
    """The error's type; how the task ended where it has none."""
    return group.error or group.kind.replace("_", " ")


def queues_of(group: FailureGroup) -> str:
    """The queue that most came from, and how many others there are."""
    others = len([name for name in group.queues if name]) - 1
    return f"{group.queue or '-'} and {count(others, 'other')}" if others > 0 else group.queue or "-"


def not_sendable(failure: Failure) -> str:
    """Why it can't be sent again; empty: it can be."""
    if failure.sendable:
        return ""
    return "too large to be kept: it can't be sent again" if failure.too_large else "not kept: it can't be sent again"


def not_kept(number: int) -> str:
    """Goes behind how many are kept; empty where all are."""
    return f"; {number:,} more were counted and not kept" if number else ""


def counters(counted: Mapping[str, int]) -> str:
    """Names and figures, the most first: ``emails 12, celery 3``."""
    names = {"": "not known", "*": "others"}
    told = [f"{names.get(name, name)} {number:,}" for name, number in counted.items()]
    more = f" and {len(told) - MOST_NAMED} more" if len(told) > MOST_NAMED else ""
    return ", ".join(told[:MOST_NAMED]) + more
