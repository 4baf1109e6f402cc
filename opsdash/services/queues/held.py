"""What workers hold of one queue, as far as they say: those that report, that are silent, or that never do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from opsdash.model import Figure, Line, OtherWorker, WorkerStats
from opsdash.model.preview import Exactness
from opsdash.text import count, format_duration

NAMED = 3
"""Workers that are named in one preview."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldByWorkers:
    """What the workers on one queue hold.

    Attributes:
        workers: Those that report, or did until a while ago. ``silent``: those of them whose reports have stopped.
        others: Unmanaged workers on the queue: what they hold is not known. None: they could not be asked.
        unacked: Messages fetched and not acknowledged yet, of all queues and workers: one count of Redis.
    """

    queue: str
    workers: Sequence[WorkerStats]
    others: Sequence[OtherWorker] | None
    unacked: int

    @property
    def active(self) -> tuple[int, int]:
        """Running tasks of the queue, and how many more may be of it, since their workers can't tell."""
        return total(worker.runs_of(self.queue) for worker in self.workers)

    @property
    def unstarted(self) -> tuple[int, int]:
        """The same of reserved and scheduled tasks."""
        return total(worker.holds_of(self.queue) for worker in self.workers)

    @property
    def silent(self) -> list[WorkerStats]:
        """Nobody knows whether these still have what they had."""
        return [worker for worker in self.workers if not worker.reports]

    @property
    def complete(self) -> bool:
        """Every worker on the queue has said what it holds."""
        return self.others is not None and not self.others

    def figures(self) -> tuple[Figure, ...]:
        """As figures of a preview: of this queue; ``reserved`` and ``scheduled`` are of all queues of its workers."""
        reserved, scheduled = (sum(getattr(w, kind) for w in self.workers) for kind in ("reserved", "scheduled"))
        return (
            self._figure("active", "running", *self.active),
            self._figure("held", "unstarted in workers", *self.unstarted),
            Figure(name="reserved", value=reserved, unit="tasks"),
            Figure(name="scheduled", value=scheduled, unit="tasks"),
            Figure(name="unacked", value=self.unacked, unit="tasks"),
            Figure(name="others", value=None if self.others is None else len(self.others), unit="workers"),
        )

    def stays(self, *, everything: bool = False) -> list[Line]:
        """What a clear of what waits leaves alone, and how far that is known.

        Args:
            everything: The clear has an option that removes unstarted tasks too: it is named.
        """
        active, unstarted = self.active, self.unstarted
        if self.complete and not (active[0] or unstarted[0] or self.unacked):
            return self.unsure()  # nothing stays: a row of zeros would only have to be read
        least = "" if self.complete else "at least "
        removed = (
            f"Not removed by this: {least}{active[0]:,} running and {unstarted[0]:,} unstarted tasks of this queue in"
            f" {count(len(self.workers), 'worker')} ({self.unacked:,} unacknowledged in all queues)."
        )
        choice = "everything" if everything and (unstarted[0] or unstarted[1]) else ""
        return [Line("will_not", removed, choice=choice), *self.unsure()]

    def unsure(self) -> list[Line]:
        """Who does not say what it holds, or not of which queue, or not any more."""
        lines = []
        if (perhaps := self.active[1] + self.unstarted[1]) > 0:
            lines.append(f"{count(perhaps, 'more task')} in these workers may be of this queue or of others of theirs.")
        return [*(Line("note", text) for text in lines), *not_reporting(self.others), *silent_lines(self.silent)]

    def _figure(self, name: str, label: str, number: int, perhaps: int) -> Figure:
        return figure(name, label, number, perhaps, complete=self.complete, silent=self.silent)


def figure(
    name: str, label: str, number: int, perhaps: int, *, complete: bool = True, silent: Sequence[WorkerStats] = ()
) -> Figure:
    """A count of tasks in workers: exact; old, where some of them are silent; or so many at least.

    Args:
        perhaps: How many more may be, of workers that can't tell. ``complete``: every worker has reported.
    """
    age_s = max((worker.silent_s for worker in silent), default=None)
    exactness: Exactness = "old" if silent else "estimated" if perhaps or not complete else "exact"
    error = perhaps or None
    return Figure(name=name, label=label, value=number, unit="tasks", exactness=exactness, error=error, age_s=age_s)


def total(counted: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Sums of what is sure, and of what may be."""
    rows = list(counted)
    return sum(sure for sure, _ in rows), sum(perhaps for _, perhaps in rows)


def not_reporting(others: Sequence[OtherWorker] | None) -> list[Line]:
    """That unmanaged workers hold more; none where there are none."""
    if others is None:
        return [Line("warning", "Unmanaged workers could not be asked: what they hold is not counted.")]
    if not others:
        return []
    more = f" and {len(others) - NAMED:,} more" if len(others) > NAMED else ""
    do, they = ("does", "it holds") if len(others) == 1 else ("do", "they hold")
    names = ", ".join(other.hostname for other in others[:NAMED])
    return [
        Line(
            "warning",
            f"{count(len(others), 'worker')} {do} not report what {they}, which comes on top: {names}{more}.",
        )
    ]


def silent_lines(workers: Sequence[WorkerStats]) -> list[Line]:
    """Those whose reports have stopped: nobody knows whether they still run what they ran."""
    lines = [
        f"{w.hostname} is silent for {format_duration(w.silent_s)}; in its last report it ran"
        f" {count(w.active, 'task')} and had {w.reserved + w.scheduled:,} more."
        for w in workers[:NAMED]
    ]
    if len(workers) > NAMED:
        lines.append(
            f"And {count(len(workers) - NAMED, 'more worker')} {'is' if len(workers) == NAMED + 1 else 'are'} silent."
        )
    return [Line("warning", text) for text in lines]


def unstarted(workers: Iterable[WorkerStats], queue: str | None, own: set[str]) -> tuple[int, int, int]:
    """Unstarted tasks that their own pause holds on, those that run after the resume, and those that may.

    Args:
        own: Queues with their own pause, where all is to be paused.
    """
    staying = running = perhaps = 0
    for worker in workers:
        sure, more = worker.holds_of(queue)
        if own and worker.held_by_queue is None:
            sure, more = (0, sure) if own & {*worker.queues} else (sure, 0)
        kept = sum(worker.held_by_queue.get(name, 0) for name in own) if worker.held_by_queue else 0
        staying, running, perhaps = staying + kept, running + max(0, sure - kept), perhaps + more
    return staying, running, perhaps
