"""Whether a failed task is on its way again already: the same id waits, was fetched, or runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from opsdash.model import WorkerStats, untrusted
from opsdash.model.failure import Failure
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker
from opsdash.services.broker.messages import decoded, envelope, headers_of
from opsdash.text import count
from opsdash.values import frozen

MOST = 20_000
"""Messages that are looked at, and as many fetched ones: each up to half a second."""
READ = 500
LARGE_REPORT = 64 * 1024
_ID = re.compile(rb'"(?:id|correlation_id)"\s*:\s*"([^"\\]{1,200})"')
_QUOTED = re.compile(r'"([^"\\]{1,200})"')


@frozen(kw_only=True)
class LaterTries:
    """Failed tasks that are on their way again, as far as was looked.

    Attributes:
        found: Id of the task → where: ``waits in emails``, ``fetched by a worker``, ``running in celery@a``.
        waiting: Messages looked at, ``of`` so many in the queues concerned, those at both ends of each list.
        fetched: Fetched messages looked at, ``of_fetched`` of all queues. ``workers``: reports looked at.
    """

    found: Mapping[str, str]
    waiting: int = 0
    of: int = 0
    fetched: int = 0
    of_fetched: int = 0
    workers: int = 0

    @property
    def text(self) -> str:
        """What was looked at."""
        waiting = count(self.waiting, "waiting task")
        if self.waiting < self.of:
            waiting = f"{self.waiting:,} of {count(self.of, 'waiting task')} (those at both ends of their queues)"
        fetched = f"{self.fetched:,}" if self.fetched >= self.of_fetched else f"{self.fetched:,} of {self.of_fetched:,}"
        reports = count(self.workers, "worker's report" if self.workers == 1 else "worker report")
        return f"Searched for the same ids: {waiting}, {fetched} fetched ones, {reports}."


def later_tries(broker: Broker, workers: Iterable[WorkerStats], failures: Sequence[Failure]) -> LaterTries:
    """Looks for the tasks in the lists of their queues, in what workers have fetched, and in what they report to run.

    A task that an unmanaged worker runs after it has acknowledged it can't be found.

    Cost: about a second for ``MOST`` waiting and as many fetched messages, in reads of ``READ``.

    Raises:
        Unavailable: Redis did not answer.
    """
    wanted = {(failure.task_id or failure.id).encode() for failure in failures}
    found: dict[str, str] = {}
    client = broker.client
    with broker.reading():
        queues = sorted({failure.queue for failure in failures if failure.queue})
        lists = [(queue, key) for queue in queues for key in broker.lists(queue).values()]
        lengths = [int(bounded_reads.one(client, 0, "LLEN", key)) for _, key in lists]
        share = MOST // max(1, sum(1 for length in lengths if length))
        waiting = 0
        for (queue, key), length in zip(lists, lengths, strict=True):
            first = min(length, share if length <= share else share // 2)
            last = min(length - first, share - first)
            for number, way in ((first, -1), (last, 1)):
                at = 0
                while at < number and (texts := _read(broker, key, at, min(READ, number - at), way)):
                    for text in texts:
                        found.update(dict.fromkeys(_ids(text, wanted), f"waits in {queue}"))
                    at += len(texts)
                waiting += at
        fetched, of_fetched = _look_at_fetched(broker, wanted, found)
        reporting = [worker for worker in workers if worker.reports]
        reports = bounded_reads.fields(
            client, [broker.keys.worker(worker.record) for worker in reporting], ["running"], LARGE_REPORT
        )
    known = {one.decode() for one in wanted}
    for worker, report in zip(reporting, reports, strict=True):
        for one in known.intersection(_QUOTED.findall(report.get("running") or "")):
            found[one] = f"running in {worker.hostname}"
    return LaterTries(
        found=found,
        waiting=waiting,
        of=sum(lengths),
        fetched=fetched,
        of_fetched=of_fetched,
        workers=len(reporting),
    )


def _look_at_fetched(broker: Broker, wanted: set[bytes], found: dict[str, str]) -> tuple[int, int]:
    """Reserved and scheduled tasks, and running ones that are acknowledged late."""
    total = int(bounded_reads.one(broker.client, 0, "HLEN", broker.unacked))
    cursor = looked = 0
    while total and looked < MOST:
        cursor, values = bounded_reads.scan(broker.client, broker.unacked, cursor, READ, bounded_reads.LARGE_MESSAGE)
        for value in values:
            hits = wanted.intersection(_ID.findall(value.encode(errors="replace")))
            entry = untrusted.parsed(value, bounded_reads.LARGE_MESSAGE) if hits else None
            message = entry[0] if isinstance(entry, list) and entry and isinstance(entry[0], dict) else {}
            if hits and (one := str(headers_of(message).get("id") or _correlation(message))).encode() in hits:
                found[one] = "was fetched by a worker"
        looked += len(values)
        if not cursor:
            break
    return min(looked, total), total


def _read(broker: Broker, key: str, at: int, number: int, way: int) -> list[bytes]:
    start = at if way == 1 else -1 - at
    return bounded_reads.messages(broker.client, key, start, number, step=way)


def _ids(text: bytes, wanted: set[bytes]) -> list[str]:
    """The id of a message, where it is one of these: only then is the message parsed."""
    hits = wanted.intersection(_ID.findall(text))
    message = envelope(text) if hits else None
    if message is None:
        return []
    body = decoded(message) if "task" not in headers_of(message) else None  # Celery's first protocol has it there
    own = headers_of(message).get("id") or (body.get("id") if isinstance(body, dict) else _correlation(message))
    return [own] if isinstance(own, str) and own.encode() in hits else []


def _correlation(message: Mapping[str, object]) -> str:
    properties = message.get("properties")
    found = properties.get("correlation_id") if isinstance(properties, dict) else None
    return found if isinstance(found, str) else ""
