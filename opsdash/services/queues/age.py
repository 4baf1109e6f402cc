"""How old a queue's oldest task is: the one place that says, for tables, previews, metrics and the history.

It is the age of the oldest of the tasks that run next, one for each priority. The tasks behind
them are not read: they were usually sent later.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from opsdash.model import untrusted
from opsdash.services.broker.messages import envelope, headers_of, sent_at
from opsdash.services.queues.watermark import digest


@dataclass(frozen=True, slots=True)
class Age:
    """How old the oldest task of a queue is.

    Attributes:
        seconds: Since it was sent; with ``at_least`` since it was first seen to be the next, for it does not say.
    """

    seconds: float
    at_least: bool = False


@dataclass(slots=True)
class Ages:
    """Remembers since when the same message is the next one: Celery itself writes no time into a message.

    Safe for use by several threads. Makes no read itself.
    """

    _seen: dict[str, tuple[str, float]] = field(default_factory=dict)  # list → message, when first seen (monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def oldest(self, next_to_run: Mapping[str, str | bytes]) -> Age | None:
        """The age of one queue's oldest task; None where nothing waits, or nothing is known of it yet.

        Args:
            next_to_run: List → its next message; empty where there is none.
        """
        now, ages = time.monotonic(), list[Age]()
        with self._lock:
            for key, text in next_to_run.items():
                if not text:
                    self._seen.pop(key, None)
                    continue
                message = envelope(text) or {}
                raw = text if isinstance(text, bytes) else text.encode(errors="surrogateescape")
                name = untrusted.words(headers_of(message).get("id")) or digest(raw)
                before, since = self._seen.get(key, ("", now))
                since = since if before == name else now
                self._seen[key] = (name, since)
                sent = sent_at(message)
                if sent is None:
                    ages.append(Age(now - since, at_least=True))
                else:
                    ages.append(Age(max(0.0, time.time() - sent.timestamp())))
        if not ages:
            return None
        oldest = max(ages, key=lambda age: age.seconds)
        found = Age(oldest.seconds, at_least=any(age.at_least for age in ages))
        return found if oldest.seconds > 0 or not found.at_least else None
