"""What opsdash's own routes beside the page have in common."""

from __future__ import annotations

from typing import Any, cast

from tornado.web import RequestHandler

from opsdash.config.addresses import client_address, header, is_within
from opsdash.config.settings import Settings


class Guarded(RequestHandler):
    """The base of every route that opsdash adds to the page's server.

    The security headers and the checks of ``Sec-Fetch-Site``, ``Origin`` and size are not here: `Gate` and
    `SecurityHeaders` apply to every route of the server, Bokeh's own included, so that none can forget them.
    """

    def set_default_headers(self) -> None:
        """Nothing that a route says about now is kept by a browser or a proxy."""
        self.set_header("Cache-Control", "no-store")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """One line of plain text: no traceback, and nothing of the request."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish(f"{status_code} {self._reason}\n")

    @property
    def client(self) -> str:
        """The client's address, as a trusted proxy gives it; for ``Actor.client`` and for limits."""
        return client_address(self.request.headers, self.request.remote_ip or "", self._settings.trusted_proxies)

    @property
    def protocol(self) -> str:
        """``https`` or ``http``, between the client and its first server: us, or a trusted proxy."""
        if is_within(self.request.remote_ip or "", self._settings.trusted_proxies):
            scheme = header(self.request.headers, "X-Forwarded-Proto").rpartition(",")[2].strip().lower()
            if scheme in {"http", "https"}:
                return scheme
        return self.request.protocol

    @property
    def _settings(self) -> Settings:
        return cast("Settings", self.application.settings["opsdash"])


class Alive(Guarded):
    """The process lives and its loop turns. Never the page itself: each GET of that builds a session."""

    def get(self) -> None:
        """Answers ``ok``."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.finish("ok")
