"""What beat reads of Redis and reports there: at most one command a second, and one report every five."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterable, Mapping
from typing import Any

from celery.utils.log import get_logger

from opsdash import lua
from opsdash.model import untrusted
from opsdash.model.schedule import LONGEST_NAME, MOST_SCHEDULES, REPORT_S
from opsdash.worker.connection import LINK_ERRORS, Link, describe_error

logger = get_logger(__name__)

READ_S = 1.0
AGAIN_S = 10.0
"""Between two tries while Redis can't be read: each may take two seconds of beat's own time."""
KEPT_S = 86_400
"""A beat that has ended is shown as silent this long."""
ANSWER_S = 60
ASKED_S = 10.0
"""What was to be run earlier than that has been given up by those who asked."""

_FOLLOW = lua.load(__name__, "follow")
_REPORT = lua.load(__name__, "report")


class Control:
    """One beat's side. Never raises for an outage: beat goes on, with the pauses that it knows until they end.

    Attributes:
        paused: Entry → when its pause ends, by Redis's clock. ``known``: they could be read at least once.
    """

    def __init__(self, app: Any) -> None:
        self.paused: Mapping[str, float] = {}
        self.known = False
        self._link = Link(app)
        self._ahead_s = 0.0  # Redis's clock, of the monotonic one
        self._next_read = self._next_report = 0.0
        self._failing = ""
        self._reported: set[str] = set()

    def now(self) -> float:
        """Redis's time, as it was learned last."""
        return time.monotonic() + self._ahead_s if self.known else time.time()

    def is_paused(self, name: str) -> bool:
        """The entry is not to be sent now. Cost: no round trip."""
        ends = self.paused.get(name)
        return ends is not None and self.now() < ends

    def follow(self) -> list[tuple[str, str]]:
        """Reads what is paused, if it is time for it.

        Returns:
            Which entries are to be run now: id of the request, name of the entry.
        """
        if time.monotonic() < self._next_read:
            return []
        try:
            redis, keys = self._link.redis, self._link.keys
            reply: Any = redis.eval(_FOLLOW, 2, keys.schedules_paused, keys.schedules_asked, MOST_SCHEDULES)
        except LINK_ERRORS as error:
            self._fail(error)
            return []
        self._recovered()
        (seconds, micros), paused, asked = reply
        self._ahead_s, self.known = float(seconds) + float(micros) / 1e6 - time.monotonic(), True
        self._next_read = time.monotonic() + READ_S
        ends = ((name, untrusted.mapping(untrusted.parsed(text)).get("ends")) for name, text in _pairs(paused))
        self.paused = {name: until for name, end in ends if (until := untrusted.figure(end)) is not None}
        return [
            (request, name)
            for request, text in _pairs(asked)
            if (name := self._fresh(untrusted.mapping(untrusted.parsed(text))))
        ]

    def _fresh(self, asked: Mapping[str, Any]) -> str:
        at = untrusted.figure(asked.get("at"))
        return untrusted.words(asked.get("name")) if at is not None and self.now() - at < ASKED_S else ""

    def claim(self, request: str) -> bool:
        """Takes a request, so that neither another beat nor the one who gave up waiting counts on it."""
        try:
            return bool(self._link.redis.hdel(self._link.keys.schedules_asked, request))
        except LINK_ERRORS as error:
            self._fail(error)
            return False

    def answer(self, request: str, **facts: str) -> None:
        """Says what came of a request."""
        try:
            self._link.redis.set(self._link.keys.schedule_answer(request), json.dumps(facts), ex=ANSWER_S)
        except LINK_ERRORS as error:
            self._fail(error)

    @property
    def report_is_due(self) -> bool:
        """It is time for a report."""
        return time.monotonic() >= self._next_report

    def report(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Writes the entries, and takes away those of this beat that are gone."""
        self._next_report = time.monotonic() + REPORT_S
        at, place = round(self.now(), 3), {"host": socket.gethostname()[:LONGEST_NAME], "pid": os.getpid()}
        found = {str(one["name"]): json.dumps({**one, **place, "at": at}) for one in entries}
        gone = self._reported - found.keys()
        fields = (part for pair in found.items() for part in pair)
        try:
            redis, keys = self._link.redis, self._link.keys
            redis.eval(_REPORT, 1, keys.schedules, KEPT_S, MOST_SCHEDULES, len(gone), *gone, *fields)
        except LINK_ERRORS as error:
            self._fail(error)
        else:
            self._reported = set(found)

    def _fail(self, error: BaseException) -> None:
        if not self._failing:
            logger.error(
                "opsdash: paused schedules can't be read or reported (%s); beat goes on, with the pauses it knows (%s)",
                describe_error(error),
                ", ".join(sorted(self.paused)) or "none",
            )
        self._failing = describe_error(error)
        self._next_read = self._next_report = time.monotonic() + AGAIN_S
        self._link.close()

    def _recovered(self) -> None:
        if self._failing:
            logger.warning("opsdash: paused schedules can be read again")
        self._failing = ""


def _pairs(flat: Any) -> list[tuple[str, str]]:
    """Names and values that come in turn, as texts; those whose names are too long are left out."""
    texts = [part.decode(errors="replace") if isinstance(part, bytes) else str(part) for part in flat]
    return [(name, text) for name, text in zip(texts[::2], texts[1::2], strict=False) if len(name) <= LONGEST_NAME]
