"""What is known of a worker: frozen, comparable, standard library only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from datetime import datetime

from opsdash.model.signatures import Unsent
from opsdash.text import format_duration
from opsdash.values import frozen


@frozen(kw_only=True)
class WorkerStats:
    """One worker, as it last reported itself.

    Attributes:
        state: ``online``; ``stalled`` (its process reports, its event loop does not turn); ``silent`` (it has missed
            two reports or more: its last report still counts); ``offline`` (silent for minutes).
        silent_s: For how long it has been silent; 0 while it reports.
        record: Its name on the list of workers: the hostname, or ``hostname #instance`` beside another of that name.
        instance: Which start of which process; empty: a plug-in that does not say.
        heartbeat_at: When it last reported, in UTC, by this machine's clock.
        uptime_s: Seconds since the worker started.
        processed: Tasks it has executed since it started. ``started``: queue → tasks it has handed to its pool.
        failed: Tasks that ended in failure since it started, unregistered, unreadable and rejected ones too; what was
            retried, ignored, revoked or put back is none. None: it does not say.
        active: Running now. ``reserved``: prefetched, not started. ``scheduled``: ETA, held in its timer.
        running_by_queue: Queue → tasks of it that run, the empty name for those whose queue it can't tell; None: it
            does not say.
        held_by_queue: Queue → messages of it that were fetched and not started, those with an ETA included; as above.
        unacked: Entries of the broker's ``unacked`` hash that are its own; None: it does not say.
        remote_control: Whether it answers Celery's remote control; None: it does not say.
        clients: Redis's ids of the connections that it fetches with; None: it does not say.
        oldest_s: For how long the oldest of its running tasks runs; None when nothing does, or it does not say.
        concurrency: Slots of its pool.
        load: The one-minute load average of its machine; None where unknown.
        memory_bytes: Resident memory of the main process and its pool's children; None where unknown.
        paused: It has applied the pause of everything. ``paused_queues``: queues whose own pause it has applied.
        epoch: The pause epoch it has applied; None when it can't read the flag.
        pausing: ``ready``, or why this worker can't pause.
        draining: It takes no more tasks: ``opsdash.worker.drain`` has asked it, since it is about to be stopped, or it
            stops already, and finishes what runs.
        build: Which build it runs, as its ``OPSDASH_BUILD`` says; empty: it does not say.
        holding: ``ready``, or why this worker can't hold tasks; empty: its plug-in is too old to.
        holds_applied: Ids of the holds it has applied, concurrency limits among them.
        limited: Id of a concurrency limit → tasks of it that run there; None: its plug-in knows none.
        unread: Fields of its report that are there and can't be read.
    """

    hostname: str
    state: str
    heartbeat_at: datetime
    pid: int = 0
    uptime_s: float = 0.0
    processed: int = 0
    failed: int | None = 0
    active: int = 0
    reserved: int = 0
    scheduled: int = 0
    oldest_s: float | None = None
    concurrency: int = 0
    pool: str = ""
    load: float | None = None
    memory_bytes: int | None = None
    queues: tuple[str, ...] = ()
    paused: bool = False
    paused_queues: tuple[str, ...] = ()
    epoch: int | None = None
    pausing: str = "ready"
    version: str = ""
    started: Mapping[str, int] = field(default_factory=dict)
    silent_s: float = 0.0
    record: str = ""
    instance: str = ""
    running_by_queue: Mapping[str, int] | None = None
    held_by_queue: Mapping[str, int] | None = None
    unacked: int | None = None
    remote_control: bool | None = None
    clients: tuple[int, ...] | None = None
    draining: bool = False
    build: str = ""
    holding: str = ""
    holds_applied: tuple[str, ...] = ()
    limited: Mapping[str, int] | None = None
    unread: tuple[str, ...] = ()

    @property
    def reports(self) -> bool:
        """Its process lives: it has not missed two reports."""
        return self.state in ("online", "stalled")

    @property
    def condition(self) -> str:
        """Its state in one word for people: one that lives and takes tasks from no queue is not plainly ``online``.

        ``quiet``: it takes no more tasks; ``draining`` or ``drained``: it is about to be stopped.
        """
        if self.state != "online":
            return self.state
        if self.draining:
            return "drained" if self.drained else "draining"
        return "online" if self.queues or "queues" in self.unread else "quiet"

    @property
    def holds(self) -> bool:
        """It has applied a pause of all it takes tasks from, or is being drained."""
        if self.pausing != "ready":
            return False
        return self.paused or self.draining or (bool(self.queues) and set(self.queues) <= {*self.paused_queues})

    @property
    def drained(self) -> bool:
        """It reports that it starts nothing, runs nothing, and has put back what it had not started.

        What waits for its time may still be in its timer during a pause; it is held there.
        """
        return self.reports and self.holds and not self.active and not self.reserved

    def runs_of(self, queue: str | None) -> tuple[int, int]:
        """How many of its running tasks are of a queue, and how many more may be, since it can't tell; None: of any."""
        return _of(queue, self.active, self.running_by_queue)

    def holds_of(self, queue: str | None) -> tuple[int, int]:
        """The same of what it has fetched and not started, tasks with an ETA included."""
        return _of(queue, self.reserved + self.scheduled, self.held_by_queue)

    @property
    def uptime(self) -> str:
        """``2h 34m 12s``."""
        return format_duration(self.uptime_s)


