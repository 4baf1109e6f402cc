"""Tasks that take their process with them each time they are delivered: set aside instead of run, if that is asked for.

Only a task that was delivered before is looked at, which its message says. When such a task begins the worker writes
that down, and while it runs renews that every ``RENEW_S``; when the task ends, however it ends, the worker takes that
back. So when the task is delivered once more and there is such a note, there are two possibilities. The process that
wrote it lives: then the task simply runs longer than the visibility timeout, and nothing is counted. Or the process is
gone, and the task was running: that counts. Where a child of prefork alone is gone the worker itself has seen it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC
from types import MethodType
from typing import Any

import redis
from billiard.exceptions import WorkerLostError
from celery.utils.log import get_logger
from celery.worker import state as worker_state

from opsdash import lua
from opsdash.model import untrusted
from opsdash.model.failure import KILLED, POISON, is_failure_id
from opsdash.worker import celery_private, message_origin, requeue
from opsdash.worker.connection import LINK_ERRORS, Link, describe_error
from opsdash.worker.failures.batch import Count, Group, Held, write
from opsdash.worker.failures.ended import Ended, group_of
from opsdash.worker.failures.entry import Noted, entry_of, is_redelivered
from opsdash.worker.failures.settings import FailureSettings
from opsdash.worker.gate import Gate
from opsdash.worker.identity import Identity

logger = get_logger(__name__)

RENEW_S = 2.0
SILENT_S = 10.0
"""A process that has not renewed its note for this long is gone, as one whose workers' report is silent."""
LOST = "billiard.exceptions.WorkerLostError"
_REDELIVERED = lua.load(__name__, "redelivered")


