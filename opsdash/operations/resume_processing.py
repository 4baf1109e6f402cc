"""Resume: the pause flag goes, work goes on at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

import redis

from opsdash.errors import OpsdashError
from opsdash.model import AuditEntry, Effect, Figure, Line, PauseInfo, Preview, QueueStats, WorkerStats, times
from opsdash.operation import Act, Operation, argument
from opsdash.services.queues.held import figure, unstarted
from opsdash.text import count, shell_word

if TYPE_CHECKING:
    from opsdash.services.services import Services

NAMED = 3
"""Queues named in the result; for more of them, only their number."""
MOST_LINES = 10
"""Queues with their own pause that a preview names."""
UNKNOWN = "It is not known whether all workers that got cancel_consumer got add_consumer"
AGAIN = "The next read sends it again."


class ResumeProcessing(Operation):
    """Deletes the pause flag of everything, or of one queue. Each is lifted by itself."""

    name: ClassVar[str] = "resume_processing"
    title: ClassVar[str] = "Resume Processing"
    help: ClassVar[str] = "Let workers pick up tasks again."
    warning: ClassVar[str] = "Workers start all tasks that have arrived since the pause, at once."
    layout: ClassVar[tuple[str, ...]] = ("prefix", "db")

    queue: str | None = argument(default=None, help="Resume this queue only; a pause of all queues stays.")

    def heading(self) -> str:
        """Of everything, or of which queue."""
        return self.title if self.queue is None else f"Resume queue {self.queue}"

    def preview(self, services: Services) -> Preview:
        """Whether there is a pause, how much waits behind it, and which pauses remain."""
        self._check(services)
        names = services.queue_names()
        pauses = services.pause.read(names if self.queue is None else (*names, self.queue))
        read = services.queues.read(names if self.queue is None else (self.queue,))
        # A queue has two locks: what waits behind the other one stays.
        stays = {queue.name for queue in read if (queue.name if self.queue is None else None) in pauses}
        waiting = sum(queue.waiting for queue in read if queue.name not in stays)
        staying = sum(queue.waiting for queue in read if queue.name in stays)
        workers = [worker for worker in services.workers.read() if worker.reports]
        own = {name for name in stays if name is not None} if self.queue is None else set[str]()
        held_staying, held, perhaps = unstarted(workers, self.queue, own)
        if self.queue is not None and stays:
            held_staying, held = held, 0
        what = "Processing" if self.queue is None else f"Queue {self.queue}"
        if self.queue not in pauses:
            lines, waiting, staying = [Line("warning", f"{what} is not paused: nothing will change.")], 0, 0
            held_staying = held = perhaps = 0
        elif self.queue is not None and stays:
            lines = [Line("will", "Its own pause ends. No task starts yet.")]
        else:
            lines = [Line("will", f"{_tasks(waiting, held)} will run.", repeats=() if held else ("waiting",))]
        if self.queue is None:
            lines += _keep([pause for name, pause in pauses.items() if name is not None], read, workers)
        elif None in pauses:
            number = f" and {_tasks(staying, held_staying)} of {self.queue}" if staying or held_staying else ""
            lines.append(Line("will_not", f"All processing{number} stays paused until you resume all processing too."))
        return Preview(
            warning=self.warning if self.queue is None else "Workers start all tasks of this queue, at once.",
            lines=tuple(lines),
            figures=(
                Figure(name="waiting", label="will run", value=waiting, unit="tasks"),
                Figure(name="staying", label="stay", value=staying, unit="tasks"),
                figure("held", "unstarted in workers, will run", held, perhaps),
                Figure(name="held_staying", label="unstarted in workers, stay", value=held_staying, unit="tasks"),
            ),
        )

    def execute(self, services: Services, act: Act) -> Effect:
        """Deletes the flag and its story in one step, and nudges the workers."""
        self._check(services)
        before = services.pause.read([] if self.queue is None else [self.queue]).get(self.queue)
        removed = services.pause.resume(self.queue)
        what = "all processing" if self.queue is None else f"queue {self.queue}"
        message = f"Resumed {what}." if removed else f"There was no pause of {what}; nothing changed."
        sent, result = self._add(services)
        message += self._left(services) + result
        return Effect(
            affected=int(removed),
            message=message,
            details={"add_consumer": sent} if sent else {},
            undo=as_it_was(self.queue, before, cancel_consumer=bool(sent)) if removed else None,
        )

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """Whether there is still a pause."""
        paused = self.queue in services.pause.read([] if self.queue is None else [self.queue])
        return {"message": "There is a pause now." if paused else "There is no such pause now."}

    def _left(self, services: Services) -> str:
        """Which other pauses hold on. The flag has gone by now: where they can't be read, nothing is said of them."""
        try:
            pauses = services.pause.read(services.queue_names())
        except (OpsdashError, redis.RedisError):
            return ""
        if self.queue is not None:
            return " All processing is still paused." if None in pauses else ""
        names = [name for name in pauses if name is not None]
        if not names:
            return ""
        more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
        stay = "Queue {} stays" if len(names) == 1 else "Queues {} stay"
        lifts = f"opsdash resume-processing --queue {shell_word(names[0])}"
        return f" {stay.format(', '.join(names[:NAMED]) + more)} paused: {lifts} lifts that."

    @staticmethod
    def _add(services: Services) -> tuple[dict[str, list[str]], str]:
        """Undoes the pause's ``cancel_consumer``. The flag is deleted by now: a failure is reported and retried."""
        try:
            sent = services.unmanaged.release()
        except (OpsdashError, redis.RedisError) as error:
            known = error if isinstance(error, OpsdashError) else services.broker.fault(error)
            return {}, f" {UNKNOWN}: {known.explanation} {AGAIN}"
        return sent, f" add_consumer sent to {count(len(sent), 'unmanaged worker')}." if sent else ""

    def _check(self, services: Services) -> None:
        # A queue that nobody names any more may still have a flag: it can be lifted.
        if self.queue is not None and self.queue not in services.pause.read([self.queue]):
            services.queues.check(self.queue, services.queue_names())


