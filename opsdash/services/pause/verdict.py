"""Whether a pause has taken effect: decided here from one snapshot, and shown in the words of ``verdict_text``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from opsdash.model import OtherWorker, PauseInfo, Snapshot, UnmanagedLook, WorkerStats
from opsdash.model.verdict import LASTING, Kind, Reason, Verdict
from opsdash.services.pause.verdict_text import as_plain
from opsdash.services.workers.reports import HELD, REPORTS

SAFETY = (REPORTS, HELD)
"""What must be read in whole before a pause can be called safe."""


def verdict(snapshot: Snapshot, queue: str | None = None) -> Verdict | None:
    """What is known of the pause of everything, or of one queue; None when there is no such pause.

    It is safe when every worker that could still run something is accounted for: those that report have confirmed this
    pause and run nothing of it, those that are silent held nothing, and nobody else listens or takes tasks.
    """
    pause = snapshot.pause if queue is None else snapshot.paused_queues.get(queue)
    if pause is None:
        return None
    reporting = [w for w in snapshot.workers if w.reports and _serves(w, queue)]
    reasons = [
        *_stale(snapshot),
        *([] if reporting else [Reason(kind=Kind.NO_WORKER)]),
        *(Reason(kind=Kind.UNREAD, detail=one.message) for one in snapshot.unread if one.what in SAFETY),
    ]
    late = {
        worker.record or worker.hostname: list(_keeps(worker, pause, snapshot.epoch, queue)) for worker in reporting
    }
    reasons += [reason for found in late.values() for reason in found]
    reasons += _silent(snapshot.workers, queue)
    reasons += _namesakes(reporting)
    reasons += _unmanaged(snapshot, queue)
    reasons += _unaccounted(snapshot, queue)
    reasons += [
        Reason(kind=Kind.QUEUE_SHRINKS, queue=name, number=number)
        for name, number in snapshot.shrinking.items()
        if queue in (None, name)
    ]
    running = [_running(worker, queue) for worker in reporting]
    return Verdict(
        queue=queue,
        reasons=tuple(
            sorted((_lasting(reason) for reason in reasons), key=lambda reason: list(Kind).index(reason.kind))
        ),
        workers=len(reporting),
        stopped=sum(not found for found in late.values()),
        running=sum(running),
        elsewhere=sum(worker.active for worker in reporting) - sum(running),
        held=sum(worker.reserved + worker.scheduled for worker in reporting),
        scheduled=sum(worker.scheduled for worker in reporting),
        drained_in_s=snapshot.drained_in_s if queue is None and not snapshot.redis_error else None,
        age_s=snapshot.redis_age_s,
    )


def verdicts(snapshot: Snapshot) -> dict[str, Any]:
    """Those of all pauses there are, as plain values: ``verdict`` of everything, ``queue_verdicts`` by queue."""
    whole = verdict(snapshot)
    single = {queue: verdict(snapshot, queue) for queue in snapshot.paused_queues}
    return {
        "verdict": None if whole is None else as_plain(whole),
        "queue_verdicts": {queue: as_plain(found) for queue, found in single.items() if found is not None},
    }


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
        running = sum(w.active for w in workers if w.reports)
        which = None if pause is None else (pause.epoch, pause.at)
        if which is None or which != self._pause or running >= self._most:
            self._pause, self._most, self._since_s = which, running, now_s
            return None
        return running * (now_s - self._since_s) / (self._most - running)


def _stale(snapshot: Snapshot) -> Iterator[Reason]:
    """What was read a while ago says nothing of now, whatever it was."""
    if snapshot.redis_error:
        yield Reason(kind=Kind.STALE, seconds=snapshot.redis_age_s, detail=snapshot.redis_error)


def _serves(worker: WorkerStats, queue: str | None) -> bool:
    """It takes tasks of the queue, or may run some that it took before it was quieted."""
    if queue is None or queue in worker.queues or (worker.running_by_queue or {}).get(queue):
        return True
    return not worker.queues and bool(worker.active or worker.reserved or worker.scheduled)


def _running(worker: WorkerStats, queue: str | None) -> int:
    """Running tasks of the queue; those of an unknown queue count too."""
    if queue is None or worker.running_by_queue is None:
        return worker.active
    by_queue = worker.running_by_queue
    elsewhere = sum(number for name, number in by_queue.items() if name not in ("", queue))
    return max(0, worker.active - elsewhere)


def _confirmed(worker: WorkerStats, pause: PauseInfo, epoch: int | None) -> bool:
    applied = worker.paused or (pause.queue is not None and pause.queue in worker.paused_queues)
    if not applied or worker.epoch is None or pause.epoch is None:
        return applied
    # A resume and a pause again between two reports look like one pause. The counter shows it, unless it started again.
    return worker.epoch >= (pause.epoch if epoch is None else min(pause.epoch, epoch))


def _only_finishes(worker: WorkerStats, queue: str | None) -> bool:
    """It takes none of the queue any more, so it reads no flag of it, and holds nothing that it could still begin."""
    elsewhere = queue is not None and queue not in worker.queues
    return elsewhere and not worker.reserved and not worker.scheduled


def _keeps(worker: WorkerStats, pause: PauseInfo, epoch: int | None, queue: str | None) -> Iterator[Reason]:
    """What keeps one that reports from being stopped; nothing when it is."""
    who = (worker.hostname,)
    if worker.pausing != "ready":
        yield Reason(kind=Kind.CANNOT_PAUSE, workers=who, detail=worker.pausing)
    elif not _confirmed(worker, pause, epoch) and not _only_finishes(worker, queue):
        yield Reason(kind=Kind.NOT_CONFIRMED, workers=who)
    elif running := _running(worker, queue):
        any_queue = " of any queue" if queue is not None and worker.running_by_queue is None else ""
        yield Reason(kind=Kind.RUNNING, workers=who, number=running, seconds=worker.oldest_s, detail=any_queue)
    elif queue is None and worker.reserved:  # a child may have begun one of them, and the worker not know it yet
        yield Reason(kind=Kind.NOT_PUT_BACK, workers=who, number=worker.reserved)


def _silent(workers: Iterable[WorkerStats], queue: str | None) -> Iterator[Reason]:
    """Reports that stopped without a shutdown notice, of a worker that may run something.

    It does if it ran or had tasks in its last report, and it may if its gate was open then: a task that it started
    after that, and acknowledged early, has left no trace.
    """
    for worker in workers:
        if worker.reports or (queue is not None and worker.queues and queue not in worker.queues):
            continue
        # What is in unacked was fetched, and may be all that late acknowledgement leaves of a task.
        unstarted = max(worker.reserved, (worker.unacked or 0) - worker.active - worker.scheduled)
        closed = worker.paused or (queue is not None and queue in worker.paused_queues)
        if worker.active or unstarted or not closed:
            yield Reason(
                kind=Kind.SILENT,
                workers=(worker.hostname,),
                pids=(worker.pid,),
                number=worker.active,
                held=unstarted,
                seconds=worker.silent_s,
            )


def _namesakes(reporting: Iterable[WorkerStats]) -> Iterator[Reason]:
    by_name: dict[str, list[int]] = {}
    for worker in reporting:
        by_name.setdefault(worker.hostname, []).append(worker.pid)
    for hostname, pids in by_name.items():
        if len(pids) > 1:
            yield Reason(kind=Kind.SAME_NAME, workers=(hostname,), pids=tuple(sorted(pids)), number=len(pids))


def _unmanaged(snapshot: Snapshot, queue: str | None) -> Iterator[Reason]:
    """Workers that do not report, and whether all of them are known."""
    free = [other for other in snapshot.others or () if _works(other, queue)]
    if free:
        # One that takes from no queue any more, and only finishes what it runs, stops by itself.
        ends = not any(other.queues for other in free)
        names = tuple(other.hostname for other in free)
        yield Reason(kind=Kind.NO_PLUGIN, workers=names, number=len(free), passing=ends)
    look = snapshot.look
    if look is None:
        yield Reason(kind=Kind.NOT_ASKED)
        return
    if look.error:
        yield Reason(kind=Kind.CANNOT_ASK, detail=look.error)
    elif look.off:
        yield Reason(kind=Kind.CANNOT_ASK, workers=look.off, detail=f"remote control is off on {_first(look.off)}")
    if look.unanswered:
        yield Reason(kind=Kind.NO_ANSWER, workers=look.candidates, number=look.unanswered)
    yield from _connections(look, snapshot.others or (), queue)


def _connections(look: UnmanagedLook, others: Iterable[OtherWorker], queue: str | None) -> Iterator[Reason]:
    if look.connections_error:
        yield Reason(kind=Kind.CONNECTIONS, detail=look.connections_error)
    # One connection each belongs to a worker that is listed by its name: unmanaged, or with a plug-in that does
    # not name its connections. Idle ones are assigned to them before those that wait for tasks.
    of_known = sum(1 for _ in others) + look.unnamed
    for connection in sorted(look.connections, key=lambda connection: connection.blocked)[of_known:]:
        takes = connection.blocked and queue is None  # from which queue is not known
        kind = Kind.TAKES_TASKS if takes else Kind.MAY_TAKE_TASKS
        yield Reason(kind=kind, number=1, detail=connection.address)


def _unaccounted(snapshot: Snapshot, queue: str | None) -> Iterator[Reason]:
    """The broker's ``unacked`` has more messages than the workers have reported."""
    reported = [worker.unacked for worker in snapshot.workers]
    if any(number is None and worker.reports for number, worker in zip(reported, snapshot.workers, strict=True)):
        return  # a plug-in that does not say yet
    # While other queues go on, what was fetched since the last report is nobody's yet.
    more = (snapshot.unacked if queue is None else snapshot.unacked_old) - sum(number or 0 for number in reported)
    if more > 0:
        yield Reason(kind=Kind.UNACKED, number=more, seconds=snapshot.unacked_oldest_s)


def _works(worker: OtherWorker, queue: str | None) -> bool:
    return queue in worker.queues if queue is not None else bool(worker.queues or worker.active)


def _first(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1:,} more"


def _lasting(reason: Reason) -> Reason:
    return replace(reason, passing=False) if reason.kind in LASTING else reason
