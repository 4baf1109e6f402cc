"""The one screen of ``status``: what a tired operator has to know, in at most some forty lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rich.console import RenderableType

from opsdash.cli.output import line, table
from opsdash.model import FailureOverview, PauseInfo, QueueStats, Snapshot, Status, WorkerStats
from opsdash.operation import heading_of
from opsdash.services.failures.failed_text import not_kept
from opsdash.services.monitoring import pace_text
from opsdash.services.pause import hold_text, limit_text
from opsdash.services.pause.verdict import verdict
from opsdash.services.pause.verdict_text import describe, describe_builds, remedies
from opsdash.text import at_least, count, format_duration
from opsdash.values import frozen

NO_WORKERS = "No active workers detected. Check Celery deployment."
NO_CONSUMER = "no consumer"
"""No worker takes tasks from the queue."""
OTHER_THAN_ONLINE = ("quiet", "draining", "drained", "stalled", "silent")
MOST_QUEUES = 15
MOST_WARNINGS = 5


@frozen
class Summary:
    """The contents of the screen.

    Attributes:
        shown: Lines and the table, from top to bottom.
        warnings: What needs attention, one line each; on stderr if there is one.
    """

    shown: list[RenderableType]
    warnings: list[str]


def summarize(
    snapshot: Snapshot,
    broker: str,
    here: str = "",
    failed: FailureOverview | None = None,
) -> Summary:
    """One screen of a snapshot.

    Args:
        broker: The broker's name for people. ``here``: as the audit log calls it; acts on others are not this one's.
        failed: The failed tasks that are kept; None: not known.
    """
    answered = f", answered in {snapshot.redis_ms:.1f} ms" if snapshot.redis_ms is not None else ""
    shown: list[RenderableType] = [
        line("Processing Status:", processing(snapshot), *_headline(snapshot)),
        *([line("Database:", snapshot.database_error)] if _unfit(snapshot) else []),
        line(f"{broker}{answered}"),
        *_queues(snapshot),
        *(line(f"{text}: opsdash holds") for text in filter(None, [hold_text.held(snapshot.holds, snapshot.taken_at)])),
        *(line(text) for text in limit_text.limited(snapshot, commands=True)),
        *(line(text) for text in _workers(snapshot)),
        *(line(text) for text in _failed(failed)),
        *(line(text) for text in _waiting_for_somebody(snapshot)),
    ]
    own = [entry for entry in snapshot.operations if entry.broker in (None, here)]
    if own and not snapshot.database_error:
        # What was refused has changed nothing: it must not hide what did.
        last = next((entry for entry in own if entry.status is not Status.REFUSED), own[0])
        when = f"{last.timestamp:%Y-%m-%d %H:%M:%S} UTC"
        shown.append(line(f"Last operation: {when} {last.user} {heading_of(last)}", last.status.value))
    return Summary(shown, list(_warnings(snapshot)))


def processing(snapshot: Snapshot) -> str:
    """In one word."""
    return "PAUSED" if snapshot.pause else "RUNNING"


def queue_table(queues: tuple[QueueStats, ...]) -> RenderableType:
    """Pending tasks of each queue."""
    return table(
        ["Queue", "Pending Tasks", "Oldest", "Time in queue", "By priority", "State"],
        [
            (
                queue.name,
                "-" if queue.error else queue.waiting,
                "-" if queue.oldest_s is None else at_least(queue.oldest_s, unsure=queue.oldest_at_least),
                (pace_text.wait(queue.pace.recent) if queue.pace else "") or "-",
                ", ".join(f"{step}: {n:,}" for step, n in sorted(queue.by_priority.items())) or "-",
                _state(queue),
            )
            for queue in queues
        ],
        empty="No queue is known.",
        gives_way=("By priority", "Oldest", "Time in queue"),
        wraps=("State",),
    )


def _state(queue: QueueStats) -> str:
    if queue.error:
        return queue.error
    if _unserved(queue):
        return f"paused, {NO_CONSUMER}" if queue.paused else NO_CONSUMER
    return "paused" if queue.paused else "running"


def _unserved(queue: QueueStats) -> bool:
    return queue.consumed is False


def in_workers(snapshot: Snapshot) -> RenderableType:
    """What the table does not count: the tasks that workers say they hold, and Redis's own count of what was fetched.

    The two differ: a running task has been acknowledged, unless it has ``acks_late``.
    """
    counted = _counted(snapshot)
    number = sum(worker.active + worker.reserved + worker.scheduled for worker in counted)
    least = "" if snapshot.others is not None and not snapshot.others else "at least "
    text = (
        f"{least}{number:,} more in workers (running, reserved or scheduled{_reporting(snapshot, counted)})"
        if counted
        else "The tasks in workers are not known"
    )
    return line(f"{text}; {count(snapshot.unacked, 'task')} fetched and not acknowledged yet")


def _reporting(snapshot: Snapshot, counted: list[WorkerStats]) -> str:
    """Whose figures are not in the sum, and whose are old."""
    parts = []
    if snapshot.others is None:
        parts.append("unmanaged workers could not be asked")
    elif snapshot.others:
        number = len(snapshot.others)
        parts.append(f"{count(number, 'worker')} {'does' if number == 1 else 'do'} not report")
    if silent := [worker.silent_s for worker in counted if worker.state == "silent"]:
        parts.append(f"up to {format_duration(max(silent))} old")
    return "".join(f"; {part}" for part in parts)


def _headline(snapshot: Snapshot) -> Iterator[str]:
    """What a reader of the first line alone must know."""
    if about := _pause_details(snapshot.pause) or _but(snapshot):
        yield about
    if not _counted(snapshot) and snapshot.others == ():
        yield "(no worker is online)"


def _unfit(snapshot: Snapshot) -> bool:
    """The database answers and is not this opsdash's: another program's, or of another version. No outage."""
    return bool(snapshot.database_error) and "database" not in snapshot.silent


def outbox(steps: int) -> str:
    """That the audit log waits for its database."""
    wait = "step of the audit log waits" if steps == 1 else "steps of the audit log wait"
    return f"{steps:,} {wait} in the outbox for the database"


def _but(snapshot: Snapshot) -> str:
    """What a reader of the first line alone must know: queues with their own pause."""
    names = sorted(snapshot.paused_queues)
    if not names:
        return ""
    shown = ", ".join(names[:MOST_QUEUES])
    left = f" and {len(names) - MOST_QUEUES} more" if len(names) > MOST_QUEUES else ""
    return f"except {shown}{left}: {'this queue has its' if len(names) == 1 else 'these queues have their'} own pause"


def _pause_details(pause: PauseInfo | None) -> str:
    if pause is None:
        return ""
    parts = [
        f"by {pause.by}" if pause.by else "set outside opsdash",
        f"since {pause.at:%Y-%m-%d %H:%M:%S} UTC" if pause.at else "",
        f"until {pause.expires_at:%Y-%m-%d %H:%M:%S} UTC" if pause.expires_at else "without an end",
        f"({pause.reason})" if pause.reason else "",
    ]
    return " ".join(part for part in parts if part)


def _queues(snapshot: Snapshot) -> Iterator[RenderableType]:
    """Those in trouble, then the longest, in their usual order; the others are counted."""
    longest = sorted(
        snapshot.queues,
        key=lambda queue: (not queue.error, not queue.paused, not (queue.waiting and _unserved(queue)), -queue.waiting),
    )
    names = {queue.name for queue in longest[:MOST_QUEUES]}
    yield queue_table(tuple(queue for queue in snapshot.queues if queue.name in names))
    if rest := longest[MOST_QUEUES:]:
        waiting = sum(queue.waiting for queue in rest)
        yield line(f"{count(len(rest), 'more queue')} with {count(waiting, 'task')}: opsdash queues")
    yield in_workers(snapshot)
    yield from pace_lines(snapshot.queues)


def pace_lines(queues: tuple[QueueStats, ...]) -> Iterator[RenderableType]:
    """Objectives, and queues that fall behind or need long: those that are in trouble first, one line each."""
    said = []
    for queue in queues:
        pace = queue.pace
        if pace is None:
            continue
        texts = [pace_text.objective(pace.objective)] if pace.objective else []
        texts += filter(None, [pace_text.trend(pace, queue.waiting)])
        missed = pace.objective is not None and pace.objective.kept is False
        if texts:
            said.append((not missed, not pace.falling_behind, f"{queue.name}: {'; '.join(texts)}"))
    yield from (line(text) for *_, text in sorted(said, key=lambda one: one[:2])[:MOST_QUEUES])
    if any(queue.pace and queue.pace.recent and queue.pace.recent.unknown for queue in queues):
        yield line(f"Some tasks don't say when they were sent: {pace_text.UNSTAMPED}")


def _workers(snapshot: Snapshot) -> Iterator[str]:
    counted, states = _counted(snapshot), Counter(worker.condition for worker in snapshot.workers)
    if not counted:
        yield NO_WORKERS
    else:
        running, reserved, scheduled = (
            sum(getattr(w, f) for w in counted) for f in ("active", "reserved", "scheduled")
        )
        failed = sum(worker.failed or 0 for worker in counted)
        yield (
            f"{count(states['online'], 'worker')} online, "
            + "".join(f"{states[word]:,} {word}, " for word in OTHER_THAN_ONLINE if states[word])
            + f"{states['offline']:,} offline;"
            f" tasks: {running:,} running, {reserved:,} reserved, {scheduled:,} scheduled"
            + (f", {failed:,} failed since the workers started" if failed else "")
        )
    if draining := sum(worker.draining for worker in counted):
        takes = "takes no tasks: it is" if draining == 1 else "take no tasks: they are"
        yield f"{count(draining, 'worker')} {takes} about to be stopped."
    if text := describe_builds(snapshot.workers):
        yield text
    whole = verdict(snapshot)
    if whole:
        yield describe(whole)
        yield from (f"   → {todo}" for todo in remedies(whole))
    for queue, pause in list(snapshot.paused_queues.items())[:MOST_QUEUES]:
        stand = None if whole else verdict(snapshot, queue)
        yield f"Queue {queue} has its own pause, {_pause_details(pause)}." + (f" {describe(stand)}" if stand else "")
        yield from (f"   → {todo}" for todo in (remedies(stand) if stand else ()))


def _failed(failed: FailureOverview | None) -> Iterator[str]:
    groups = [group for group in failed.groups if group.kept] if failed is not None else []
    if failed is None or not groups:
        return
    last = f"the last one {groups[0].last_at:%Y-%m-%d %H:%M:%S} UTC, {groups[0].task or 'without a name'}"
    yield f"{count(failed.total, 'failed task')} kept{not_kept(failed.not_kept)}, {last}: opsdash failed"


def _waiting_for_somebody(snapshot: Snapshot) -> Iterator[str]:
    if snapshot.approvals:
        number = len(snapshot.approvals)
        yield f"{count(number, 'pending approval')}: opsdash approvals"
    kept = [entry for entry in snapshot.trash if entry.state != "restoring"]
    if kept:
        tasks = sum(entry.count for entry in kept)
        yield f"{count(len(kept), 'clear')} can be undone, {count(tasks, 'task')}: opsdash trash"
    for entry in [entry for entry in snapshot.trash if entry.state == "restoring"][:MOST_WARNINGS]:
        yield (
            f"A restore of queue {entry.queue} is not finished: {count(entry.count, 'task')} left,"
            f" {entry.set_aside:,} newer set aside: opsdash restore-queue {entry.id}"
        )


def _warnings(snapshot: Snapshot) -> Iterator[str]:
    if snapshot.redis_error:
        age_s = snapshot.redis_age_s
        stale = "There are no figures yet." if age_s is None else f"Figures are {format_duration(age_s)} old."
        yield f"{snapshot.redis_error} {stale}"
    yield from (conflict.message for conflict in snapshot.layout_conflicts)
    yield from (unread.message for unread in snapshot.unread)
    if not verdict(snapshot):
        unfit = [worker for worker in snapshot.workers if worker.reports and worker.pausing != "ready"]
        yield from _few([f"{worker.hostname} can't pause: {worker.pausing}" for worker in unfit], "workers")
    silent = [
        f"{worker.hostname} is silent for {format_duration(worker.silent_s)}"
        for worker in snapshot.workers
        if worker.state == "silent"
    ]
    yield from _few(silent, "workers")
    quiet = [f"{worker.hostname} takes no tasks" for worker in snapshot.workers if worker.condition == "quiet"]
    yield from _few(quiet, "workers")
    others = [
        f"{other.hostname} is not managed by opsdash: a pause does not stop it. It "
        + (f"takes tasks from {', '.join(other.queues)}" if other.queues else "takes no tasks now")
        for other in snapshot.others or ()
    ]
    yield from _few(others, "workers")
    if snapshot.tenant_drift and snapshot.tenant_drift.differs:
        yield snapshot.tenant_drift.message
    if snapshot.spooled:
        yield outbox(snapshot.spooled)
    if snapshot.notifications and (fault := snapshot.notifications.fault(snapshot.taken_at)):
        yield f"{fault}: opsdash notify"
    if snapshot.database_error:
        if not _unfit(snapshot):  # else it is among the first lines
            yield snapshot.database_error
    elif snapshot.tenants_error:
        yield f"Tenants: {snapshot.tenants_error}"


def _few(lines: list[str], what: str) -> Iterator[str]:
    yield from lines[:MOST_WARNINGS]
    if len(lines) > MOST_WARNINGS:
        yield f"and {len(lines) - MOST_WARNINGS:,} more {what} like these"


def _counted(snapshot: Snapshot) -> list[WorkerStats]:
    """Workers whose figures count: the last report of a silent worker may still be true."""
    return [worker for worker in snapshot.workers if worker.state != "offline"]
