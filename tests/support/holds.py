"""What tests of holds do with a console and real workers: hold, look, release."""

from __future__ import annotations

from typing import Any

from support.deployment import Deployment
from support.workers import Worker, eventually

import opsdash
from opsdash.services.console import Console


def hold(ops: Console, deployment: Deployment, *workers: Worker, task: str = "sample.late", **params: Any) -> None:
    """Holds tasks, and waits until each worker applies it."""
    ops.run(opsdash.HoldTasks(task=task, **params), actor="maria", confirm="YES")
    applied(ops, deployment, *workers)


def applied(ops: Console, deployment: Deployment, *workers: Worker) -> None:
    """Waits until each worker applies the one hold there is."""
    (found,) = ops.holds.read().holds
    for one in workers:
        eventually(lambda one=one: found.id in deployment.health(one.hostname).get("holds", ""), what="it is applied")


def held(ops: Console) -> int:
    """How many tasks are held."""
    return sum(one.held for one in ops.holds.look().holds)


def release(ops: Console, task: str = "sample.late", **params: Any) -> int:
    """Releases them; how many went back."""
    return ops.run(opsdash.ReleaseTasks(task=task, **params), actor="maria", confirm="YES").affected


def began(deployment: Deployment, name: str) -> list[Any]:
    """The arguments of the tasks of a name that ran, in order."""
    return [start.argument for start in deployment.records.starts() if start.name == name]
