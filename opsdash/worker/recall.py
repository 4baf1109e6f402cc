"""Takes back what a worker has fetched and not started, and gives it to the queue in the order it came."""

from __future__ import annotations

from typing import Any

from celery.utils.log import get_logger

from opsdash.worker import celery_private
from opsdash.worker.gate import Gate
from opsdash.worker.last_look import LastLook

logger = get_logger(__name__)


class Recall:
    """The way back from the pool's waiting lines to the queue.

    Tasks with an ETA stay in the worker's timer; when they are due they meet the gate.

    Args:
        give_back: Puts one message back from a pool's thread, by way of the event loop.
    """

    def __init__(self, consumer: Any, gate: Gate, give_back: Any) -> None:
        self._consumer = consumer
        self._gate = gate
        self._last_look = LastLook(consumer, gate, give_back)

    def run(self) -> int:
        """Puts back everything held that has not started, newest first. Event loop only.

        Returns:
            How many messages went back.
        """
        consumer, holds = self._consumer, self._gate.holds
        requests = celery_private.take_waiting_for_a_process(consumer, holds)
        unwritten = celery_private.take_unwritten(consumer, holds)
        requests += unwritten
        requests += celery_private.take_rate_limited(consumer, holds)
        requests += self._last_look.take_waiting(holds)
        for request in celery_private.newest_first(self._gate.channel, requests):
            self._gate.put_back(request)
        celery_private.release_slots(consumer, len(unwritten))
        if requests:
            logger.info("opsdash: %d prefetched messages put back", len(requests))
        return len(requests)
