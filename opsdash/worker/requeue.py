"""Puts messages back into the lists they were fetched from: at the end that is read next, byte for byte.

What kombu would do instead, it does by exchange and routing key, marks the message as delivered again, and writes its
own JSON for the sender's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import redis
from celery.utils.log import get_logger
from celery.worker import state as worker_state

from opsdash import lua
from opsdash.worker import celery_private, message_origin
from opsdash.worker.connection import describe_error
from opsdash.worker.unacked import client_of, unacked_keys

logger = get_logger(__name__)

T = TypeVar("T")

CHUNK = 1000
"""Messages per script: a worker without a prefetch limit may hold more than Redis should take in at once."""
CHUNK_BYTES = 16 * 1024 * 1024
"""The same for large messages: Redis ends a connection that sends more than its limit, 1 GB unless configured."""
UNSURE = "opsdash_unsure"
"""Marks a message that Redis was asked to move when the connection broke: it may have done so."""

SCRIPT = lua.load(__name__, "requeue")
"""Before all else a write that needs no memory, and changes nothing: a full Redis lets the rest through then, which
moves messages and adds none. First in, then out: when Redis refuses the push, the message is still among the
unacknowledged ones.

KEYS: hash and index of what is unacknowledged, then a list per message. ARGV: how many messages of a list to look
through, then for each message its field, itself, and ``1`` unless its connection was lost meanwhile.
Answers for each: ``moved`` from the hash; ``waiting`` in its list already; ``copied``, being in neither; or ``gone``.
"""
LOOK = 5_000
"""Messages that wait next in a list and are looked through for one that Redis has no other trace of."""


@dataclass(frozen=True, slots=True)
class PutBack:
    """What happened to messages that were to go back, as Redis counted it.

    Attributes:
        moved: From the unacknowledged ones to their lists. ``copied``: to their lists from the copy in hand, since
            Redis had no other trace of them: a flushed or evicted hash, or a visibility timeout that ended.
        waiting: They were in their lists already: the visibility timeout, or a new connection, had put them there.
        gone: They came over a connection that was lost, and another worker has taken what kombu gave back then.
        aside: A hold matched them: they were set aside.
    """

    moved: int = 0
    copied: int = 0
    waiting: int = 0
    gone: int = 0
    aside: int = 0

    def __add__(self, other: PutBack) -> PutBack:
        return PutBack(
            self.moved + other.moved,
            self.copied + other.copied,
            self.waiting + other.waiting,
            self.gone + other.gone,
            self.aside + other.aside,
        )

    def __str__(self) -> str:
        """For the log: ``12 put back, 1 of them from the copy in hand; 2 were in their queue already``."""
        text = f"{self.moved + self.copied} put back"
        if self.copied:
            text += f", {self.copied} of them from the copy in hand"
        if self.waiting:
            text += f"; {self.waiting} were in their queue already"
        if self.aside:
            text += f"; {self.aside} held"
        return f"{text}; {self.gone} had been taken by another worker since" if self.gone else text


def put_back(channel: Any, requests: Iterable[Any]) -> PutBack:
    """Returns unstarted messages to their lists, the last one to be the next one out, and forgets the requests.

    A fetch under way gets one of them the moment it can; after one script that is the one whose turn it is. Event loop
    only. Cost: one script per ``CHUNK`` messages, and one LRANGE of ``LOOK`` for each list of a message that is not
    among the unacknowledged ones.

    Raises:
        Exception: Redis refuses; what has not gone back is still unacknowledged.
    """
    done = PutBack()
    for chunk in _chunks(requests, lambda request: request.message):
        done += _put_back(channel, [(request.message, request.message.channel is channel) for request in chunk])
        for request in chunk:
            celery_private.forget(channel, request)
    return done


def copy_back(channel: Any, request: Any) -> None:
    """Returns a copy of an acknowledged, unstarted message to its list. Any thread. Cost: one RPUSH.

    Raises:
        Exception: Whatever Redis has against it; the message is not in the list then, as far as one can tell.
    """
    place = place_of(request.message)
    client_of(channel).rpush(place.list, place.raw)
    worker_state.task_ready(request)


def refused(channel: Any) -> str:
    """Why Redis never runs the script; empty when it does, and while it can't answer. Cost: one round trip."""
    try:
        client_of(channel).eval(SCRIPT, 2, *unacked_keys(channel), LOOK)
    except redis.ResponseError as error:
        # Anything else passes: a master that is being elected, a server that loads its data.
        lasting = isinstance(error, redis.exceptions.NoPermissionError) or "unknown command" in str(error).lower()
        return str(error) if lasting else ""
    except (redis.RedisError, OSError):
        return ""  # Celery meets the same, and reconnects
    return ""


