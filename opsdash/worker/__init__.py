"""The Celery worker plug-in: pauses without losing a task, and reports the worker's health.

Two ways to switch it on::

    import opsdash.worker
    opsdash.worker.install(app)                      # in the module that makes the app

    celery -A proj worker -I opsdash.worker.auto     # or without a line of code

Importing this module imports neither Celery's worker nor redis: web processes that share the app's module pay nothing.
"""

from __future__ import annotations

from typing import Any

__all__ = ["install"]

STEP = "opsdash.worker.bootstep:PauseStep"


def install(app: Any) -> None:
    """Adds the plug-in to every worker of ``app`` that starts from now on.

    Installing twice is installing once. Nothing happens in processes that are no workers.

    Args:
        app: The ``celery.Celery`` application.
    """
    # By name: Celery resolves it when a worker builds its consumer, and a set holds it once.
    app.steps["consumer"].add(STEP)
