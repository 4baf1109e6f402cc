"""The session cookie of ``OPSDASH_AUTH=basic``: user, expiry, and a hash of the password."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Callable

from opsdash.config.passwords import Users
from opsdash.config.settings import Settings
from opsdash.web.auth.sign_out import SignedOut

COOKIE = "opsdash_signed_in"
LIFETIME_S = 12 * 3_600
"""A shift. After it the password is asked for again."""


class SessionCookies:
    """Issues and reads the cookie's value. None is stored: the signature is the proof, until the user signs out.

    Args:
        settings: Their secret signs; another console with the same one accepts the cookie too.
        users: A user who is no longer in there, or has a new password, has no valid cookie either.
        clock: Seconds since 1970.
        signed_out: What was ended before its time; default: known to these alone.
    """

    def __init__(
        self,
        settings: Settings,
        users: Users,
        clock: Callable[[], float] = time.time,
        signed_out: SignedOut | None = None,
    ) -> None:
        self._key = hmac.new(settings.secret(), b"opsdash: sign in", hashlib.sha256).digest()
        self._users = users
        self._signed_out = signed_out or SignedOut(None, self._key, clock)
        self._clock = clock

    def issue(self, name: str) -> str:
        """A cookie for a user whose password was right."""
        # The fraction separates two cookies of one second: a sign-out here does not end a session elsewhere.
        expires_at = int(self._clock()) + LIFETIME_S - secrets.randbelow(10**6) / 10**6
        body = _encode(json.dumps([name, expires_at, self._mark(name)]).encode())
        return f"{body}.{_encode(self._sign(body))}"

    def holder(self, cookie: str) -> str:
        """The name in a cookie; empty when it is forged, expired, ended, or its user is gone or has a new password."""
        name, expires_at, mark = self._read(cookie)
        if expires_at <= self._clock() or not mark or mark != self._mark(name):
            return ""
        return "" if self._signed_out.has(self._ended(cookie), expires_at) else name

    def end(self, cookie: str) -> None:
        """Ends a cookie and all its copies; a foreign one changes nothing."""
        _, expires_at, mark = self._read(cookie)
        if mark and expires_at > self._clock():
            self._signed_out.end(self._ended(cookie), expires_at)

    def _read(self, cookie: str) -> tuple[str, float, str]:
        """Name, end and mark; nothing of a forged one."""
        body, _, signature = cookie.partition(".")
        if not hmac.compare_digest(_encode(self._sign(body)).encode(), signature.encode()):
            return "", 0.0, ""
        name, expires_at, mark = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return str(name), float(expires_at), str(mark)

    def _ended(self, cookie: str) -> str:
        """A hash of an ended cookie; it opens nothing."""
        return _encode(self._sign(f"ended {cookie.partition('.')[0]}"))[:22]

    def _mark(self, name: str) -> str:
        """What changes with the password, and tells nothing of it."""
        hashed = self._users.read().get(name)
        return _encode(self._sign(str(hashed)))[:22] if hashed else ""

    def _sign(self, text: str) -> bytes:
        return hmac.new(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
