"""A pause within a run of a runbook: whether there is one already, and how to take back this one and no other."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from opsdash.model import PauseInfo, to_plain, untrusted
from opsdash.operation import Operation, TakenBack
from opsdash.operations.resume_processing import ResumeProcessing, as_it_was

if TYPE_CHECKING:
    from opsdash.services.services import Services


def standing(services: Services, queue: str | None, ttl_s: int | None) -> str:
    """A pause that lasts at least as long as one of ``ttl_s`` would; empty: there is none."""
    pause = _now(services, queue)
    if pause is None:
        return ""
    ends = pause.expires_at
    if ends is not None and (ttl_s is None or ends < datetime.now(UTC) + timedelta(seconds=ttl_s)):
        return ""
    until = f"until {ends:%Y-%m-%d %H:%M:%S} UTC" if ends else "without an end"
    why = f" ({pause.reason})" if pause.reason else ""
    what = "Processing is" if queue is None else f"Queue {queue} is"
    return f"{what} paused already by {pause.by or 'someone outside opsdash'}{why}, {until}: that pause stays."


def before(services: Services, queue: str | None) -> Mapping[str, Any]:
    """The pause there is, for the log of the run; empty: there is none."""
    pause = _now(services, queue)
    return {} if pause is None else {"pause": to_plain(pause)}


def take_back(services: Services, queue: str | None, done: TakenBack) -> Operation | str:
    """What takes back the pause that this run has set; or why nothing does."""
    what = "all processing" if queue is None else f"queue {queue}"
    pause = _now(services, queue)
    if pause is None:
        return f"The pause of {what} had ended before."
    if not _is_own(pause, done):
        return f"The pause of {what} is {pause.by or 'someone else'}'s by now: it stays."
    earlier = untrusted.mapping(done.before.get("pause"))
    ends = untrusted.moment(earlier.get("expires_at"))
    if not earlier or (ends is not None and ends <= datetime.now(UTC)):
        return ResumeProcessing(queue=queue)
    reason = untrusted.words(earlier.get("reason"), 1_000)
    return as_it_was(queue, PauseInfo(queue=queue, reason=reason, expires_at=ends))


def _is_own(pause: PauseInfo, done: TakenBack) -> bool:
    epoch = done.effect.get("epoch")
    if epoch is not None:
        return bool(pause.epoch == epoch)
    # Nobody saw the end of the act: it is the one of this user that began no earlier.
    return pause.by == done.user and pause.at is not None and pause.at >= done.since


def _now(services: Services, queue: str | None) -> PauseInfo | None:
    return services.pause.read([] if queue is None else [queue]).get(queue)
