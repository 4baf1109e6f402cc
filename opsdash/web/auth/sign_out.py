"""Ended sessions: no copy of their cookie is valid, although its signature is. Consoles share them in Redis."""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from opsdash import lua
from opsdash.errors import OpsdashError
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker

log = logging.getLogger(__name__)

MOST = 10_000
"""Ended cookies that are remembered. Of more, the latest: every cookie that expires before them is ended too, so that
no cookie becomes valid again."""
LONGEST_S = 7 * 86_400
"""Nothing is remembered longer than this; opsdash's own cookies last half a day, a provider's as long as it says."""
AHEAD_S = 3_600
"""By so much another console's clock may be ahead."""


_SHARE = lua.load(__name__, "sign_out_share")


class SignedOut:
    """Hashes of ended cookies, each until its cookie would have expired. Never the cookie: a hash opens nothing.

    It is looked at in memory alone; what other consoles have ended comes with `sync`. While Redis is away this process
    remembers its own, and shares them when it is back.

    Args:
        broker: Where consoles share them; None: nowhere.
        key: Signs the shared hashes.
        clock: Seconds since 1970.
    """

    def __init__(self, broker: Broker | None, key: bytes, clock: Callable[[], float] = time.time) -> None:
        self._broker = broker
        self._key = key
        self._clock = clock
        self._ended: dict[str, float] = {}
        self._unshared: dict[str, float] = {}
        self._floor_s = 0.0
        self._lock = threading.Lock()
        self._syncing = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="opsdash-signed-out")
        self._failing = False

    def end(self, mark: str, expires_at: float) -> None:
        """Ends one, here at once and elsewhere soon. Cost: O(1); Redis is written in another thread."""
        expires_at = min(expires_at, self._clock() + LONGEST_S)
        with self._lock:
            self._ended[mark] = self._unshared[mark] = expires_at
            self._trim()
        self.sync_soon()

    def has(self, mark: str, expires_at: float) -> bool:
        """Whether a cookie was ended. Cost: O(1), no I/O."""
        return mark in self._ended or expires_at <= self._floor_s

    def sync_soon(self) -> None:
        """Writes and reads in its own thread; does nothing if that runs already."""
        if self._broker is not None and not self._syncing.locked():
            self._thread.submit(self.sync)

    def sync(self) -> None:
        """Learns what was ended elsewhere, and tells Redis what was here. Never raises for an outage.

        Cost: one round trip, two with news; at most ``MOST`` members of 45 characters.
        """
        broker = self._broker
        if broker is None:
            return
        with self._syncing:
            try:
                self._fetch(broker)
                self._share(broker)
            except OpsdashError as error:
                if not self._failing:  # once, not at every try of a long outage
                    log.warning("who signs out is not shared with other consoles: %s", error)
                self._failing = True
            else:
                self._failing = False

    def _fetch(self, broker: Broker) -> None:
        now_s = self._clock()
        with broker.reading():
            high = repr(self._latest())
            found = bounded_reads.read_members(
                broker.client, broker.keys.signed_out, most=MOST, low=f"({now_s}", high=high
            ).found
        ended = {}
        for member, at_s in found:
            mark, _, signature = member.partition(".")
            known = self._ended.get(mark) == at_s
            # A client that can write to Redis must not be able to sign all users out.
            if known or hmac.compare_digest(self._sign(mark, at_s).encode(), signature.encode("utf-8", "replace")):
                ended[mark] = at_s
        with self._lock:
            self._ended |= ended
            self._trim()

    def _share(self, broker: Broker) -> None:
        with self._lock:
            unshared = dict(self._unshared)
        if not unshared:
            return
        members = [part for mark, at_s in unshared.items() for part in (repr(at_s), f"{mark}.{self._sign(mark, at_s)}")]
        bounds = [repr(max(self._clock(), self._floor_s)), repr(self._latest())]
        with broker.reading():
            broker.client.eval(_SHARE, 1, broker.keys.signed_out, str(LONGEST_S), *bounds, *members)
        with self._lock:
            for mark in unshared:
                self._unshared.pop(mark, None)

    def _latest(self) -> float:
        """No cookie expires later, with a tolerance for clocks."""
        return self._clock() + LONGEST_S + AHEAD_S

    def _sign(self, mark: str, at_s: float) -> str:
        return hmac.new(self._key, f"{mark}:{at_s!r}".encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:22]

    def _trim(self) -> None:
        now_s = self._clock()
        living = {mark: at_s for mark, at_s in self._ended.items() if at_s > now_s}
        if len(living) > MOST:
            kept = sorted(living.items(), key=lambda one: one[1])
            self._floor_s = max(self._floor_s, kept[-MOST - 1][1])
            living = dict(kept[-MOST:])
        self._ended = living
        self._unshared = {mark: at_s for mark, at_s in self._unshared.items() if mark in living}
