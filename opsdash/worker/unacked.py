"""What kombu keeps of the messages that a worker has fetched and not acknowledged yet: a hash, and an index by time."""

from __future__ import annotations

import json
import time
from typing import Any

import redis
from celery.utils.log import get_logger
from kombu.transport import virtual

from opsdash import lua
from opsdash.worker.connection import describe_error

logger = get_logger(__name__)

_ADD, _REMOVE = lua.load(__name__, "unacked_add"), lua.load(__name__, "unacked_remove")
_NOTE: Any = virtual.QoS.append
_FORGET: Any = virtual.QoS.ack
"""The parts of kombu's own way that are in the worker's memory."""
QUIET_S = 60.0
"""After it was logged that Redis is full, that is not logged again for so long."""


def unacked_keys(channel: Any) -> list[str]:
    """Where kombu keeps what is not acknowledged: the hash and its index."""
    prefix = channel.global_keyprefix or ""
    return [prefix + channel.qos.unacked_key, prefix + channel.qos.unacked_index_key]


def client_of(channel: Any) -> redis.Redis:
    """Redis-py's own client over kombu's connections: kombu's prefixes only some commands' keys."""
    return redis.Redis(connection_pool=channel.client.connection_pool)


class FullRedis:
    """Has a worker go on where Redis is full: it writes down what it fetches and acknowledges what it has done.

    kombu does both in a transaction. A full Redis refuses the first one, and one up to 7.2 the second one too. That
    ends the worker. A message that was not written down is lost: it has left its list. A task that was not
    acknowledged runs again. Each task that is done makes room.

    Cost: a call more for each; a script where kombu's own way was refused.

    Args:
        channel: One of kombu's, that a worker fetches by.
    """

    def __init__(self, channel: Any) -> None:
        self._channel, qos = channel, channel.qos
        self._quiet_until = 0.0
        self._append, self._ack, self._reject = qos.append, qos.ack, qos.reject
        qos.append, qos.ack, qos.reject = self.append, self.ack, self.reject

    def append(self, message: Any, delivery_tag: str) -> None:
        """Stands in for ``QoS.append``."""
        try:
            self._append(message, delivery_tag)
        except redis.OutOfMemoryError as full:
            info = message.delivery_info
            kept = json.dumps([message._raw, info["exchange"], info["routing_key"]])
            self._run(_ADD, delivery_tag, kept, time.time())
            _NOTE(self._channel.qos, message, delivery_tag)
            self._log(full)

    def ack(self, delivery_tag: str) -> None:
        """Stands in for ``QoS.ack``."""
        try:
            self._ack(delivery_tag)
        except redis.OutOfMemoryError as full:
            self._remove(delivery_tag, full)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Stands in for ``QoS.reject``. What is to be put back stays unacknowledged where Redis refuses it."""
        try:
            self._reject(delivery_tag, requeue=requeue)
        except redis.OutOfMemoryError as full:
            if requeue:
                raise
            self._remove(delivery_tag, full)

    def _remove(self, delivery_tag: str, full: Exception) -> None:
        self._run(_REMOVE, delivery_tag)
        _FORGET(self._channel.qos, delivery_tag)
        self._log(full)

    def _run(self, script: str, *arguments: Any) -> None:
        client_of(self._channel).eval(script, 2, *unacked_keys(self._channel), *arguments)

    def _log(self, full: Exception) -> None:
        if (now := time.monotonic()) > self._quiet_until:
            self._quiet_until = now + QUIET_S
            logger.error("opsdash: this worker goes on although Redis is full: %s", describe_error(full))
