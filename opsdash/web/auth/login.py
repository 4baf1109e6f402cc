"""The page where users of ``OPSDASH_AUTH=basic`` sign in and out. Plain HTML: it works before anything is loaded."""

from __future__ import annotations

import asyncio
import html
import logging
from collections.abc import Callable

from opsdash.config.addresses import is_loopback, neighbourhood
from opsdash.config.passwords import Users
from opsdash.errors import Invalid
from opsdash.services.threads import SIGN_INS
from opsdash.web.auth.cookies import COOKIE, LIFETIME_S, SessionCookies
from opsdash.web.auth.login_queue import LoginQueue, QueuedLogin
from opsdash.web.handler import Guarded
from opsdash.web.rate_limit import RateLimit
from opsdash.web.request_filter import PAGE, plain_page

log = logging.getLogger(__name__)

FAILURES_PER_MINUTE = 5

_FORM = """<form method="post" action="login">
<label>User name<input name="username" autocomplete="username" required autofocus></label>
<label>Password<input name="password" type="password" autocomplete="current-password" required></label>
<button>Sign in</button></form>"""
_SIGN_OUT_FORM = '<form method="post" action="logout"><button>Sign out</button></form>'


class PasswordChecks:
    """What the login handlers of one server share.

    Args:
        users: Who may sign in.
        cookies: Their session cookies.
        prefix: Path of the page, where the cookie belongs.
        on_sign_out: Called when a cookie has ended.
    """

    def __init__(
        self, users: Users, cookies: SessionCookies, prefix: str, on_sign_out: Callable[[], None] = lambda: None
    ) -> None:
        self.on_sign_out = on_sign_out
        self.users = users
        self.cookies = cookies
        self.prefix = prefix
        self.queue = LoginQueue(RateLimit(FAILURES_PER_MINUTE))

    async def knows(self, name: str, password: str) -> bool:
        """Whether name and password belong together. Cost: 80 ms in a thread; `LoginQueue` says when."""
        return await SIGN_INS.run(lambda: self.users.check(name, password))


class _LoginPage(Guarded):
    def initialize(self, checks: PasswordChecks) -> None:
        self._checks = checks

    @property
    def _over_tls(self) -> bool:
        return self.protocol == "https"

    def _show_page(self, heading: str, problem: str = "", form: str = "", status: int = 200) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "text/html; charset=utf-8")
        alert = f'<p role="alert">{html.escape(problem)}</p>' if problem else ""
        self.finish(plain_page(heading, alert + form))


class Login(_LoginPage):
    """Asks for name and password, and gives a session cookie for them."""

    _turn: asyncio.Future[QueuedLogin] | None = None

    def get(self) -> None:
        """Shows the form."""
        if not self._is_private():
            return
        self._show_page("Sign in to opsdash", form=_FORM)

    async def post(self) -> None:
        """Checks name and password; what is wrong with them is not said."""
        if not self._is_private():
            return
        name, password = self.get_body_argument("username", ""), self.get_body_argument("password", "", strip=False)
        who = neighbourhood(self.client)
        self._turn = self._checks.queue.join(who)
        await asyncio.wait([self._turn])
        if self._turn.cancelled():
            return  # the client has gone
        if not self._is_next(self._turn.result()):
            return
        right = True  # what was not looked at is no failure
        try:
            known = right = await self._checks.knows(name, password)
        except Invalid as error:
            log.error("%s", error)
            self._show_page("Sign in to opsdash", "The users file can't be used: opsdash's log says why.", status=503)
            return
        finally:
            self._checks.queue.done(who, right=right)
        if not known:
            # Neither the name nor the password: people type one into the field of the other.
            log.warning("sign-in failed from %s", self.client)
            self._show_page("Sign in to opsdash", "Name or password is wrong.", _FORM, status=403)
            return
        self.set_cookie(
            COOKIE,
            self._checks.cookies.issue(name),
            path=f"{self._checks.prefix}/",
            max_age=LIFETIME_S,
            httponly=True,
            samesite="Strict",
            secure=self._over_tls,
        )
        self.redirect(f"{self._checks.prefix}{PAGE}", status=303)

    def on_connection_close(self) -> None:
        """A client that disconnects leaves the line."""
        super().on_connection_close()
        if self._turn is not None:
            self._turn.cancel()

    def _is_next(self, turn: QueuedLogin) -> bool:
        if not turn.wait_s:
            return True
        why = "too many failures" if turn.failures else "too many sign-ins at once"
        log.warning("sign-in refused, from %s: %s", self.client, why)
        self.set_header("Retry-After", str(turn.wait_s))
        why = "Too many failures." if turn.failures else "Too many people sign in just now."
        text = f"{why} Try again in {turn.wait_s} seconds."
        self._show_page("Sign in to opsdash", text, _FORM * (not turn.failures), status=429 if turn.failures else 503)
        return False

    def _is_private(self) -> bool:
        """A password crosses a network encrypted or not at all."""
        if self._over_tls or is_loopback(self.client):
            return True
        line = (
            "This connection is not encrypted, so no password is asked for. Open the page by its https address; the "
            "proxy has to be in OPSDASH_TRUSTED_PROXIES and to set X-Forwarded-Proto."
        )
        self._show_page("Sign in over https", line, status=403)
        return False


class Logout(_LoginPage):
    """Ends the session cookie."""

    def get(self) -> None:
        """Asks first, so that a link can't sign a user out."""
        self._show_page("Sign out of opsdash", form=_SIGN_OUT_FORM)

    def post(self) -> None:
        """Ends the cookie, closes the pages that were opened with it, and makes the browser delete it."""
        self._checks.cookies.end(self.get_cookie(COOKIE) or "")
        self._checks.on_sign_out()
        self.clear_cookie(COOKIE, path=f"{self._checks.prefix}/")
        self.redirect(f"{self._checks.prefix}/login", status=303)
