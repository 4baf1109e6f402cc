"""A beat in a storm: what it has sent, and whether it is to send."""

from __future__ import annotations

import json
import signal
import time

import redis
from chaos.storm.beat_app import ENTRY, READ_S
from support.beats import Beat
from support.services import until

SENDS = (f"Scheduler: Sending due task {ENTRY}", f"opsdash: sending {ENTRY} now")
PAUSED = f"opsdash: {ENTRY} is paused and not sent"


class RunningBeat:
    """One beat, by its log and by what Redis has for it."""

    def __init__(self, process: Beat, client: redis.Redis) -> None:
        self._beat, self._client = process, client

    @property
    def log(self) -> str:
        return self._beat.log

    @property
    def sent(self) -> int:
        """How many tasks it says it has sent."""
        return sum(self.log.count(line) for line in SENDS)

    def wait_until_ready(self) -> None:
        """Its entry has come due once."""
        if not until(lambda: self.sent > 0 or PAUSED in self.log, timeout_s=30):
            raise RuntimeError(f"beat does nothing:\n{self.log[-4_000:]}")

    def settled_pause(self) -> bool | None:
        """Its entry is paused, and it has read so; None: that has changed just now."""
        before = self._paused()
        time.sleep(4 * READ_S)  # it reads that often, and tells nobody that it has
        return before if before == self._paused() else None

    def sends_in(self, seconds: float) -> int:
        """How many tasks it sends in the next seconds."""
        before = self.sent
        time.sleep(seconds)  # that long is looked
        return self.sent - before

    def stop(self) -> None:
        """Ends it in its own time."""
        self._beat.process.send_signal(signal.SIGTERM)
        self._beat.process.wait(20)

    def _paused(self) -> bool:
        text = self._client.hget("opsdash:schedules:paused", ENTRY)
        seconds, micros = self._client.time()
        return text is not None and json.loads(str(text))["ends"] > seconds + micros / 1e6
