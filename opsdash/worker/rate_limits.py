"""Rate limits for all workers together: this worker's share of each, read with the pause flags and given to Celery.

Nothing is asked per task: Celery's own token buckets hold tasks back, as for ``rate_limit``. While there is no limit, a
turn costs one EXISTS.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from celery.utils.log import get_logger
from redis import ResponseError

from opsdash import lua
from opsdash.model import untrusted
from opsdash.model.rate_limit import MOST_LIMITS, from_entry, share
from opsdash.worker import celery_private
from opsdash.worker.connection import LINK_ERRORS, Link, describe_error

logger = get_logger(__name__)

SILENT_S = 6.0
"""A worker that has not reported for so long does not count."""
COUNTS_S = 30
"""For so long a worker counts that has met such a task."""
_SHARE = lua.load(__name__, "rate_limits_share")


class RateLimits:
    """Follows the limits that are kept in Redis.

    Args:
        soon: Has the event loop call something.
    """

    def __init__(self, consumer: Any, hostname: str, soon: Callable[..., Any]) -> None:
        self._consumer, self._hostname, self._soon = consumer, hostname, soon
        self._limits: dict[str, tuple[float, float]] = {}  # task → share, and when it ends by the monotonic clock
        self._seen: dict[str, int] = {}
        self._failing = False
        self.applied: dict[str, float] = {}

    @property
    def follows(self) -> bool:
        """Rate limits are on in this worker."""
        return celery_private.follows_rate_limits(self._consumer)

    def follow(self, link: Link) -> None:
        """Reads the limits, and has the event loop apply what has changed. In the listener's thread.

        While they can't be read, those that are known hold until they end.
        """
        if not self.follows:
            return
        try:
            self._limits = self._read(link)
        except LINK_ERRORS as error:
            if not self._failing:
                logger.error("opsdash: rate limits can't be read: %s", describe_error(error))
            self._failing = True
            if not isinstance(error, ResponseError):
                raise
        else:
            self._failing = False
        finally:
            now = time.monotonic()
            shares = {task: per_s for task, (per_s, ends) in self._limits.items() if ends > now}
            if shares or self.applied:
                self._soon(self._apply, shares)

    def _read(self, link: Link) -> dict[str, tuple[float, float]]:
        redis, keys = link.redis, link.keys  # the client first: it learns the key prefix
        if not redis.exists(keys.rate_limits):
            return {}
        met = [task for task in self._limits if self._meets(task)]
        reply: Any = redis.eval(
            _SHARE, 2, keys.rate_limits, keys.workers, self._hostname, SILENT_S, COUNTS_S, MOST_LIMITS, *met
        )
        if not isinstance(reply, list) or len(reply) < 2:
            return {}
        at, now = float(_text(reply[0])), time.monotonic()
        found = {}
        for task, entry, counted, mine in zip(*(iter(reply[2:]),) * 4, strict=True):
            limit = from_entry(_text(task), _text(entry))
            if limit is not None and limit.until > at:
                own = share(limit.per_s, reporting=int(reply[1]), counted=int(counted), mine=bool(_text(mine)))
                found[limit.task] = (own, now + limit.until - at)
                self._seen.setdefault(limit.task, celery_private.accepted(limit.task))
        return found

    def _meets(self, task: str) -> bool:
        """It has taken such a task since the last look, or holds some back."""
        number, before = celery_private.accepted(task), self._seen[task]
        self._seen[task] = number
        return number > before or celery_private.waits_for_rate(self._consumer, task) > 0

    def _apply(self, shares: dict[str, float]) -> None:
        """Event loop only."""
        try:
            applied = {}
            if shares:
                celery_private.one_timer_per_bucket(self._consumer)
            for task, per_s in shares.items():
                if (limit := celery_private.limit_rate(self._consumer, task, per_s)) is not None:
                    applied[task] = limit
            for task in self.applied.keys() - shares.keys():
                celery_private.limit_rate(self._consumer, task, None)
            if not shares:
                celery_private.celerys_own_timers(self._consumer)
        except Exception:  # a fault of ours must not end the event loop
            logger.exception("opsdash: rate limits could not be applied")
            return
        if applied != self.applied:
            told = ", ".join(f"{untrusted.words(task)} {limit:g}/s" for task, limit in applied.items())
            logger.info("opsdash: rate limits of this worker: %s", told or "none")
        self.applied = applied


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
