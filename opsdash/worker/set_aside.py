"""Sets messages aside that a hold matches: out of what is unacknowledged, into the held ones of their queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis
from celery.worker import state as worker_state

from opsdash import lua
from opsdash.keys import Keys
from opsdash.model.hold import LONGEST_LIST
from opsdash.worker import celery_private, requeue, unacked

CHUNK = 200
"""Messages per script."""
LOOK = 5_000
"""Messages of a list that are looked through for one that Redis has no other trace of."""
ACKNOWLEDGED, HERE, ELSEWHERE = "2", "1", "0"
"""Of a message: see the script."""
RUNS = {"ended", "refused", "long"}
"""Answers after which a task must run."""
FETCHED = "opsdash_fetched"
"""Attribute of a message that has waited for a slot: when it was fetched first, so that it keeps its place."""
_SCRIPT = lua.load(__name__, "set_aside", LONGEST=LONGEST_LIST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A request whose message is to be set aside, and the ids of the holds that match it."""

    request: Any
    ids: tuple[str, ...]


def set_aside(channel: Any, held: Sequence[Held]) -> tuple[Counter[str], list[Any]]:
    """Sets messages aside and forgets their requests; the oldest should be the first. Event loop only.

    Cost: one script per ``CHUNK`` messages.

    Returns:
        How many of them had which answer, and the requests that must run: their hold is over, or Redis refuses.

    Raises:
        Exception: Redis doesn't answer; what was not set aside is still unacknowledged.
    """
    done, left = Counter[str](), list[Any]()
    for start in range(0, len(held), CHUNK):
        chunk = held[start : start + CHUNK]
        answers = _run(channel, [(one, _state(channel, one.request.message)) for one in chunk])
        for one, answer in zip(chunk, answers, strict=True):
            done[answer] += 1
            if answer in RUNS:
                left.append(one.request)
            else:
                celery_private.forget(channel, one.request)
    return done, left


def copy_aside(channel: Any, held: Held) -> bool:
    """Holds a copy of an acknowledged message that has not begun. Any thread. False: its task must run.

    Raises:
        Exception: Redis doesn't answer; no copy is there, as far as one can tell.
    """
    (answer,) = _run(channel, [(held, ACKNOWLEDGED)])
    if answer in RUNS:
        return False
    worker_state.task_ready(held.request)
    return True


def _run(channel: Any, held: Sequence[tuple[Held, str]]) -> list[str]:
    keys = Keys(channel.global_keyprefix or "")
    places = [requeue.place_of(one.request.message) for one, _ in held]
    names = [*unacked.unacked_keys(channel), keys.hold, keys.held_lists, *(place.list for place in places)]
    arguments = [part for one, state in held for part in _arguments(channel, one, state)]
    try:
        answers: Any = unacked.client_of(channel).eval(_SCRIPT, len(names), *names, LOOK, keys.held_lists, *arguments)
    except (redis.ConnectionError, redis.TimeoutError, OSError):
        for one, _ in held:
            setattr(one.request.message, requeue.UNSURE, True)
        raise
    return [answer.decode() for answer in answers]


def _arguments(channel: Any, held: Held, state: str) -> Iterator[Any]:
    message = held.request.message
    place = requeue.place_of(message)
    yield from (message.delivery_tag, place.raw, " ".join(held.ids), place.queue, step_of(channel, place), state)
    yield getattr(message, FETCHED, "")


def step_of(channel: Any, place: Any) -> str:
    """The priority step of the list that a message was fetched from."""
    step = place.list.removeprefix(channel.global_keyprefix or "").removeprefix(place.queue).removeprefix(channel.sep)
    return step if step.isascii() and step.isdigit() and len(step) < 4 else "0"


def _state(channel: Any, message: Any) -> str:
    return HERE if message.channel is channel and not getattr(message, requeue.UNSURE, False) else ELSEWHERE


def told(done: Iterable[tuple[str, int]]) -> str:
    """For the log: ``12 held, 1 waiting``."""
    return ", ".join(f"{number} {answer}" for answer, number in done)
