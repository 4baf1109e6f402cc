"""JSON by POST, signed: the receiver can see that opsdash sent it, and when."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from opsdash import __version__
from opsdash.services.cut_off import cut_off_after

TIMEOUT_S, TOTAL_S = 10.0, 30.0
"""For each step of a request, and for all of it, however it drips."""
SIGNATURE, TIMESTAMP, ID = "X-Opsdash-Signature", "X-Opsdash-Timestamp", "X-Opsdash-Id"
LATER = {408, 425, 429}
"""Answers that say: not now. Any other one from 400 to 499 says: not this."""


class NotTaken(Exception):  # noqa: N818 - a sentence for people, not a type
    """A receiver did not take it.

    Attributes:
        refused: It will not take it later either.
    """

    def __init__(self, reason: str, *, refused: bool = False) -> None:
        super().__init__(reason)
        self.refused = refused


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Never: what was signed for one receiver goes to no other one."""
        return


class _Http(urllib.request.HTTPHandler):
    """Notes its connections, so that one that lasts can be cut off."""

    def __init__(self, made: list[http.client.HTTPConnection]) -> None:
        super().__init__()
        self._made = made

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Called by urllib."""
        return self.do_open(_noting(http.client.HTTPConnection, self._made), req)


class _Https(urllib.request.HTTPSHandler):
    """The same, by TLS."""

    def __init__(self, made: list[http.client.HTTPConnection]) -> None:
        super().__init__(context=ssl.create_default_context())
        self._made = made

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Called by urllib."""
        kind = _noting(http.client.HTTPSConnection, self._made)
        return self.do_open(kind, req, context=self._context)  # type: ignore[attr-defined] # as urllib's own


def _noting(
    kind: type[http.client.HTTPConnection], made: list[http.client.HTTPConnection]
) -> Callable[..., http.client.HTTPConnection]:
    def connection(*args: Any, **options: Any) -> http.client.HTTPConnection:
        made.append(kind(*args, **options))
        return made[-1]

    return connection


def post(address: str, value: Any, *, key: str | None, headers: Mapping[str, str] | None = None) -> None:
    """Sends it; waits ``TIMEOUT_S`` at most for each step, and ``TOTAL_S`` for all of it.

    Args:
        key: Signs timestamp and body; None: it is not signed.

    Raises:
        NotTaken: With the reason, without the address.
    """
    body = value if isinstance(value, bytes) else json.dumps(value, default=str).encode()
    timestamp = str(int(time.time()))
    sent = {"Content-Type": "application/json", "User-Agent": f"opsdash/{__version__}", TIMESTAMP: timestamp}
    if key:
        sent[SIGNATURE] = signature(key, timestamp, body)
    call(urllib.request.Request(address, body, {**sent, **(headers or {})}, method="POST"))  # noqa: S310 - the setting's parser takes http and https only


def get(address: str) -> None:
    """Calls it, as ``post`` does."""
    call(urllib.request.Request(address, headers={"User-Agent": f"opsdash/{__version__}"}))  # noqa: S310 - as above


def call(request: urllib.request.Request) -> None:
    """Raises ``NotTaken`` unless the answer is one from 200 to 299. What else it says is not waited for."""
    made: list[http.client.HTTPConnection] = []
    opener = urllib.request.build_opener(_NoRedirect, _Http(made), _Https(made))
    with cut_off_after(TOTAL_S, lambda: made[-1].sock if made else None) as is_late:
        try:
            with (
                opener.open(request, timeout=TIMEOUT_S) as answer,
                contextlib.suppress(OSError, http.client.HTTPException),  # it has taken it, whatever it says now
            ):
                answer.read1(1_000)  # or closing would reset its connection
        except urllib.error.HTTPError as error:
            error.close()
            refused = 400 <= error.code < 500 and error.code not in LATER
            raise NotTaken(f"it answered {error.code}", refused=refused) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            # Without the cause, which may name the address.
            raise NotTaken(f"no answer within {TOTAL_S:g} s" if is_late() else _reason(error)) from None


def signature(key: str, timestamp: str, body: bytes) -> str:
    """``sha256=`` and the HMAC over the timestamp, a full stop and the body."""
    return f"sha256={hmac.digest(key.encode(), timestamp.encode() + b'.' + body, hashlib.sha256).hex()}"


def _reason(error: BaseException) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError | socket.timeout):
        return f"no answer within {TIMEOUT_S:g} s"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return "its certificate is not trusted here"
    if isinstance(cause, ssl.SSLError):
        return "no TLS connection"
    if isinstance(cause, socket.gaierror):
        return "its host is not known here"
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused"
    return type(cause).__name__ if isinstance(cause, BaseException) else "no connection"
