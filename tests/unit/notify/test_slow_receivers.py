"""Receivers that drip, stay open, redirect or hang: each attempt ends in bounded time, and nothing goes elsewhere."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from opsdash.config.settings import Settings
from opsdash.model import AuditEntry, Status
from opsdash.model.notification import TestNotification
from opsdash.services.notify import delivery, heartbeat, webhook
from opsdash.services.notify.delivery import Delivery
from opsdash.services.notify.heartbeat import Heartbeat
from opsdash.services.notify.outbox import Message, Waiting, now_utc
from opsdash.services.notify.targets import ready, targets
from opsdash.services.notify.webhook import NotTaken
from opsdash.services.push import receivers
from opsdash.services.push.receivers import Syslog

Answer = Callable[[socket.socket], None]
NOTE = TestNotification(at=now_utc(), by="maria")


@contextlib.contextmanager
def server(answer: Answer) -> Iterator[int]:
    """Answers each connection in its own way, in its own thread; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                answer(connection)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=serve, args=(listening.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield listening.getsockname()[1]
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)


def drips(connection: socket.socket) -> None:
    connection.recv(65_536)
    for _ in range(10_000):
        connection.sendall(b"H")
        time.sleep(0.02)  # a byte now and then, here and below: each read has its answer, and the whole never ends


def drips_a_body(connection: socket.socket) -> None:
    connection.recv(65_536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n")
    for _ in range(5_000):
        connection.sendall(b"x")
        time.sleep(0.02)


def stays_open(connection: socket.socket) -> None:
    while connection.recv(65_536):
        pass
    while True:
        connection.sendall(b".")
        time.sleep(0.02)


def hangs(connection: socket.socket) -> None:
    connection.recv(65_536)
    time.sleep(30)  # longer than any limit of the sender


def redirects_to(port: int) -> Answer:
    def answer(connection: socket.socket) -> None:
        connection.recv(65_536)
        head = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:{port}/\r\nContent-Length: 0\r\n\r\n"
        connection.sendall(head.encode())

    return answer


def entry(number: int = 1) -> AuditEntry:
    return AuditEntry(
        id=uuid4(), request_id=uuid4(), timestamp=datetime.now(UTC), user="maria", operation="clear_queue",
        status=Status.SUCCESS, details={}, seq=number,
    )  # fmt: skip


def test_a_webhook_that_drips_its_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "TOTAL_S", 0.3)
    with server(drips) as port, pytest.raises(NotTaken, match=r"no answer within 0\.3 s"):
        webhook.post(f"http://127.0.0.1:{port}/", {}, key=None)


def test_a_webhook_that_has_said_yes_has_taken_it_whatever_else_it_says() -> None:
    began = time.monotonic()
    with server(drips_a_body) as port:
        webhook.post(f"http://127.0.0.1:{port}/", {}, key=None)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("scheme", ["webhook+http", "json"])
def test_a_redirect_is_not_followed_to_another_receiver(scheme: str) -> None:
    elsewhere: list[bytes] = []

    def takes(connection: socket.socket) -> None:
        elsewhere.append(connection.recv(65_536))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with server(takes) as other, server(redirects_to(other)) as port:
        settings = Settings.from_env({}, notify_urls=(f"{scheme}://127.0.0.1:{port}/planted",))
        ((target,), _) = targets(settings)
        with pytest.raises(NotTaken):
            target.send(ready(NOTE, "id"))
    assert elsewhere == []


@pytest.mark.parametrize("answer", [stays_open, hangs])
def test_a_syslog_receiver_that_does_not_close_is_told_so_in_bounded_time(
    answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(receivers, "TOTAL_S", 0.5)
    with server(answer) as port, pytest.raises(NotTaken, match="does not close the connection"):
        Syslog("syslog+tcp", "127.0.0.1", port).take([entry()])


def test_a_tls_handshake_that_never_ends_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receivers, "TOTAL_S", 0.3)
    began = time.monotonic()
    with server(hangs) as port, pytest.raises(NotTaken):
        Syslog("syslog+tls", "127.0.0.1", port).take([entry()])
    assert time.monotonic() - began < 5


def test_a_host_that_can_be_none_is_a_reason_and_no_bug() -> None:
    with pytest.raises(NotTaken, match="Unicode"):
        Syslog("syslog+tcp", f"{'a' * 70}.example", 514).take([entry()])


def test_the_heartbeat_makes_one_call_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, go_on = [], threading.Event()

    def get(address: str) -> None:
        calls.append(address)
        go_on.wait(10)

    monkeypatch.setattr(heartbeat.webhook, "get", get)
    beating = Heartbeat(Settings.from_env({}, heartbeat_url="http://127.0.0.1:9/", heartbeat_s=10))
    for _ in range(5):
        beating._next_s = float("-inf")
        beating.beat()
    assert len(calls) == 1
    go_on.set()


def message() -> Message:
    (made,) = Waiting().add([NOTE], ["one"], now_utc())
    return made


def test_an_address_that_hangs_is_known_to_fail() -> None:
    go_on = threading.Event()
    hanging: Any = SimpleNamespace(send=lambda _message: go_on.wait(10))
    sending = Delivery()
    assert sending.failing_s("one") == 0.0
    sending.begin(hanging, message(), ready(NOTE, "id"))
    sending._begun_s["one"] -= 1_000
    assert sending.failing_s("one") > 999
    go_on.set()


def test_an_address_that_refuses_each_message_is_known_to_fail_though_each_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]
    monkeypatch.setattr(delivery.time, "monotonic", lambda: now[0])
    ended = threading.Event()
    sending = Delivery(ended.set)

    def refuse(_message: Any) -> None:
        raise NotTaken("it answered 404", refused=True)

    refusing: Any = SimpleNamespace(send=refuse)
    for _ in range(3):
        ended.clear()
        sending.begin(refusing, message(), ready(NOTE, "id"))
        assert ended.wait(5)
        sending.collect()
        now[0] += 600
    assert sending.failing_s("one") == 1_200
    now[0] += 9_000
    assert sending.failing_s("one") == 1_200, "nothing was tried since"


def test_without_a_thread_an_address_is_not_busy_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none_left)
    sending = Delivery()
    sending.begin(SimpleNamespace(), message(), ready(NOTE, "id"))  # type: ignore[arg-type] # no address is reached
    (outcome,) = sending.collect()
    assert outcome.problem == "no thread could be started"
    assert sending.under_way == 0
