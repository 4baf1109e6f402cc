"""Which failed tasks are meant: the parameters that retry and discard share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from opsdash.model.failure import Failure
from opsdash.operation import argument
from opsdash.services.failures.selection import Meant
from opsdash.text import parse_duration

MOST_IDS = 4_000
"""Characters of ids: a hundred UUIDs."""


@dataclass(frozen=True, kw_only=True)
class ChosenFailures:
    """Failed tasks by ids, group or filter; for an operation to derive from, before ``Operation``."""

    ids: str = argument(
        default="",
        positional=True,
        several=True,
        longest=MOST_IDS,
        help="Ids of failed tasks, as opsdash failed shows them; none: those that the options name.",
        label="Ids",
    )
    task: str = argument(
        default="",
        help="Name of the task; * matches any text.",
        label="Name of the task",
        placeholder="For example shop.charge or shop.*",
    )
    error: str = argument(default="", help="Type of the error; * matches any text.", label="Type of the error")
    queue: str = argument(default="", help="The queue that they came from.", label="Queue")
    group: str = argument(default="", help="A group of failed tasks, by its fingerprint.", label="Group")
    since_s: int | None = argument(
        default=None,
        option="--since",
        parse=parse_duration,
        help="Failed last within this time, e.g. 2h.",
        label="Failed within",
        placeholder="For example 2h",
    )

    def _heading(self, what_is_done: str) -> str:
        words = self.ids.replace(",", " ").split()
        what = words[0] if len(words) == 1 else self.task or (self.group and f"of group {self.group}")
        return f"{what_is_done} failed tasks {what}".rstrip()

    def _title(self, what_is_done: str, failures: Sequence[Failure]) -> str:
        """By the task and the error where they are a group's; empty: the heading says it."""
        if not self.group or not failures:
            return ""
        one = failures[0]
        return f"{what_is_done} failed tasks {one.task or '(unreadable)'}: {one.error.rpartition('.')[2] or one.kind}"

    def _meant(self) -> Meant:
        return Meant.of(
            ids=self.ids, task=self.task, error=self.error, queue=self.queue, group=self.group, since_s=self.since_s
        )