def replace_restore(channel: Any) -> None:
    """Has the messages of a channel that closes, as when its worker stops, go back like those of a pause.

    Of what had begun, and is acknowledged late, kombu's own way marks that it is delivered again, as it should. The
    same is done for messages that were being acknowledged when the connection broke: if Redis did it, nothing is left
    to give back, and a copy would run once more.
    """
    qos = channel.qos
    restore = qos.restore_unacked
    unsure: set[Any] = set()

    def with_note(original: Callable[..., Any]) -> Callable[..., Any]:
        def answered(delivery_tag: Any, *args: Any, **options: Any) -> Any:
            try:
                with _closed_once(channel):
                    return original(delivery_tag, *args, **options)
            except BaseException:
                unsure.add(delivery_tag)
                raise

        return answered

    qos.ack, qos.reject = with_note(qos.ack), with_note(qos.reject)

    def restore_unacked(*args: Any, **options: Any) -> Any:
        with _closed_once(channel):
            return restored(*args, **options)

    def restored(*args: Any, **options: Any) -> Any:
        begun = {id(request.message) for request in tuple(worker_state.active_requests)}
        unstarted = {
            tag: m
            for tag, m in qos._delivered.items()
            if message_origin.of(m) is not None and id(m) not in begun and tag not in unsure
        }
        try:
            done = PutBack()
            for chunk in _chunks(reversed(unstarted.values()), lambda message: message):
                done += _put_back(channel, [(message, True) for message in chunk])
        except (redis.RedisError, OSError) as error:
            logger.warning("opsdash: kombu itself restores this worker's messages: %s", describe_error(error))
        else:
            for tag in unstarted:
                qos._delivered.pop(tag, None)
            if unstarted:
                logger.info("opsdash: the connection closes, unstarted messages: %s", done)
        return restore(*args, **options)

    qos.restore_unacked = restore_unacked


@contextmanager
def _closed_once(channel: Any) -> Iterator[None]:
    """What kombu has closed already is a lost connection, and not the end of the worker.

    When the broker goes away under a fetch, kombu closes the channel twice: the first time fails, and the second
    has no address to connect to any more. The ``AttributeError`` that it raises then ends a worker.

    Raises:
        redis.ConnectionError: In place of it; kombu and Celery expect that one.
    """
    try:
        yield
    except AttributeError as error:
        if getattr(channel.connection, "client", None) is not None:
            raise
        raise redis.ConnectionError("The connection was closed") from error


def _put_back(channel: Any, messages: list[tuple[Any, bool]]) -> PutBack:
    places = [place_of(message) for message, _ in messages]
    arguments = [
        argument
        for (message, current), place in zip(messages, places, strict=True)
        for argument in _arguments(message, place, current=current)
    ]
    keys = [*unacked_keys(channel), *(place.list for place in places)]
    try:
        answers: Any = client_of(channel).eval(SCRIPT, len(keys), *keys, LOOK, *arguments)
    except (redis.ConnectionError, redis.TimeoutError, OSError):
        for message, _ in messages:
            setattr(message, UNSURE, True)
        raise
    return PutBack(**Counter(answer.decode() for answer in answers))


def place_of(message: Any) -> message_origin.Origin:
    """Where a message came from, which must be a list."""
    place = message_origin.of(message)
    if place is None:
        raise LookupError("it came from no list")
    return place


def _arguments(message: Any, place: message_origin.Origin, *, current: bool) -> Iterator[bytes | str]:
    yield from (message.delivery_tag, place.raw, "1" if current and not getattr(message, UNSURE, False) else "0")


def _chunks(items: Iterable[T], message_of: Callable[[T], Any]) -> Iterator[list[T]]:
    """What goes into one script each."""
    chunk: list[T] = []
    size = 0
    for item in items:
        length = len(place_of(message_of(item)).raw)
        if chunk and (len(chunk) == CHUNK or size + length > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(item)
        size += length
    if chunk:
        yield chunk
