"""What a preview says of a retry: what goes where, what is reset, and what is left out with the reason."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from opsdash.model import Breakdown, Line, OtherWorker, Part, PauseInfo, WorkerStats
from opsdash.model.failure import UNREADABLE, Failure
from opsdash.services.failures.message_edit import Change
from opsdash.services.failures.selection import (
    CHORD,
    NO_QUEUE,
    NOT_KEPT,
    TOO_LARGE,
    WAITING,
    RetryPlan,
    some_ids,
)
from opsdash.services.queues.discovery import consumed
from opsdash.text import count, format_duration
from opsdash.text import parse_rate as parse_rate
from opsdash.text import shown_rate as shown_rate

NAMED_QUEUES = 5
LONGEST_S = 86_400
"""A retry at a pace must end within a day: what was confirmed is then not too old."""

_WHY = {
    CHORD: ("{are} of chords, which have ended without them", "include_chords"),
    WAITING: ("{are} on the way again already", "include_waiting"),
    TOO_LARGE: ("{are} too large to be kept, so there is no message to send", ""),
    NOT_KEPT: ("{have} no message that could be sent", ""),
    NO_QUEUE: ("{are} of a queue that is not known here, or that has another key prefix", ""),
}


def left_out(plan: RetryPlan) -> list[Line]:
    """What is not sent, by reason, with some ids, and what sends it too."""
    lines = []
    for why, (text, choice) in _WHY.items():
        failures = plan.left_out.get(why, ())
        if not failures:
            continue
        one = len(failures) == 1
        text = text.format(are="is" if one else "are", have="has" if one else "have")
        places = sorted({plan.looked.found.get(one.task_id or one.id, "") for one in failures} - {""})
        where = f" ({', '.join(places[:NAMED_QUEUES])})" if why == WAITING and places else ""
        lines.append(Line("will_not", f"{len(failures):,} {text}{where}: {some_ids(failures)}.", choice=choice))
    if plan.unknown:
        more = f" and {len(plan.unknown) - 3:,} more" if len(plan.unknown) > 3 else ""
        lines.append(Line("will_not", f"Not kept as failed: {', '.join(plan.unknown[:3])}{more}."))
    return lines


def changes(plan: RetryPlan, change: Change, *, new_ids: bool) -> list[Line]:
    """What is reset in the messages; what is not said stays as it was."""
    retried = sum(1 for one in plan.going if one.retries)
    etas, expiries = (sum(1 for one in plan.going if value(one)) for value in (_eta, _expires))
    lines = []
    if retried:
        text = f"Retries are set to 0 in {retried:,}." if change.retries else f"{retried:,} keep their retries."
        lines.append(Line("will", text))
    if etas or expiries:
        parts = [f"the ETA of {etas:,}" if etas else "", f"the expiry of {expiries:,}" if expiries else ""]
        what = " and ".join(part for part in parts if part)
        kept = "stays: what has expired is revoked when a worker receives it"
        lines.append(
            Line("will", f"{what[0].upper()}{what[1:]} {'is removed' if change.times else kept}.")
            if change.times
            else Line("warning", f"{what[0].upper()}{what[1:]} {kept}.")
        )
    if new_ids:
        text = "Each gets a new id, and is its own root where it was before. Who waits for the old id gets no result."
        lines.append(Line("will", text))
    again = sum(1 for one in plan.going if (one.task_id or one.id) in plan.looked.found)
    if again:
        lines.append(
            Line("warning", f"{again:,} of them {'is' if again == 1 else 'are'} on the way already, and may run twice.")
        )
    chords = sum(1 for one in plan.going if one.chord)
    if chords:
        lines.append(
            Line(
                "warning", f"{count(chords, 'member')} of chords: their chords have failed and may not run their body."
            )
        )
    unreadable = sum(1 for one in plan.going if one.kind == UNREADABLE)
    if unreadable:
        lines.append(Line("note", f"{unreadable:,} can't be read: they are sent as they are."))
    changed = lines or change.args is not None or change.kwargs is not None
    what = "All else in the messages stays" if changed else "The messages stay"
    lines.append(Line("note", f"{what} byte for byte."))
    return lines


def _eta(failure: Failure) -> str:
    return failure.eta


def _expires(failure: Failure) -> str:
    return failure.expires


def queues(
    plan: RetryPlan,
    pauses: Mapping[str | None, PauseInfo],
    workers: Sequence[WorkerStats],
    others: Iterable[OtherWorker] | None,
) -> list[Line]:
    """Where they wait, and where nobody takes them."""
    by_queue = Counter(one.queue for one in plan.going)
    others = None if others is None else tuple(others)
    lines = []
    for queue, number in by_queue.most_common(NAMED_QUEUES):
        tasks = count(number, "task")
        if None in pauses or queue in pauses:
            lines.append(Line("warning", f"Queue {queue} is paused: {tasks} will wait there until it is resumed."))
        taken = consumed(queue, workers, others)
        if taken is False:
            lines.append(Line("warning", f"No worker consumes queue {queue}: {tasks} will wait there until one does."))
        elif taken is None:
            lines.append(Line("note", f"No reporting worker consumes queue {queue}; others could not be asked."))
    if plan.other_step:
        number = len(plan.other_step)
        lines.append(Line("warning", f"{number:,} came from a priority that the app has no more: to the nearest one."))
    return lines


def pace(number: int, per_s: float | None) -> Line:
    """How long it takes."""
    if per_s is None:
        return Line("note", "All at once, behind what waits. A pace, such as 10/s, spares what they call.")
    lasts = format_duration(math.ceil(max(0, number - 1) / per_s))
    return Line("note", f"At {shown_rate(per_s)}, the oldest failure first, this takes {lasts}.")


def by_task(plan: RetryPlan) -> Breakdown:
    """What is sent, by the name of the task."""
    return _breakdown("by_task", "Kinds of tasks", Counter(one.task or "(unreadable)" for one in plan.going))


def by_queue(plan: RetryPlan) -> Breakdown:
    """What is sent, by queue."""
    return _breakdown("by_queue", "", Counter(one.queue for one in plan.going))


def _breakdown(name: str, label: str, counted: Counter[str]) -> Breakdown:
    parts = tuple(Part(name=one, value=number) for one, number in counted.most_common(50))
    rest = counted.total() - sum(part.value for part in parts)
    others = Part(name="others", value=rest) if rest else None
    return Breakdown(name=name, label=label, unit="tasks", parts=parts, others=others)
