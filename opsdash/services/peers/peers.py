"""Reads other deployments in the background, one thread each, while someone looks."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from opsdash.config.peers import Peer
from opsdash.model.peer import PeerReading
from opsdash.services.peers import fetch
from opsdash.services.peers.answers import reading_of
from opsdash.services.peers.fetch import NoAnswerError

log = logging.getLogger(__name__)

EVERY_S = 10.0
LOOKED_AT_S = 60.0
"""So long after the last look it is read on."""
STATUS, FAILURES = "/api/v1/status", "/api/v1/failures"


class Peers:
    """The other deployments of ``OPSDASH_PEERS``. A slow or dead one costs nobody but its own thread."""

    def __init__(self, peers: Sequence[Peer]) -> None:
        self._readers = [_Reader(peer) for peer in peers]

    def __bool__(self) -> bool:
        return bool(self._readers)

    def read(self, wait_s: float = 0.0) -> tuple[PeerReading, ...]:
        """The last reading of each, in the order of the setting. Never raises for an outage; starts the reading.

        Args:
            wait_s: So long those are waited for that have not been tried yet. 0: nobody is.
        """
        deadline = time.monotonic() + wait_s
        for reader in self._readers:
            reader.look()
        for reader in self._readers:
            reader.tried.wait(max(0.0, deadline - time.monotonic()))
        return tuple(reader.latest for reader in self._readers)


class _Reader:
    """One peer, and the thread that reads it.

    Attributes:
        latest: The last figures there were, with why there are no newer ones.
        tried: There was an attempt.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.latest = PeerReading(name=peer.name, url=peer.page)
        self.tried = threading.Event()
        self._looked_s = 0.0
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def look(self) -> None:
        """Someone looks: it is read for a while."""
        with self._lock:
            self._looked_s = time.monotonic()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=f"opsdash-peer-{self._peer.name}", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            began_s = time.monotonic()
            try:
                self._attempt()
            except Exception:  # whatever an answer holds, it must not end the thread
                log.exception("reading %s failed", self._peer.name)
                self.latest = replace(self.latest, error="it can't be read; the log says why")
            self.tried.set()
            time.sleep(max(0.1, began_s + EVERY_S - time.monotonic()))
            with self._lock:
                if time.monotonic() - self._looked_s > LOOKED_AT_S:
                    self._thread = None
                    return

    def _attempt(self) -> None:
        try:
            status = fetch.fetch(self._peer, STATUS)
        except NoAnswerError as error:
            self.latest = replace(self.latest, error=str(error))
            return
        try:
            failures = fetch.fetch(self._peer, FAILURES)
        except NoAnswerError as error:  # an older version has none, and all else is known
            log.debug("no failures of %s: %s", self._peer.name, error)
            failures = None
        self.latest = reading_of(self.latest, status, failures)
