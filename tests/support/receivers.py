"""Who is notified, on this machine: a webhook, a mail server, a syslog server. Each can go down and come back."""

from __future__ import annotations

import contextlib
import email
import email.policy
import http.server
import json
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from support.services import free_port


class _Listening:
    """A server on a port that stays the same when it goes down and comes back."""

    def __init__(self) -> None:
        self.port = free_port()
        self._server: socketserver.BaseServer | None = None

    def up(self) -> None:
        """Begins to listen."""
        self._server = self._make()
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        """Ends it: connections are refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _make(self) -> socketserver.BaseServer:
        raise NotImplementedError


R = TypeVar("R", bound=_Listening)


class _Http(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True


class _Tcp(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


@dataclass(frozen=True)
class Posted:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Webhook(_Listening):
    """Keeps what it was sent; answers with ``status``."""

    def __init__(self) -> None:
        super().__init__()
        self.status = 204
        self.got: list[Posted] = []
        self.called: list[str] = []
        self.hold = threading.Event()
        self.hold.set()

    @property
    def url(self) -> str:
        return f"webhook+http://127.0.0.1:{self.port}/hook/planted-token-of-the-path"

    @property
    def titles(self) -> list[str]:
        return [one.json["title"] for one in self.got]

    def _make(self) -> socketserver.BaseServer:
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                receiver.called.append(self.path)
                receiver.hold.wait(30)
                if receiver.status < 300:
                    receiver.got.append(Posted(self.path, dict(self.headers.items()), body))
                self._answer()

            def do_GET(self) -> None:
                receiver.called.append(self.path)
                self._answer()

            def _answer(self) -> None:
                with contextlib.suppress(OSError):
                    self.send_response(receiver.status)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        return _Http(("127.0.0.1", self.port), Handler)


@dataclass
class Mail:
    """One message."""

    to: list[str]
    subject: str
    text: str
    html: str


class MailServer(_Listening):
    """As much of SMTP as a client needs to hand over a message."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Mail] = []

    @property
    def url(self) -> str:
        return (
            f"mailto://127.0.0.1:{self.port}?from=opsdash@shop.example&to=ops@shop.example&smtp=127.0.0.1&mode=insecure"
        )

    def _make(self) -> socketserver.BaseServer:
        receiver = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self._say("220 test")
                to: list[str] = []
                while line := self.rfile.readline():
                    word = line.decode().strip()
                    if word.upper().startswith("RCPT TO:"):
                        to.append(word[8:].strip().strip("<>"))
                    if word.upper() == "DATA":
                        self._say("354 go on")
                        receiver.got.append(_mail(to, self._data()))
                    if word.upper() == "QUIT":
                        self._say("221 bye")
                        return
                    self._say("250 ok")

            def _data(self) -> bytes:
                lines = []
                while (line := self.rfile.readline()) not in (b".\r\n", b""):
                    lines.append(line[1:] if line.startswith(b"..") else line)
                return b"".join(lines)

            def _say(self, text: str) -> None:
                self.wfile.write(f"{text}\r\n".encode())

        return _Tcp(("127.0.0.1", self.port), Handler)


def _mail(to: list[str], data: bytes) -> Mail:
    message = email.message_from_bytes(data, policy=email.policy.default)
    parts = [message.get_body((kind,)) for kind in ("plain", "html")]
    return Mail(to, str(message["Subject"]), *(part.get_content() if part else "" for part in parts))


@dataclass
class SyslogServer(_Listening):
    """Takes RFC 5424 over TCP with octet counting, or over UDP."""

    udp: bool = False
    got: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def _make(self) -> socketserver.BaseServer:
        receiver = self

        class Stream(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while True:
                    size = b""
                    while (one := self.rfile.read(1)) not in (b" ", b""):
                        size += one
                    if not one:
                        return
                    receiver.got.append(self.rfile.read(int(size)).decode())

        class Datagram(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                receiver.got.append(self.request[0].decode())

        if self.udp:
            return socketserver.ThreadingUDPServer(("127.0.0.1", self.port), Datagram)
        return _Tcp(("127.0.0.1", self.port), Stream)


@contextlib.contextmanager
def listening(receiver: R) -> Iterator[R]:
    """A receiver that is up, until the end of the block."""
    receiver.up()
    try:
        yield receiver
    finally:
        receiver.down()
