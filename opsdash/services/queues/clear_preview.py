"""What every preview of a clear tells besides its own: what workers hold, how old things are, and what keeps coming."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from opsdash.model import Breakdown, Figure, Line, Part, WorkerStats
from opsdash.services.broker.messages import envelope, expires_at
from opsdash.services.pause.holds import Holds
from opsdash.services.queues.held import HeldByWorkers
from opsdash.services.queues.read import Queues
from opsdash.services.queues.sampling import TaskSample
from opsdash.services.workers.reports import Workers
from opsdash.services.workers.unmanaged import UnmanagedWorkers
from opsdash.text import at_least, count


def held_by_workers(workers: Workers, queues: Queues, unmanaged: UnmanagedWorkers, queue: str) -> HeldByWorkers:
    """Read now. Cost: three round trips, and the first time a second for unmanaged workers to answer."""
    others = unmanaged.known()
    return HeldByWorkers(
        queue=queue,
        workers=[w for w in workers.read() if _concerned(w, queue)],
        others=None if others is None else [other for other in others if queue in other.queues],
        unacked=queues.unacked(),
    )


def _concerned(worker: WorkerStats, queue: str) -> bool:
    """It takes tasks of the queue, or has some that it took before; of one that is offline its last tasks count."""
    has = any((*worker.runs_of(queue), *worker.holds_of(queue)))
    if queue not in worker.queues:
        return bool(worker.runs_of(queue)[0] or worker.holds_of(queue)[0])
    return has or worker.state != "offline"


def set_aside(holds: Holds, queue: str) -> list[Line]:
    """What holds and concurrency limits have set aside of a queue stays; none where nothing is.

    Cost: three round trips at most.
    """
    found = [(one.hold, number) for one in holds.look().holds if (number := one.by_queue.get(queue, 0))]
    held = sum(number for hold, number in found if hold.kind != "limit")
    limited = sum(number for hold, number in found if hold.kind == "limit")
    parts = [f"{count(held, 'held task')} of this queue (opsdash holds)"] if held else []
    if limited:
        parts.append(f"{limited:,} waiting for a concurrency limit (opsdash concurrency-limits)")
    return [Line("will_not", f"Not removed: {' and '.join(parts)}.")] if parts else []


def age(oldest_s: float | None, *, unsure: bool = False) -> Line:
    """How old the oldest message is. Args: ``unsure``: it is at least so old."""
    text = "not known" if oldest_s is None else at_least(oldest_s, unsure=unsure)
    return Line("note", f"Age of the oldest: {text}.")


def arriving(per_s: float | None) -> Line:
    """What keeps coming."""
    lately = f": about {per_s:,.1f} tasks a second lately" if per_s is not None else ""
    return Line("will_not", f"Producers and beat continue to send{lately}. Tasks that arrive after this preview stay.")


def expiring(made_of: TaskSample | None) -> list[Line]:
    """The line of a pause about tasks with their own ``expires``; none if there are none.

    Args:
        made_of: What ends before the pause does, among what waits; None when it is not known.
    """
    if made_of is None:
        return [
            Line("warning", "How many of those that wait end (their expires) before the pause does could not be read.")
        ]
    if not made_of.number:
        return []
    number = f"{made_of.number:,}"
    if not made_of.counted:
        number = f"about {number} (± {made_of.number_error:,}, estimated from {made_of.looked_at:,} of them)"
    ends = "ends (its expires)" if made_of.counted and made_of.number == 1 else "end (their expires)"
    text = f"Of those that wait, {number} {ends} before the pause does: received later, Celery revokes them unrun."
    return [Line("warning", text)]


def expire_by(now: datetime, end: datetime) -> Callable[[bytes], bool]:
    """Tells whether a message has an ``expires`` that is not over now and will be at the end."""

    def matches(text: bytes) -> bool:
        message = envelope(text)
        ends = expires_at(message) if message is not None else None
        return ends is not None and now < ends <= end

    return matches


def figures(made_of: TaskSample, oldest_s: float | None) -> tuple[Figure, ...]:
    """What was found out about the messages. ``oldest_s``: age of the oldest of them."""
    return (
        Figure(name="looked_at", value=made_of.looked_at, unit="tasks"),
        Figure(name="oldest_s", value=oldest_s, unit="s"),
    )


def by_task(made_of: TaskSample) -> Breakdown:
    """The messages by the name of their task."""
    return Breakdown(
        name="by_task",
        label="Kinds of tasks",
        unit="tasks",
        exactness="exact" if made_of.counted else "estimated",
        parts=tuple(Part(name=name, value=n, error=made_of.error.get(name)) for name, n in made_of.by_task.items()),
        others=None if made_of.counted else Part(name="others, not seen", value=0, error=made_of.unseen),
    )
