"""Finding one task by its id: with the workers, among what waits, and among what was fetched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from opsdash.model import untrusted
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker
from opsdash.services.broker.messages import decoded, envelope, headers_of
from opsdash.services.workers.remote_control import Remote

MOST = 50_000
"""Messages that are looked at: about a second."""
READ = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Where a task is, as far as Redis says.

    Attributes:
        queue: It waits there; empty: in none that was looked through.
        fetched: A worker has fetched it and not acknowledged it.
        complete: Every message was looked into: what was not found is not there.
    """

    queue: str = ""
    fetched: bool = False
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Whereabouts:
    """Where one task is.

    Attributes:
        holders: Hostname → state and name of the task, on each worker that has it. The state is ``active``,
            ``reserved``, or another word of Celery's for one that waits for its time.
        queue: It waits there; empty: in no queue that was looked through. ``fetched``: some worker has fetched it.
        silent: Workers that did not answer, and may have it.
        complete: All that waits was looked into.
    """

    holders: Mapping[str, tuple[str, str]]
    queue: str = ""
    fetched: bool = False
    silent: tuple[str, ...] = ()
    complete: bool = True

    @property
    def found(self) -> bool:
        """It is there."""
        return bool(self.holders or self.queue or self.fetched)

    @property
    def nowhere(self) -> bool:
        """It is known not to be there."""
        return not self.found and not self.silent and self.complete


def find_everywhere(broker: Broker, remote: Remote, queues: Iterable[str], task_id: str) -> Whereabouts:
    """Asks every worker, and looks through Redis where none says that it has it.

    Cost: a second for the workers' answers, and where none has it what `find_task` costs.

    Raises:
        Unavailable: The broker did not answer.
    """
    holders, silent = remote.holders(task_id)
    if holders:
        return Whereabouts(holders=holders)
    found = find_task(broker, queues, task_id)
    return Whereabouts(holders={}, queue=found.queue, fetched=found.fetched, silent=silent, complete=found.complete)


def find_task(broker: Broker, queues: Iterable[str], task_id: str) -> Found:
    """Looks through the queues, what runs next first, and through what was fetched; ``MOST`` messages at most.

    Cost: a round trip per ``READ`` messages. One that is too large to be looked into may be it: the look
    is not complete then.

    Raises:
        Unavailable: Redis did not answer.
    """
    encoded_id, left, complete = task_id.encode(), MOST, True
    with broker.reading():
        cursor = 0
        while True:
            cursor, values = bounded_reads.scan(
                broker.client, broker.unacked, cursor, READ, bounded_reads.LARGE_MESSAGE
            )
            if any(task_id in value and _is_of_fetched(value, task_id) for value in values):
                return Found(fetched=True)
            complete = complete and all(values)
            left -= len(values)
            if not cursor or left <= 0:
                break
        for queue in queues:
            for key in broker.lists(queue).values():
                at = 0
                while left > 0 and (texts := bounded_reads.messages(broker.client, key, -1 - at, READ, step=-1)):
                    if any(encoded_id in text and _is_of(text, task_id) for text in texts):
                        return Found(queue=queue)
                    complete = complete and not any(map(bounded_reads.is_mark, texts))
                    at += len(texts)
                    left -= len(texts)
    return Found(complete=complete and left > 0)


def _is_of(text: str | bytes, task_id: str) -> bool:
    message = envelope(text)
    if message is None:
        return False
    if headers_of(message).get("id") == task_id:
        return True
    body = decoded(message)  # Celery's first protocol has it there
    return isinstance(body, dict) and body.get("id") == task_id


def _is_of_fetched(value: str, task_id: str) -> bool:
    """Kombu's entry for a fetched message: ``[message, exchange, routing key]``."""
    entry = untrusted.parsed(value, bounded_reads.LARGE_MESSAGE)
    if not isinstance(entry, list) or not entry or not isinstance(entry[0], dict):
        return False
    return headers_of(entry[0]).get("id") == task_id
