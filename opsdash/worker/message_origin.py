"""Where a message came from: the list it was fetched from, noted at the fetch, so that it can go back to just there.

A message's own address, its exchange and routing key, does not tell: several queues may be bound with one key, patterns
may overlap, and bindings may be gone by the time. kombu gives a message back by its address, to every queue that is
bound to it, or to none.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

import redis
from celery.utils.log import get_logger

from opsdash.worker.connection import describe_error
from opsdash.worker.unacked import FullRedis

logger = get_logger(__name__)

CHANNEL = ("client", "qos", "sep", "handlers", "_brpop_start", "_brpop_read", "global_keyprefix")
QOS = ("append", "ack", "reject", "restore_unacked", "_delivered", "_quick_ack", "unacked_key", "unacked_index_key")
"""The private names of kombu that this and `put_back` lean on."""
HANDED_ON = "on_task_request"
"""The gate's method, which each task passes."""
UNREADABLE = (ValueError, KeyError, TypeError, AttributeError)
"""What kombu raises for what is no JSON, or not the JSON of a message."""
COPY = "/"
"""Separates a delivery tag and a queue's name in the hash of unacknowledged messages."""


class Origin(NamedTuple):
    """The place one message was fetched from. A tuple: one is made for each task, at a third of a dataclass's cost.

    Attributes:
        queue: The queue's name. ``list``: its Redis list, one per priority step, with the key prefix.
        raw: The message as it was in the list, byte for byte.
    """

    queue: str
    list: str
    raw: bytes


def of(message: Any) -> Origin | None:
    """Where the message came from; None for one that came from no list: a broadcast."""
    found: Origin | None = getattr(message, "opsdash_origin", None)
    return found


