"""The doctor: every connection and setting that opsdash leans on, one line each, with what to do."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import redis

from opsdash.errors import OpsdashError, Unavailable
from opsdash.services.doctor import address, auth, broker, database, notifications, rights, workers
from opsdash.services.doctor.finding import Examined, Finding, Findings, Level, error

if TYPE_CHECKING:
    from opsdash.services.console import Console

log = logging.getLogger(__name__)

__all__ = ["Finding", "Level", "diagnose"]

Check = Callable[[Examined], Findings]


def diagnose(console: Console, *, full: bool = False) -> Iterator[Finding]:
    """Looks at everything, one finding after the other. Changes nothing and raises nothing.

    Cost: some twenty round trips; the newest ``database.NEWEST`` entries of the audit log, with ``full`` all.
    """
    patient = Examined(console, full=full)
    on_redis = (*address.CHECKS, *rights.CHECKS, *broker.CHECKS, *workers.CHECKS, *notifications.ON_REDIS)
    for first, rest in ((broker.reachable, on_redis), (database.reachable, database.CHECKS)):
        found = list(_made(first, patient))
        yield from found
        if found[0].level is not Level.ERROR:  # else each of the others would say the same again
            for check in rest:
                yield from _made(check, patient)
    for check in (*notifications.CHECKS, *auth.CHECKS):
        yield from _made(check, patient)


def _made(check: Check, patient: Examined) -> Iterator[Finding]:
    """A check that breaks is a line as well."""
    name = (check.__doc__ or check.__name__).partition(":")[0].lower()
    try:
        yield from check(patient)
    except OpsdashError as failure:
        # A server that refuses does answer: the missing permissions are listed then.
        away = isinstance(failure, Unavailable) and not isinstance(failure.__cause__, redis.ResponseError)
        yield error(name, failure.explanation, "Repair that first.", unreachable=away)
    except Exception as failure:
        log.debug("the check %s broke", name, exc_info=True)
        yield error(name, f"The check itself broke: {type(failure).__name__}: {failure}", "Please report this.")
