"""A notification in words: a title of one line, and a body of a few."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from opsdash.model import times
from opsdash.model.notification import (
    ApprovalWanted,
    BacklogHigh,
    ChainBroken,
    FailuresNew,
    Notification,
    OldestHigh,
    OperationEnded,
    PauseEnds,
    ServiceLost,
    TestNotification,
    WorkerLost,
)
from opsdash.redaction import masked
from opsdash.text import count, format_duration

MOST_TITLE, MOST_LINE = 200, 500
"""Characters; names and reasons come from users and programs."""
SERVICES = {"redis": "Redis", "database": "The database"}


def title(notification: Notification, environment: str | None = None) -> str:
    """One line, with the deployment's name in front where it has one."""
    text = _TITLES[type(notification)](notification)
    return _cut(f"[{environment}] {text}" if environment else text, MOST_TITLE)


def body(notification: Notification, message_id: str) -> str:
    """Some lines; the last one has the id by which a message that comes twice is known."""
    made = [_cut(line, MOST_LINE) for line in _BODIES[type(notification)](notification) if line]
    return "\n".join([*made, f"{_utc(notification.at)} · opsdash · id {message_id}"])


def _operation(one: OperationEnded) -> str:
    name = one.operation.replace("_", " ")
    on = f" ({one.target})" if one.target else ""
    return f"{one.user}: {name}{on}: {one.status}"


def _operation_lines(one: OperationEnded) -> list[str]:
    return [
        one.message,
        one.reason and f"Reason: {one.reason}",
        one.approved_by and f"Approved by {one.approved_by}.",
        _params(one.params),
        f"Audit entry {one.number}.",
    ]


def _params(params: Any) -> str:
    return f"Parameters: {json.dumps(params, ensure_ascii=False, default=str)}" if params else ""


def _pause(one: PauseEnds) -> str:
    what = "all queues" if one.queue is None else f"queue {one.queue}"
    return f"The pause of {what} ends in {format_duration((one.expires_at - one.at).total_seconds())}"


def _pause_lines(one: PauseEnds) -> list[str]:
    by = f"Paused by {one.by}. " if one.by else ""
    return [
        f"{by}It ends by itself at {_utc(one.expires_at)}: pause again to go on.",
        one.reason and f"Reason: {one.reason}",
    ]


def _approval(one: ApprovalWanted) -> str:
    return f"{one.by} asks for a second user's YES: {one.title}"


def _approval_lines(one: ApprovalWanted) -> list[str]:
    until = f"Until {_utc(one.expires_at)}, on the page or by: opsdash approve {one.approval_id}"
    return [until, "It can't be approved by an answer to this message.", _params(one.params)]


def _worker(one: WorkerLost) -> str:
    return f"Worker {one.hostname} reports again" if one.recovered else f"Worker {one.hostname} is lost"


def _worker_lines(one: WorkerLost) -> list[str]:
    if one.recovered:
        return [f"It was silent since {_utc(one.since)}."]
    return [f"It has not reported since {_utc(one.since)}, and was not shut down."]


def _service(one: ServiceLost) -> str:
    return f"{SERVICES.get(one.service, one.service)} {'answers again' if one.recovered else 'does not answer'}"


def _service_lines(one: ServiceLost) -> list[str]:
    lasted = format_duration((one.at - one.since).total_seconds())
    return [f"It was away for {lasted}." if one.recovered else f"Since {_utc(one.since)}. {one.error}"]


def _backlog(one: BacklogHigh) -> str:
    state = "is back to" if one.recovered else "has"
    return f"Queue {one.queue} {state} {count(one.waiting, 'pending task')}"


def _backlog_lines(one: BacklogHigh) -> list[str]:
    return [_bound(f"{one.bound:,}", one.since, recovered=one.recovered), _paused(paused=one.paused)]


def _oldest(one: OldestHigh) -> str:
    state = "is back to" if one.recovered else "has an oldest task of"
    return f"Queue {one.queue} {state} {format_duration(one.oldest_s)}"


def _oldest_lines(one: OldestHigh) -> list[str]:
    return [_bound(format_duration(one.bound_s), one.since, recovered=one.recovered), _paused(paused=one.paused)]


def _bound(bound: str, since: datetime, *, recovered: bool) -> str:
    return f"It was above the bound of {bound} since {_utc(since)}." if recovered else f"The bound is {bound}."


def _paused(*, paused: bool) -> str:
    return "The queue is paused." if paused else ""


def _failures(one: FailuresNew) -> str:
    if one.recovered:
        return f"{one.task} no longer fails with {one.error}"
    return f"New failure: {one.task}: {one.error}, {count(one.count, 'time')}"


def _failures_lines(one: FailuresNew) -> list[str]:
    where = f" in {one.place}" if one.place else ""
    queue = f", mostly from queue {one.queue}" if one.queue else ""
    return [
        f"{count(one.count, 'time')} since {_utc(one.first_at)}{where}{queue}.",
        one.message_text,
        f"opsdash failed --group {one.fingerprint}",
    ]


def _chain(one: ChainBroken) -> str:
    return "The audit log's hash chain is whole again" if one.recovered else "The audit log's hash chain is broken"


def _chain_lines(one: ChainBroken) -> list[str]:
    if one.recovered:
        return [f"It was broken since {_utc(one.since)}."]
    return [*one.problems, "To see all of it: opsdash audit verify"]


def _test(one: TestNotification) -> str:
    return f"A test of opsdash's notifications, sent by {one.by}"


def _test_lines(_: TestNotification) -> list[str]:
    return ["This address takes notifications."]


_TITLES: dict[type[Notification], Callable[[Any], str]] = {
    OperationEnded: _operation,
    PauseEnds: _pause,
    ApprovalWanted: _approval,
    WorkerLost: _worker,
    ServiceLost: _service,
    BacklogHigh: _backlog,
    OldestHigh: _oldest,
    FailuresNew: _failures,
    ChainBroken: _chain,
    TestNotification: _test,
}
_BODIES: dict[type[Notification], Callable[[Any], list[str]]] = {
    OperationEnded: _operation_lines,
    PauseEnds: _pause_lines,
    ApprovalWanted: _approval_lines,
    WorkerLost: _worker_lines,
    ServiceLost: _service_lines,
    BacklogHigh: _backlog_lines,
    OldestHigh: _oldest_lines,
    FailuresNew: _failures_lines,
    ChainBroken: _chain_lines,
    TestNotification: _test_lines,
}


def _utc(moment: datetime) -> str:
    return times.clock(moment, datetime.now(UTC))


def _cut(text: str, most: int) -> str:
    """On one line, without what looks secret, nor what is no sign: some services refuse it, or follow it."""
    line = masked("".join(char if char.isprintable() else "?" for char in " ".join(text.split())))
    return line if len(line) <= most else f"{line[: most - 1]}…"
