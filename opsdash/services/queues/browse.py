"""A queue page by page, in the order workers take its tasks: redacted, never unpickled."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker
from opsdash.services.broker.messages import Message
from opsdash.services.queues import scan
from opsdash.services.queues.peek import LARGE, describe, too_large

FIRST = 20
"""Messages of the first round trip; those of the others follow from how long it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What was seen of a queue.

    Attributes:
        waiting: Messages in the queue when it was looked at.
        messages: Those that were wanted, in the order workers would take them.
        upto: Place of the last one that was looked at; the next look begins after it. 0: nothing waits there.
    """

    waiting: int
    messages: tuple[Message, ...] = ()
    upto: int = 0


def browse(broker: Broker, queue: str, first: int, number: int, *, last: int = 0, redact: str = "") -> Look:
    """Messages from one place on, and the last ones. Cost: a round trip, and some for each priority step with some.

    Args:
        first: Place of the first message, from 1 on.
        last: So many from the queue's end as well.

    Raises:
        Unavailable: Redis did not answer.
    """
    lengths = _lengths(broker, queue)
    waiting = sum(lengths.values())
    upto = min(waiting, first + number - 1)
    seen = list(_walk(broker, queue, lengths, first, upto, redact))
    end = list(_walk(broker, queue, lengths, max(upto + 1, waiting - last + 1), waiting, redact)) if last else []
    return Look(waiting=waiting, messages=(*seen, *end), upto=upto)


def _lengths(broker: Broker, queue: str) -> dict[int, int]:
    """Priority step → how many wait there."""
    lists = broker.lists(queue)
    with broker.reading(), broker.client.pipeline(transaction=False) as pipe:
        for key in lists.values():
            pipe.llen(key)
        return dict(zip(lists, pipe.execute(), strict=True))


def _walk(broker: Broker, queue: str, lengths: dict[int, int], first: int, last: int, redact: str) -> Iterator[Message]:
    """The messages at these places, as workers would take them; fewer where some have gone meanwhile."""
    before, size = 0, scan.WindowSize(first=FIRST)
    for step, key in broker.lists(queue).items():
        at, end = max(0, first - 1 - before), min(lengths[step], last - before)
        while at < end:
            texts = scan.window(broker, key, at, size, end - at, from_end=True)
            for offset, text in enumerate(texts, before + at + 1):
                yield (
                    too_large(bounded_reads.size_of(text), position=offset, priority=step)
                    if bounded_reads.size_of(text) > LARGE
                    else describe(text, position=offset, priority=step, redact=redact)
                )
            if not texts:
                break
            at += len(texts)
        before += lengths[step]
