"""A console's server in a thread of its own, and a program that talks to it over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from support import documents
from support.services import free_port
from tornado.ioloop import IOLoop

from opsdash.services.console import Console
from opsdash.web.server import create_server


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: http.client.HTTPMessage
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def problem(self) -> str:
        """The kind and the detail of a problem document; fails for anything else."""
        assert self.headers["Content-Type"] == "application/problem+json", self.text
        found = self.json
        assert found["status"] == self.status
        return f"{found['type'].rpartition(':')[2]}: {found['detail']}"


class Client:
    """Speaks HTTP; each call is a connection of its own.

    Attributes:
        token: Sent with every call unless a call says otherwise.
    """

    def __init__(self, port: int, prefix: str, token: str) -> None:
        self.port, self.prefix, self.token = port, prefix, token

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.prefix}"

    def call(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, headers: Mapping[str, str] = {}
    ) -> Answer:
        """``body``: bytes as they are, anything else as JSON."""
        token = self.token if token is None else token
        sent = {"Authorization": f"Bearer {token}"} if token else {}
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if raw is not None:
            sent["Content-Type"] = "application/json"
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request(method, f"{self.prefix}{path}", raw, {**sent, **headers})
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read().decode())

    def get(self, path: str, **options: Any) -> Answer:
        return self.call("GET", path, **options)

    def run(self, name: str, *, query: str = "", token: str | None = None, **body: Any) -> Answer:
        """Runs an operation over the API."""
        return self.call("POST", f"/api/v1/operations/{name}{query}", body, token=token)


@contextlib.contextmanager
def serving(console: Console, prefix: str = "", token: str = "") -> Iterator[Client]:
    """Serves until the end of the block."""
    port, listening = free_port(), threading.Event()
    loops: list[IOLoop] = []

    def run() -> None:
        asyncio.set_event_loop(asyncio.new_event_loop())
        loop = IOLoop.current()
        loops.append(loop)
        server = create_server(console, port=port, prefix=prefix)
        server.start()
        loop.add_callback(listening.set)
        loop.start()
        server.stop()
        loop.close(all_fds=True)

    thread = threading.Thread(target=run, name="server", daemon=True)
    thread.start()
    assert listening.wait(20), "the server did not start"
    try:
        yield Client(port, prefix, token)
    finally:
        loops[0].add_callback(loops[0].stop)
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop"
        documents.forget()  # what a page was doing
