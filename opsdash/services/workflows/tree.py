"""From what single tasks say to a tree: every task once, whatever they say. No I/O, nothing calls itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from opsdash.model.workflow import WorkflowTask
from opsdash.values import frozen

MOST_TASKS = 500
"""Rows of a tree; the others are counted."""
MOST_CHILDREN = 100
"""Children that a task names."""
MOST_SIBLINGS = 100
"""Rows under one task, so that a group of thousands hides no other part of the tree."""
DEEPEST = 30
"""How deep a row is drawn at most."""


@frozen
class Tree:
    """A tree in rows.

    Attributes:
        rows: ``most`` at most, each behind the one it hangs under.
        total: How many tasks there are.
        gaps: Ids that others name and of which there is nothing.
    """

    rows: tuple[WorkflowTask, ...]
    total: int
    gaps: tuple[str, ...]


def tree_of(tasks: Sequence[WorkflowTask], under: Mapping[int, int], group: str = "", most: int = MOST_TASKS) -> Tree:
    """The tree of these tasks.

    A task hangs under its parent; under its root where it names no parent. One that is named and not there is a gap,
    with its own row, under the root where that is known. Tasks that name each other in a circle begin at the first.

    Args:
        tasks: Each id once; one without an id is known by its place here.
        under: Index of a task → index of the one it hangs under, where messages say so in another way.
        group: Where this is given, what hangs under nothing and names this group gets a row for it above.
    """
    nodes = list(tasks)
    by_id = {task.id: at for at, task in enumerate(nodes) if task.id}
    gaps: list[str] = []
    if group and group not in by_id:
        by_id[group] = len(nodes)
        nodes.append(WorkflowTask(id=group, state="unknown", part="group"))

    def named(task_id: str, root: str) -> int:
        if task_id not in by_id:
            by_id[task_id] = len(nodes)
            gaps.append(task_id)
            nodes.append(WorkflowTask(id=task_id, state="unknown", root=root if root != task_id else ""))
        return by_id[task_id]

    above: dict[int, int] = {}
    at = 0
    while at < len(nodes):  # gaps are added at the end meanwhile, and each once
        task = nodes[at]
        if at in under:
            above[at] = under[at]
        elif task.parent and task.parent != task.id:
            above[at] = named(task.parent, task.root)
        elif task.root and task.root != task.id:
            above[at] = named(task.root, "")
        elif group and task.group == group and task.id != group:
            above[at] = by_id[group]
        at += 1
    order, below = _in_order(len(nodes), above)
    rows = [_row(nodes, at, depth, above, below) for at, depth in _bounded(order, above, most)]
    return Tree(tuple(rows), sum(node.part != "group" for node in nodes), tuple(gaps))


def _in_order(number: int, above: dict[int, int]) -> tuple[list[tuple[int, int]], dict[int, list[int]]]:
    """Each with its depth, and what is below each. Circles are cut: ``above`` loses an entry for each."""
    below: dict[int, list[int]] = {}
    for at, parent in above.items():
        below.setdefault(parent, []).append(at)
    order: list[tuple[int, int]] = []
    seen = [False] * number
    tops = (at for at in range(number) if at not in above)
    for top in (*tops, *range(number)):  # the second time those in circles alone are not seen yet
        if seen[top]:
            continue
        if top in above:
            below[above.pop(top)].remove(top)
        stack = [(top, 0)]
        while stack:
            at, depth = stack.pop()
            if seen[at]:
                continue
            seen[at] = True
            order.append((at, depth))
            stack += [(child, depth + 1) for child in reversed(below.get(at, ())) if not seen[child]]
    return order, below


def _bounded(order: Sequence[tuple[int, int]], above: Mapping[int, int], most: int) -> Iterator[tuple[int, int]]:
    """The rows that are drawn: ``MOST_SIBLINGS`` under each, and none under one that is not drawn."""
    drawn, under = set[int](), dict[int, int]()
    for at, depth in order:
        parent = above.get(at, -1)
        if len(drawn) >= most or (parent >= 0 and parent not in drawn) or under.get(parent, 0) >= MOST_SIBLINGS:
            continue
        under[parent] = under.get(parent, 0) + 1
        drawn.add(at)
        yield at, depth


def _row(
    nodes: Sequence[WorkflowTask], at: int, depth: int, above: Mapping[int, int], below: Mapping[int, Sequence[int]]
) -> WorkflowTask:
    children = below.get(at, ())
    parent = nodes[above[at]] if at in above else None
    return replace(
        nodes[at],
        depth=min(depth, DEEPEST),
        parent=nodes[at].parent or (parent.id if parent is not None and parent.part != "group" else ""),
        children=tuple(nodes[child].id for child in children[:MOST_CHILDREN] if nodes[child].id),
        of_children=len(children),
    )
