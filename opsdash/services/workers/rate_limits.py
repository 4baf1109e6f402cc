"""Rate limits for all workers together: kept here like a pause, followed by each worker with the plug-in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from opsdash import lua
from opsdash.errors import Invalid, Refused
from opsdash.model import Line, OtherWorker, RateLimit, WorkerStats, untrusted
from opsdash.model.rate_limit import LEAST_PER_S, LONGEST_ENTRY, MOST_LIMITS, MOST_PER_S, from_entry
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker
from opsdash.services.workers.reports import Workers
from opsdash.text import parse_rate, shown_rate
from opsdash.values import frozen

_READ = lua.load(__name__, "rate_limits_read")
_SET = lua.load(__name__, "rate_limits_set")
REPORTED = "rate_limits"
"""Field of a worker's report: JSON of task → tasks a second. None, or empty: this worker follows no limits."""


LONGEST_S = 365 * 86_400
LONGEST_NAME = 500


@frozen(kw_only=True)
class Followers:
    """Workers that live, by name: those that follow a rate limit, and those that do not."""

    following: tuple[str, ...]
    unlimited: tuple[str, ...]


@frozen
class RateLimits:
    """Sets, removes and reads them."""

    broker: Broker

    def set(self, task: str, rate: str, per_s: float, *, by: str, reason: str, ttl_s: int) -> RateLimit | None:
        """Sets the limit of a task, in place of the one before, and has workers read it. What there was before.

        Cost: one script, O(limits).

        Raises:
            Refused: There are ``MOST_LIMITS`` already.
        """
        at = datetime.now(UTC).isoformat()
        entry = {"rate": rate, "per_s": per_s, "by": by, "reason": reason, "at": at}
        return self._run(task, json.dumps(entry)[:-1], ttl_s)

    def remove(self, task: str) -> RateLimit | None:
        """Ends the limit of a task. What there was."""
        return self._run(task, "", 0)

    def _run(self, task: str, entry: str, ttl_s: int) -> RateLimit | None:
        keys = self.broker.keys
        before: Any = self.broker.client.eval(_SET, 1, keys.rate_limits, task, entry, ttl_s, MOST_LIMITS, keys.nudge)
        if before == -1:
            raise Refused(f"There are {MOST_LIMITS} rate limits already.", hint="Remove one first.", field="task")
        return from_entry(task, before)

    def left_s(self, limit: RateLimit) -> int:
        """Seconds until it ends by itself, at least one."""
        return max(1, round(limit.until - self._now()))

    def followers(self, others: Iterable[OtherWorker] | None) -> Followers:
        """Who follows rate limits now. Cost: three round trips.

        Args:
            others: Unmanaged workers, as far as they are known.
        """
        told = self._told()
        without = [host for host, own in told.items() if own is None]
        return Followers(
            following=tuple(sorted(host for host, own in told.items() if own is not None)),
            unlimited=tuple(sorted({*without, *(other.hostname for other in others or ())})),
        )

    def read(self) -> tuple[RateLimit, ...]:
        """Those that hold now, by task, with what each worker makes of them. Cost: two round trips; five with one."""
        with self.broker.reading(), self.broker.client.pipeline(transaction=False) as pipe:
            self.ask(pipe)
            (found,) = pipe.execute()
        return self.answer(found, self._now())

    def ask(self, pipe: Any) -> None:
        """Has them read on a pipeline that also reads other things; `answer` takes the reply."""
        pipe.eval(_READ, 1, self.broker.keys.rate_limits, LONGEST_ENTRY, MOST_LIMITS)

    def answer(self, reply: Any, now: float, workers: Iterable[WorkerStats] | None = None) -> tuple[RateLimit, ...]:
        """The reply to `ask`. Cost: one round trip while there is a limit.

        Args:
            now: Redis's time. ``workers``: as they were read already; None: they are read, with two round trips more.
        """
        if isinstance(reply, Exception):
            raise reply
        entries = (from_entry(task, text) for task, text in sorted(zip(reply[::2], reply[1::2], strict=True)))
        limits = [limit for limit in entries if limit is not None and limit.until > now]
        told = self._told(workers) if limits else {}
        return tuple(
            replace(
                limit,
                shares={
                    host: per_s
                    for host, own in told.items()
                    if own is not None and (per_s := untrusted.figure(own.get(limit.task))) is not None
                },
            )
            for limit in limits
        )

    def _now(self) -> float:
        with self.broker.reading():
            seconds, micros = self.broker.client.time()
        return float(seconds + micros / 1e6)

    def _told(self, known: Iterable[WorkerStats] | None = None) -> dict[str, Mapping[str, Any] | None]:
        """Hostname → task → tasks a second, as workers that live report; None: this one follows no limits."""
        known = Workers(self.broker).read() if known is None else known
        workers = [worker for worker in known if worker.reports]
        keys = [self.broker.keys.worker(worker.record) for worker in workers]
        with self.broker.reading():
            reports = bounded_reads.fields(self.broker.client, keys, [REPORTED])
        return {
            worker.hostname: untrusted.mapping(untrusted.parsed(report[REPORTED])) if report.get(REPORTED) else None
            for worker, report in zip(workers, reports, strict=True)
        }


def rate_of(text: str) -> float:
    """``10/s``, ``90/m`` or ``600/h`` as tasks a second.

    Raises:
        Invalid: It is none, or one that can't be meant.
    """
    try:
        per_s = parse_rate(text)
    except ValueError as error:
        raise Invalid(f"{error}.", field="rate") from error
    if not LEAST_PER_S * 0.999 <= per_s <= MOST_PER_S:
        raise Invalid(f"expected from 1/h to {MOST_PER_S:,.0f}/s, got {text}.", field="rate")
    return per_s


def is_none(rate: str) -> bool:
    """The rate means no limit: ``none`` and ``0``, as in Celery, with a unit or without."""
    return rate.strip().lower().partition("/")[0].strip() in ("none", "0")


def written(rate: str) -> str:
    """A rate as it is shown and kept: with its unit, so that ``10`` is ``10/s``."""
    text = "".join(rate.lower().split())
    return f"{text}/s" if text and "/" not in text else text


def limit_lines(
    task: str, rate: str, per_s: float, workers: Followers, limits: Iterable[RateLimit]
) -> tuple[Line, ...]:
    """What a limit does to the workers that there are."""
    following = len(workers.following)
    lines = [Line("will", f"{task} starts at most {rate}, in all workers together.")]
    lines += [
        Line("will", f"It replaces {limit.rate}, set by {limit.by or 'an unknown user'}.")
        for limit in limits
        if limit.task == task
    ]
    if following > 1:
        each = f"Each of {following} workers starts {shown_rate(per_s / following)} at first; later those that get such"
        lines.append(
            Line("note", f"{each} tasks share it. While workers start or stop it is more or less for seconds.")
        )
    if not following:
        lines.append(Line("warning", "No worker follows it now: none with this version of the plug-in is connected."))
    if workers.unlimited:
        names = ", ".join(workers.unlimited[:5]) + (" …" if len(workers.unlimited) > 5 else "")
        lines.append(Line("warning", f"Without a limit, since they have no plug-in that follows one: {names}."))
    lines.append(
        Line("will_not", "Tasks of other names are not limited, but may wait behind those that a worker holds.")
    )
    return tuple(lines)
