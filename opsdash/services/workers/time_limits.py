"""Time limits of one kind of task, as workers have them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from opsdash.errors import Invalid
from opsdash.model import untrusted
from opsdash.services.workers.pools import Pool
from opsdash.services.workers.remote_control import Remote
from opsdash.text import format_duration
from opsdash.values import frozen

LONGEST_S = 30 * 86_400
LIMITS_NOTHING = frozenset({"threads", "solo", "eventlet"})
"""Pools of Celery's that know no time limits; gevent knows the hard one alone."""


@frozen(kw_only=True)
class Limits:
    """Soft and hard limit in seconds; None: none of the task's own."""

    soft_s: float | None = None
    hard_s: float | None = None

    def __str__(self) -> str:
        soft, hard = ("none" if s is None else format_duration(s) for s in (self.soft_s, self.hard_s))
        return f"soft {soft}, hard {hard}"

    def arguments(self) -> dict[str, Any] | None:
        """As arguments of the operation that sets them; None: it can't say them, as half a second."""
        both = {"soft_s": self.soft_s, "hard_s": self.hard_s}
        if any(limit is not None and (limit != int(limit) or not 1 <= limit <= LONGEST_S) for limit in both.values()):
            return None
        given = {name: int(limit) for name, limit in both.items() if limit is not None}
        return given or {"remove": True}


def checked(soft_s: int | None, hard_s: int | None, *, remove: bool) -> Limits:
    """The limits that a user has given.

    Raises:
        Invalid: They can't be meant.
    """
    for field, limit in (("soft_s", soft_s), ("hard_s", hard_s)):
        if limit is not None and not 1 <= limit <= LONGEST_S:
            raise Invalid(f"expected from 1 second to {LONGEST_S // 86_400} days.", field=field)
    if remove == (soft_s is not None or hard_s is not None):
        raise Invalid("give a soft limit, a hard one or both; or remove both.", field="soft_s")
    if soft_s and hard_s and soft_s >= hard_s:
        raise Invalid("expected less than the hard limit: a task needs time to end itself.", field="soft_s")
    return Limits(soft_s=soft_s, hard_s=hard_s)


def read(remote: Remote, pools: Collection[Pool], task: str) -> tuple[dict[str, Limits], dict[str, str]]:
    """The limits in each worker where they can be set, and of the others why not.

    Raises:
        Unavailable: Workers can't be asked.
    """
    known, unable = {}, {}
    kinds = {pool.hostname: pool.kind for pool in pools}
    told = {pool.hostname for pool in pools if pool.has_plugin}
    for host, tasks in remote.ask("registered", kinds.keys(), "soft_time_limit", "time_limit").items():
        for line in tasks if isinstance(tasks, list) else ():
            name, _, options = str(line).partition(" [")
            if name == task:
                own = dict(part.partition("=")[::2] for part in options.removesuffix("]").split())
                soft, hard = (untrusted.figure(own.get(field)) for field in ("soft_time_limit", "time_limit"))
                known[host] = Limits(soft_s=soft, hard_s=hard)
    for host, kind in kinds.items():
        if kind in LIMITS_NOTHING:
            unable[host] = f"a pool of {kind} limits no task"
        elif host not in told:
            unable[host] = "it has no plug-in, and Celery's own command works only once it connects to the broker again"
        elif host not in known:
            unable[host] = f"it does not know the task {task}"
    return {host: limits for host, limits in known.items() if host not in unable}, unable
