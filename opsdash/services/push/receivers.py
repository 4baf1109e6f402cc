"""Where entries are pushed to: syslog over UDP, TCP or TLS, a webhook, a file. Each takes some entries at once."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import field
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from opsdash.config.notify_parsers import SYSLOGS
from opsdash.config.settings import Settings
from opsdash.model import AuditEntry
from opsdash.services.cut_off import cut_off_after
from opsdash.services.notify import webhook
from opsdash.services.notify.webhook import NotTaken
from opsdash.services.push import formats
from opsdash.values import frozen

TIMEOUT_S, TOTAL_S = 10.0, 30.0
"""For each step, and for all of it, however it drips."""
NOT_CLOSED = "it does not close the connection when it has read to its end, so nobody knows what it has"


class Receiver(Protocol):
    """One place."""

    @property
    def label(self) -> str:
        """What is shown of it: scheme and host, or the file."""

    def take(self, entries: Sequence[AuditEntry]) -> None:
        """Gives it some entries, in their order.

        Raises:
            NotTaken: It may have none of them, some, or all: they are sent again.
        """


@frozen
class Syslog:
    """RFC 5424: over UDP a datagram each; over TCP and TLS one connection for some, with octet counting (RFC 6587)."""

    scheme: str
    host: str
    port: int

    @property
    def label(self) -> str:
        """Scheme, host and port."""
        return f"{self.scheme}://{self.host}:{self.port}"

    def take(self, entries: Sequence[AuditEntry]) -> None:
        """Over TCP and TLS they are taken once the receiver has read to the end and closed the connection."""
        try:
            if self.scheme == "syslog+udp":
                self._datagrams(entries)
            else:
                self._stream(entries)
        except ssl.SSLCertVerificationError:
            raise NotTaken("its certificate is not trusted here") from None
        except TimeoutError:
            raise NotTaken(f"no answer within {TIMEOUT_S:g} s") from None
        except (OSError, UnicodeError) as error:  # the latter is of a host's name
            raise NotTaken(getattr(error, "strerror", "") or type(error).__name__) from error

    def _datagrams(self, entries: Sequence[AuditEntry]) -> None:
        kind, _, _, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(kind, socket.SOCK_DGRAM) as sender:
            sender.connect(address)
            for entry in entries:
                sender.send(formats.syslog(entry, most=formats.LARGE_DATAGRAM))

    def _stream(self, entries: Sequence[AuditEntry]) -> None:
        messages = [formats.syslog(entry) for entry in entries]
        text = b"".join(b"%d %b" % (len(message), message) for message in messages)
        used: list[socket.socket] = []
        with (
            cut_off_after(TOTAL_S, lambda: used[-1] if used else None) as is_late,
            socket.create_connection((self.host, self.port), TIMEOUT_S) as plain,
        ):
            used.append(plain)
            if self.scheme == "syslog+tcp":
                plain.sendall(text)
                plain.shutdown(socket.SHUT_WR)
                _end(lambda: _read_to_end(plain), is_late)
            else:
                context = ssl.create_default_context()
                with context.wrap_socket(plain, server_hostname=self.host, do_handshake_on_connect=False) as secured:
                    used.append(secured)
                    secured.do_handshake()
                    secured.sendall(text)
                    _end(lambda: _unwrap(secured), is_late)


def _end(wait: Callable[[], None], is_late: Callable[[], bool]) -> None:
    # What is only in the kernel's buffers would be lost with the receiver: it then resets the connection.
    try:
        wait()
    except OSError as error:
        if is_late() or isinstance(error, TimeoutError):
            raise NotTaken(NOT_CLOSED) from None
        raise
    if is_late():  # what was cut off looks like an end
        raise NotTaken(NOT_CLOSED)


def _read_to_end(connection: socket.socket) -> None:
    while connection.recv(1_000):
        pass


def _unwrap(connection: ssl.SSLSocket) -> None:
    with contextlib.suppress(ssl.SSLEOFError):  # it has closed the connection in answer, without a word
        connection.unwrap()


@frozen
class Webhook:
    """JSON by POST, signed as notifications are: ``{"entries": […]}``."""

    address: str = field(repr=False)
    key: str | None = field(default=None, repr=False)

    @property
    def label(self) -> str:
        """Scheme and host."""
        parts = urlsplit(self.address)
        return f"{parts.scheme}://{parts.hostname}"

    def take(self, entries: Sequence[AuditEntry]) -> None:
        """One request for all of them."""
        lines = ",".join(formats.line(entry) for entry in entries)
        webhook.post(self.address, f'{{"entries":[{lines}]}}'.encode(), key=self.key)


@frozen
class JsonLines:
    """A file, one entry a line."""

    path: Path

    @property
    def label(self) -> str:
        """The file."""
        return f"file://{self.path}"

    def take(self, entries: Sequence[AuditEntry]) -> None:
        """Appends and flushes to the disk. After a crash in the middle of a line the next one begins on its own."""
        text = "".join(f"{formats.line(entry)}\n" for entry in entries).encode()
        try:
            with open(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o640), "r+b") as file:
                if file.seek(0, os.SEEK_END):
                    file.seek(-1, os.SEEK_END)
                    text = text if file.read(1) == b"\n" else b"\n" + text
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise NotTaken(error.strerror or type(error).__name__) from error


def receiver(settings: Settings) -> Receiver | None:
    """The one that the settings name; None: none."""
    if (address := settings.audit_push) is None:
        return None
    parts = urlsplit(address)
    if parts.scheme in SYSLOGS:
        return Syslog(parts.scheme, str(parts.hostname), int(parts.port or 0))
    if parts.scheme == "file":
        return JsonLines(Path(unquote(parts.path)))
    return Webhook(address, settings.notify_hmac_key)
