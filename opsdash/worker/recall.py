"""Takes back what a worker has fetched and not started, and gives it to the queue in the order it came."""

from __future__ import annotations

import time
from typing import Any

from celery.utils.log import get_logger

from opsdash.worker import celery_private
from opsdash.worker.final_check import LastLook
from opsdash.worker.gate import Gate

logger = get_logger(__name__)

LOOK_AGAIN_S = 0.05


class Recall:
    """The way back from the pool's waiting lines to the queue.

    Tasks with an ETA stay in the worker's timer, and meet the gate when they are due, unless ``run_scheduled`` is set.

    Args:
        give_back: Puts one message back from a pool's thread, by way of the event loop.
    """

    def __init__(self, consumer: Any, gate: Gate, give_back: Any) -> None:
        self._consumer = consumer
        self.gate = gate
        self._closed_at = 0.0
        self._leaving: set[Any] = set()
        self._last_look = LastLook(consumer, gate, give_back)

    def run(self) -> int:
        """Puts back everything held that has not started, newest first. Event loop only.

        Returns:
            How many messages went back.
        """
        self._closed_at = time.monotonic()
        consumer, holds = self._consumer, self.gate.holds
        requests = celery_private.take_waiting_for_a_process(consumer, holds)
        unwritten = celery_private.take_unwritten(consumer, holds)
        requests += unwritten
        requests += self._last_look.take_waiting(holds)
        self.gate.uncount(requests)
        requests += celery_private.take_rate_limited(consumer, holds)
        done = self.gate.put_back(*celery_private.newest_first(self.gate.channel, requests))
        celery_private.release_slots(consumer, len(unwritten))
        if requests:
            logger.info("opsdash: prefetched messages: %s", done)
        return len(requests)

    def pass_again(self, matches: celery_private.Predicate) -> None:
        """Has the gate look once more at what waits in the pool's lines, in the order it came. Event loop only."""
        consumer, gate = self._consumer, self.gate
        requests = celery_private.take_waiting_for_a_process(consumer, matches)
        unwritten = celery_private.take_unwritten(consumer, matches)
        requests += unwritten
        requests += self._last_look.take_waiting(matches)
        gate.uncount(requests)
        for request in reversed(celery_private.newest_first(gate.channel, requests)):
            gate.on_task_request(request)
        celery_private.release_slots(consumer, len(unwritten))

    def run_scheduled(self) -> int:
        """Puts back held tasks with an ETA, newest first; what Redis refuses stays. Event loop only.

        Not before a fetch that was under way when the pause came is answered: it would get the first one put back,
        which would come to the timer again, and to the wrong place in the queue afterwards.

        Returns:
            How many messages go back.
        """
        number = len(self._scheduled())
        if number:
            self._put_back_scheduled()
        return number

    def _scheduled(self) -> dict[Any, Any]:
        entries = celery_private.scheduled(self._consumer)
        return {request: waiting for request, waiting in entries.items() if self._stays(request)}

    def _stays(self, request: Any) -> bool:
        """It is held, and nobody puts it back: a green loop goes on while Redis is asked, and comes by here again."""
        return request not in self._leaving and self.gate.holds(request)

    def _put_back_scheduled(self) -> None:
        fetched_s = time.monotonic() - self._closed_at
        if celery_private.is_fetching(self.gate.channel) and fetched_s < celery_private.fetch_s(self.gate.channel):
            self._consumer.timer.call_after(LOOK_AGAIN_S, self._put_back_scheduled)
            return
        scheduled, number = self._scheduled(), 0
        for request in celery_private.newest_first(self.gate.channel, scheduled):
            if not self._stays(request):
                continue
            self._leaving.add(request)
            try:
                if self.gate.try_put_back(request):
                    celery_private.unschedule(self._consumer, scheduled[request])
                    number += 1
            finally:
                self._leaving.discard(request)
        logger.info("opsdash: %d scheduled messages put back", number)
