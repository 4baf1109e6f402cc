"""Pause flags: written here, read by every worker. The flag's existence is the truth; all else explains it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from opsdash import lua
from opsdash.keys import EPOCH_DIGITS, EVERYTHING, PAUSE_VALUE, epoch_of
from opsdash.model import PauseInfo, untrusted
from opsdash.services.broker import bounded_reads, queue_expiry
from opsdash.services.broker.client import Broker
from opsdash.values import frozen

_PAUSE = lua.load(__name__, "flags_pause", DIGITS=EPOCH_DIGITS)
_RESUME = lua.load(__name__, "flags_resume", DIGITS=EPOCH_DIGITS)

_FORGET = lua.load(__name__, "flags_forget", DIGITS=EPOCH_DIGITS)
_DETAILS = lua.load(__name__, "flags_details")
_EPOCH_LAST = re.compile(rf'"epoch": ([0-9]{{1,{EPOCH_DIGITS}}})\}}\Z')
"""The same in Python: both must find the same epoch in a text, or its story would stay for ever."""
LONGEST_DETAILS = 64 * 1024
"""Characters of a story that is looked into; one of opsdash's own has a few hundred."""
FARTHEST_MS = 1_000 * 365 * 86_400_000
"""A flag with a longer TTL has no end that a calendar needs."""


@frozen(kw_only=True)
class FlagsRead:
    """One consistent read of the flags.

    Attributes:
        active: None → the pause of everything, a name → that queue's own.
        left: Stories whose flag is gone: those pauses expired, or were ended outside opsdash.
        epoch: The pause counter; None when there is none.
        suspended: The expiry of some queue is suspended; ``expiring.settle`` gives it back when its time has come.
    """

    active: dict[str | None, PauseInfo]
    left: tuple[PauseInfo, ...]
    epoch: int | None
    suspended: bool


