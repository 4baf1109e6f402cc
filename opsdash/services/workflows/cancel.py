"""Cancels what is left of a workflow: what waits goes to the trash, what workers have is revoked.

Each step is whole by itself and can be done twice. So an act that dies leaves each task in its queue, set aside for it,
in the trash or revoked, and is run again for the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from opsdash.errors import Refused, Uncertain
from opsdash.services.broker.client import Broker
from opsdash.services.queues.lock import locked
from opsdash.services.queues.remove_tasks import MOST_QUEUES, Bin, take
from opsdash.services.queues.selective_clear import SelectiveClear
from opsdash.services.queues.task_message import written
from opsdash.services.workers.remote_control import Remote
from opsdash.services.workflows.links import links_of
from opsdash.services.workflows.look import WorkflowReader
from opsdash.services.workflows.sightings import Seen, Sighting
from opsdash.text import count

ROUNDS = 3
"""Looks: what a task has sent while the others were cancelled is found by the next one."""
MOST_REVOKED = 500
"""Ids of one command."""
IN_WORKERS = frozenset({"active", "reserved", "scheduled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelPlan:
    """What there is of a workflow to cancel.

    Attributes:
        waiting: In the queues, or held by a hold. ``fetched``: in workers, not running; ``active``: running.
        follow: Ids of tasks that those in workers would send: they are revoked too.
        unnamed: Tasks that those in workers would send and that get their ids then: they can't be revoked.
        behind: Tasks that are not sent, since what would send them goes to the trash, has failed, or is in the trash.
        failed: Kept as failed. ``cleared``: in the trash already. ``held``: set aside by an interrupted operation,
            from the queues ``held_from``.
    """

    waiting: tuple[Sighting, ...]
    fetched: tuple[Sighting, ...]
    active: tuple[Sighting, ...]
    follow: tuple[str, ...]
    unnamed: int
    behind: int
    failed: tuple[Sighting, ...]
    cleared: int
    held: int
    held_from: tuple[str, ...]

    @property
    def queues(self) -> dict[str, int]:
        """Queue → tasks that wait in it, the most first."""
        return dict(Counter(one.queue for one in self.waiting).most_common())

    @property
    def revoked(self) -> tuple[str, ...]:
        """Ids that are sent to all workers."""
        held = [one.id for one in (*self.active, *self.fetched)]
        return tuple(dict.fromkeys([*held, *self.follow]))

    @property
    def left(self) -> int:
        """Tasks that still run, or will."""
        return len(self.waiting) + len(self.fetched) + len(self.active) + self.held


@dataclass(slots=True)
class Cancelled:
    """What a cancel has done.

    Attributes:
        removed: Queue → tasks that are in the trash.
        revoked: Ids. ``confirmed``, ``failed``, ``unable``, ``silent``: workers, as in `remote_control.Answers`.
        ended: Ids of running tasks whose process is ended.
        running: Tasks that still ran when it looked last, and are not ended.
        queues_left: Queues that have no room in this trash: their tasks still wait.
        stopped: It was cancelled itself.
    """

    removed: Counter[str] = field(default_factory=Counter)
    revoked: dict[str, None] = field(default_factory=dict)
    confirmed: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    unable: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    running: int = 0
    queues_left: int = 0
    stopped: bool = False


def plan_of(seen: Seen) -> CancelPlan:
    """Of everything that was seen: a task in two places counts in each that has to be changed."""
    best = seen.best()
    waiting = tuple(one for one in seen.sightings if one.state == "waiting" or one.hold)
    in_trash_soon = {one.id for one in waiting}
    carriers: dict[str, list[Sighting]] = {}
    unnamed = behind = 0
    for one in best.values():
        for unsent in one.links.unsent:
            if unsent.id and unsent.id in best:
                continue
            if unsent.id:
                carriers.setdefault(unsent.id, []).append(one)
            elif _in_worker(one, in_trash_soon):
                unnamed += 1
            else:
                behind += 1
    follow = [task_id for task_id, of in carriers.items() if all(_in_worker(one, in_trash_soon) for one in of)]
    states = Counter(one.state for one in best.values())
    aside = [one for one in best.values() if one.state == "held" and not one.hold]
    return CancelPlan(
        waiting=waiting,
        fetched=tuple(one for one in best.values() if one.state in ("reserved", "scheduled")),
        active=tuple(one for one in best.values() if one.state == "active"),
        follow=tuple(follow),
        unnamed=unnamed,
        behind=behind + len(carriers) - len(follow),
        failed=tuple(one for one in seen.sightings if one.state == "failed"),
        cleared=states["cleared"],
        held=len(aside),
        held_from=tuple(sorted({one.queue for one in aside})),
    )


def _in_worker(one: Sighting, in_trash_soon: set[str]) -> bool:
    return one.state in IN_WORKERS and one.id not in in_trash_soon


def cancel(
    reader: WorkflowReader,
    remote: Remote,
    seen: Seen,
    into: Bin,
    *,
    terminate: bool,
    on_progress: Callable[[str], None] = lambda _text: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Cancelled:
    """Does it, and looks again for what was sent meanwhile.

    What waits is taken first: a task that is revoked as well would be discarded when it is restored. Before, what an
    interrupted operation has set aside goes back to its queue.

    Args:
        seen: The first look.
        terminate: Running tasks are ended, in the middle of their work.
        cancelled: Called between two steps; true stops there.

    Raises:
        Refused: Another operation has the lock of a queue; nothing was changed.
        Uncertain: The same, when something was.
    """
    done = Cancelled()
    if held_from := plan_of(seen).held_from:
        for queue in held_from:
            with locked(reader.broker, queue, by=into.by, what="cancel workflow") as lock:
                SelectiveClear(reader.broker).prepare(lock, queue)
        seen = reader.look(seen.asked, before=seen)
    for turn in range(ROUNDS):
        if turn:
            seen = reader.look(seen.asked, before=seen)
        plan = plan_of(seen)
        done.running = sum(one.id not in done.ended for one in plan.active)
        new = [one for one in plan.revoked if one not in done.revoked]
        if not plan.waiting and not new:
            break
        if done.stopped or cancelled():
            done.stopped = True
            break
        on_progress(f"look {turn + 1}: {count(len(plan.waiting), 'task')} waiting, {len(new):,} to revoke")
        _take(reader.broker, seen, plan, into, done, on_progress, cancelled)
        done.stopped = cancelled()
        if done.stopped:
            break
        _revoke(remote, new, [one.id for one in plan.active if one.id in new] if terminate else [], done)
    return done


def _take(
    broker: Broker,
    seen: Seen,
    plan: CancelPlan,
    into: Bin,
    done: Cancelled,
    on_progress: Callable[[str], None],
    cancelled: Callable[[], bool],
) -> None:
    keys = frozenset(seen.keys)
    texts = [text for key in sorted(keys) for text in written(key)]

    def meant(raw: bytes) -> bool:
        links = links_of(raw)
        return links is not None and links.names(keys)

    others = [queue for queue in plan.queues if queue not in done.removed]
    queues = [*done.removed, *others[: MOST_QUEUES - len(done.removed)]]  # the trash of all looks is one
    done.queues_left = len(set(plan.queues).difference(queues))
    for queue in [queue for queue in plan.queues if queue in queues]:

        def on_step(number: int, queue: str = queue) -> None:
            done.removed[queue] += number
            on_progress(f"{count(done.removed.total(), 'task')} taken out")

        try:
            take(broker, queue, texts, meant, into, on_step=on_step, cancelled=cancelled)
        except Refused as error:
            if not done.removed and not done.revoked:
                raise
            taken = f"{count(done.removed.total(), 'task')} taken out, {len(done.revoked):,} revoked."
            raise Uncertain(f"{taken} Then: {error.message}", hint="Run it again for the rest.") from error


def _revoke(remote: Remote, ids: Sequence[str], running: Sequence[str], done: Cancelled) -> None:
    for part, ends in ((ids, False), (running, True)):
        for start in range(0, len(part), MOST_REVOKED):
            answers = remote.revoke(*part[start : start + MOST_REVOKED], terminate=ends)
            done.confirmed |= set(answers.confirmed)
            done.failed |= answers.failed
            done.unable |= set(answers.unable)
            done.silent |= set(answers.silent)
            done.ended |= set(answers.ended_ids)
    done.revoked |= dict.fromkeys(ids)


def by_state(plan: CancelPlan) -> Mapping[str, int]:
    """State → tasks, of those that are left or failed."""
    numbers = {
        "waiting": sum(not one.hold for one in plan.waiting),
        "held": sum(bool(one.hold) for one in plan.waiting),
        "reserved": sum(one.state == "reserved" for one in plan.fetched),
        "scheduled": sum(one.state == "scheduled" for one in plan.fetched),
        "active": len(plan.active),
        "not sent": len(plan.follow) + plan.unnamed + plan.behind,
        "failed": len(plan.failed),
    }
    return {state: number for state, number in numbers.items() if number}
