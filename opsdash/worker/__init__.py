"""The Celery plug-in: pauses workers without losing a task, reports their health, and stamps when a task was sent.

Two ways to switch it on::

    import opsdash.worker
    opsdash.worker.install(app)                      # in the module that makes the app

    celery -A proj worker -I opsdash.worker.auto     # or without a line of code

Where tasks are sent, ``install`` has each message carry the time, so that workers know how long it was in its queue.
Importing this module imports neither Celery's worker nor redis: web processes that share the app's module pay nothing.
"""

from __future__ import annotations

from typing import Any

__all__ = ["install"]

STEP = "opsdash.worker.bootstep:PauseStep"


def install(app: Any) -> None:
    """Adds the plug-in to every worker of ``app`` that starts from now on, and the time to messages sent from here.

    Installing twice is installing once. In a process that is no worker nothing happens but that each task message it
    sends has the header ``opsdash_sent``: it costs under 1 µs, and no connection.

    Args:
        app: The ``celery.Celery`` application.
    """
    from opsdash.worker.sent_time import stamp_sent_messages

    # By name: Celery resolves it when a worker builds its consumer, and a set holds it once.
    app.steps["consumer"].add(STEP)
    stamp_sent_messages()
