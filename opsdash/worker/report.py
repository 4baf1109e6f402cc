"""How a worker's report gets to Redis, and leaves it: each in one script, so that nobody reads half of one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import redis

from opsdash import lua
from opsdash.worker.connection import Link
from opsdash.worker.identity import Identity

KEPT_S = 86_400
"""A worker that ended without a word stays on the list of workers this long, with what it ran and held."""
IDLE_SILENT_S = 5.0
"""More than two missed reports. A namesake that held and ran nothing, and is silent this long, is replaced."""

_PUSH = lua.load(__name__, "report_push")
_NAMESAKE = lua.load(__name__, "report_namesake")
_GOODBYE = lua.load(__name__, "report_goodbye")


class Reporter:
    """One instance's place on the list of workers.

    The process that started last has the hostname's own name there; any other that still reports under that hostname
    is beside it as ``hostname #instance``, and takes the name back when the newer one leaves. A namesake that is
    proven dead is replaced at once; one that may live on, and held or ran something, stays on the list.

    Args:
        identity: Of the process that reports.
    """

    def __init__(self, hostname: str, identity: Identity) -> None:
        self.hostname = hostname
        self.identity = identity
        self._ahead_s: float | None = None  # Redis's clock, of this process's monotonic one
        self._first = True
        self._dead = self._aside = ""

    def now(self, link: Link) -> float:
        """Redis's time. Cost: one round trip the first time, then none.

        Raises:
            LINK_ERRORS: Redis doesn't answer.
        """
        if self._ahead_s is None:
            with link.redis.pipeline(transaction=False) as pipe:
                pipe.time()
                pipe.eval(_NAMESAKE, 1, link.keys.worker(self.hostname))
                reply, before = pipe.execute(raise_on_error=False)
            if isinstance(reply, redis.RedisError):
                raise reply
            self._note_time(*reply)
            if isinstance(before, list):  # else another one's value, which the first report removes
                self._judge(*(_text(value) for value in before))
        return time.monotonic() + (self._ahead_s or 0.0)

    def push(self, link: Link, figures: Mapping[str, str]) -> None:
        """Writes a report. Cost: one round trip.

        Raises:
            LINK_ERRORS: Redis doesn't take it.
        """
        now = self.now(link)
        reply: Any = link.redis.eval(
            _PUSH,
            2,
            link.keys.workers,
            link.keys.worker(self.hostname),
            self.hostname,
            self.identity.instance,
            f"{now:.6f}",
            str(KEPT_S),
            f"{now - KEPT_S:.6f}",
            "1" if self._first else "",
            self._dead,
            self._aside,
            str(IDLE_SILENT_S),
            *(part for field in figures.items() for part in field),
        )
        seconds, micros, *rival, aside = (_text(value) for value in reply)
        self._first = False
        self._note_time(seconds, micros)
        self._aside = aside
        self._judge(*rival)

    def goodbye(self, link: Link) -> None:
        """Takes this instance off the list: it ends on purpose, and nothing of it runs any more.

        Raises:
            LINK_ERRORS: Redis doesn't answer; the report stays.
        """
        link.redis.eval(
            _GOODBYE,
            2,
            link.keys.workers,
            link.keys.worker(self.hostname),
            self.hostname,
            self.identity.instance,
        )

    def _judge(self, instance: str, machine: str, pid: str, pid_started: str) -> None:
        dead = instance and self.identity.outlives(machine, pid, pid_started)
        self._dead = instance if dead else ""

    def _note_time(self, seconds: Any, micros: Any) -> None:
        self._ahead_s = float(seconds) + float(micros) / 1e6 - time.monotonic()


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
