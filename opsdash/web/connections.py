"""How many connections are open: no single address, and nobody beside the trusted proxies, takes all of them."""

from __future__ import annotations

import logging
import resource
import time
from collections import defaultdict
from typing import Any

from tornado.iostream import IOStream

from opsdash.config.addresses import is_within, neighbourhood
from opsdash.config.settings import Settings

log = logging.getLogger(__name__)

SPARE_FILES = 128
"""Of the files that the process may open: for Redis, the database, logs, and what is opened for a moment."""
BESIDE_PROXIES = 0.8
"""Part of all connections that addresses which are no trusted proxies may take together."""
WARN_EVERY_S = 60.0


class Connections:
    """Closes what is too much before a byte of it is read.

    Behind a proxy all have the proxy's address: how many its clients may open, the proxy limits, and what each may keep
    open (pages, streams), `OpenPages` and the API.

    Args:
        settings: How many, and which addresses are proxies.
    """

    def __init__(self, settings: Settings) -> None:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        limit = settings.max_connections
        self._most = limit if files == resource.RLIM_INFINITY else max(SPARE_FILES, min(limit, files - SPARE_FILES))
        self._each = settings.max_connections_each
        self._proxies = settings.trusted_proxies
        self._open: defaultdict[str, list[IOStream]] = defaultdict(list)
        self._warned_s = -WARN_EVERY_S

    def guard(self, server: Any) -> None:
        """Filters the connections of a Tornado ``HTTPServer``."""
        serve = server.handle_stream

        def handle_stream(stream: IOStream, address: Any) -> Any:
            peer = str(address[0]) if isinstance(address, tuple) else ""
            if self._admits(peer, stream):
                return serve(stream, address)
            stream.close()
            return None

        server.handle_stream = handle_stream

    def _admits(self, peer: str, stream: IOStream) -> bool:
        """Cost: O(1), but where a limit is met: then as many as are open."""
        trusted = is_within(peer, self._proxies)
        who, most = neighbourhood(peer), self._most if trusted else int(self._most * BESIDE_PROXIES)
        if not trusted and len(self._open[who]) >= self._each:
            self._forget_closed()
        if sum(map(len, self._open.values())) >= most:
            self._forget_closed()
        too_many = not trusted and len(self._open[who]) >= self._each
        if too_many or sum(map(len, self._open.values())) >= most:
            if time.monotonic() - self._warned_s >= WARN_EVERY_S:
                self._warned_s = time.monotonic()
                log.warning("too many connections are open: refused one from %s", peer)
            return False
        self._open[who].append(stream)
        return True

    def _forget_closed(self) -> None:
        living = {who: [stream for stream in streams if not stream.closed()] for who, streams in self._open.items()}
        self._open = defaultdict(list, {who: streams for who, streams in living.items() if streams})
