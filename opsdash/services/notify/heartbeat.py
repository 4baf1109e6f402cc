"""The heartbeat: an address that is called while all is sent. Who watches it learns of a console that is silent."""

from __future__ import annotations

import logging
import threading
import time

from opsdash.config.settings import Settings
from opsdash.services.notify import webhook
from opsdash.services.notify.webhook import NotTaken

log = logging.getLogger(__name__)

AGAIN_S = 30.0
"""After a call that failed."""


class Heartbeat:
    """Calls the settings' address every ``heartbeat_s`` seconds, as long as ``beat`` is called."""

    def __init__(self, settings: Settings) -> None:
        self._address, self._every_s = settings.heartbeat_url, settings.heartbeat_s
        self._next_s = float("-inf")  # monotonic
        self._failing = self._calling = False

    def beat(self) -> None:
        """All is well. Costs nothing: the call is made in a thread that nobody waits for, one at a time."""
        if self._address is None or self._calling or time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + self._every_s
        calling = threading.Thread(target=self._call, args=(self._address,), name="opsdash-heartbeat", daemon=True)
        self._calling = True
        try:
            calling.start()
        except RuntimeError:  # the system has no thread left
            self._calling = False

    def _call(self, address: str) -> None:
        try:
            webhook.get(address)
        except NotTaken as error:
            if not self._failing:  # once, not at every call of a long outage
                log.warning("the heartbeat's address was not reached: %s", error)
            self._failing = True
            self._next_s = time.monotonic() + min(AGAIN_S, self._every_s)
        else:
            self._failing = False
        finally:
            self._calling = False
