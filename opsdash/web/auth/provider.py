"""Who comes in: Bokeh asks at every page and websocket, and a session's token is good for whom it was made."""

from __future__ import annotations

import hashlib
import hmac
import logging
import math
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import panel as pn
from bokeh.protocol.exceptions import ProtocolError
from bokeh.server.auth_provider import AuthProvider
from bokeh.util.token import check_token_signature, get_session_id, get_token_payload
from tornado.httputil import HTTPServerRequest
from tornado.iostream import IOStream
from tornado.web import RequestHandler, decode_signed_value
from tornado.websocket import WebSocketHandler

from opsdash.capacity import SHARES
from opsdash.config.addresses import client_address, header, is_within, neighbourhood
from opsdash.config.passwords import Users
from opsdash.config.settings import Settings
from opsdash.errors import Invalid
from opsdash.services.broker.client import Broker
from opsdash.web.auth.cookies import COOKIE, SessionCookies
from opsdash.web.auth.login import Login, Logout, PasswordChecks
from opsdash.web.auth.sign_out import SignedOut

log = logging.getLogger(__name__)

TOKEN_LIFETIME_S = 60
"""How long after the page was fetched its websocket may open."""

SOCKETS_FOR_A_PAGE = 2
"""Of one user at one address, for each page they may have open: some say only that there are too many."""

_OPENING_S = 2.0
_POLICY_VIOLATION = 1008
_NOBODY = "nobody"


class Caller(NamedTuple):
    """Who asks, from where: a page's token holds the same, and both must agree."""

    name: str
    groups: str
    client: str


_ANYBODY = Caller("", "", "")


