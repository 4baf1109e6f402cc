"""What was found of a task, in sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from opsdash.model import FoundTask, LookedAt, TaskPlace
from opsdash.services.queues.task_message import SHORTEST_PREFIX
from opsdash.text import count, in_words


def where(place: TaskPlace) -> str:
    """One place, without the task's name: ``waiting in queue emails, place 3 of 1,204``."""
    text = {
        "waiting": f"waiting in queue {place.queue}, {_position(place)}",
        "reserved": f"fetched by {_worker(place)}, not started",
        "scheduled": f"scheduled: {_worker(place)} has fetched it",
        "active": f"running in {_worker(place)}",
        "held": f"held: {place.hold}, from queue {place.queue}"
        if place.hold
        else f"set aside from queue {place.queue} by an interrupted operation (trash {place.trash_id})",
        "cleared": f"cleared from queue {place.queue}, in trash {place.trash_id}",
        "failed": f"failed with {place.error}" if place.error else "failed",
        "finished": f"finished: {place.result}",
    }[place.state]
    if place.since is not None:
        text += f", since {place.since:%Y-%m-%d %H:%M:%S} UTC"
    if place.eta is not None and place.state != "active":
        text += f", not before {place.eta:%Y-%m-%d %H:%M:%S} UTC"
    if place.ended_at is not None:
        text += f", at {place.ended_at:%Y-%m-%d %H:%M:%S} UTC"
    return text


def _position(place: TaskPlace) -> str:
    text = f"place {place.position or 0:,} of {place.waiting or 0:,}"
    return f"{text} (priority {place.priority})" if place.priority else text


def _worker(place: TaskPlace) -> str:
    return place.worker or "an unknown worker"


def summary(found: FoundTask) -> str:
    """The answer in one sentence."""
    if len(found.ids) > 1:
        more = "More than" if found.more else ""
        return f"{more} {count(len(found.ids), 'task')} found whose id begins with {found.id}.".strip()
    if found.places:
        also = len(found.places) - 1
        more = f" It is in {count(also, 'other place')} as well." if also else ""
        return f"Task {found.id} is {where(found.places[0])}.{more}"
    if found.result:
        return f"Task {found.id} was not found in the queues. The result backend says: {found.result}."
    sure = "" if found.complete else ", but not everything could be looked at"
    short = f" To find one by the beginning of its id, give {SHORTEST_PREFIX} characters or more."
    return f"Task {found.id} was not found{sure}.{short if len(found.id) < SHORTEST_PREFIX else ''}"


def looked_at(found: FoundTask) -> list[str]:
    """What was looked at, one sentence each, with how long ago and what was missing."""
    return [_looked(one) for one in found.looked_at]


def looked_at_line(found: FoundTask) -> str:
    """The same in one line: ``4 queues, 1,204,113 messages, 12 of 14 workers answered``."""
    return looked_at_parts(found.looked_at)


def looked_at_parts(looked: Iterable[LookedAt]) -> str:
    """The same of any look."""
    return ", ".join(part for one in looked for part in _parts(one))


def _looked(one: LookedAt) -> str:
    text = ", ".join(_parts(one))
    ago = f" {in_words(one.age_s)} ago" if one.age_s >= 1 else " just now"
    read = f"{text}, read{ago}" if text else ""
    return f"{read}: {one.problem}" if read and one.problem else read or one.problem


def _parts(one: LookedAt) -> Iterator[str]:
    messages = f"{one.messages:,} messages" if one.messages is not None else ""
    if one.what == "queues":
        yield from (count(one.number, "queue"), messages)
    elif one.what == "fetched":
        yield f"{one.messages or 0:,} fetched messages"
    elif one.what == "workers" and one.of is not None:
        yield f"{one.number:,} of {count(one.of, 'worker')} answered"
    elif one.what == "trash":
        yield f"{messages} in the trash"
    elif one.what == "failed":
        yield count(one.number, "failed task")
    elif one.what == "results" and one.number:
        yield "the result backend"


def missing(looked: Iterable[LookedAt]) -> str:
    """Why it is not known whether the task exists: what could not be looked at; empty: nothing."""
    return "; ".join(one.problem for one in looked if not one.complete)
