"""Remote control: what the plug-in adds to ``celery control``."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from celery.worker.control import control_command

from opsdash.worker import celery_private
from opsdash.worker.gate import READY
from opsdash.worker.recall import Recall

recalls: WeakKeyDictionary[Any, Recall] = WeakKeyDictionary()
"""Consumer → its way back. One per process outside of tests."""


@control_command(name="opsdash_recall_eta")  # type: ignore[untyped-decorator]  # Celery has no types
def recall_eta(state: Any, **_: Any) -> dict[str, Any]:
    """Puts paused tasks with an ETA or countdown back into their queues, in order; they keep their time.

    Without it they wait in the worker until they are due, and only then meet the pause. ``celery -A proj control
    opsdash_recall_eta`` before clearing a queue, or before ending the worker with ``kill -9``. Answers how many go
    back, they have within about a second, and what else it holds unstarted, by the queue it came from.
    """
    recall = recalls.get(state.consumer)
    if recall is None:
        return {"error": "this worker can't be paused"}
    gate = recall.gate
    if gate.pausing != READY:
        return {"error": gate.pausing}
    if not gate.closed:
        return {"error": "nothing is paused"}
    return {"recalling": recall.run_scheduled(), "unstarted": celery_private.unstarted_by_queue(state.consumer)}


@control_command(name="opsdash_time_limit")  # type: ignore[untyped-decorator]  # Celery has no types
def time_limit(state: Any, task_name: str = "", soft: Any = None, hard: Any = None, **_: Any) -> dict[str, Any]:
    """Sets a task's limits in seconds for all that starts from now on; None: no limit on this task.

    Celery's own ``time_limit`` says ok, and its workers keep the old limits until they connect to the broker again.
    """
    task = state.app.tasks.get(task_name)
    if task is None:
        return {"error": "unknown task"}
    if not all(limit is None or (type(limit) in (int, float) and limit > 0) for limit in (soft, hard)):
        return {"error": "expected seconds"}
    task.soft_time_limit, task.time_limit = soft, hard
    celery_private.renew_strategy(state.consumer, task)
    return {"ok": "time limits set"}
