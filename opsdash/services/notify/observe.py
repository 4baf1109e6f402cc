"""From what was known and what is seen now to notifications: no input or output, so that each rule is tested alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

from opsdash.config.settings import Settings
from opsdash.model import AuditEntry, FailureGroup, QueueStats, Snapshot, Status, untrusted
from opsdash.model.failure import COUNTED
from opsdash.model.notification import (
    ApprovalWanted,
    BacklogHigh,
    ChainBroken,
    FailuresNew,
    Notification,
    OldestHigh,
    OperationEnded,
    PauseEnds,
    PushStopped,
    ServiceLost,
    WorkerLost,
)
from opsdash.redaction import masked
from opsdash.services.notify.facts import MOST, Alarm, Facts, step
from opsdash.values import frozen

T = TypeVar("T")

ENDS_SOON = timedelta(minutes=10)
"""Before the end of a pause."""
SHORT_PAUSE = timedelta(minutes=15)
"""The end of a pause that was meant to last no longer is no news."""
LOST_S = 30.0
"""A worker that is silent for so long is lost: it reports every 2 s."""
AWAY_S = 10.0
"""Redis or the database must be away so long, and back so long, to be a notification."""
HOLD_S = 10.0
"""A queue must be above a bound so long, and below it so long."""
BACK_BELOW = 0.9
"""And its figure must go below this part of the bound: else one that goes around it would be a stream of messages."""
REPORTS_AGAIN_S = 30.0
"""After Redis was away workers are silent until they have reported again."""
NEW_FAILURE = timedelta(hours=1)
NO_FAILURE_S = 900.0
"""A failure that did not come for so long has ended."""
MOST_TEXT, MOST_PARAMS = 1_000, 4_000
"""Characters of a reason or a result, and of parameters as JSON."""
PUSHED_S, NOT_PUSHED_S = 300.0, 60.0
"""Entries that wait are news when none was taken for the first, and that lasts for the second: one may be new."""
ENDED = {Status.SUCCESS, Status.FAILURE, Status.UNKNOWN}


@frozen(kw_only=True)
class Rules:
    """What the settings ask for."""

    kinds: frozenset[str]
    backlog: int | None = None
    oldest_s: int | None = None
    failures: int = 10
    arguments: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        """The rules of these settings."""
        return cls(
            kinds=frozenset(settings.notify_kinds),
            backlog=settings.notify_backlog,
            oldest_s=settings.notify_oldest_s,
            failures=settings.notify_failures,
            arguments=settings.notify_arguments,
        )


@frozen(kw_only=True)
class Unpushed:
    """Finished audit entries that wait for the receiver.

    Attributes:
        waiting: How many. ``taken_at``: when it took one last; None: never. ``problem``: why the last attempt failed.
    """

    waiting: int
    taken_at: datetime | None = None
    problem: str = ""


@frozen(kw_only=True)
class Seen:
    """One look.

    Attributes:
        entries: Audit entries of this broker that were finished since the last look, in their order. ``number``: up to
            which one was looked; None: the log was not read.
        failures: Groups of failed tasks; None: not read.
        chain: What is wrong with the newest entries of the hash chain; None: not checked.
        unpushed: None: nothing is pushed, or it was not read.
    """

    now: datetime
    snapshot: Snapshot
    entries: tuple[AuditEntry, ...] = ()
    number: int | None = None
    failures: tuple[FailureGroup, ...] | None = None
    chain: tuple[str, ...] | None = None
    unpushed: Unpushed | None = None


def observe(facts: Facts, seen: Seen, rules: Rules) -> tuple[Facts, tuple[Notification, ...]]:
    """What is to be remembered, and what is news."""
    look = _Look(facts, seen, rules)
    found = [*look.services(), *look.operations()]
    if not seen.snapshot.redis_error and seen.snapshot.redis_age_s is not None:
        found += [*look.pauses(), *look.approvals(), *look.workers(), *look.queues()]
    found += [*look.failed(), *look.chain(), *look.push()]
    return look.facts(), tuple(one for one in found if _wanted(one, rules))


def _wanted(one: Notification, rules: Rules) -> bool:
    return one.kind in rules.kinds or (isinstance(one, OperationEnded) and one.operation in rules.kinds)


class _Look:
    def __init__(self, before: Facts, seen: Seen, rules: Rules) -> None:
        self._before, self._seen, self._rules = before, seen, rules
        self._now, self._snapshot = seen.now, seen.snapshot
        self._alarms: dict[str, Alarm] = dict(before.alarms)
        self._noted = {name: until for name, until in before.noted.items() if until > seen.now}
        answers = not seen.snapshot.redis_error
        self._redis_since = (before.redis_since or seen.now) if answers else None

    def facts(self) -> Facts:
        """To be remembered."""
        number = self._before.number if self._seen.number is None else self._seen.number
        return Facts(
            number=number,
            alarms=_newest(self._alarms, key=lambda name: self._alarms[name].since),
            noted=_newest(self._noted, key=lambda name: self._noted[name]),
            redis_since=self._redis_since,
        )

    def services(self) -> Iterator[Notification]:
        """Redis and the database."""
        for service, error in (("redis", self._snapshot.redis_error), ("database", self._snapshot.database_error)):
            yield from self._alarm(
                f"service:{service}",
                bool(error),
                partial(ServiceLost, at=self._now, service=service, error=masked(error)),
                AWAY_S,
                AWAY_S,
            )

    def operations(self) -> Iterator[Notification]:
        """Finished entries; of those from before the first look none."""
        if self._before.number is None:
            return
        for entry in self._seen.entries:
            if entry.status not in ENDED or entry.seq is None or entry.seq <= self._before.number:
                continue
            params = untrusted.mapping(entry.details.get("params"))
            approved_by = entry.details.get("approved_by")
            yield OperationEnded(
                at=entry.finished_at or entry.timestamp,
                audit_id=str(entry.id),
                number=entry.seq,
                user=entry.user,
                operation=entry.operation,
                status=entry.status.value,
                target=entry.target,
                # Not `description`: without a message that is the parameters.
                message=str(entry.details.get("message") or "")[:MOST_TEXT],
                reason=entry.reason[:MOST_TEXT],
                approved_by=approved_by if isinstance(approved_by, str) else "",
                params=self._params(params),
            )

    def pauses(self) -> Iterator[Notification]:
        """Those that end soon, each once."""
        paused = dict(self._snapshot.paused_queues)
        for queue, info in ((None, self._snapshot.pause), *paused.items()):
            if info is None or info.expires_at is None:
                continue
            short = info.at is not None and info.expires_at - info.at <= SHORT_PAUSE
            if short or not self._now < info.expires_at <= self._now + ENDS_SOON:
                continue
            mark = info.epoch if info.epoch is not None else f"{info.expires_at:%Y-%m-%dT%H:%M}"
            if self._once(f"pause:{queue or '*'}:{mark}", info.expires_at + ENDS_SOON):
                yield PauseEnds(at=self._now, queue=queue, expires_at=info.expires_at, by=info.by, reason=info.reason)

    def approvals(self) -> Iterator[Notification]:
        """Requests for a second user's YES, each once."""
        for asked in self._snapshot.approvals:
            if asked.expires_at > self._now and self._once(f"approval:{asked.id}", asked.expires_at + ENDS_SOON):
                yield ApprovalWanted(
                    at=self._now,
                    approval_id=asked.id,
                    operation=asked.operation,
                    title=asked.title,
                    by=asked.by,
                    expires_at=asked.expires_at,
                    params=self._params(asked.params),
                )

    def workers(self) -> Iterator[Notification]:
        """Workers that went silent. One that left the list was shut down, or dismissed: that is an end, not a loss."""
        since = self._redis_since
        if since is None or (self._now - since < timedelta(seconds=REPORTS_AGAIN_S) and not self._before.first):
            return  # Redis was away: they could not report
        names = {f"worker:{worker.record or worker.hostname}" for worker in self._snapshot.workers}
        for gone in [name for name in self._alarms if name.startswith("worker:") and name not in names]:
            del self._alarms[gone]
        for worker in self._snapshot.workers:
            name, lost = f"worker:{worker.record or worker.hostname}", not worker.reports
            if lost and self._before.first:
                self._alarms[name] = Alarm(since=worker.heartbeat_at, raised=True, known=True)
                continue
            if name not in self._alarms and lost and worker.silent_s >= LOST_S:
                self._alarms[name] = Alarm(since=worker.heartbeat_at)
            if name in self._alarms:
                yield from self._alarm(
                    name,
                    lost,
                    partial(WorkerLost, at=self._now, hostname=worker.hostname),
                    LOST_S,
                    0.0,
                )

    def queues(self) -> Iterator[Notification]:
        """Bounds on a queue's pending tasks and on the age of the oldest."""
        present = {queue.name: queue for queue in self._snapshot.queues if not queue.error}
        for queue in self._watched("backlog:", present, self._rules.backlog):
            bound = self._rules.backlog or 0
            limit = bound * BACK_BELOW if f"backlog:{queue.name}" in self._alarms else bound
            yield from self._alarm(
                f"backlog:{queue.name}",
                queue.waiting > limit,
                partial(
                    BacklogHigh,
                    at=self._now,
                    queue=queue.name,
                    waiting=queue.waiting,
                    bound=bound,
                    paused=queue.paused,
                ),
                HOLD_S,
                HOLD_S,
            )
        for queue in self._watched("age:", present, self._rules.oldest_s):
            bound = self._rules.oldest_s or 0
            limit = bound * BACK_BELOW if f"age:{queue.name}" in self._alarms else bound
            if queue.oldest_s is None and queue.waiting:
                continue  # not known
            yield from self._alarm(
                f"age:{queue.name}",
                (queue.oldest_s or 0.0) > limit,
                partial(
                    OldestHigh,
                    at=self._now,
                    queue=queue.name,
                    oldest_s=round(queue.oldest_s or 0.0, 1),
                    bound_s=bound,
                    paused=queue.paused,
                ),
                HOLD_S,
                HOLD_S,
            )

    def failed(self) -> Iterator[Notification]:
        """Failures of a kind that is new."""
        if self._seen.failures is None or not self._rules.failures:
            return
        groups = {group.fingerprint: group for group in self._seen.failures if group.kind not in COUNTED}
        for name in [name for name in self._alarms if name.startswith("failures:")]:
            if name.partition(":")[2] not in groups:
                del self._alarms[name]  # discarded, sent again, or expired
        for group in groups.values():
            name = f"failures:{group.fingerprint}"
            new = group.first_at >= self._now - NEW_FAILURE and group.count >= self._rules.failures
            if name not in self._alarms and (not new or not self._once(name, self._now + 24 * NEW_FAILURE)):
                continue
            lasts = self._now - group.last_at < timedelta(seconds=NO_FAILURE_S)
            yield from self._alarm(
                name,
                lasts,
                partial(
                    FailuresNew,
                    at=self._now,
                    fingerprint=group.fingerprint,
                    task=group.task,
                    error=group.error,
                    count=group.count,
                    first_at=group.first_at,
                    place=group.place,
                    queue=group.queue,
                    message_text=group.message_text[:MOST_TEXT] if self._rules.arguments else "",
                ),
                0.0,
                0.0,
            )

    def chain(self) -> Iterator[Notification]:
        """The hash chain of the audit log."""
        if self._seen.chain is None:
            return
        problems = self._seen.chain
        yield from self._alarm(
            "chain",
            bool(problems),
            partial(ChainBroken, at=self._now, problems=problems[:5]),
            0.0,
            0.0,
        )

    def push(self) -> Iterator[Notification]:
        """The receiver of finished audit entries."""
        if (seen := self._seen.unpushed) is None:
            return
        late = seen.taken_at is None or self._now - seen.taken_at > timedelta(seconds=PUSHED_S)
        yield from self._alarm(
            "push",
            seen.waiting > 0 and late,
            partial(PushStopped, at=self._now, waiting=seen.waiting, problem=masked(seen.problem)),
            NOT_PUSHED_S,
            0.0,
        )

    def _params(self, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Parameters, if they are asked for; of very large ones the names."""
        if not self._rules.arguments:
            return {}
        large = len(json.dumps(params, default=str)) > MOST_PARAMS
        return dict.fromkeys(list(params)[:20], "(too large)") if large else params

    def _watched(self, kind: str, present: Mapping[str, QueueStats], bound: int | None) -> Iterable[QueueStats]:
        """Queues to look at for a bound; those that had an alarm and are gone have no tasks."""
        had = [name.partition(":")[2] for name in self._alarms if name.startswith(kind)]
        if bound is None:
            for name in had:
                del self._alarms[f"{kind}{name}"]
            return ()
        known = {queue.name for queue in self._snapshot.queues}
        gone = [QueueStats(name=name, waiting=0) for name in had if name not in known]
        return (*present.values(), *gone)

    def _alarm(
        self, name: str, active: bool, make: Callable[..., Notification], raise_s: float, normal_s: float
    ) -> Iterator[Notification]:
        before = self._alarms.get(name)
        after, news = step(before, active, self._now, raise_s, normal_s)
        if after is None:
            self._alarms.pop(name, None)
        else:
            self._alarms[name] = after
        if news:
            began = after or before
            yield make(since=began.since if began else self._now, recovered=news == "recovered")

    def _once(self, name: str, until: datetime) -> bool:
        if name in self._noted:
            return False
        self._noted[name] = until
        return True


def _newest(found: dict[str, T], *, key: Callable[[str], datetime]) -> dict[str, T]:
    """Of more than are remembered the newest."""
    if len(found) <= MOST:
        return found
    return {name: found[name] for name in sorted(found, key=key)[-MOST:]}
