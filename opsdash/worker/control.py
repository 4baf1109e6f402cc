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
