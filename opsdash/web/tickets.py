"""The cookie of somebody who signed in with ``OPSDASH_AUTH=basic``: who, until when, under which password."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable

from opsdash.settings import Settings
from opsdash.users import Users

COOKIE = "opsdash_signed_in"
LIFETIME_S = 12 * 3_600
"""A shift. After it the password is asked for again."""


class Tickets:
    """Gives out and reads the cookie's value. Nothing is kept: the signature is the proof.

    Args:
        settings: Their secret signs; another console with the same one reads the ticket too.
        users: Whoever is no longer in there, or has a new password, has no valid ticket either.
        clock: Seconds since 1970.
    """

    def __init__(self, settings: Settings, users: Users, clock: Callable[[], float] = time.time) -> None:
        self._key = hmac.new(settings.secret(), b"opsdash: sign in", hashlib.sha256).digest()
        self._users = users
        self._clock = clock

    def issue(self, name: str) -> str:
        """A ticket for a user whose password was right."""
        body = _encode(json.dumps([name, int(self._clock()) + LIFETIME_S, self._mark(name)]).encode())
        return f"{body}.{_encode(self._sign(body))}"

    def holder(self, ticket: str) -> str:
        """The name on a ticket; empty when it is forged, expired, or its user is gone or has a new password."""
        body, _, signature = ticket.partition(".")
        if not hmac.compare_digest(_encode(self._sign(body)).encode(), signature.encode()):
            return ""
        name, expires_at, mark = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        if expires_at <= self._clock() or not mark or mark != self._mark(name):
            return ""
        return str(name)

    def _mark(self, name: str) -> str:
        """What changes with the password, and tells nothing of it."""
        hashed = self._users.read().get(name)
        return _encode(self._sign(str(hashed)))[:22] if hashed else ""

    def _sign(self, text: str) -> bytes:
        return hmac.new(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).digest()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
