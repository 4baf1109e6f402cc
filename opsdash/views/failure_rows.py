"""From failed tasks and their groups to rows: plain functions on plain values."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from opsdash.model import Failure, FailureGroup, FailureOverview
from opsdash.operations import DiscardFailed, EditFailed, RetryFailed
from opsdash.services.failures.failed_text import counters, error_of, not_kept, not_sendable, queues_of
from opsdash.text import count
from opsdash.views.components.sparkline import sparkline
from opsdash.views.rows import May, Row, act, known

MOST_GROUPS = 200
"""Groups that a page has, those that came last: each is some 500 bytes."""
HOURS = 24
"""Of a group's small line."""


def group_rows(groups: Iterable[FailureGroup], *, may: May, now: datetime) -> dict[str, Row]:
    """One row per group by its fingerprint, those that came last first."""
    return {group.fingerprint: _group_row(group, may, now) for group in list(groups)[:MOST_GROUPS]}


def _group_row(group: FailureGroup, may: May, now: datetime) -> Row:
    task, error = group.task or "a task without a name", error_of(group)
    return known(
        called=f"{task}: {error}",
        name=task,
        error=error,
        count=group.count,
        kept=group.kept,
        hours=_spark(group, now),
        first=round(group.first_at.timestamp()),
        last=round(group.last_at.timestamp()),
        per_hour=group.per_hour(now),
        queues=queues_of(group),
        workers=counters(group.workers),
        by_queue=counters(group.queues),
        place=group.place,
        said=group.message_text,
        kind=group.kind,
        not_kept=not_kept(group.not_kept),
        acts=_group_acts(may) if group.kept else None,
    )


def _spark(group: FailureGroup, now: datetime) -> list[str] | None:
    """Failures in each of the last hours; one without is 0, for nothing was missed."""
    hour = now.replace(minute=0, second=0, microsecond=0)
    hours = [hour - timedelta(hours=back) for back in reversed(range(HOURS))]
    return sparkline([[round(one.timestamp()), group.hours.get(one, 0)] for one in hours])


def _group_acts(may: May) -> list[Row]:
    acts = []
    if may(RetryFailed):
        acts.append(act(RetryFailed, "Retry", "All of them go to their queues again", usual=True))
    if may(DiscardFailed):
        acts.append(act(DiscardFailed, "Discard", "All of them are moved to the trash, with undo"))
    return acts


def entry_rows(failures: Iterable[Failure], *, may: May) -> dict[str, Row]:
    """One row per failed task by its id."""
    return {failure.id: _entry_row(failure, may) for failure in failures}


def _entry_row(failure: Failure, may: May) -> Row:
    return known(
        called=f"{failure.task} {failure.id}",
        id=failure.id,
        at=round(failure.at.timestamp()),
        arguments=failure.arguments or None,
        worker=failure.worker or None,
        queue=failure.queue or None,
        retries=failure.retries,
        times=failure.times,
        acts=_entry_acts(failure, may),
    )


def _entry_acts(failure: Failure, may: May) -> list[Row]:
    """What may be done to one. A courtesy: the service refuses what can't be."""
    acts: list[Row] = []
    if failure.sendable and may(RetryFailed):
        acts.append(act(RetryFailed, "Retry", "It goes to its queue again", usual=True))
    if may(DiscardFailed):
        acts.append(act(DiscardFailed, "Discard", "It is moved to the trash, with undo", usual=True))
    if failure.sendable and may(EditFailed):
        acts.append(act(EditFailed, "Edit", "It goes to its queue again, with other arguments", usual=True))
    return acts


def facts_of_group(row: Row) -> list[list[str]]:
    """What an opened group says above its tasks."""
    kept = f"{row['kept']:,} of {count(row['count'], 'failure')} kept{row['not_kept']}"
    told = {"Place": row["place"], "Queues": row["by_queue"], "Workers": row["workers"]}
    facts = [kept, *(f"{label}: {value}" for label, value in told.items() if value)]
    return [*([["text", row["said"]]] if row["said"] else []), ["mute", " · ".join(facts)]]


def facts_of_entry(failure: Failure) -> list[list[str]]:
    """What an opened task says: its facts, the error's text and the traceback."""
    often = f"{count(failure.times, 'time')} since {failure.first_at:%Y-%m-%d %H:%M:%S} UTC"
    told = {
        "Failed": often if failure.times > 1 else "",
        "Retries": str(failure.retries) if failure.retries else "",
        "ETA": failure.eta,
        "Expires": failure.expires,
        "Root": failure.root_id if failure.root_id != failure.task_id else "",
        "Parent": failure.parent_id,
        "Group": failure.group_id,
        "Chord": "a member of one" if failure.chord else "",
        "Message": not_sendable(failure),
    }
    facts = " · ".join(f"{label}: {value}" for label, value in told.items() if value)
    lines = [["mute", facts]] if facts else []
    lines += [["text", failure.message_text]] if failure.message_text else []
    return [*lines, ["code", failure.traceback or "No traceback."]]


def card(seen: FailureOverview) -> dict[str, Any]:
    """What the card of failed tasks and its tab say beside the rows."""
    more = len(seen.groups) - MOST_GROUPS
    note = f"{count(seen.total, 'failed task')} kept{not_kept(seen.not_kept)}" if seen.groups else ""
    shown = f"the {MOST_GROUPS} of {len(seen.groups):,} groups that came last" if more > 0 else ""
    return {"total": seen.total, "note": "; ".join(filter(None, [note, shown, *seen.problems]))}
