"""Wanted against observed: how far a paused fleet has come to a stop."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from opsdash.model import OtherWorker, PauseInfo, Snapshot, WorkerStats
from opsdash.text import count, format_duration

NAMED = 3
"""Workers named in a sentence; beyond that their number stands for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drain:
    """How far a pause has come.

    Attributes:
        workers: Workers that report and are meant to stop.
        stopped: Those that confirmed the pause and, when it is of everything, run nothing.
        running: Tasks that still run on them. ``held``: fetched and not started (ETA tasks in their timers included).
        done: Every one has stopped, none is unable to, and no worker without the plug-in works on.
        message: The same as a sentence.
    """

    workers: int
    stopped: int
    running: int
    held: int
    done: bool
    message: str


def drain(snapshot: Snapshot, queue: str | None = None) -> Drain | None:
    """Where the pause of everything, or of one queue, stands; None when there is no such pause.

    A worker does not say which queue a running task came from. So the pause of one queue is done once it is confirmed,
    and the tasks that run meanwhile are told for all queues together.
    """
    if snapshot.pause is None and (queue is None or queue not in snapshot.paused_queues):
        return None
    fleet = [w for w in snapshot.workers if w.state != "offline" and (queue is None or queue in w.queues)]
    stopped = [w for w in fleet if _confirmed(w, queue) and (queue is not None or w.active == 0)]
    free = [w for w in snapshot.others or () if _works(w, queue)]
    running = sum(w.active for w in fleet)
    held = bool(fleet) and len(stopped) == len(fleet)
    message = _message(fleet, stopped, queue, done=held, safe=not free and snapshot.others is not None)
    if running and queue is None and snapshot.drained_in_s is not None and not held:
        message += f" At this pace nothing runs in about {format_duration(snapshot.drained_in_s)}."
    return Drain(
        workers=len(fleet),
        stopped=len(stopped),
        running=running,
        held=sum(w.reserved + w.scheduled for w in fleet),
        done=held and not free and snapshot.others is not None,
        message=message + _not_held(free, known=snapshot.others is not None),
    )


class Pace:
    """How fast a pause drains: remembers the most that ran since it began, and when."""

    def __init__(self) -> None:
        self._pause: object = None
        self._most, self._since_s = 0, 0.0

    def drained_in_s(self, pause: PauseInfo | None, workers: Iterable[WorkerStats], now_s: float) -> float | None:
        """Seconds until nothing runs, if tasks go on ending as fast as they have; None while none has ended.

        Args:
            now_s: A monotonic clock.
        """
        running = sum(w.active for w in workers if w.state != "offline")
        which = None if pause is None else (pause.epoch, pause.at)
        if which is None or which != self._pause or running >= self._most:
            self._pause, self._most, self._since_s = which, running, now_s
            return None
        return running * (now_s - self._since_s) / (self._most - running)


def _works(worker: OtherWorker, queue: str | None) -> bool:
    return queue in worker.queues if queue is not None else bool(worker.queues or worker.active)


def _not_held(free: list[OtherWorker], *, known: bool) -> str:
    if not known:
        return " Whether workers without the plug-in run is not known."
    if not free:
        return ""
    names = ", ".join(w.hostname for w in free[:NAMED])
    more = f" and {len(free) - NAMED:,} more" if len(free) > NAMED else ""
    return f" Not held by opsdash: {names}{more}."


def _confirmed(worker: WorkerStats, queue: str | None) -> bool:
    return worker.pausing == "ready" and (worker.paused or (queue is not None and queue in worker.paused_queues))


def _message(fleet: list[WorkerStats], stopped: list[WorkerStats], queue: str | None, *, done: bool, safe: bool) -> str:
    if not fleet:
        return "No worker reports to opsdash: nothing is known to have stopped."
    if done:
        # Of those that report, and says so: a busy solo worker without the plug-in answers nobody.
        who = f"All {len(fleet)} workers that report have" if len(fleet) > 1 else "The one worker that reports has"
        if queue is None:
            return f"{who} stopped; safe to deploy." if safe else f"{who} stopped."
        running = sum(w.active for w in fleet)
        still = f"{count(running, 'task')} of all their queues still running" if running else "nothing runs on them"
        return f"{who} stopped taking from {queue}; {still}."
    late = [w for w in fleet if w not in stopped]
    named = "; ".join(_what_keeps(worker, queue) for worker in late[:NAMED])
    more = f"; and {len(late) - NAMED:,} more" if len(late) > NAMED else ""
    return f"{len(stopped)} of {count(len(fleet), 'worker')} stopped; {named}{more}."


def _what_keeps(worker: WorkerStats, queue: str | None) -> str:
    if worker.pausing != "ready":
        return f"{worker.hostname} can't pause: {worker.pausing}"
    if not _confirmed(worker, queue):
        return f"{worker.hostname} has not confirmed yet"
    oldest = f", oldest {format_duration(worker.oldest_s)}" if worker.oldest_s is not None else ""
    return f"{worker.hostname} finishes {count(worker.active, 'task')}{oldest}"
