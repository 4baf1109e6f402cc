"""Finished audit entries, pushed to real receivers: in order, each number, down and back, another console."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from support.receivers import SyslogServer, Webhook, listening
from support.services import Valkey, until
from support.tls import certificates

from opsdash.api.metrics import Meter
from opsdash.model import Status
from opsdash.services.console import Console
from opsdash.services.doctor import diagnose
from opsdash.services.notify import outbox
from opsdash.services.push import pusher as pushers
from opsdash.services.push.pusher import Pusher


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "FIRST_RETRY_S", 0.0)
    monkeypatch.setattr(pushers, "EVERY_S", 0.05)


@pytest.fixture
def pushing(console_for: Callable[..., Console]) -> Iterator[Callable[..., tuple[Console, Pusher]]]:
    made: list[Pusher] = []

    def make(address: str, **settings: Any) -> tuple[Console, Pusher]:
        console = console_for(audit_push=address, **settings)
        made.append(Pusher(console.settings, broker=console.broker, audit=console.audit))
        return console, made[-1]

    yield make
    for one in made:
        one.close()
        one._lease.release()


def act(console: Console, number: int = 1) -> None:
    """So many finished entries."""
    for _ in range(number):
        now = datetime.now(UTC)
        console.audit.note(
            user="maria",
            operation="clear_queue",
            status=Status.SUCCESS,
            timestamp=now,
            request_id=uuid4(),
            details={"message": "Cleared.", "params": {"queue": "emails"}},
        )


def numbers(messages: list[str]) -> list[int]:
    return [int(found[1]) for one in messages if (found := re.search(r' seq="(\d+)"', one))]


def push_all(pusher: Pusher) -> None:
    while pusher.push():
        pass


@pytest.mark.parametrize("udp", [False, True], ids=["tcp", "udp"])
def test_entries_arrive_at_a_syslog_server_in_their_order(pushing, udp: bool) -> None:
    with listening(SyslogServer(udp=udp)) as server:
        console, pusher = pushing(f"syslog+{'udp' if udp else 'tcp'}://127.0.0.1:{server.port}")
        act(console, 5)
        push_all(pusher)
        assert until(lambda: len(server.got) == 5)
        act(console, 2)
        push_all(pusher)
        assert until(lambda: len(server.got) == 7)
    assert numbers(server.got) == [1, 2, 3, 4, 5, 6, 7]
    assert "\ufeff{" in server.got[0]


def test_a_syslog_server_that_was_down_has_no_gap(pushing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushers, "BATCH", 3)
    server = SyslogServer()
    console, pusher = pushing(f"syslog+tcp://127.0.0.1:{server.port}")
    act(console, 7)
    push_all(pusher)
    assert pusher.position().problem == "Connection refused"
    said = [one.message for one in diagnose(console) if one.check == "audit push"]
    assert said == [f"Entries up to 0 were taken by syslog+tcp://127.0.0.1:{server.port}; 7 wait: Connection refused."]
    with listening(server):
        push_all(pusher)
        assert numbers(server.got) == [1, 2, 3, 4, 5, 6, 7]


def test_a_receiver_that_dies_with_entries_in_its_buffer_gets_them_again(pushing) -> None:
    with socket.socket() as dying:
        dying.bind(("127.0.0.1", 0))
        dying.listen()

        def accept_and_die() -> None:
            connection, _ = dying.accept()
            connection.recv(1)
            connection.close()  # unread data: the kernel resets the connection

        threading.Thread(target=accept_and_die, daemon=True).start()
        console, pusher = pushing(f"syslog+tcp://127.0.0.1:{dying.getsockname()[1]}")
        act(console, 3)
        pusher.push()
    assert pusher.position().number == 0
    assert pusher.position().problem


def test_over_tls_the_receivers_certificate_is_checked(
    pushing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.server, files.server_key)
    got: list[bytes] = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
                        while part := connection.recv(10_000):
                            got.append(part)
                except ssl.SSLError:
                    continue
                except OSError:
                    return

        threading.Thread(target=serve, daemon=True).start()
        console, pusher = pushing(f"syslog+tls://127.0.0.1:{listener.getsockname()[1]}")
        act(console, 2)
        pusher.push()
        assert pusher.position().problem == "its certificate is not trusted here"
        monkeypatch.setenv("SSL_CERT_FILE", str(files.authority))
        pusher.push()
        assert (pusher.position().problem, pusher.position().number) == ("", 2)
        assert until(lambda: numbers(b"".join(got).decode().split("<109>")) == [1, 2])
        listener.shutdown(socket.SHUT_RDWR)


def test_a_webhook_gets_signed_batches(pushing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushers, "BATCH", 2)
    with listening(Webhook()) as server:
        console, pusher = pushing(f"http://127.0.0.1:{server.port}/planted", notify_hmac_key="a-key-for-the-webhook")
        act(console, 3)
        push_all(pusher)
        server.status = 500
        act(console)
        push_all(pusher)
        assert pusher.position().problem == "it answered 500"
        server.status = 204
        push_all(pusher)
    assert [[entry["seq"] for entry in one.json["entries"]] for one in server.got] == [[1, 2], [3], [4]]
    assert all("X-Opsdash-Signature" in one.headers for one in server.got)


def test_a_file_gets_a_line_for_each_entry_also_after_a_crash_in_a_line(pushing, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text('{"seq": 0}\n{"seq": 1, "cut o')
    console, pusher = pushing(f"file://{path}")
    act(console, 2)
    push_all(pusher)
    assert [json.loads(line)["seq"] for line in path.read_text().splitlines() if line.endswith("}")] == [0, 1, 2]
    assert json.loads(path.read_text().splitlines()[-1])["seal"] == console.audit.head().partition(":")[2]


def test_another_console_goes_on_where_one_ended(pushing, sqlite_url: str) -> None:
    with listening(SyslogServer()) as server:
        address = f"syslog+tcp://127.0.0.1:{server.port}"
        console, first = pushing(address, database_url=sqlite_url)
        _, second = pushing(address, database_url=sqlite_url)
        act(console, 2)
        push_all(first)
        push_all(second)
        act(console, 2)
        console.broker.client.delete(console.broker.keys.audit_push_lease)  # its console died
        push_all(second)
        push_all(first)
    assert numbers(server.got) == [1, 2, 3, 4]


def test_a_position_that_opsdash_has_not_written_skips_nothing(pushing, tmp_path: Path) -> None:
    console, pusher = pushing(f"file://{tmp_path / 'audit.jsonl'}")
    act(console, 3)
    console.broker.client.set(console.broker.keys.audit_push, 'x:{"number": 3}', ex=60)
    push_all(pusher)
    assert len((tmp_path / "audit.jsonl").read_text().splitlines()) == 3


def test_it_runs_by_itself_and_an_outage_of_redis_leaves_no_gap(pushing, valkey: Valkey) -> None:
    with listening(SyslogServer()) as server:
        console, pusher = pushing(f"syslog+tcp://127.0.0.1:{server.port}")
        pusher.start()
        act(console, 3)
        assert until(lambda: len(server.got) == 3)
        valkey.stop()
        act(console, 2)
        valkey.start()
        assert until(lambda: {*numbers(server.got)} == {1, 2, 3, 4, 5})
    arrived = numbers(server.got)
    assert arrived == sorted(arrived) or arrived[3:6] == [1, 2, 3], "from the beginning where Redis lost the position"


def test_how_many_entries_wait_is_a_metric(pushing, tmp_path: Path, monkeypatch, valkey: Valkey) -> None:
    monkeypatch.setattr("opsdash.services.monitoring.metrics.READ_S", 0.0)
    console, pusher = pushing(f"file://{tmp_path / 'audit.jsonl'}")
    meter = Meter(console)

    def waiting() -> list[str]:
        console.poller.latest = console.snapshot()
        meter._take(console.poller.latest)
        return re.findall("^opsdash_audit_push_waiting (.+)$", meter.text("")[0].decode(), re.MULTILINE)

    act(console, 3)
    assert waiting() == ["3.0"]
    push_all(pusher)
    assert waiting() == ["0.0"]
    valkey.kill()
    assert waiting() == []  # not known is a gap
