"""Celery's remote control, each of whose commands goes out once, by a connection that gives up.

Celery itself publishes by its app's pool of connections: without a time limit, and again for as long as the broker is
away. A question would wait for ever then, and a command whose answer got lost would come twice: a pool grows twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from functools import partial
from types import SimpleNamespace
from typing import Any


def over(control: Any, connection: Any) -> Any:
    """An app's remote control, by this connection alone; what the app itself uses stays as it is."""
    made = copy(control)
    made.mailbox = copy(control.mailbox)
    made.mailbox.producer_pool = _Producers(connection)
    made.inspect = partial(control.inspect, app=SimpleNamespace(control=made))
    return made


class _Producers:
    """Stands in for an app's pool of producers."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    @contextmanager
    def acquire(self) -> Iterator[Any]:
        from kombu.messaging import Producer

        producer: Any = Producer(  # type: ignore[no-untyped-call]  # kombu has none
            self._connection.default_channel, auto_declare=False
        )
        publish = producer.publish
        producer.publish = lambda *args, **options: publish(*args, **{**options, "retry": False})
        yield producer
