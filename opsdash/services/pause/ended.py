"""What ended by itself and waits in a hash of Redis: each gets one audit entry, by whichever console finds it."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from opsdash.errors import OpsdashError
from opsdash.services.audit.log import AuditLog
from opsdash.services.broker import writes
from opsdash.services.broker.client import Broker

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Ended(ABC):
    """Writes down what has ended, and forgets it then."""

    what: ClassVar[str]
    audit: AuditLog
    broker: Broker
    _failing: bool = False

    def write_ended(self) -> int:
        """Audits what ended; never raises for an outage: what is owed is tried again. Cost: one round trip.

        Returns:
            How many entries that made.
        """
        written = 0
        try:
            with self.broker.reading():
                ended = self._find()
            for name, text in ended.items():
                written += self._write(name, text)
                with self.broker.reading(), writes.aside():
                    self._forget(name, text)
        except OpsdashError as error:
            if not self._failing:
                log.warning("%s that ended is not audited yet: %s", self.what, error)
            self._failing = True
        else:
            self._failing = False
        return written

    @abstractmethod
    def _find(self) -> Mapping[str, str]:
        """By name, as it was stored."""

    @abstractmethod
    def _write(self, name: str, text: str) -> bool:
        """One audit entry, the same one for every console; whether it is new."""

    @abstractmethod
    def _forget(self, name: str, text: str) -> None:
        """Takes it away, and not what came in its place."""
