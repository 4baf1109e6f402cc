"""Which messages a selective clear means: by task name, age, or a text in the arguments."""

from __future__ import annotations

import time
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache

from opsdash.services.broker.messages import argument_text, envelope, sent_at, task_name


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskFilter:
    """All that is given must hold. What can't be read, or does not say how old it is, is not meant.

    Attributes:
        task: Name of the task; ``*`` matches any text, e.g. ``shop.mail.*``.
        sent_before_s: Sent before this time, in seconds since the epoch.
        containing: A text in the arguments.
    """

    task: str = ""
    sent_before_s: float | None = None
    containing: str = ""

    @classmethod
    def of(
        cls, *, task: str = "", older_than_s: int | None = None, containing: str = "", now_s: float | None = None
    ) -> TaskFilter:
        """As the operator says it.

        Args:
            now_s: When it was said, in seconds since the epoch: a task must have been so old by then. Default: now.
        """
        before_s = None if older_than_s is None else (time.time() if now_s is None else now_s) - older_than_s
        return cls(task=task, sent_before_s=before_s, containing=containing)

    @property
    def by_name_alone(self) -> bool:
        """Nothing but the name is to be looked at, and what can't be read is not meant."""
        return bool(self.task) and self.sent_before_s is None and not self.containing

    def takes_name(self, name: str) -> bool:
        """Whether a task of this name may be meant."""
        return not self.task or _is_named(name, self.task)

    def __call__(self, raw: bytes) -> bool:
        """Whether a message is meant. Cost: its JSON is read, and its body's where a text is looked for."""
        message = envelope(raw)
        if message is None:
            return False
        if not self.takes_name(task_name(message)):
            return False
        if self.sent_before_s is not None:
            sent = sent_at(message)
            if sent is None or sent.timestamp() >= self.sent_before_s:
                return False
        return not self.containing or self.containing in argument_text(message)


@lru_cache(maxsize=10_000)
def _is_named(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern)