def as_it_was(queue: str | None, before: PauseInfo | None, *, cancel_consumer: bool = False) -> Operation:
    """Sets a pause again, for the time that it had left, or without an end.

    Args:
        cancel_consumer: Unmanaged workers were stopped with it.
    """
    from opsdash.operations.pause_processing import MAX_TTL_S, PauseProcessing  # each undoes the other

    ends = before.expires_at if before else None
    left_s = None if ends is None else min(MAX_TTL_S, max(1, round((ends - datetime.now(UTC)).total_seconds())))
    reason = before.reason if before else ""
    endless = before is not None and ends is None
    return PauseProcessing(
        queue=queue, duration_s=left_s, without_end=endless, reason=reason, cancel_consumer=cancel_consumer
    )


def _tasks(waiting: int, held: int) -> str:
    return f"{count(waiting, 'task')} waiting" + (f" and {held:,} unstarted in workers" if held else "")


def _keep(pauses: Sequence[PauseInfo], read: Sequence[QueueStats], workers: Sequence[WorkerStats]) -> list[Line]:
    """Queues' own pauses that hold on; of many the first few by name, and the others together."""
    lines: list[Line] = []
    more = more_held = 0
    for pause in pauses:
        waiting = sum(queue.waiting for queue in read if queue.name == pause.queue)
        held = sum((worker.held_by_queue or {}).get(pause.queue or "", 0) for worker in workers)
        until = f" until {times.clock(pause.expires_at)}" if pause.expires_at else ""
        if len(lines) < MOST_LINES:
            stay = "stays" if waiting + held == 1 else "stay"
            lines.append(
                Line("will_not", f"Queue {pause.queue} has its own pause{until}; {_tasks(waiting, held)} {stay}.")
            )
        else:
            more, more_held = more + waiting, more_held + held
    if rest := len(pauses) - len(lines):
        lines.append(Line("will_not", f"{count(rest, 'more queue')} with own pauses; {_tasks(more, more_held)} stay."))
    return lines
