"""Requests that no route should see: malformed, from another site, too many, or for what opsdash does not serve."""

from __future__ import annotations

import html
import re
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
from bokeh.server.util import check_allowlist, create_hosts_allowlist
from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher

from opsdash.api.problems import CONTENT_TYPE, problem
from opsdash.config.addresses import client_address, header, is_loopback, neighbourhood
from opsdash.config.settings import Settings
from opsdash.web.handler import Guarded
from opsdash.web.rate_limit import RateLimit

PAGE = "/operations"
_COMPONENT = re.compile(
    r"/components/(opsdash(?:\.\w+)+)/(\w+)/(?:(_bundle_(?:path|css))/[\w.-]+|(modifiers)/assets/widgets\.css)"
)
"""What of opsdash's own a page may load there. Panel's route imports whatever module an address names."""

_UNREADABLE = re.compile(r"[\x00-\x1f\x7f\\]|(?:^|/)\.\.?(?:/|$)")
_SESSION_NAMES = {"bokeh-token", "bokeh-session-id"}
_SAFE = {"GET", "HEAD"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request gets no further; ``kind`` is what a program that asked the API goes by."""

    status: int
    kind: str
    heading: str
    line: str
    retry_after_s: int = 0


MALFORMED = Refusal(
    400, "malformed", "This address can't be read", "It contains characters that no address of opsdash has."
)
NOT_SERVED = Refusal(404, "not-found", "There is nothing here", "opsdash does not serve this address.")
ELSEWHERE = Refusal(
    403,
    "elsewhere",
    "Development mode answers this machine only",
    "OPSDASH_AUTH=dev answers to localhost and 127.0.0.1, and to no other name.",
)
CHOSEN = Refusal(
    403,
    "chosen-session",
    "This link can't be used",
    "It contains a session id. Open the page by its plain address.",
)
FOREIGN = Refusal(
    403,
    "cross-site",
    "Another site asked for this",
    "Only opsdash's own pages may. The proxy's public name is allowed with --allow-websocket-origin.",
)


class RequestFilter(Matcher):
    """Matches the requests that are refused; Tornado asks it before any route.

    Args:
        settings: How identity, proxies and limits are configured.
        prefix: Path before every route, with its slash, or empty.
        origins: ``host:port`` of the pages that may send more than plain GETs.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        prefix: str,
        origins: Iterable[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._prefix = prefix
        self._origins = create_hosts_allowlist(list(origins), None)
        self._pages = RateLimit(settings.page_opens_per_minute, clock)
        self._sockets = RateLimit(settings.page_opens_per_minute, clock)

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """The refusal for Tornado, as the arguments of its handler; None lets the request through."""
        refusal = self.objection(request)
        if refusal is None:
            return None
        of_api = unquote(request.path).removeprefix(self._prefix).startswith("/api")
        return {"target_kwargs": {"refusal": refusal, "of_api": of_api}}

    def objection(self, request: HTTPServerRequest) -> Refusal | None:
        """Why this request gets no further; None: it may go on."""
        path = unquote(request.path)
        if _UNREADABLE.search(path):
            return MALFORMED
        if self._not_served(path.removeprefix(self._prefix)):
            return NOT_SERVED
        if self._settings.auth == "dev" and not is_loopback(_host(request)):
            return ELSEWHERE  # a name on the internet that resolves to loopback would let any web page in
        if "Bokeh-Session-Id" in request.headers or _chooses_session(request.query):
            return CHOSEN
        if self._is_foreign(request):
            return FOREIGN
        return self._too_many(request, path.removeprefix(self._prefix))

    def _not_served(self, path: str) -> bool:
        if path.startswith((f"{PAGE}/autoload.js", f"{PAGE}/metadata")):
            return True  # made for other sites that embed a page: they would hand its session to them
        if not path.startswith("/components/"):
            return False
        component = _COMPONENT.fullmatch(path)
        if component is None:
            return True
        module, kind, *parts = component.groups()
        bundle = next(part for part in parts if part)
        # Panel's route breaks on a component that has no such part.
        return not getattr(getattr(sys.modules.get(module), kind, None), bundle, None)

    def _is_foreign(self, request: HTTPServerRequest) -> bool:
        site = header(request.headers, "Sec-Fetch-Site")
        if request.method in _SAFE and "Upgrade" not in request.headers:
            # A link from anywhere may open the page; nothing else of ours is loaded by, or shown inside, another site.
            opened = header(request.headers, "Sec-Fetch-Mode") == "navigate" and header(
                request.headers, "Sec-Fetch-Dest"
            ) in {"document", ""}
            return site in {"cross-site", "same-site"} and not opened
        if site not in {"", "same-origin"}:
            return True
        origin = header(request.headers, "Origin")
        # Without either it is no browser, and has nobody's cookies: its token or its headers are looked at further in.
        return bool(origin) and not check_allowlist(urlsplit(origin).netloc.lower(), self._origins)

    def _too_many(self, request: HTTPServerRequest, path: str) -> Refusal | None:
        allowance = {PAGE: self._pages, f"{PAGE}/": self._pages, f"{PAGE}/ws": self._sockets}.get(path)
        if allowance is None or request.method not in _SAFE:
            return None
        address = client_address(request.headers, request.remote_ip or "", self._settings.trusted_proxies)
        wait_s = allowance.take(neighbourhood(address))
        if not wait_s:
            return None
        most = self._settings.page_opens_per_minute
        line = f"One address may open {most:,} pages in a minute (OPSDASH_PAGE_OPENS_PER_MINUTE)."
        return Refusal(429, "too-many", "Too many pages were opened", line, wait_s)


class Refused(Guarded):
    """Answers what the gate refused: a status and two sentences, none of them the request's."""

    def initialize(self, refusal: Refusal, of_api: bool) -> None:
        """Takes the reason from the gate."""
        self._refusal, self._of_api = refusal, of_api

    def prepare(self) -> None:
        """Answers, whatever the method."""
        refusal = self._refusal
        self.set_status(refusal.status)
        if refusal.retry_after_s:
            self.set_header("Retry-After", str(refusal.retry_after_s))
        if self._of_api:
            self.set_header("Content-Type", CONTENT_TYPE)
            text = f"{refusal.heading}. {refusal.line}"
            self.finish(msgspec.json.encode(problem(refusal.status, refusal.kind, text)))
            return
        self.finish(plain_page(refusal.heading, f"<p>{html.escape(refusal.line)}</p>"))


def plain_page(heading: str, body: str) -> str:
    """A page without scripts. ``body`` is HTML: what comes from outside is escaped before."""
    title = html.escape(heading)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><style>'
        ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:12vh auto;"
        "padding:0 1rem}label{display:block;margin:.75rem 0}input,button{font:inherit;padding:.4rem .6rem}"
        "input{display:block;width:100%;box-sizing:border-box}[role=alert]{border-left:4px solid #b3261e;"
        f"padding-left:.75rem}}</style></head><body><main><h1>{title}</h1>{body}</main></body></html>"
    )


def _host(request: HTTPServerRequest) -> str:
    try:
        return urlsplit(f"//{request.host}").hostname or ""
    except ValueError:
        return ""


def _chooses_session(query: str) -> bool:
    """A session id or token in the address: the author of the link could join the session it opens (fixation)."""
    return any(name.lower() in _SESSION_NAMES for name, _ in parse_qsl(query, keep_blank_values=True))