class PoisonWatch:
    """A step between the gate and the pool. Cost for a task that was not delivered before: two looks into dicts.

    Of one that was: one round trip in the event loop, and one where it begins.

    Args:
        pass_on: What Celery would have called: hands the request to the pool.
    """

    def __init__(self, consumer: Any, pass_on: Callable[[Any], Any], settings: FailureSettings) -> None:
        self._pass_on, self._settings = pass_on, settings
        self._hostname = consumer.hostname
        self._gate: Gate | None = None
        self._identity: Identity | None = None
        self._link = Link(consumer.app)
        self._running: dict[str, Any] = {}
        self._number = 0
        self._begun = threading.Event()
        self._thread: threading.Thread | None = None
        self._failing = False

    def begin(self, gate: Gate, identity: Identity) -> None:
        """Now that there are a gate, and a name for this process."""
        self._gate, self._identity = gate, identity

    def on_task_request(self, request: Any) -> Any:
        """Hands the request to the pool, or sets its message aside. Event loop only."""
        if is_redelivered(request.message) and self._stops(request):
            return None
        return self._pass_on(request)

    def heed(self, ended: Ended) -> None:
        """The task of a redelivered message has lost its child, and is in its queue again. Event loop only."""
        if ended.kind != KILLED or not ended.goes_back or not is_redelivered(ended.message):
            return
        if is_failure_id(ended.request.id):
            self._running.pop(ended.request.id, None)
            self._ask(ended.request.id, "lost")

    def _stops(self, request: Any) -> bool:
        place, task_id, me = message_origin.of(request.message), request.id, self._identity
        if place is None or me is None or not isinstance(task_id, str) or not is_failure_id(task_id):
            return False
        answer = self._ask(task_id, "check")
        if len(answer) > 2:
            instance, *process = (_text(value) for value in answer[2])
            if me.outlives(*process):
                answer = self._ask(task_id, "check", instance)
        if len(answer) == 2:
            return self._set_aside(request, int(answer[0]), [_text(value) for value in answer[1]])
        request.on_accepted = MethodType(self._accepted, request)
        return False

    def _accepted(self, request: Any, *args: Any) -> None:
        """In place of the request's own, in the thread where it begins: a process that goes before has not run it."""
        self._ask(request.id, "begin")
        self._running[request.id] = request
        self._begun.set()
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._renew, name="opsdash-redelivered", daemon=True)
            self._thread.start()
        type(request).on_accepted(request, *args)

    def _ask(self, task_id: str, what: str, gone: str = "") -> list[Any]:
        """The script's answer; empty when Redis gives none: then the task runs. Cost: one round trip."""
        settings, mine = self._settings, self._identity
        if mine is None:
            return []
        try:
            client = self._link.redis
            answer: Any = client.eval(
                _REDELIVERED,
                1,
                self._link.keys.redelivered(task_id),
                what,
                str(settings.ttl_s),
                str(settings.poison_after),
                str(SILENT_S),
                gone,
                mine.instance,
                self._hostname,
                mine.machine,
                str(mine.pid),
                mine.pid_started,
            )
        except LINK_ERRORS as error:
            if not self._failing:
                logger.error("opsdash: redelivered tasks run without a look at earlier runs: %s", describe_error(error))
            self._failing = True
            return []
        self._failing = False
        return list(answer)

    def _set_aside(self, request: Any, lost: int, which: list[str]) -> bool:
        """Puts the message into the store of failed tasks. False when Redis refuses it: then it runs.

        Raises:
            ConnectionError: Redis may have done it; Celery connects again, and kombu restores what it has not.
        """
        text = f"Set aside instead of run: it was delivered again, and took its process with it {lost} times. "
        text += "; ".join(_told(each) for each in which)
        message, gate, mine = request.message, self._gate, self._identity
        place = message_origin.of(message)
        if place is None or mine is None or gate is None or (channel := gate.channel) is None:
            return False
        ended = Ended(kind=POISON, message=message, request=request, name=LOST)
        group: Group = group_of(ended)
        link, now = self._link, time.monotonic()
        entry, _ = entry_of(Noted(ended, group, place.queue, now, text), self._hostname, self._settings.redact)
        prefix = channel.global_keyprefix or ""
        self._number += 1
        try:
            write(
                link,
                f"{mine.instance}:poison",
                self._number,
                {(group, place.queue): Count(times=1, last=now, text=text)},
                [entry],
                worker=self._hostname,
                now=now,
                settings=self._settings,
                held=Held(
                    prefix + channel.qos.unacked_key,
                    prefix + channel.qos.unacked_index_key,
                    message.delivery_tag,
                    link.keys.redelivered(request.id),
                ),
            )
        except (redis.ConnectionError, redis.TimeoutError, OSError):
            setattr(message, requeue.UNSURE, True)
            raise
        except LINK_ERRORS as error:
            logger.error("opsdash: %s can't be set aside, so it runs: %s", request, describe_error(error))
            return False
        celery_private.forget(channel, request)
        logger.error("opsdash: %s is set aside: %s", request, text)
        self._tell_celery(request, text)
        return True

    @staticmethod
    def _tell_celery(request: Any, text: str) -> None:
        """Who waits for the result learns that there is none, as of any task that failed."""
        error = WorkerLostError(text)
        try:
            request.task.backend.mark_as_failure(
                request.id, error, request=request._context, store_result=request.store_errors
            )
            request.send_event("task-failed", exception=repr(error), traceback="")
        except Exception:  # a result backend may raise anything, and the message is safe already
            logger.exception("opsdash: the result of %s could not be stored", request)

    def close(self) -> None:
        """The worker ends on purpose: what it still runs and gives back has not taken it along."""
        while self._running:
            self._ask(self._running.popitem()[0], "end")

    def _renew(self) -> None:
        while True:
            self._begun.wait()
            self._begun.clear()
            while self._running:
                time.sleep(RENEW_S)
                for task_id, request in list(self._running.items()):
                    runs = request in worker_state.reserved_requests
                    if not runs:
                        self._running.pop(task_id, None)
                    self._ask(task_id, "on" if runs else "end")


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")


def _told(lost: str) -> str:
    """``w1@host (pid 12), which began it at 2026-11-28T09:00:00+00:00``, from a line of the script's."""
    hostname, pid, began = [*lost.split(" "), "", ""][:3]
    at = untrusted.instant(began)
    return f"{untrusted.words(hostname)} (pid {untrusted.words(pid, 20)})" + (
        f", which began it at {at.astimezone(UTC).isoformat(timespec='seconds')}" if at is not None else ""
    )
