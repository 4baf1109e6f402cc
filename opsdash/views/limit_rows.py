"""Rate and concurrency limits as rows of tables; made once for all pages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from opsdash.model import HeldTasks, RateLimit
from opsdash.operation import Operation
from opsdash.operations import LimitConcurrency, RemoveConcurrencyLimit, RemoveRateLimit, SetRateLimit
from opsdash.operations.chosen_workers import shown
from opsdash.text import shown_rate
from opsdash.views.rows import May, Row, act, known


def rate_limit_rows(limits: Iterable[RateLimit], *, may: May) -> dict[str, Row]:
    """One row per rate limit, by its task."""
    acts = _acts(RemoveRateLimit, SetRateLimit, may)
    return {
        one.task: known(
            name=one.task,
            rate=one.rate,
            by=one.by or None,
            until=_seconds(one.expires_at),
            workers=_shares({host: shown_rate(per_s) for host, per_s in one.shares.items()}) or "none follows it",
            reason=one.reason or None,
            acts=acts,
        )
        for one in limits
    }


def concurrency_limit_rows(limits: Iterable[HeldTasks], *, may: May) -> dict[str, Row]:
    """One row per concurrency limit, by the name that it limits."""
    acts = _acts(RemoveConcurrencyLimit, LimitConcurrency, may)
    return {
        one.hold.name: known(
            name=one.hold.name,
            most=one.hold.most,
            running=one.running,
            waiting=one.held,
            oldest=_seconds(one.oldest_at),
            by=one.hold.by or None,
            until=_seconds(one.hold.expires_at),
            workers=_shares({host: f"{number:,}" for host, number in one.shares.items()})
            or f"{one.workers} of {one.of} keep to it",
            reason=one.hold.reason or None,
            note=f"{shown(one.without)} can't keep to the limit of {one.hold.name}." if one.without else None,
            acts=acts,
        )
        for one in limits
    }


def _acts(remove: type[Operation], change: type[Operation], may: May) -> list[Row] | None:
    of: tuple[tuple[type[Operation], str, str], ...] = (
        (remove, "Remove", "The limit ends now"),
        (change, "Change", "Another limit, end or reason"),
    )
    return [act(*one, usual=one[0] is remove) for one in of if may(one[0])] or None


def _shares(told: Mapping[str, str]) -> str:
    return shown(f"{host} {share}" for host, share in sorted(told.items()))


def _seconds(when: datetime | None) -> int | None:
    return round(when.timestamp()) if when else None
