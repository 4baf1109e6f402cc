"""Beat's entries: what beat reports of them, which are paused, and running one now."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import uuid4

from opsdash import lua
from opsdash.errors import Refused, Unavailable, Uncertain
from opsdash.model import untrusted
from opsdash.model.schedule import LONGEST_NAME, MOST_SCHEDULES, SILENT_S, Schedule, SchedulePause
from opsdash.services.broker import bounded_reads, writes
from opsdash.services.broker.client import Broker
from opsdash.text import choices
from opsdash.values import frozen

LARGE = 4 * 1024
"""Bytes of one entry's report: a few hundred are usual."""
ANSWER_S, AGAIN_S = 8.0, 0.1
"""How long beat, which looks every second, may take to answer."""
ASKED_TTL_S = 60
NO_BEAT = "No beat reports its entries: start it with -S opsdash.beat:Scheduler."

KEPT_S = 7 * 86_400
"""A pause that has ended is kept so long for the audit log, where no console looks."""

_PAUSE, _FORGET = lua.load(__name__, "schedule_pause"), lua.load(__name__, "schedule_forget")


@frozen
class Schedules:
    """The console's side. What beat does about it: see `opsdash.beat`."""

    broker: Broker

    def read(self) -> tuple[Schedule, ...]:
        """Every entry that beat reported within a day, by name, and every pause of one that it did not.

        Cost: three round trips.

        Raises:
            Unavailable: Redis did not answer.
        """
        client, keys = self.broker.client, self.broker.keys
        with self.broker.reading():
            seconds, micros = client.time()
            entries = bounded_reads.some_fields(client, keys.schedules, MOST_SCHEDULES, LARGE)
            paused = bounded_reads.some_fields(client, keys.schedules_paused, MOST_SCHEDULES, LARGE)
        now = seconds + micros / 1e6
        at = untrusted.instant(now)
        read = {name: read_pause(text) for name, text in paused.items()}
        pauses = {name: one for name, one in read.items() if one is not None and not _has_ended(one, at)}
        found = [_entry(name, text, now, pauses.get(name)) for name, text in entries.items()]
        found += [
            Schedule(name=untrusted.words(name), silent=True, pause=pause)
            for name, pause in pauses.items()
            if name not in entries
        ]
        return tuple(sorted(found, key=lambda one: one.name))

    def get(self, name: str) -> Schedule:
        """One entry, read now.

        Raises:
            Refused: Beat does not report it.
        """
        known = self.read()
        for one in known:
            if one.name == name:
                return one
        hint = f"Entries: {choices((one.name for one in known), name)}." if known else NO_BEAT
        raise Refused(f"There is no entry {name!r} in a schedule of beat.", hint=hint, field="schedule")

    def pause(self, name: str, *, by: str, reason: str, ttl_s: int) -> SchedulePause:
        """Holds an entry for so long. Cost: two round trips.

        Raises:
            Refused: Too many are paused.
        """
        seconds, micros = self.broker.client.time()
        at = seconds + micros / 1e6
        text = json.dumps({"by": by, "at": at, "reason": reason, "ends": at + ttl_s})
        key = self.broker.keys.schedules_paused
        if not self.broker.client.eval(_PAUSE, 1, key, name, text, ttl_s + KEPT_S, MOST_SCHEDULES):
            raise Refused(f"{MOST_SCHEDULES} entries are paused already.")
        return read_pause(text) or SchedulePause(by=by)

    def resume(self, name: str) -> bool:
        """Ends the pause of an entry; whether there was one."""
        return bool(self.broker.client.hdel(self.broker.keys.schedules_paused, name))

    def ended(self) -> Mapping[str, str]:
        """Pauses whose time is over, as they are stored, by the entry's name. Cost: one round trip, or two."""
        client, keys = self.broker.client, self.broker.keys
        stored = bounded_reads.some_fields(client, keys.schedules_paused, MOST_SCHEDULES, LARGE)
        if not stored:
            return {}
        seconds, micros = client.time()
        now = untrusted.instant(seconds + micros / 1e6)
        found = {name: read_pause(text) for name, text in stored.items()}
        return {name: stored[name] for name, one in found.items() if one and _has_ended(one, now)}

    def forget(self, name: str, text: str) -> None:
        """Takes away a pause that is still stored like this."""
        self.broker.client.eval(_FORGET, 1, self.broker.keys.schedules_paused, name, text)

    def run_now(self, name: str) -> str:
        """Has beat send an entry's task once, and waits for its answer.

        Returns:
            The task's id.

        Raises:
            Refused: Beat could not send it.
            Unavailable: Beat did not take the request in time; it was taken back, and nothing was sent.
            Uncertain: Beat took it, and did not say what came of it.
        """
        client, keys, request = self.broker.client, self.broker.keys, uuid4().hex
        seconds, micros = client.time()
        asked = json.dumps({"name": name, "at": seconds + micros / 1e6})
        with client.pipeline(transaction=True) as pipe:
            pipe.hset(keys.schedules_asked, request, asked)
            pipe.expire(keys.schedules_asked, ASKED_TTL_S)
            pipe.execute()
        until = time.monotonic() + ANSWER_S
        while (answer := self._answer(request)) is None and time.monotonic() < until:
            time.sleep(AGAIN_S)
        if answer is None and client.hdel(keys.schedules_asked, request):
            writes.taken_back()
            raise Unavailable(f"Beat did not answer within {ANSWER_S:g} s; nothing was sent.", hint=NO_BEAT)
        answer = answer or self._answer(request)
        if answer is None:
            raise Uncertain(f"Beat took the request to run {name} and did not say what came of it.")
        if error := untrusted.words(answer.get("error")):
            raise Refused(f"Beat could not send {name}: {error}")
        return untrusted.words(answer.get("task_id"))

    def _answer(self, request: str) -> Mapping[str, Any] | None:
        with self.broker.reading():
            text = self.broker.client.getrange(self.broker.keys.schedule_answer(request), 0, LARGE)
        found = untrusted.parsed(text) if text else None
        return found if isinstance(found, Mapping) else None


def read_pause(text: str) -> SchedulePause | None:
    """A pause as it is stored, be it over or not; None for what is none of ours."""
    told = untrusted.mapping(untrusted.parsed(text))
    ends = untrusted.figure(told.get("ends"))
    if ends is None:
        return None
    return SchedulePause(
        by=untrusted.words(told.get("by")),
        at=untrusted.instant(told.get("at")),
        reason=untrusted.words(told.get("reason"), 1_000),
        expires_at=untrusted.instant(ends),
    )


def _has_ended(pause: SchedulePause, now: datetime | None) -> bool:
    return pause.expires_at is not None and now is not None and pause.expires_at <= now


def _entry(name: str, text: str, now: float, pause: SchedulePause | None) -> Schedule:
    told = untrusted.mapping(untrusted.parsed(text))
    at = untrusted.figure(told.get("at"))
    found = Schedule(
        name=untrusted.words(name, LONGEST_NAME),
        task=untrusted.words(told.get("task")),
        schedule=untrusted.words(told.get("schedule")),
        last_run_at=untrusted.moment(told.get("last")),
        next_run_at=untrusted.moment(told.get("next")),
        enabled=told.get("enabled") is not False,
        host=untrusted.words(told.get("host")),
        pid=untrusted.whole(told.get("pid")) or 0,
        reported_at=untrusted.instant(at),
        silent=at is None or now - at > SILENT_S,
    )
    if pause is None:
        return found
    return replace(
        found, pause=pause, missed=untrusted.whole(told.get("missed")) or 0, applied=told.get("paused") is True
    )
