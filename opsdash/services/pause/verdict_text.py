"""A verdict in words: the same on every surface."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from opsdash.model import WorkerStats, builds
from opsdash.model.verdict import Kind, Reason, State, Verdict
from opsdash.text import count, format_duration, shell_word

NAMED = 3
"""Workers named in a sentence; the rest is only counted."""
OF_WORKERS = (Kind.NOT_CONFIRMED, Kind.RUNNING, Kind.NOT_PUT_BACK, Kind.CANNOT_PAUSE)
"""Kinds about one reporting worker: they follow the number of those that have stopped."""
_WORD = {State.UNKNOWN: "not known to be safe", State.NOT_HELD: "not safe", State.DRAINING: "not safe yet"}
"""For a pause that is not held although all reporting workers have stopped."""
NO_WORKER = "No worker reports to opsdash, so no worker is known to have stopped."


def describe(verdict: Verdict) -> str:
    """A verdict as one text for an operator; ``safe to deploy`` is in it only where it is."""
    # That it is old comes first: all that follows was so then.
    parts = [describe_reason(reason) for reason in verdict.reasons if reason.kind is Kind.STALE]
    parts += [_stopped(verdict)] if verdict.workers else []
    others: dict[str, list[Reason]] = {}
    for reason in verdict.reasons:
        if reason.kind not in (*OF_WORKERS, Kind.STALE):
            others.setdefault(reason.kind, []).append(reason)
    for alike in others.values():
        parts += [describe_reason(reason) for reason in alike[:NAMED]]
        if len(alike) > NAMED:
            parts.append(f"And {len(alike) - NAMED:,} more like these.")
    if verdict.drained_in_s is not None and verdict.running:
        parts.append(f"At this pace nothing runs in about {format_duration(verdict.drained_in_s)}.")
    return " ".join([*parts, *notes(verdict)])


def describe_builds(workers: Sequence[WorkerStats]) -> str:
    """How many workers run which build, and how many of them are drained while something is held.

    Empty where no worker names its build.
    """
    found = builds(workers)
    holding = any(worker.holds for worker in workers)
    parts = [
        f"{f'build {build.name}' if build.name else 'no build named'}: "
        + (f"drained {build.drained:,} of {build.workers:,}" if holding else count(build.workers, "worker"))
        for build in found[:NAMED]
    ]
    if len(found) > NAMED:
        parts.append(f"and {count(len(found) - NAMED, 'more build')}")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def notes(verdict: Verdict) -> list[str]:
    """What is worth knowing and keeps nothing from being safe, a sentence each."""
    if not verdict.scheduled:
        return []
    are = "is" if verdict.scheduled == 1 else "are"
    if verdict.queue is not None:  # the workers tell them of all queues together
        text = f"{count(verdict.scheduled, 'scheduled task')} of any queue {are} in these workers"
        return [f"{text}; those of {verdict.queue} are put back when they are due."]
    return [f"{count(verdict.scheduled, 'scheduled task')} {are} in workers, and {are} put back when due."]


def as_plain(verdict: Verdict) -> dict[str, Any]:
    """For programs: its fields, and the same words."""
    return {
        "queue": verdict.queue,
        "state": verdict.state.value,
        "safe": verdict.safe,
        "message": describe(verdict),
        "reasons": [
            {
                "kind": reason.kind.value,
                "workers": list(reason.workers),
                "pids": list(reason.pids),
                "queue": reason.queue,
                "number": reason.number,
                "held": reason.held,
                "seconds": reason.seconds,
                "detail": reason.detail,
                "passing": reason.passing,
                "message": describe_reason(reason),
            }
            for reason in verdict.reasons
        ],
        "notes": notes(verdict),
        "remedies": remedies(verdict),
        "workers": verdict.workers,
        "stopped": verdict.stopped,
        "running": verdict.running,
        "held": verdict.held,
        "scheduled": verdict.scheduled,
        "age_s": verdict.age_s,
    }


def describe_reason(reason: Reason) -> str:
    """One reason as a sentence."""
    text = _sentence(reason)
    return text if text.endswith(".") else f"{text}."


def remedies(verdict: Verdict) -> list[str]:
    """What to do where time alone may not do it, one line for each kind of reason."""
    found = {reason.kind: _remedy(reason) for reason in reversed(verdict.reasons)}
    return [todo for kind in Kind if (todo := found.get(kind, ""))]


def _remedy(reason: Reason) -> str:
    match reason.kind:
        case Kind.NO_PLUGIN:
            return (
                "Stop them, start them with -I opsdash.worker.auto, or pause again with the option that sends"
                " cancel_consumer."
            )
        case Kind.TAKES_TASKS | Kind.MAY_TAKE_TASKS:
            return "Find the process with that connection, and stop it if it is a worker."
        case Kind.SILENT:
            who = shell_word(reason.workers[0]) if len(reason.workers) == 1 else "NAME"
            return f"Check whether its process still runs. If it has ended: opsdash dismiss-worker {who}"
        case Kind.SAME_NAME:
            return "Give each worker its own name: celery worker -n NAME@%h."
        case Kind.UNACKED:
            return (
                "They come back to their queues when the visibility timeout ends. Check whether a killed worker"
                " has left a process behind."
            )
        case Kind.NO_WORKER:
            return "Check whether workers run, with the plug-in: opsdash doctor."
        case Kind.CANNOT_PAUSE | Kind.CANNOT_ASK | Kind.CONNECTIONS | Kind.QUEUE_SHRINKS | Kind.UNREAD:
            return "To find out what to do: opsdash doctor."
        case _:
            return ""


def _stopped(verdict: Verdict) -> str:
    if verdict.stopped < verdict.workers:
        late = [reason for reason in verdict.reasons if reason.kind in OF_WORKERS]
        named = "; ".join(_sentence(reason) for reason in late[:NAMED])
        more = f"; and {len(late) - NAMED:,} more" if len(late) > NAMED else ""
        return f"{verdict.stopped} of {count(verdict.workers, 'worker')} stopped; {named}{more}."
    number = {1: "The one worker", 2: "Both workers"}.get(verdict.workers, f"All {verdict.workers:,} workers")
    on = "" if verdict.queue is None else f" on {verdict.queue}"  # others report too, and take from other queues
    who = f"{number}{on} {'has' if verdict.workers == 1 else 'have'}"
    if verdict.queue is None:
        return f"{who} stopped; {_WORD.get(verdict.state, 'safe to deploy')}."
    still = f" ({count(verdict.elsewhere, 'task')} of other queues still running)" if verdict.elsewhere else ""
    return f"{who} stopped taking from it; nothing of it runs{still}."


def _sentence(reason: Reason) -> str:
    who = _names(reason.workers)
    match reason.kind:
        case Kind.NOT_CONFIRMED:
            return f"{who} has not confirmed yet"
        case Kind.RUNNING:
            oldest = f", oldest {format_duration(reason.seconds)}" if reason.seconds is not None else ""
            return f"{who} finishes {count(reason.number, 'task')}{reason.detail}{oldest}"
        case Kind.NOT_PUT_BACK:
            return f"{who} has {count(reason.number, 'task')} to put back"
        case Kind.CANNOT_PAUSE:
            return f"{who} can't pause: {reason.detail}"
        case Kind.NO_PLUGIN:
            return f"Not managed by opsdash: {who}"
        case Kind.QUEUE_SHRINKS:
            return f"Queue {reason.queue} is paused but has lost {count(reason.number, 'task')}"
        case Kind.TAKES_TASKS:
            return f"{reason.detail} takes tasks, and no worker reports that connection"
        case Kind.MAY_TAKE_TASKS:
            return (
                f"{reason.detail} has taken messages: it may be a worker at its limit, or a tool such as Flower that"
                " asked workers"
            )
        case Kind.NO_WORKER:
            return NO_WORKER
        case Kind.SILENT:
            return f"{who} is silent for {format_duration(reason.seconds or 0)}, {_last(reason)}"
        case Kind.SAME_NAME:
            pids = ", ".join(str(pid) for pid in reason.pids[:NAMED])
            return f"{reason.number} processes report as {who}: {pids}"
        case Kind.NO_ANSWER:
            more = (
                f"{reason.number:,} more {'hears' if reason.number == 1 else 'hear'} remote control and did not answer"
            )
            perhaps = f", perhaps {who}" if who else ""
            return f"{more}{perhaps}: frozen, busy in the solo pool, or not a worker"
        case Kind.CANNOT_ASK:
            return f"Unmanaged workers can't be asked: {reason.detail}"
        case Kind.NOT_ASKED:
            return "Unmanaged workers have not been asked yet"
        case Kind.UNACKED:
            since = ""
            if reason.seconds is not None:
                since = f", the oldest since {datetime.now(UTC) - timedelta(seconds=reason.seconds):%H:%M:%S} UTC"
            are, them = ("is", "it") if reason.number == 1 else ("are", "them")
            return f"{count(reason.number, 'message')} {are} unacknowledged, and no worker reports {them}{since}"
        case Kind.CONNECTIONS:
            return f"Which connections take tasks can't be read: {reason.detail}"
        case Kind.STALE:
            age = "old" if reason.seconds is None else f"{format_duration(reason.seconds)} old"
            return f"The figures are {age}: {reason.detail}"
        case Kind.UNREAD:
            return reason.detail


def _last(reason: Reason) -> str:
    ran, unstarted = count(reason.number, "task"), count(reason.held, "task")
    if reason.number and reason.held:
        return f"ran {ran} and had {reason.held:,} more"
    if not reason.number and not reason.held:
        return "and was not paused in its last report"
    return f"ran {ran}" if reason.number else f"had {unstarted}"


def _names(workers: Iterable[str]) -> str:
    named = list(workers)
    more = f" and {len(named) - NAMED:,} more" if len(named) > NAMED else ""
    return ", ".join(named[:NAMED]) + more