@frozen
class PauseFlags:
    """Sets, removes and reads the pause of everything and of single queues."""

    broker: Broker

    def pause(self, queue: str | None, *, by: str, reason: str, ttl_s: int | None) -> PauseInfo:
        """Sets the flag (again): new TTL, new story, next epoch; suspends the expiry of the queues it holds.

        Args:
            ttl_s: None: without an end.

        Cost: one round trip, two scripts, O(queues that expire).
        """
        return self._pause(queue, by, reason, ttl_s, "")

    def pause_if_not(self, queue: str, *, by: str, reason: str, ttl_s: int) -> PauseInfo | None:
        """As ``pause``; None when the queue already has its own pause, which stays unchanged."""
        info = self._pause(queue, by, reason, ttl_s, "new")
        return info if info.epoch else None

    def _pause(self, queue: str | None, by: str, reason: str, ttl_s: int | None, only: str) -> PauseInfo:
        now = datetime.now(UTC)
        expires_at = None if ttl_s is None else now + timedelta(seconds=ttl_s)
        details = {"by": by, "at": now.isoformat(), "reason": reason}
        details |= {"expires_at": expires_at.isoformat()} if expires_at else {}
        epoch = self._run(
            _PAUSE,
            queue,
            "" if ttl_s is None else ttl_s,
            queue or EVERYTHING,
            json.dumps(details)[:-1],
            self.broker.keys.nudge,
            PAUSE_VALUE,
            only,
        )
        return PauseInfo(queue=queue, by=by, reason=reason, at=now, expires_at=expires_at, epoch=int(epoch))

    def resume(self, queue: str | None, epoch: int | None = None) -> bool:
        """Removes the flag and gives back expiries; True when there was one. Cost: as ``pause``.

        Args:
            epoch: Only the pause with this number: a later one stays.
        """
        only = "" if epoch is None else str(epoch)
        removed, _ = self._run(_RESUME, queue, queue or EVERYTHING, self.broker.keys.nudge, only)
        return bool(removed)

    def read(self, queues: Iterable[str]) -> dict[str | None, PauseInfo]:
        """What is paused now: None → everything, a name → that queue. Cost: one MULTI, O(queues)."""
        names: list[str | None] = [None, *queues]
        with self.broker.reading(), self.broker.client.pipeline(transaction=True) as pipe:
            self.ask(pipe, names)
            return self.answer(names, pipe.execute(raise_on_error=False)).active

    def ask(self, pipe: Any, names: Sequence[str | None]) -> None:
        """Queues the reads on a pipeline that also reads other things; `answer` takes their replies."""
        keys = self.broker.keys
        for name in names:
            pipe.pttl(keys.pause(name))
        pipe.exists(keys.expires)
        pipe.getrange(keys.pause_epoch, 0, EPOCH_DIGITS)
        fields = [name or EVERYTHING for name in names]
        pipe.eval(_DETAILS, 1, keys.pause_info, LONGEST_DETAILS, *fields)

    def answer(self, names: Sequence[str | None], replies: list[Any]) -> FlagsRead:
        """The replies to `ask`, in its order: one per name and three more."""
        *ttls_ms, suspended, epoch, texts = replies
        for reply in (*ttls_ms, suspended, texts):
            if isinstance(reply, Exception):
                raise reply
        # Of another type: the flag is valid anyway.
        epoch, details_of = bounded_reads.typed(epoch, ""), dict(zip(names, texts, strict=True))
        now = datetime.now(UTC)
        active, left = {}, []
        for name, ttl_ms in zip(names, ttls_ms, strict=True):
            if ttl_ms != -2:  # PTTL: -2 no key, -1 a key without TTL
                ends = 0 <= ttl_ms <= FARTHEST_MS
                expires_at = now + timedelta(milliseconds=ttl_ms) if ends else None
                active[name] = replace(_pause_info(name, details_of[name]), expires_at=expires_at)
            elif details_of[name] is not None:
                left.append(_pause_info(name, details_of[name]))
        return FlagsRead(active=active, left=tuple(left), epoch=epoch_of(epoch), suspended=bool(suspended))

    def forget(self, ended: PauseInfo) -> None:
        """Drops the story of a pause whose flag is gone, unless there is a newer one."""
        keys, epoch = self.broker.keys, "" if ended.epoch is None else str(ended.epoch)
        with self.broker.reading():
            self.broker.client.eval(
                _FORGET, 2, keys.pause(ended.queue), keys.pause_info, ended.queue or EVERYTHING, epoch
            )

    def _run(self, script: str, queue: str | None, *args: Any) -> Any:
        keys = self.broker.keys
        with self.broker.client.pipeline(transaction=False) as pipe:
            pipe.eval(script, 3, keys.pause(queue), keys.pause_info, keys.pause_epoch, *args)
            queue_expiry.add_reconcile(self.broker, pipe, self.broker.queues if queue is None else [queue])
            done, expiry_reply = pipe.execute(raise_on_error=False)
        if isinstance(done, Exception):
            raise done
        queue_expiry.answer(expiry_reply)
        return done


def _pause_info(queue: str | None, text: str | None) -> PauseInfo:
    """A story as far as it can be read: it may be missing (a flag set by hand) or hold anything."""
    if text is None or len(text) > LONGEST_DETAILS:
        return PauseInfo(queue=queue)
    last = _EPOCH_LAST.search(text)
    epoch = int(last[1]) if last else None
    details = untrusted.mapping(untrusted.parsed(text, LONGEST_DETAILS))
    return PauseInfo(
        queue=queue,
        by=untrusted.words(details.get("by"), LONGEST_DETAILS),
        reason=untrusted.words(details.get("reason"), LONGEST_DETAILS),
        at=untrusted.moment(details.get("at")),
        expires_at=untrusted.moment(details.get("expires_at")),
        epoch=_number(details.get("epoch")) if epoch is None else epoch,
    )


def _number(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 10**EPOCH_DIGITS else None
