"""How long the next message of each queue has waited."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from opsdash.model import untrusted
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker
from opsdash.services.broker.messages import envelope, headers_of, sent_at
from opsdash.services.queues.watermark import digest


@dataclass(slots=True)
class Heads:
    """Remembers since when the same message is the next one: Celery itself writes no time into a message."""

    broker: Broker
    _seen: dict[str, tuple[str, float]] = field(default_factory=dict)  # list → message, when first seen (monotonic)

    def oldest_s(self, queues: Iterable[str]) -> dict[str, float]:
        """Seconds per queue that has a message; where it does not say when it was sent, at least so many.

        Cost: one round trip, one LINDEX per priority step.

        Raises:
            Unavailable: Redis did not answer.
        """
        lists = [(queue, key) for queue in queues for key in self.broker.lists(queue).values()]
        with self.broker.reading(), self.broker.client.pipeline(transaction=False) as pipe:
            for _, key in lists:
                bounded_reads.ask(pipe, key, -1, 1, step=-1)
            replies = pipe.execute(raise_on_error=False)
        now, seen, found = time.monotonic(), self._seen, dict[str, float]()
        self._seen = {}
        for (queue, key), raw in zip(lists, replies, strict=True):
            if not (given := bounded_reads.given(raw)):  # nothing there, or a key of another type
                continue
            (last,) = given
            message = envelope(last) or {}
            name = untrusted.words(headers_of(message).get("id")) or digest(last)
            since = seen[key][1] if key in seen and seen[key][0] == name else now
            self._seen[key] = (name, since)
            sent = sent_at(message)
            age_s = now - since if sent is None else max(0.0, time.time() - sent.timestamp())
            found[queue] = max(found.get(queue, 0.0), age_s)
        return found
