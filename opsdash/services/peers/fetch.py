"""One bounded request to another console: so many bytes, so many seconds, to the address of the settings alone."""

from __future__ import annotations

import http.client
import json
import ssl
import time
from typing import Any
from urllib.parse import urlsplit

from opsdash.config.peers import Peer
from opsdash.services.cut_off import cut_off_after

MOST_BYTES = 8 * 1024 * 1024
"""Of an answer; the status of 200 workers and 50 queues has about 0.2 MB."""
STEP_S = 4.0
"""For connecting, and for each piece of an answer."""
TOTAL_S = 10.0
"""For a whole answer, however it drips."""


class NoAnswerError(Exception):
    """There is no answer that can be used; the text says why, in our words."""


def fetch(peer: Peer, path: str) -> Any:
    """The JSON at a path below a console's address. Redirects are not followed: the token is for that address alone.

    Raises:
        NoAnswerError: It did not answer in time, with another status, or with something else than bounded JSON.
    """
    parts = urlsplit(peer.url)
    host, port = parts.hostname or "", parts.port
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(host, port, timeout=STEP_S, context=ssl.create_default_context())
    else:
        connection = http.client.HTTPConnection(host, port, timeout=STEP_S)
    deadline = time.monotonic() + TOTAL_S
    try:
        with cut_off_after(TOTAL_S, lambda: connection.sock):  # headers may drip, too
            connection.request(
                "GET",
                f"{parts.path}{path}",
                headers={"Authorization": f"Bearer {peer.token}", "Accept": "application/json", "Connection": "close"},
            )
            answer = connection.getresponse()
            if answer.status != 200:
                raise NoAnswerError(_refusal(answer.status))
            body = _body(answer, deadline)
    except ssl.SSLCertVerificationError as error:
        raise NoAnswerError("its certificate can't be verified") from error
    except TimeoutError as error:
        raise NoAnswerError("it did not answer in time") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        late = time.monotonic() >= deadline
        raise NoAnswerError("it did not answer in time" if late else "it can't be reached") from error
    finally:
        connection.close()
    return _parsed(body)


def _body(answer: http.client.HTTPResponse, deadline: float) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while piece := answer.read1(64 * 1024):
        size += len(piece)
        if size > MOST_BYTES:
            raise NoAnswerError(f"its answer has more than {MOST_BYTES // (1024 * 1024)} MB")
        pieces.append(piece)
        if time.monotonic() >= deadline:
            break
    if time.monotonic() >= deadline:  # what was cut off looks like an end
        raise NoAnswerError("it did not answer in time")
    return b"".join(pieces)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as error:
        raise NoAnswerError("its answer is not JSON") from error


def _refusal(status: int) -> str:
    if status in {401, 403}:
        return "it refuses the token"
    if 300 <= status < 400:
        return "it redirects to another address"
    return f"it answers with status {status}"
