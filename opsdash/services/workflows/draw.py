"""From what was seen of a workflow to its tree, with what an operator may see of each task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from opsdash.model import Workflow, WorkflowTask
from opsdash.model.signatures import Unsent
from opsdash.redaction import masked
from opsdash.services.broker import bounded_reads
from opsdash.services.failures.store import FailureStore
from opsdash.services.queues.peek import LARGE, describe
from opsdash.services.workflows.sightings import Seen, Sighting
from opsdash.services.workflows.tree import MOST_TASKS, tree_of
from opsdash.values import frozen

MOST_GAPS = 100
"""Gaps that are named."""


@frozen
class Nodes:
    """Each task once.

    Attributes:
        under: Index → index of the task after which it is sent.
    """

    tasks: tuple[WorkflowTask, ...]
    under: Mapping[int, int]


def drawn(seen: Seen, failed: FailureStore, redact: str = "", most: int = MOST_TASKS) -> Workflow:
    """The workflow. Cost: some 0.2 ms for each row, for its arguments."""
    top, best = seen.top(), seen.best()
    nodes = nodes_of(best)
    group = top if any(one.links.group == top for one in best.values()) and top not in best else ""
    tree = tree_of(nodes.tasks, nodes.under, group, most)
    kept = [best[row.id].failure_id for row in tree.rows if row.state == "failed"]
    texts = {one.task_id or one.id: one.arguments for one in failed.some(kept)}
    rows = [_with_arguments(row, best.get(row.id), texts, redact) for row in tree.rows]
    counts = Counter[str](task.state for task in nodes.tasks)
    if tree.gaps:
        counts["unknown"] += len(tree.gaps)
    problems = [*seen.problems]
    if any(one.links.cut for one in best.values()):
        problems.append("some messages are not looked into in full, so tasks that they send are missing")
    return Workflow(
        id=seen.asked,
        root=top,
        group=group,
        tasks=tuple(rows),
        total=tree.total,
        counts=dict(counts),
        gaps=tree.gaps[:MOST_GAPS],
        complete=seen.complete,
        looked_at=seen.looked_at,
        problems=tuple(problems),
    )


def nodes_of(best: Mapping[str, Sighting]) -> Nodes:
    """What was seen, and behind it what is not sent yet; a task that several messages name is there once."""
    tasks = [_task(one) for one in best.values()]
    index = {task.id: at for at, task in enumerate(tasks)}
    under: dict[int, int] = {}
    for carrier in best.values():
        places: list[int] = []
        for unsent in carrier.links.unsent:
            at = index.get(unsent.id) if unsent.id else None
            if at is None:
                at = len(tasks)
                tasks.append(_unsent(unsent, carrier))
                if unsent.id:
                    index[unsent.id] = at
                if unsent.part != "body" or unsent.after >= 0:  # a chord's body is no child of one of its members
                    under[at] = places[unsent.after] if unsent.after >= 0 else index[carrier.id]
            places.append(at)
    return Nodes(tuple(tasks), under)


def _task(one: Sighting) -> WorkflowTask:
    links = one.links
    return WorkflowTask(
        id=one.id,
        state=one.state,
        name=masked(one.name or links.name),
        queue=one.queue,
        worker=one.worker,
        parent=links.parent,
        group=links.group,
        root=links.root,
        retries=links.retries,
        eta=one.eta or links.eta,
        since=one.since,
        error=one.error,
        trash_id=one.trash_id,
        chord=links.chord,
        arguments=one.arguments,
    )


def _unsent(unsent: Unsent, carrier: Sighting) -> WorkflowTask:
    links = carrier.links
    beside = unsent.part == "body" and unsent.after < 0
    own_root = "" if links.root == links.id else links.root
    return WorkflowTask(
        id=unsent.id,
        state="not_sent",
        part=unsent.part,
        name=masked(unsent.name),
        group=links.group if beside else unsent.group,
        parent=links.parent if beside else "",
        root=own_root if beside else links.root or links.id,
    )


def _with_arguments(row: WorkflowTask, one: Sighting | None, failed: Mapping[str, str], redact: str) -> WorkflowTask:
    if row.arguments or one is None:
        return row
    if row.state == "failed":
        return replace(row, arguments=failed.get(row.id, ""))
    if not one.raw or bounded_reads.size_of(one.raw) > LARGE:
        return replace(row, arguments="not shown (too large)" if one.raw else "")
    return replace(row, arguments=describe(one.raw, position=0, priority=0, redact=redact).arguments)
