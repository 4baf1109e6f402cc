"""Gevent and eventlet: ending the sleep of the worker's loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kombu.utils.eventio import READ

POLLER = ("_fd_to_chan", "poller", "on_readable", "handle_event")
"""What a green pool's loop is woken by. Without it pausing works, and takes up to 2 s to arrive."""


RING = "opsdash"


class _WakeUp:
    """Takes the place of the channel that kombu's poller stores for a readable socket."""

    def __init__(self, on_readable: Callable[[], None]) -> None:
        self.qos = self
        self.handlers = {RING: on_readable}

    def can_consume(self) -> bool:
        """Kombu asks the channel's QoS before it lets the channel read."""
        return True


def wake_in_green_loop(consumer: Any, reader: int, on_readable: Callable[[], None]) -> Callable[[bool], None]:
    """Lets a readable socket end the sleep of a green pool's loop, which then does what it was asked to do soon.

    Celery's ``synloop`` gives ``drain_events`` 2 s, and kombu waits in ``select`` as long as that for the reply to a
    BRPOP; while everything is paused there is none. Whatever else is readable in a turn of ``select`` is left for the
    next one, which comes at once. Every connection has its own poller.

    Args:
        reader: The socket's number; it must outlive the connection.
        on_readable: Called in the loop; it must read what made the socket readable.

    Returns:
        Has the loop's next sleep, and those after it, hear the bell, or no more. Hearing costs every message the
        watcher that gevent's ``select`` makes for each socket and call.

    Raises:
        LookupError: Names the private names this kombu doesn't have.
    """
    poller: Any = getattr(consumer.connection.transport, "cycle", None)
    lost = [f"transport.cycle.{name}" for name in POLLER if not hasattr(poller, name)]
    if lost:
        raise LookupError(", ".join(lost))
    poller._fd_to_chan[reader] = (_WakeUp(on_readable), RING)

    def listen(on: bool) -> None:
        if on:
            poller.poller.register(reader, READ)
        else:
            poller.poller.unregister(reader)

    return listen
