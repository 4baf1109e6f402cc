"""Beat's entries: what beat reports of them, which are paused, and running one now."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from opsdash import lua
from opsdash.errors import Refused, Unavailable, Uncertain
from opsdash.model import untrusted
from opsdash.model.schedule import LONGEST_NAME, MOST_SCHEDULES, SILENT_S, Schedule, SchedulePause
from opsdash.services.broker import bounded_reads, writes
from opsdash.services.broker.client import Broker
from opsdash.text import choices

LARGE = 4 * 1024
"""Bytes of one entry's report: a few hundred are usual."""
ANSWER_S, AGAIN_S = 8.0, 0.1
"""How long beat, which looks every second, may take to answer."""
ASKED_TTL_S = 60
NO_BEAT = "No beat reports its entries: start it with -S opsdash.beat:Scheduler."

_PAUSE = lua.load(__name__, "schedule_pause")


@dataclass(frozen=True, slots=True)
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
        pauses = {name: one for name, text in paused.items() if (one := _pause(text, now)) is not None}
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
        if not self.broker.client.eval(_PAUSE, 1, key, name, text, ttl_s, MOST_SCHEDULES):
            raise Refused(f"{MOST_SCHEDULES} entries are paused already.")
        found = _pause(text, at)
        return found if found is not None else SchedulePause(by=by)

    def resume(self, name: str) -> bool:
        """Ends the pause of an entry; whether there was one."""
        return bool(self.broker.client.hdel(self.broker.keys.schedules_paused, name))

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


def _pause(text: str, now: float) -> SchedulePause | None:
    """One that lasts; None for what has ended, or is no pause of ours."""
    told = untrusted.mapping(untrusted.parsed(text))
    ends = untrusted.figure(told.get("ends"))
    if ends is None or ends <= now:
        return None
    return SchedulePause(
        by=untrusted.words(told.get("by")),
        at=untrusted.instant(told.get("at")),
        reason=untrusted.words(told.get("reason"), 1_000),
        expires_at=untrusted.instant(ends),
    )


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