def _of(queue: str | None, total: int, by_queue: Mapping[str, int] | None) -> tuple[int, int]:
    if queue is None:
        return total, 0
    return (0, total) if by_queue is None else (by_queue.get(queue, 0), by_queue.get("", 0))


@frozen(kw_only=True)
class Build:
    """The workers that run one build.

    Attributes:
        name: As their ``OPSDASH_BUILD`` says; empty: those that name none.
        workers: How many are known, silent and offline ones too: what they ran may still run.
        drained: How many of them report that they start nothing and run nothing.
    """

    name: str
    workers: int
    drained: int


def builds(workers: Iterable[WorkerStats]) -> tuple[Build, ...]:
    """The builds that run, the one that was started first in front; none where no worker names its build."""
    found: dict[str, list[WorkerStats]] = {}
    for worker in workers:
        found.setdefault(worker.build, []).append(worker)
    if not any(found):
        return ()
    oldest = sorted(found.items(), key=lambda build: (-max(worker.uptime_s for worker in build[1]), build[0]))
    return tuple(
        Build(name=name, workers=len(alike), drained=sum(worker.drained for worker in alike)) for name, alike in oldest
    )


@frozen(kw_only=True)
class RunningTask:
    """One task that a worker runs.

    Attributes:
        arguments: As the worker reports them, without what looks secret; empty: it does not report them.
        queue: The queue it came from; for a broadcast its routing key.
        started_at: When it began, in UTC, by this machine's clock; None where the worker does not say.
        chord: It is a member of a chord.
        root, parent, group: Ids of its workflow's root, of the task that sent it, and of its group; empty: none, or the
            worker does not report them. ``unsent``: what is sent when it ends; ``cut``: not all of it.
    """

    task_id: str
    name: str
    queue: str
    started_at: datetime | None = None
    arguments: str = ""
    root: str = ""
    parent: str = ""
    group: str = ""
    chord: bool = False
    unsent: tuple[Unsent, ...] = ()
    cut: bool = False


@frozen(kw_only=True)
class OtherWorker:
    """A worker that is not managed by opsdash: it answers Celery's remote control, and a pause does not stop it.

    Attributes:
        queues: The queues it takes tasks from; none after ``cancel_consumer``.
        active: Tasks it ran when it was asked.
    """

    hostname: str
    queues: tuple[str, ...] = ()
    active: int = 0


@frozen(kw_only=True)
class Connection:
    """A connection to the broker that has fetched as workers do, and is named by no report.

    Attributes:
        address: ``host:port`` of the client.
        blocked: It waits for a message just now.
    """

    address: str
    blocked: bool


@frozen(kw_only=True)
class UnmanagedLook:
    """What asking for workers that do not report has found.

    Attributes:
        others: Workers that are not managed by opsdash, as they answered.
        error: Why they could not be asked; empty: they were.
        off: Workers that report, and have remote control switched off: others may have, too.
        unanswered: How many hear remote control and have neither answered nor reported. Counted while something is
            paused only, like all that follows.
        candidates: Names that may be theirs: mailboxes that are bound.
        connections: Connections that fetch, or did last, and are named by no report.
        unnamed: Workers that report without naming their connections: so many of those are theirs.
        connections_error: Why the connections can't be read.
        epoch: The pause counter when it was asked: what was asked before a pause says nothing about it.
        counted: Something was paused.
    """

    others: tuple[OtherWorker, ...] = ()
    error: str = ""
    off: tuple[str, ...] = ()
    unanswered: int = 0
    candidates: tuple[str, ...] = ()
    connections: tuple[Connection, ...] = ()
    unnamed: int = 0
    connections_error: str = ""
    epoch: int | None = None
    counted: bool = False
