"""A task that ended without success, as it is seen in the moment it ends: what must be looked at then, and no more."""

from __future__ import annotations

import os
import sysconfig
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, NamedTuple

from billiard.einfo import ExceptionWithTraceback
from celery.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError

from opsdash.model.failure import FAILED, KILLED, TIME_LIMIT, UNREADABLE, UNREGISTERED
from opsdash.worker.failures.batch import Group
from opsdash.worker.message_origin import Origin

LONG = 200
"""Characters of a task's name, an error's and a place."""
MOST_FRAMES = 300
_LIBRARIES = tuple(
    {os.path.join(sysconfig.get_path(name), "") for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
_FOREIGN = ("site-packages", "dist-packages")
_WITHOUT_PLACE = frozenset({KILLED, TIME_LIMIT, UNREGISTERED})
"""Kinds whose error is raised by Celery: where, says nothing."""


class Ended(NamedTuple):
    """A task, or a message that can't become one, that ended without success.

    Attributes:
        kind: One of `opsdash.model.failure`'s.
        message: kombu's. ``request``: Celery's; None where there is none.
        error: The exception itself; None for what was not raised. ``traceback``: as text; empty where there is none.
        frames: Of the traceback, outermost first, as Celery keeps them; None where there are none.
        goes_back: The message is in its queue again: it will run once more.
    """

    kind: str
    message: Any
    request: Any = None
    error: BaseException | None = None
    traceback: str = ""
    frames: Any = None
    goes_back: bool = False
    name: str = ""


def raised(kind: str, request: Any, exc_info: Any, *, goes_back: bool = False) -> Ended:
    """Of Celery's request and the argument of its ``on_failure``."""
    error = exc_info.exception
    error = error.exc if isinstance(error, ExceptionWithTraceback) else error
    if kind == FAILED:
        if isinstance(error, WorkerLostError | SystemExit | KeyboardInterrupt):
            kind = KILLED
        elif isinstance(error, TimeLimitExceeded | SoftTimeLimitExceeded):
            kind = TIME_LIMIT
    traceback = exc_info.traceback
    return Ended(
        kind=kind,
        message=request.message,
        request=request,
        error=error,
        traceback=traceback if isinstance(traceback, str) else "",
        frames=getattr(exc_info, "tb", None),
        goes_back=goes_back,
    )


def unreadable(place: Origin, error: Exception, message: Any = None) -> Ended:
    """What was fetched, and is no message, or a message that no task could be made of."""
    if message is None:
        message = SimpleNamespace(headers={}, properties={}, delivery_info={}, body=place.raw, content_type="")
        message.opsdash_origin = place
    return Ended(kind=UNREADABLE, message=message, error=error)


def described(ended: Ended) -> Ended:
    """Without the error and its frames, once its group and text are made.

    They are hundreds of objects: kept for some time, they cost more to clear away than all else that is done about it.
    """
    return ended._replace(error=None, frames=None)


def group_of(ended: Ended) -> Group:
    """Kind, task, error and place. Cost: some 3 µs, most of it for the traceback's frames."""
    headers = ended.message.headers
    task = headers.get("task") if isinstance(headers, dict) else None
    if not isinstance(task, str) and ended.request is not None:  # Celery's first protocol
        task = ended.request.task.name
    place = "" if ended.kind in _WITHOUT_PLACE or ended.frames is None else place_of(ended.frames)
    name = ended.name or ("" if ended.error is None else name_of(ended.error))
    return Group(ended.kind, task[:LONG] if isinstance(task, str) else "", name[:LONG], place)


def name_of(error: BaseException) -> str:
    """The type's name with its module; without where it is one of Python's own."""
    if isinstance(error, SystemExit | KeyboardInterrupt):  # of a child that is gone: Celery makes the same of it
        return "billiard.exceptions.WorkerLostError"
    # One that could not be sent from the child: Celery sends its name instead.
    module, name = getattr(error, "exc_module", None), getattr(error, "exc_cls_name", None)
    if not isinstance(module, str) or not isinstance(name, str):
        kind = type(error)
        module, name = kind.__module__, kind.__qualname__
    return name if module == "builtins" else f"{module}.{name}"


def place_of(frames: Any) -> str:
    """Function and file of the innermost frame that is no library's, else of the innermost one.

    Without the line: the next release has another one, and the same failure stays one group.
    """
    place, frame, own, left = None, frames, False, MOST_FRAMES
    while frame is not None and left:
        code = frame.tb_frame.f_code
        foreign = _is_foreign(code.co_filename)
        if not foreign or not own:
            place, own = code, own or not foreign
        frame, left = frame.tb_next, left - 1
    return "" if place is None else f"{place.co_name} in {_short(place.co_filename)}"[:LONG]


@lru_cache(maxsize=4_096)
def _is_foreign(filename: str) -> bool:
    return filename.startswith((*_LIBRARIES, "<")) or any(f"{os.sep}{name}{os.sep}" in filename for name in _FOREIGN)


@lru_cache(maxsize=4_096)
def _short(filename: str) -> str:
    """The file and its folder."""
    return "/".join(filename.replace(os.sep, "/").split("/")[-2:])
