"""Tasks that a pool accepts, seen where Celery learns of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from celery.utils.log import get_logger
from celery.worker.request import Request

logger = get_logger(__name__)

HOOK = "on_accepted"
OnStarted = Callable[[Any, Any], None]
_callbacks: dict[str, OnStarted] = {}
"""A worker's hostname → what is called with its requests as they start; see `failures` for why it is per process."""
_watched: list[Any] = []


def watch_starts(hostname: str, on_started: OnStarted) -> str:
    """Has ``on_started`` called with each request, and its message, that a process, thread or greenlet has accepted.

    Its ``time_start`` is known then. In prefork that is the main process, in the event loop; in a pool of threads the
    thread itself. Cost: 0.2 µs a task.

    Args:
        hostname: The newest worker of a hostname has its starts noted.

    Returns:
        The private name that this Celery doesn't have; empty when it works.
    """
    accept = getattr(Request, HOOK, None)
    if accept is None:
        return f"Request.{HOOK}"
    _callbacks[hostname] = on_started
    if not _watched:
        _watched.append(accept)
        Request.on_accepted = _noting(accept)
    return ""


def _noting(accept: Callable[..., Any]) -> Callable[..., Any]:
    callbacks = _callbacks

    @wraps(accept)
    def on_accepted(self: Any, pid: Any, time_accepted: Any) -> Any:
        done = accept(self, pid, time_accepted)
        try:
            try:  # the properties are calls of 0.1 µs each
                hostname, message = self._hostname, self._message
            except AttributeError:
                hostname, message = self.hostname, self.message
            callbacks[hostname](self, message)
        except KeyError:  # another worker of this process, which is unmanaged
            pass
        except Exception:  # a task must not fail for a figure; one that can't be measured is not counted
            logger.debug("opsdash: the time in queue of %s could not be measured", self, exc_info=True)
        return done

    return on_accepted
