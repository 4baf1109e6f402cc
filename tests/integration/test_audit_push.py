"""Finished audit entries, pushed to real receivers: in order, each number, down and back, another console."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from support.receivers import SyslogServer, Webhook, listening
from support.services import Valkey, until
from support.tls import certificates

from opsdash.api.metrics import Meter
from opsdash.model import AuditEntry, Status
from opsdash.services.console import Console
from opsdash.services.doctor import diagnose
from opsdash.services.notify import outbox
from opsdash.services.push import pusher as pushers
from opsdash.services.push.pusher import Pusher
from opsdash.services.push.receivers import JsonLines


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


def test_the_doctor_says_that_a_webhook_is_not_signed(pushing) -> None:
    for key, expected in ((None, ["Entries are pushed without a signature"]), ("a-key-for-the-webhook", [])):
        console, _ = pushing("http://127.0.0.1:9/planted", notify_hmac_key=key)
        said = [one.message for one in diagnose(console) if one.check == "audit push"]
        assert [text.partition(":")[0] for text in said if "signature" in text] == expected


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


def test_two_consoles_and_a_receiver_that_is_slower_than_a_lease_get_on(
    pushing, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"file://{tmp_path / 'audit.jsonl'}"
    console, first = pushing(address, database_url=sqlite_url)
    _, second = pushing(address, database_url=sqlite_url)
    act(console, 2)
    lease, took = console.broker.keys.audit_push_lease, JsonLines.take

    def slow(receiver: JsonLines, entries: Sequence[AuditEntry]) -> None:
        took(receiver, entries)
        console.broker.client.delete(lease)  # as after 10 s …
        assert other._lease.hold()  # … the other one has it

    monkeypatch.setattr(JsonLines, "take", slow)
    other = second
    first.push()
    assert second.position().number == 2, "what was taken was taken"
    act(console, 1)
    other = first
    second.push()
    numbers = [json.loads(line)["seq"] for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert numbers == [1, 2, 3]
    assert first.position().number == 3


@pytest.mark.parametrize("what", ["restored", "rewritten"])
def test_a_log_that_is_not_as_it_was_pushed_is_pushed_again(
    pushing, tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    console, pusher = pushing(f"file://{tmp_path / 'audit.jsonl'}")
    act(console, 3)
    push_all(pusher)
    change = {
        "restored": ["DELETE FROM audit_log WHERE seq > 2", "UPDATE audit_head SET seq = 2"],
        "rewritten": ["UPDATE audit_log SET seal = 'other' WHERE seq = 3"],
    }
    with console.audit.engine.begin() as connection:
        for trigger in connection.execute(sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars():
            connection.execute(sa.text(f"DROP TRIGGER {trigger}"))
        for step in change[what]:
            connection.execute(sa.text(step))
    push_all(pusher)
    numbers = [json.loads(line)["seq"] for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert numbers == [1, 2, 3, *range(1, 3 if what == "restored" else 4)]
    assert "entry 3 of the audit log, which was pushed, is" in caplog.text
    push_all(pusher)
    assert len((tmp_path / "audit.jsonl").read_text().splitlines()) == len(numbers), "and that once"


def test_entries_that_were_pruned_are_not_pushed_again(pushing, tmp_path: Path) -> None:
    console, pusher = pushing(f"file://{tmp_path / 'audit.jsonl'}")
    act(console, 3)
    push_all(pusher)
    with console.audit.engine.begin() as connection:
        for trigger in connection.execute(sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars():
            connection.execute(sa.text(f"DROP TRIGGER {trigger}"))
        connection.execute(sa.text("DELETE FROM audit_log"))
    push_all(pusher)
    act(console, 1)
    push_all(pusher)
    assert [json.loads(line)["seq"] for line in (tmp_path / "audit.jsonl").read_text().splitlines()] == [1, 2, 3, 4]


def test_after_a_rotation_of_the_file_the_next_entry_is_in_the_new_one(pushing, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    console, pusher = pushing(f"file://{path}")
    act(console, 2)
    push_all(pusher)
    path.rename(tmp_path / "audit.jsonl.1")
    act(console, 2)
    push_all(pusher)
    parts = [(tmp_path / name).read_text().splitlines() for name in ("audit.jsonl.1", "audit.jsonl")]
    assert [[json.loads(line)["seq"] for line in lines] for lines in parts] == [[1, 2], [3, 4]]


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