class Fetches:
    """Notes the home of every message that a kombu channel fetches. One per connection of the worker to its broker.

    What kombu writes down as unacknowledged then names the queue instead of the address. So a process that puts it
    back, also a stock worker at the end of the visibility timeout, puts it into that queue alone. Messages that
    came by a named exchange get one field per queue: copies of one publish share a delivery tag, and the
    first to be acknowledged would take the others' entry away. So does a message with the tag of another one that is
    held: some senders that are not Celery give all of theirs the same.

    Cost per message: three calls, about 1 µs; no round trip.

    Attributes:
        on_unreadable: Called with what can't be read, why, and kombu's message if it became one, before that ends the
            worker. Returns whether it has kept it.
    """

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        FullRedis(channel)
        self._fetched: tuple[bytes, bytes] | None = None
        self._parse, self._append = channel.client.parse_response, channel.qos.append
        self._start, self._read = channel._brpop_start, channel._brpop_read
        self._socket: Any = None
        self._numbers = count(1)
        self._lists: dict[bytes, tuple[str, str]] = {}
        self.clients: list[int] | None = []
        self.on_unreadable: Callable[[Origin, Exception, Any], bool] | None = None
        self._appended: Any = None
        self._handed: tuple[Origin, str, Callable[[Any], None]] | None = None
        channel.client.parse_response = self._parse_response
        channel.qos.append = self._append_with_origin
        channel._brpop_start = self._brpop_start
        channel._brpop_read = channel.handlers["BRPOP"] = self._brpop_read

    def deliver(self, place: Origin, field: str, note: Callable[[Any], None]) -> None:
        """Hands the worker a message that is among the unacknowledged ones already, as if it had been fetched just now.

        Event loop only.

        Args:
            field: Of the message there. ``note`` is called with kombu's message, before any other code sees it.
        """
        self._handed = place, field, note
        try:
            self._channel.connection._deliver(json.loads(place.raw), place.queue)
        finally:
            self._handed = self._appended = None

    def _brpop_read(self, **options: Any) -> Any:
        """Stands in for the channel's own, which reads a reply and delivers the message in it.

        What kombu can't make a message of, and Celery no task, raises in the middle of the worker's loop. That ends the
        worker, or has it reconnect: the message is lost, or ends the next worker.
        """
        try:
            return self._read(**options)
        except UNREADABLE as error:
            if not self._is_taken(error):
                raise
            return True
        finally:
            self._appended = None
            self._fetched = None  # a broadcast, which is appended too, comes another way

    def _is_taken(self, error: Exception) -> bool:
        """The error is of a message that can't be read, and that is kept elsewhere now."""
        fetched, message = self._fetched, self._appended
        if self.on_unreadable is None or _has_become_a_task(error):
            return False
        if fetched is not None:
            place = Origin(*(self._lists.get(fetched[0]) or self._list(fetched[0])), fetched[1])
            return self.on_unreadable(place, error, None)
        if message is None or message.acknowledged or not self.on_unreadable(message.opsdash_origin, error, message):
            return False
        message.ack()
        return True

    def _parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
        """Stands in for the client's own, which kombu reads the replies to its BRPOP with."""
        reply = self._parse(connection, command_name, **options)
        if command_name == "BRPOP":
            self._fetched = reply
        return reply

    def _append_with_origin(self, message: Any, delivery_tag: str) -> None:
        """Stands in for ``QoS.append``, which kombu calls with every message before any other code sees it."""
        fetched, self._fetched = self._fetched, None
        handed, self._handed = self._handed, None
        if handed is not None:
            message.opsdash_origin, message.delivery_tag, note = handed
            self._append_elsewhere(message, message.delivery_tag)
            note(message)
            return
        if fetched is None:
            self._append(message, delivery_tag)
            return
        key, raw = fetched
        queue, name = self._lists.get(key) or self._list(key)
        message.opsdash_origin = Origin(queue, name, raw)
        self._appended = message
        info = message.delivery_info
        plain = not info.get("exchange") and info.get("routing_key") == queue
        field = delivery_tag if plain else f"{delivery_tag}{COPY}{queue}"
        delivered = self._channel.qos._delivered.get(field)
        if delivered is not None and not _same(delivered, message):
            plain, field = False, f"{delivery_tag}{COPY}{queue}{COPY}{next(self._numbers)}"
        if plain:
            self._append(message, delivery_tag)
            return
        self._append_elsewhere(message, field)

    def _append_elsewhere(self, message: Any, field: str) -> None:
        """Has kombu write the message down under this field, and for its queue alone."""
        info, queue = message.delivery_info, message.opsdash_origin.queue
        message.delivery_tag = field
        message.delivery_info = {**info, "exchange": "", "routing_key": queue}  # what kombu writes down
        try:
            self._append(message, field)
        finally:
            message.delivery_info = info  # what the task sees

    def _list(self, key: bytes) -> tuple[str, str]:
        """The queue and the whole name of a list as kombu names it; once for each list."""
        name = key.decode(errors="surrogateescape")
        found = name.rsplit(self._channel.sep, 1)[0], f"{self._channel.global_keyprefix or ''}{name}"
        self._lists[key] = found
        return found

    def _brpop_start(self, *args: Any, **options: Any) -> Any:
        """Stands in for the channel's own, which sends BRPOP. Learns the connection's id first, once for each."""
        connection = self._channel.client.connection
        if getattr(connection, "_sock", None) is not self._socket:
            self._learn_id(connection)
        return self._start(*args, **options)

    def _learn_id(self, connection: Any) -> None:
        """Asks Redis for this connection's id, by which ``CLIENT LIST`` names it. Cost: one round trip."""
        try:
            connection.send_command("CLIENT", "ID")
            self.clients = [int(connection.read_response())]
        except (redis.ResponseError, ValueError, TypeError) as refused:
            logger.warning(
                "opsdash: this worker can't tell which of Redis's connections it fetches by: %s",
                describe_error(refused),
            )
            self.clients = None
        self._socket = getattr(connection, "_sock", None)


def _has_become_a_task(error: Exception) -> bool:
    """The error came when the worker had handed the task on: then it says nothing of the message."""
    frame = error.__traceback__
    while frame is not None:
        if frame.tb_frame.f_code.co_name == HANDED_ON:
            return True
        frame = frame.tb_next
    return False


def _same(one: Any, other: Any) -> bool:
    """Both are one message, which has been given back and fetched again meanwhile."""
    return bool(one.body == other.body and (one.headers or {}).get("id") == (other.headers or {}).get("id"))


def missing(channel: Any) -> list[str]:
    """The private names this kombu doesn't have; empty when homes can be noted."""
    lost = [f"channel.{name}" for name in CHANNEL if not hasattr(channel, name)]
    qos = getattr(channel, "qos", None)
    lost += [f"channel.qos.{name}" for name in QOS if not hasattr(qos, name)]
    if not hasattr(getattr(channel, "client", None), "parse_response"):
        lost.append("channel.client.parse_response")
    return lost
