"""Figures of failed tasks for metrics: read in the poller's thread, and only when something has changed."""

from __future__ import annotations

import logging
from typing import Any

from opsdash.errors import OpsdashError
from opsdash.model import FailureGroup, Snapshot
from opsdash.services.failures.reading import FailedTasks

log = logging.getLogger(__name__)


class FailureFigures:
    """Follows the snapshots. Never raises for an outage: the figures then stay as they were.

    Attributes:
        known: They were read.
        groups: All of them, also those whose tasks were all sent again.
        kept: Failed tasks that are kept. ``not_kept``: failures that were counted alone.
        size_bytes: What the kept ones take of Redis.
    """

    def __init__(self, failed: FailedTasks) -> None:
        self.known = False
        self.groups: tuple[FailureGroup, ...] = ()
        self.kept = self.not_kept = self.size_bytes = 0
        self._failed = failed
        self._version: tuple[Any, ...] | None = None

    def take(self, snapshot: Snapshot) -> None:
        """One step. Cost: one round trip; where something has changed, up to 20 ms more."""
        if snapshot.redis_error:
            return
        try:
            version = self._failed.version()
            if version == self._version:
                return
            self.groups, _ = self._failed.store.groups()
            self.size_bytes = self._failed.size_bytes()
        except OpsdashError as error:
            log.info("figures of failed tasks could not be read: %s", error)
            return
        self.kept = sum(group.kept for group in self.groups)
        self.not_kept = sum(group.not_kept for group in self.groups)
        self._version, self.known = version, True