class SignIn(AuthProvider):
    """Bokeh's hook for identity, in every mode: it decides what a request may claim and binds tokens to it.

    A user is never turned away here for having no role: the page tells them why. Turned away are websockets whose token
    was made for another user or was used before. With ``basic``, clients that are not signed in go to the login page.

    Args:
        settings: How identity is configured.
        prefix: Path before every route, with its slash, or empty.
        provider: Panel's own, for ``oauth``.
        broker: Where consoles tell each other who signed out; None: nowhere.
        clock: Seconds since 1970.

    Raises:
        Invalid: There is no secret, or the users file can't be used.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        prefix: str = "",
        provider: AuthProvider | None = None,
        broker: Broker | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._provider = provider
        self._clock = clock
        self._used: dict[str, float] = {}
        self._sockets: list[tuple[Caller, IOStream]] = []
        self._open: WeakKeyDictionary[WebSocketHandler, str] = WeakKeyDictionary()
        self._checks: PasswordChecks | None = None
        self._mark_key = hmac.new(settings.secret(), b"opsdash: signed out", hashlib.sha256).digest()
        self._signed_out = SignedOut(broker, self._mark_key, clock)
        if settings.auth == "basic":
            users = Users(settings.users_file)
            users.read()
            cookies = SessionCookies(settings, users, clock, self._signed_out)
            self._checks = PasswordChecks(users, cookies, prefix, self.close_signed_out)
        super().__init__()

    @property
    def get_user_async(self) -> Callable[[Any], Awaitable[Any]]:
        """Bokeh calls it before it answers a page or opens a websocket."""
        return self._admit

    @property
    def login_url(self) -> str:
        """Where Bokeh sends clients that are not signed in."""
        return (self._provider.login_url if self._provider else None) or "/login"

    @property
    def logout_url(self) -> str | None:
        """Where a page signs out."""
        if self._checks is not None:
            return "/logout"
        return self._provider.logout_url if self._provider else None

    @property
    def endpoints(self) -> list[Any]:
        """The routes for signing in and out."""
        if self._checks is not None:
            return [("/login", Login, {"checks": self._checks}), ("/logout", Logout, {"checks": self._checks})]
        return [self._with_sign_out(route) for route in self._provider.endpoints] if self._provider else []

    def _with_sign_out(self, route: Any) -> Any:
        """Panel's route; that of its sign-out also ends the cookie that it has the browser forget."""
        pattern, handler, *more = route
        if not (self._provider and handler is self._provider.logout_handler):
            return route
        end = self._end_cookie

        class SignOut(handler):  # type: ignore[misc, valid-type] # Panel's, known at run time
            def prepare(self) -> None:
                end(self.request)
                super().prepare()

        return (pattern, SignOut, *more)

    def _end_cookie(self, request: HTTPServerRequest) -> None:
        cookie = self._provider_cookie(request)
        if decode_signed_value(pn.config.cookie_secret, "user", cookie, max_age_days=pn.config.oauth_expiry):
            expires_at = self._clock() + pn.config.oauth_expiry * 86_400
            self._signed_out.end(self._mark_of(cookie), expires_at)
            self.close_signed_out()

    @staticmethod
    def _provider_cookie(request: HTTPServerRequest) -> str:
        cookie = request.cookies.get("user")
        return cookie.value if cookie else ""

    def _mark_of(self, cookie: str) -> str:
        return hmac.new(self._mark_key, cookie.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:22]

    def _has_signed_out(self, cookie: str) -> bool:
        return self._signed_out.has(self._mark_of(cookie), math.inf)

    @property
    def _binds(self) -> bool:
        """Whether callers differ: in ``dev`` there is one user on one machine, closed there is nothing to see."""
        return self._settings.auth in {"header", "basic", "oauth"}

    async def _admit(self, handler: RequestHandler) -> str | None:
        request = handler.request
        name = await self._named(handler)
        caller = self._identify(request, name)
        if isinstance(handler, WebSocketHandler):
            return (name or _NOBODY) if self._may_join(handler, caller) else None
        return name or (None if self._settings.auth in {"basic", "oauth"} else _NOBODY)

    async def _named(self, handler: Any) -> str:
        request: HTTPServerRequest = handler.request
        if self._provider is not None and self._provider.get_user_async is not None:
            # Panel accepts a guest by a cookie that any client can write.
            request.cookies.pop("is_guest", None)
            if self._has_signed_out(self._provider_cookie(request)):
                return ""
            user = await self._provider.get_user_async(handler)
            return "" if "is_guest" in request.cookies else str(user or "")
        if self._checks is not None:
            try:
                return self._checks.cookies.holder(self._session_cookie(request))
            except Invalid as error:
                log.error("no user can sign in: %s", error)
                return ""
        if self._settings.auth == "header" and is_within(request.remote_ip or "", self._settings.trusted_proxies):
            return header(request.headers, self._settings.user_header)
        return ""

    @staticmethod
    def _session_cookie(request: HTTPServerRequest) -> str:
        cookie = request.cookies.get(COOKIE)
        return cookie.value if cookie else ""

    def _identify(self, request: HTTPServerRequest, name: str) -> Caller:
        """Leaves in the request only what it may claim: Bokeh puts these headers into the page's token."""
        if not self._binds:
            return _ANYBODY  # forwarded headers stay: in `dev` the page shows itself to nobody who has them
        client = client_address(request.headers, request.remote_ip or "", self._settings.trusted_proxies)
        groups = header(request.headers, self._settings.groups_header)
        if self._settings.auth != "header" or not name:
            groups = ""
        for given in (self._settings.user_header, self._settings.groups_header, "X-Forwarded-For"):
            request.headers.pop(given, None)
        kept = {"X-Forwarded-For": client}
        if self._provider is None:
            kept |= {self._settings.user_header: name, self._settings.groups_header: groups}
        for key, value in kept.items():
            if value:
                request.headers[key] = value
        return Caller(name, groups, client)

    def _may_join(self, handler: Any, caller: Caller) -> bool:
        """Whether the token a websocket brings was made by us, lately, for this caller, and was not used before."""
        app = handler.application
        _, _, token = header(handler.request.headers, "Sec-WebSocket-Protocol").partition(",")
        try:
            token = token.strip()
            genuine = check_token_signature(token, signed=True, secret_key=app.secret_key)
            payload = get_token_payload(token) if genuine else {}
            session = str(get_session_id(token))
        except (ValueError, LookupError, TypeError, AttributeError, AssertionError, RecursionError):
            genuine = False  # a client may send any text, and Bokeh's reader has no error class for it
        why = "its token is not ours"
        if genuine:
            why = (
                self._mismatch(payload, caller)
                or self._replay(handler, session, payload)
                or self._too_many_sockets(handler, caller)
            )
        if why:
            log.warning("websocket refused, from %s: %s", handler.request.remote_ip, why)
            return False
        self._used[session] = self._clock()
        if self._checks is not None:
            self._open[handler] = self._session_cookie(handler.request)
        elif self._provider is not None:
            self._open[handler] = self._provider_cookie(handler.request)
        return True

    def _mismatch(self, payload: dict[str, Any], caller: Caller) -> str:
        if payload.get("session_expiry", 0) <= self._clock():
            return "its token has expired"
        made_for = self._made_for(payload)
        if made_for.name != caller.name or made_for.groups != caller.groups:
            return f"its token was made for {made_for.name or _NOBODY!r}, not for {caller.name or _NOBODY!r}"
        if made_for.client != caller.client:
            return f"its token was made for {made_for.client}, not for {caller.client}"
        return ""

    def _made_for(self, payload: dict[str, Any]) -> Caller:
        headers = payload.get("headers", {})
        if not self._binds:
            return _ANYBODY
        client = header(headers, "X-Forwarded-For")
        if self._provider is not None:
            cookie = payload.get("cookies", {}).get("user", "")
            user = decode_signed_value(pn.config.cookie_secret, "user", cookie)
            return Caller(user.decode() if user else "", "", client)
        name, groups = (header(headers, given) for given in (self._settings.user_header, self._settings.groups_header))
        return Caller(name, groups, client)

    def _replay(self, handler: Any, session: str, payload: dict[str, Any]) -> str:
        """A token opens one session, once; a browser whose connection broke may come back to it while it lives."""
        now = self._clock()
        self._used = {name: at for name, at in self._used.items() if now - at < TOKEN_LIFETIME_S}
        try:
            living = handler.application_context.get_session(session)
        except ProtocolError:
            living = None
        used_at = self._used.get(session)
        if living is not None and living.connection_count > 0:
            return "its session has a browser already"
        if used_at is not None and (living is None or now - used_at < _OPENING_S):
            return "its token was used before"
        return ""

    def _too_many_sockets(self, handler: Any, caller: Caller) -> str:
        """Keeps count of the websockets: a page has one, also one that only says why there is nothing to see.

        Cost: as many as are open.
        """
        if self._settings.auth == "dev":
            return ""
        self._sockets = [known for known in self._sockets if not known[1].closed()]
        who = Caller(caller.name, "", neighbourhood(caller.client))
        own = sum(known == who for known, _ in self._sockets)
        unnamed = sum(not known.name for known, _ in self._sockets)
        if own >= SOCKETS_FOR_A_PAGE * self._settings.max_pages_each:
            return f"{who.name or _NOBODY!r} has {own:,} open already"
        if not who.name and unnamed >= self._settings.max_pages * SHARES[None]:
            return f"{unnamed:,} websockets without a user are open already"
        self._sockets.append((who, handler.request.connection.stream))
        return ""

    def close_signed_out(self) -> None:
        """Disconnects users who were removed from the file, or whose cookie ended. Cost: one small read for each."""
        try:
            handlers = [who for who, cookie in self._open.items() if not self._is_good(cookie)]
        except Invalid as error:
            log.error("no user can sign in, and open pages stay: %s", error)
            return
        for handler in handlers:
            log.warning("a user signed out, was removed, or signed in too long ago: the page is closed")
            handler.close(code=_POLICY_VIOLATION)

    def _is_good(self, cookie: str) -> bool:
        if self._checks is not None:
            return bool(self._checks.cookies.holder(cookie))
        return not self._has_signed_out(cookie)

    def look_again(self) -> None:
        """Every few seconds: reads the sign-outs of other consoles, and disconnects users without a valid session."""
        if self._checks is not None or self._provider is not None:
            self._signed_out.sync_soon()
            self.close_signed_out()
