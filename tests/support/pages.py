"""The page's server in a thread, and clients that are no browsers: they send what they like."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import re
import socket
import threading
import zlib
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from support import documents
from support.services import free_port
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.ioloop import IOLoop
from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError, websocket_connect

from opsdash.services.console import Console
from opsdash.web.server import create_server

_TOKEN = re.compile(r'"token":"([\w.-]+)"')


@dataclass(frozen=True)
class Answer:
    """One HTTP answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    text: str
    set_cookies: tuple[str, ...] = ()

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies it sets, by name."""
        return {name: value for name, _, value in (one.split(";")[0].partition("=") for one in self.set_cookies)}

    @property
    def token(self) -> str:
        """The session token in a page."""
        found = _TOKEN.search(self.text)
        assert found, f"no token in an answer {self.status}: {self.text[:200]}"
        return found[1]

    @property
    def payload(self) -> dict[str, Any]:
        """What the page's token says."""
        return payload_of(self.token)


def payload_of(token: str) -> dict[str, Any]:
    """What a session token says, signed or not."""

    def decoded(text: str) -> bytes:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))

    body = json.loads(decoded(token.partition(".")[0]))
    body.update(json.loads(zlib.decompress(decoded(body.pop("__bk__zlib_")))))
    return body


class PageServer:
    """A console's page, listening on a port of its own until ``stop``."""

    def __init__(self, console: Console, **options: Any) -> None:
        self.console = console
        self.port = options.setdefault("port", free_port())
        self.origin = f"http://127.0.0.1:{self.port}"
        self._prefix = options.get("prefix", "")
        self._options = options
        self._loop: IOLoop | None = None
        listening = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listening,), daemon=True)
        self._thread.start()
        assert listening.wait(20), "the page's server did not start"

    def _run(self, listening: threading.Event) -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        self._loop = IOLoop.current()
        self._server = server = create_server(self.console, **self._options)
        server.start()
        self._loop.add_callback(listening.set)
        self._loop.start()
        server.stop()
        self._loop.close(all_fds=True)

    def stop(self) -> None:
        assert self._loop is not None
        self._loop.add_callback(self._loop.stop)
        self._thread.join(20)
        assert not self._thread.is_alive()
        documents.forget()  # what a broken message was for

    def living(self) -> int:
        """How many sessions there are."""
        return len(self._server.get_sessions("/operations"))

    def ask(
        self, path: str = "/operations", method: str = "GET", body: bytes | str | None = None, **headers: str
    ) -> Answer:
        """One request on a connection of its own; ``X_Name`` is the header ``X-Name``."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, self._prefix + path, body=body, headers=named)
            got = connection.getresponse()
            named = {name.lower(): value for name, value in got.getheaders()}
            cookies = tuple(got.headers.get_all("Set-Cookie") or ())
            return Answer(got.status, named, got.read().decode(errors="replace"), cookies)

    def raw(self, data: bytes) -> bytes:
        """Sends bytes that need not be HTTP; what comes back until the server hangs up."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(data)
            answer = b""
            with contextlib.suppress(ConnectionResetError):
                while piece := connection.recv(65_536):
                    answer += piece
            return answer

    def opens(self, token: str, **headers: str) -> bool:
        """Whether the server lets a websocket with this token in; it is closed again."""
        with self.socket(token, **headers) as let_in:
            return let_in

    def say(self, messages: list[str]) -> None:
        """Sends over the websocket that is held open."""
        loop, connection = self._talk

        async def send() -> None:
            for message in messages:
                await connection.write_message(message)

        with contextlib.suppress(WebSocketClosedError, StreamClosedError):
            loop.run_until_complete(asyncio.wait_for(send(), 20))

    def hangs_up(self, message: str = "") -> bool:
        """Whether the server closes the websocket that is held open, after it is sent this."""
        loop, connection = self._talk

        async def closed() -> bool:
            written = asyncio.ensure_future(connection.write_message(message)) if message else asyncio.sleep(0)
            while await connection.read_message() is not None:
                pass
            with contextlib.suppress(WebSocketClosedError, StreamClosedError):
                await written  # it may never be taken whole
            return True

        try:
            return bool(loop.run_until_complete(asyncio.wait_for(closed(), 20)))
        finally:
            self._hung_up = True

    @contextlib.contextmanager
    def socket(self, token: str, **headers: str) -> Iterator[bool]:
        """Holds a websocket open; whether the server let it in."""
        loop, self._hung_up = asyncio.new_event_loop(), False
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = HTTPRequest(
            f"ws://127.0.0.1:{self.port}{self._prefix}/operations/ws",
            headers={"Origin": self.origin, "Sec-WebSocket-Protocol": f"bokeh, {token}", **named},
        )

        async def open_it() -> Any:
            try:
                connection = await websocket_connect(request, subprotocols=["bokeh", token])
            except HTTPClientError as error:
                if error.code not in {400, 403, 429}:
                    raise
                return None
            return connection if await connection.read_message() is not None else None

        async def close_it(connection: Any) -> None:
            connection.close()
            while not self._hung_up and await connection.read_message() is not None:
                pass

        try:
            self._talk = (loop, connection := loop.run_until_complete(asyncio.wait_for(open_it(), 20)))
            yield connection is not None
            if connection is not None:
                loop.run_until_complete(asyncio.wait_for(close_it(connection), 20))
        finally:
            loop.close()
