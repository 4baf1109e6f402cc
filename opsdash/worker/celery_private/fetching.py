"""Which queues a worker fetches from, and whether a BRPOP is under way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def replace_queue_cycle(channel: Any, fetchable: Callable[[list[str]], list[str]]) -> None:
    """Lets ``fetchable`` choose which queues this channel sends BRPOP for.

    The consumers' callbacks stay registered: the reply to a BRPOP that is under way (1 s at most) still arrives, at the
    execution gate.
    """

    def update() -> None:
        channel._queue_cycle.update(fetchable(list(channel.active_queues)))

    channel._update_queue_cycle = update


def update_queue_cycle(channel: Any) -> None:
    """Chooses the queues to fetch from again. Event loop only."""
    channel._update_queue_cycle()


def is_fetching(channel: Any) -> bool:
    """A BRPOP is under way."""
    return bool(getattr(channel, "_in_poll", True))


def fetch_s(channel: Any) -> float:
    """How long a BRPOP may take to be answered."""
    return float(getattr(channel, "brpop_timeout", None) or 1) + 0.2


def consumed_queues(consumer: Any) -> list[str]:
    """The queues this worker takes tasks from, without broadcasts."""
    task_consumer = consumer.task_consumer
    if task_consumer is None:
        return []
    queues = list(task_consumer.queues)
    return [q.name for q in queues if q.exchange is None or q.exchange.type != "fanout"]


def renew_strategy(consumer: Any, task: Any) -> None:
    """Has what is fetched from now on handled by the task's present options: Celery reads some of them only once."""
    consumer.strategies[task.name] = task.start_strategy(consumer.app, consumer)
