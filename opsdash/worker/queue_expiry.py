"""What a worker does for queues declared with ``expires`` while they are paused."""

from __future__ import annotations

from typing import Any

from opsdash.model.queue_expiry import RECONCILE, arguments, declared_ms, parsed
from opsdash.worker.connection import Link


def declared(consumer: Any) -> dict[str, int]:
    """The queues this worker takes tasks from, broadcasts left out → the expiry each was declared with in ms, or 0."""
    task_consumer = consumer.task_consumer
    if task_consumer is None:
        return {}
    queues = list(task_consumer.queues)
    return {q.name: _declared_ms(q) for q in queues if q.exchange is None or q.exchange.type != "fanout"}


def reconcile(consumer: Any, link: Link) -> float:
    """Suspends the expiry of what is paused, and gives back that of what is not any more.

    Cost: one script, three commands per known queue and five per priority list of those that are paused.

    Returns:
        Within how many seconds to do it again, while something is paused.

    Raises:
        LINK_ERRORS: Redis doesn't answer, or refuses.
    """
    redis, queues = link.redis, declared(consumer)  # the client first: it learns the key prefix
    if not queues:
        return parsed((0, 0)).again_s
    channel = consumer.task_consumer.channel
    suffixes = [f"{channel.sep}{step}" if step else "" for step in channel.priority_steps]
    return parsed(redis.eval(RECONCILE, *arguments(link.keys, queues, suffixes))).again_s


def _declared_ms(queue: Any) -> int:
    """Source: ``kombu.Queue.queue_declare`` and the Redis transport's ``_get_queue_expire``."""
    if queue.expires is not None:
        try:
            return declared_ms(queue.expires * 1000)
        except TypeError:
            return 0
    return declared_ms((queue.queue_arguments or {}).get("x-expires"))
