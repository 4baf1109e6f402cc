"""Open pages without browsers: each loads the page, joins its session by websocket, pulls the document, and listens.

    python -m benchmarks.scale.viewers PORT NUMBER

Prints a line for each page that has its document, with how long that took in ms. They are no browsers: each says that
it has drawn the page, as a browser does, draws nothing, and is sent every reading from then on.
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Sequence
from typing import Any

from bokeh.document import Document
from bokeh.document.events import MessageSentEvent
from bokeh.events import DocumentReady
from bokeh.protocol import Protocol
from bokeh.protocol.receiver import Receiver
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.locks import Lock
from tornado.websocket import websocket_connect

TOKEN = re.compile(rb'"token":"([\w.-]+)"')
PATIENT_S = 60.0


class Viewers:
    """Pages of one server."""

    def __init__(self, port: int) -> None:
        self._origin, self._host = f"http://127.0.0.1:{port}", f"127.0.0.1:{port}"
        self.listening: list[asyncio.Task[None]] = []
        self.bytes = 0

    async def open(self) -> float:
        """One more page; how long it took until its document was there, in ms."""
        began = time.perf_counter()
        page = await AsyncHTTPClient().fetch(f"{self._origin}/operations", request_timeout=PATIENT_S)
        found = TOKEN.search(page.body)
        if found is None:
            raise RuntimeError("the page has no token")
        token = found[1].decode()
        headers = {"Origin": self._origin, "Sec-WebSocket-Protocol": f"bokeh, {token}"}
        request = HTTPRequest(f"ws://{self._host}/operations/ws", headers=headers, request_timeout=PATIENT_S)
        socket = await websocket_connect(request, subprotocols=["bokeh", token])
        receiver = Receiver(Protocol())
        await self._next(socket, receiver)  # ACK
        await Protocol().create("PULL-DOC-REQ").send(_Writer(socket))
        while (await self._next(socket, receiver)).msgtype != "PULL-DOC-REPLY":
            pass
        drawn = MessageSentEvent(Document(), "bokeh_event", DocumentReady())
        await Protocol().create("PATCH-DOC", [drawn]).send(_Writer(socket))
        took_ms = (time.perf_counter() - began) * 1000
        self.listening.append(asyncio.create_task(self._listen(socket)))
        return took_ms

    async def _next(self, socket: Any, receiver: Receiver) -> Any:
        message = None
        while message is None:
            piece = await socket.read_message()
            if piece is None:
                raise RuntimeError("the server closed the websocket")
            message = await receiver.consume(piece)
        return message

    async def _listen(self, socket: Any) -> None:
        while (piece := await socket.read_message()) is not None:
            self.bytes += len(piece)


class _Writer:
    """What a message of Bokeh's is sent by."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self.write_lock = Lock()

    async def write_message(self, message: Any, binary: bool = False, locked: bool = True) -> None:
        await self._socket.write_message(message, binary)


async def main(words: Sequence[str]) -> None:
    """Opens the pages one after the other, and holds them open."""
    port, number = map(int, words)
    viewers = Viewers(port)
    for _ in range(number):
        print(f"{await viewers.open():.1f}", flush=True)
    await asyncio.gather(*viewers.listening)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
