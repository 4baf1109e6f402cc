"""The known queues: configured ones, and those that kombu's binding sets name. The keyspace is not scanned."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence

import redis

from opsdash.model import OtherWorker, Unread, WorkerStats, untrusted
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.bindings import bound_queue, is_task_queue
from opsdash.services.broker.client import Broker

DEFAULT_QUEUE = "celery"
FRESH_S = 10.0
LOOKED_AT = 1_000
"""Bindings of one exchange that are looked at, about: dynamic routing keys make them without end."""
MOST_EXCHANGES = 200
MOST_FOUND = 500
"""Queues that are shown only because they are bound: each costs a read at every look."""
MOST_LONG = 100
"""Queues whose names are too long and which are named, in ``NAMED`` characters."""
NAMED = 40
QUEUES = "queues"

Others = Iterable[OtherWorker] | None


class Discovery:
    """Knows the queues' names, in the order to show them.

    Cost: one pipeline at most every ``FRESH_S``, one SSCAN for each exchange that is known.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._lock = threading.Lock()
        self._looked_s = float("-inf")
        self._bound: tuple[str, ...] = ()
        self._default_waits = False
        self._looked_for: frozenset[str] = frozenset()
        self.unread: tuple[Unread, ...] = ()
        """Queues that are bound and left out, because nothing here has such a long name."""

    def names(self, workers: Sequence[WorkerStats], others: Others) -> tuple[str, ...]:
        """Those of settings and app, then those that workers consume, then those that are bound.

        While nobody has named one it is ``celery``, Celery's own default; once workers report without it, it goes,
        unless something waits in it.

        Raises:
            Unavailable: Redis did not answer.
        """
        online = [worker for worker in workers if worker.reports]
        lists = [worker.queues for worker in workers] + [other.queues for other in others or ()]
        reported = [name for queues in lists for name in queues]
        known = tuple(dict.fromkeys([*self._broker.queues, *filter(is_task_queue, reported)]))
        with self._lock:
            # A new name is looked for at once: a queue that a worker has just begun to consume may have siblings.
            if time.monotonic() - self._looked_s > FRESH_S or not self._looked_for.issuperset(known):
                self._look(known)
                self._looked_s, self._looked_for = time.monotonic(), frozenset(known)
            bound, waits = self._bound, self._default_waits
        named = bool(self._broker.queues or (online and reported))
        default = () if named and not waits else (DEFAULT_QUEUE,)
        return tuple(dict.fromkeys([*self._broker.queues, *default, *known, *bound]))

    def _look(self, known: tuple[str, ...]) -> None:
        broker, layout = self._broker, self._broker.layout
        sure = {*broker.exchanges, *broker.layouts.found.exchanges, DEFAULT_QUEUE}
        exchanges = tuple(dict.fromkeys([*sorted(sure), *known]))[:MOST_EXCHANGES]
        with broker.reading(), broker.client.pipeline(transaction=False) as pipe:
            pipe.exists(*layout.lists(DEFAULT_QUEUE).values())
            for exchange in exchanges:
                bounded_reads.ask_set(pipe, layout.binding(exchange), LOOKED_AT, separator=layout.separator)
            waits, *replies = pipe.execute(raise_on_error=False)
            if isinstance(waits, redis.RedisError) and not isinstance(waits, redis.exceptions.NoPermissionError):
                raise waits
        found: dict[str, None] = {}
        long: dict[str, None] = {}
        for exchange, reply in zip(exchanges, replies, strict=True):
            members = reply if isinstance(reply, list) else ()  # else this user of Redis may not read it
            short = (member for member in members if isinstance(member, str))
            queues = (bound_queue(member, layout.separator, fanout=exchange not in sure) for member in short)
            found |= dict.fromkeys(sorted(queue for queue in queues if queue))
            cut = (member for member in members if isinstance(member, list))
            long |= dict.fromkeys(f"{untrusted.words(name, NAMED)} ({size:,} bytes)" for size, name in cut)
        self.unread = (Unread(what=QUEUES, names=tuple(sorted(long)[:MOST_LONG])),) if long else ()
        self._bound = self._allowed([name for name in found if name not in known][:MOST_FOUND])
        self._default_waits = isinstance(waits, int) and waits > 0

    def _allowed(self, names: list[str]) -> tuple[str, ...]:
        """Those that this user of Redis may read: a transaction that names another one would be refused as a whole."""
        if not names:
            return ()
        layout = self._broker.layout
        with self._broker.reading(), self._broker.client.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.exists(*layout.lists(name).values())
            replies = pipe.execute(raise_on_error=False)
        return tuple(name for name, reply in zip(names, replies, strict=True) if isinstance(reply, int))


def consumed(queue: str, workers: Iterable[WorkerStats], others: Others) -> bool | None:
    """Whether a worker takes tasks from it; None while unmanaged workers could not be asked."""
    return consumed_by(workers, others)(queue)


def consumed_by(workers: Iterable[WorkerStats], others: Others) -> Callable[[str], bool | None]:
    """The same of many queues: each worker is looked at once, not for every queue."""
    taken = {queue for worker in workers if worker.reports for queue in worker.queues}
    free = None if others is None else {queue for other in others for queue in other.queues}
    return lambda queue: True if queue in taken else None if free is None else queue in free
