"""What cancelling a workflow would do, and has done, in sentences."""

from __future__ import annotations

from collections.abc import Mapping

from opsdash.model import Line
from opsdash.services.queues.remove_tasks import MOST_QUEUES
from opsdash.services.queues.trash import span
from opsdash.services.workers.remote_control import CANNOT_TERMINATE
from opsdash.services.workflows.cancel import Cancelled, CancelPlan
from opsdash.text import count

NAMED = 5
"""Queues that a sentence names."""


def lines(plan: CancelPlan, *, terminate: bool, discard: bool, keep_s: int, pools: Mapping[str, str]) -> list[Line]:
    """The preview's lines."""
    found = list[Line]()
    if plan.waiting:
        found += _waiting(plan, keep_s)
    if plan.fetched:
        number = count(len(plan.fetched), "task")
        found.append(Line("will", f"{number} that workers have fetched and not started: revoked, and can't be undone."))
    if plan.active:
        found += _active(plan, terminate, pools)
    found += _not_sent(plan)
    if plan.failed:
        number = count(len(plan.failed), "failed task")
        if discard:
            found.append(Line("will", f"{number} discarded, into another trash."))
        else:
            found.append(
                Line("will_not", f"Not discarded: {number}, on the list of failed tasks.", choice="discard_failed")
            )
    if plan.cleared:
        found.append(Line("will_not", f"Not deleted: {count(plan.cleared, 'task')} of it in the trash."))
    if plan.held:
        text = f"{count(plan.held, 'task')} set aside by an interrupted operation: back to the queue, and taken out."
        found.append(Line("will", text))
    if plan.revoked:
        text = (
            "The workers that run now remember what is revoked, by default for three hours. When all of them restart,"
            " they forget it."
        )
        found.append(Line("note", text))
    return found


def _waiting(plan: CancelPlan, keep_s: int) -> list[Line]:
    number, queues = count(len(plan.waiting), "waiting task"), _queues(plan.queues)
    found = [Line("will", f"{number} taken out: {queues}.", repeats=("by_queue",))]
    if held := sum(bool(one.hold) for one in plan.waiting):
        found.append(Line("note", f"{held:,} of these {'is' if held == 1 else 'are'} held: the hold stays."))
    if (others := len(plan.queues) - MOST_QUEUES) > 0:
        text = f"From {MOST_QUEUES} queues at once, those with the most of them: run it again for the other {others}."
        found.append(Line("warning", text))
    if keep_s:
        undo = f"Undo for {span(keep_s)}: each goes back to its own place where its neighbours still wait."
        found.append(Line("note", undo))
    else:
        found.append(Line("warning", "They are deleted: no undo window is set."))
    if any(one.links.chord for one in plan.waiting):
        found.append(Line("warning", "Some are members of a chord: the chord's body will not run."))
    return found


def _active(plan: CancelPlan, terminate: bool, pools: Mapping[str, str]) -> list[Line]:
    number = count(len(plan.active), "running task")
    if not terminate:
        return [Line("will_not", f"{number} not ended; if one is retried, its retry is discarded.")]
    unable = sum(pools.get(one.worker) in CANNOT_TERMINATE for one in plan.active)
    found = [Line("will", f"{number} ended in the middle of the work.")] if unable < len(plan.active) else []
    if unable:
        found.append(Line("will_not", f"{count(unable, 'running task')} not ended: the pool can't end a task."))
    return found


def _not_sent(plan: CancelPlan) -> list[Line]:
    found = list[Line]()
    if plan.follow:
        text = f"{count(len(plan.follow), 'task')} not sent yet: workers discard them when they are sent."
        found.append(Line("will", text))
    if plan.behind:
        text = f"{count(plan.behind, 'task')} not sent yet, and not sent at all: what would send them is not running."
        found.append(Line("note", text))
    if plan.unnamed:
        text = (
            f"{count(plan.unnamed, 'callback')} of tasks in workers can't be stopped: a callback gets its id when it is"
            " sent. Run this again then."
        )
        found.append(Line("will_not", text))
    if plan.active:
        text = "What a running task sends in its own code has an id that nobody knows yet. Look again after it."
        found.append(Line("will_not", text))
    return found


def result(root: str, done: Cancelled, *, discarded: int, failed_trash: str | None) -> str:
    """What was done, in numbers."""
    parts = []
    if done.removed:
        parts.append(f"{count(done.removed.total(), 'task')} taken out ({_queues(done.removed)})")
    if done.revoked:
        parts.append(f"{len(done.revoked):,} revoked ({count(len(done.confirmed), 'worker')} confirmed)")
    if done.ended:
        parts.append(f"{len(done.ended):,} ended")
    if discarded:
        parts.append(f"{count(discarded, 'failed task')} discarded")
    text = f"Workflow {root}: {', '.join(parts) or ('nothing was done' if done.stopped else 'nothing was left to do')}."
    if done.stopped:
        text = f"Cancelled. {text} The rest is left; run it again."
    if done.queues_left:
        has = "has" if done.queues_left == 1 else "have"
        text += f" {count(done.queues_left, 'more queue')} {has} tasks of it: run it again."
    if done.running:
        text += f" {count(done.running, 'task')} still running."
    if done.unable:
        text += f" {', '.join(sorted(done.unable))} can't terminate a task: it runs to its end there."
    text += "".join(f" {host} failed: {why}." for host, why in sorted(done.failed.items()))
    if done.silent:
        text += f" No answer from {', '.join(sorted(done.silent))}."
    if failed_trash:
        text += f" Undo of the failed ones: opsdash restore-queue {failed_trash}"
    return text


def _queues(numbers: Mapping[str, int]) -> str:
    told = [f"{number:,} from {queue}" for queue, number in numbers.items()]
    more = f" and {len(told) - NAMED} more queues" if len(told) > NAMED else ""
    return ", ".join(told[:NAMED]) + more
