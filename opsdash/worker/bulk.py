"""Many messages back into their queues in one step of Redis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import redis

from opsdash.worker import celery_private

CHUNK = 1000
"""Messages per script: a worker without a prefetch limit may hold more than Redis should take in at once."""

SCRIPT = """
for i = 3, #KEYS do
  local at = (i - 3) * 3
  local tag, message, last = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  if redis.call('HEXISTS', KEYS[1], tag) == 1 then
    redis.call('RPUSH', KEYS[i], message)
    if last == '1' then
      redis.call('HDEL', KEYS[1], tag)
      redis.call('ZREM', KEYS[2], tag)
    end
  end
end
"""
"""First in, then out: when Redis refuses the push, the message is still among the unacknowledged ones."""


def put_back_together(channel: Any, requests: Iterable[Any]) -> list[Any]:
    """Puts unstarted messages back, the last one to be the next one out. Event loop only.

    A fetch under way gets one of them the moment it can. Message by message that would be the first one put back, the
    newest; after a script it is the one whose turn it is. Cost: one script per ``CHUNK`` messages.

    Returns:
        Requests whose messages could not be put back like this, in the same order.

    Raises:
        Exception: Redis or kombu refuses; what has not gone back is still unacknowledged.
    """
    left: list[Any] = []
    several = iter(requests)
    while chunk := list(islice(several, CHUNK)):
        left += _put_back_chunk(channel, chunk)
    return left


def _put_back_chunk(channel: Any, requests: list[Any]) -> list[Any]:
    pushes = {request: celery_private.pushes(channel, request) for request in requests}
    ready = {request: found for request, found in pushes.items() if found}
    keys = [celery_private.unacked_keys(channel), *([key for key, _ in found] for found in ready.values())]
    arguments = [list(_arguments(request, found)) for request, found in ready.items()]
    if ready:
        client = redis.Redis(connection_pool=channel.client.connection_pool)  # kombu's own prefixes keys its way
        flat = [key for several in keys for key in several]
        client.eval(SCRIPT, len(flat), *flat, *(argument for several in arguments for argument in several))
    for request in ready:
        celery_private.forget(channel, request)
    return [request for request in requests if request not in ready]


def _arguments(request: Any, pushes: list[tuple[str, str]]) -> Iterator[str]:
    for number, (_, message) in enumerate(pushes, start=1):
        yield from (request.message.delivery_tag, message, "1" if number == len(pushes) else "0")
