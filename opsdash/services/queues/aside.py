"""A list opened in its middle: what is newer is set aside, from the newest message on, and goes back at the end.

Workers take from the oldest end meanwhile, so they see no gap. If it is killed, the next operation on the queue gives
back what was set aside.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from opsdash.services.broker import bounded_reads
from opsdash.services.queues.lock import QueueLock
from opsdash.services.queues.selective_clear import ARRIVALS, BEGIN, SelectiveClear
from opsdash.services.queues.watermark import raw


class Aside:
    """The newer messages of one priority's list.

    Attributes:
        upto: The newest message that was not set aside, or its mark; empty: all were.
    """

    def __init__(self, lock: QueueLock, queue: str, step: int, *, by: str) -> None:
        self._lock, self._queue, self._step, self._id = lock, queue, step, uuid4().hex
        keys, key = lock.broker.keys, lock.broker.lists(queue)[step]
        self._info = keys.trash(self._id, "info")
        self._names = [key, keys.trash(self._id, f"kept:{step}"), self._info]
        fields = ["queue", queue, "by", by, "at", datetime.now(UTC).isoformat(), "keep_s", 0]
        lock.run(BEGIN, [self._info, keys.trash_index], self._id, *fields)
        self.upto = next(iter(bounded_reads.messages(lock.broker.client, key, 0, 1)), b"")

    def run(self, script: str, keys: list[str], *args: Any) -> Any:
        """One step: a script that includes ``selective_clear_arrived.lua``, with these keys and arguments behind its.

        Returns:
            Its answer; ``gone``: workers have taken all that was not set aside, and nothing was done.
        """
        come = (self.upto, ARRIVALS, self._step)
        answer = self._lock.run(script, [*self._names, *keys], *come, *args)
        if answer != "gone":
            self.upto = bytes(raw(self._lock.broker.client, "HGET", self._info, f"next:{self._step}") or b"")
        return answer

    def give_back(self) -> None:
        """Gives back what is left of it, in its order, in steps."""
        SelectiveClear(self._lock.broker).finish(self._lock, self._queue, self._id)
