"""Notifications in Redis: one console sends, another takes over, and nothing that is foreign is sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from unittest import mock
from uuid import uuid4

import pytest
import redis
import sqlalchemy as sa
from support.services import until

from opsdash.config.settings import Settings
from opsdash.model import Snapshot
from opsdash.model.notification import NotificationFigures, OperationEnded
from opsdash.services.audit.chain import ChainSigner
from opsdash.services.audit.log import AuditLog
from opsdash.services.broker import lease as leases
from opsdash.services.broker.client import Broker
from opsdash.services.broker.lease import Lease
from opsdash.services.database import engine
from opsdash.services.failures.reading import FailedTasks
from opsdash.services.monitoring.notification_figures import closed
from opsdash.services.notify import notifier as notifiers
from opsdash.services.notify import outbox
from opsdash.services.notify.notifier import Notifier
from opsdash.services.notify.store import NotificationStore
from opsdash.services.notify.targets import Ready
from opsdash.services.notify.webhook import NotTaken

PLANTED = "planted-token-1234"
ADDRESS = f"webhook+http://127.0.0.1:9/{PLANTED}"
SIGNER = ChainSigner(lambda: b"a-key-for-tests-and-nothing-else")


@dataclass
class Receiver:
    """Takes messages, or refuses them with a reason."""

    address: str = ADDRESS
    label: str = "webhook+http://127.0.0.1"
    problem: NotTaken | None = None
    got: list[Ready] = field(default_factory=list)
    attempts: int = 0

    def send(self, message: Ready) -> None:
        self.attempts += 1
        if self.problem is not None:
            raise self.problem
        self.got.append(message)

    @property
    def titles(self) -> list[str]:
        return [one.title for one in self.got]


@dataclass
class FakePoller:
    """Has the snapshot that a test gives it."""

    latest: Snapshot | None = None

    def subscribe(self, _subscriber: Any) -> Callable[[], None]:
        return lambda: None

    def show(self, **fields: Any) -> None:
        self.latest = Snapshot.example(**{"taken_at": datetime.now(UTC), "workers": (), "queues": (), **fields})


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifiers, "RENEW_S", 0.0)
    monkeypatch.setattr(notifiers, "AWAY_S", 0.0)
    monkeypatch.setattr(outbox, "FIRST_RETRY_S", 0.0)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Receiver:
    made = Receiver()
    monkeypatch.setattr(notifiers.targets, "targets", lambda _settings: ((made,), ()))
    return made


class Consoles:
    """Consoles on one broker and one database."""

    def __init__(self, broker: Broker, database_url: str) -> None:
        self.broker = broker
        self.engine = engine.connect(database_url, create=False)
        self.audit = AuditLog(self.engine, SIGNER)

    def new(self, **settings: Any) -> tuple[Notifier, FakePoller]:
        poller = FakePoller()
        given = Settings.from_env({}, **{"notify_urls": (ADDRESS,), "notify_kinds": ("acts", "service"), **settings})
        poller.show()
        parts: Any = {"broker": self.broker, "audit": self.audit, "failed": FailedTasks(self.broker), "poller": poller}
        return Notifier(given, **parts), poller

    def act(self, user: str) -> None:
        from opsdash.model import Status

        now = datetime.now(UTC)
        self.audit.note(
            user=user,
            operation="clear_queue",
            status=Status.SUCCESS,
            timestamp=now,
            request_id=uuid4(),
            details={"message": "Cleared.", "params": {"queue": "emails"}},
        )


@pytest.fixture
def consoles(broker: Broker, sqlite_url: str) -> Iterator[Consoles]:
    made = Consoles(broker, sqlite_url)
    yield made
    made.engine.dispose()  # Python 3.13 warns of connections that nobody closed


def look(notifier: Notifier, poller: FakePoller, **fields: Any) -> None:
    """One look, and the end of what it sends."""
    poller.show(**fields)
    notifier.tick()
    assert until(lambda: not notifier._delivery._outcomes.empty() or not notifier._delivery.under_way)
    with mock.patch.object(notifier._delivery, "free", return_value=False):  # collects, and tries nothing again
        notifier.tick()


def test_of_two_consoles_one_sends(consoles: Consoles, receiver: Receiver) -> None:
    first, second = consoles.new(), consoles.new()
    look(*first)
    look(*second)
    consoles.act("maria")
    look(*second)
    look(*first)
    look(*second)
    assert receiver.titles == ["maria: clear queue (emails): success"]


def test_another_console_sends_what_one_left_behind_and_nothing_twice(
    consoles: Consoles, receiver: Receiver, broker: Broker
) -> None:
    first, second = consoles.new(), consoles.new()
    look(*first)
    look(*second)
    consoles.act("ann")
    look(*first)
    receiver.problem = NotTaken("connection refused")
    consoles.act("maria")
    look(*first)
    broker.client.delete(broker.keys.notify_lease)  # its console died, and the lease ended
    receiver.problem = None
    consoles.act("eve")
    look(*second)
    look(*second)
    look(*second)
    assert receiver.titles == [f"{name}: clear queue (emails): success" for name in ("ann", "maria", "eve")]
    assert receiver.got[1].attempt == 2
    look(*first)
    assert len(receiver.got) == 3


def test_a_message_is_written_down_before_it_is_sent(
    consoles: Consoles, receiver: Receiver, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr(receiver, "send", lambda _message: seen.append(broker.client.hlen(broker.keys.notify_outbox)))
    notifier, poller = consoles.new()
    look(notifier, poller)
    consoles.act("maria")
    look(notifier, poller)
    assert seen == [1]
    assert broker.client.hlen(broker.keys.notify_outbox) == 0


def test_a_message_that_is_not_taken_is_tried_again_and_given_up_after_a_day(
    consoles: Consoles, receiver: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.problem = NotTaken("it answered 503")
    notifier, poller = consoles.new()
    look(notifier, poller)
    consoles.act("maria")
    for _ in range(3):
        look(notifier, poller)
    assert receiver.attempts == 3
    figures = NotificationStore(consoles.broker, SIGNER).figures()
    assert (figures.waiting, figures.sent, figures.given_up) == (1, 0, 0)
    assert figures.problem == "webhook+http://127.0.0.1: it answered 503"
    monkeypatch.setattr(outbox, "GIVEN_UP_S", 0.0)
    look(notifier, poller)
    figures = NotificationStore(consoles.broker, SIGNER).figures()
    assert (figures.waiting, figures.given_up) == (0, 1)
    assert "is given up after 4 attempts at webhook+http://127.0.0.1: it answered 503" in caplog.text
    assert PLANTED not in caplog.text


def test_no_address_is_in_redis(consoles: Consoles, receiver: Receiver, broker: Broker) -> None:
    receiver.problem = NotTaken("connection refused")
    notifier, poller = consoles.new()
    look(notifier, poller)
    consoles.act("maria")
    look(notifier, poller)
    assert broker.client.hlen(broker.keys.notify_outbox) == 1
    everything = [
        str(broker.client.hgetall(key) if broker.client.type(key) == "hash" else broker.client.get(key))
        for key in broker.client.keys("*opsdash:notify*")
    ]
    assert everything
    assert not [text for text in everything if PLANTED in text]


def test_a_message_from_a_foreign_client_is_not_sent(consoles: Consoles, receiver: Receiver, broker: Broker) -> None:
    receiver.problem = NotTaken("connection refused")
    notifier, poller = consoles.new()
    look(notifier, poller)
    consoles.act("maria")
    look(notifier, poller)
    ((_, value),) = broker.client.hgetall(broker.keys.notify_outbox).items()
    mac, _, text = value.partition(":")
    record = json.loads(text)
    record["notification"]["user"] = "mallory"
    broker.client.hset(broker.keys.notify_outbox, "000000000000009:x", f"{mac}:{json.dumps(record)}")
    broker.client.delete(broker.keys.notify_lease)
    receiver.problem = None
    other = consoles.new()
    for _ in range(3):
        look(*other)
    assert receiver.titles == ["maria: clear queue (emails): success"]


@pytest.mark.parametrize("kind", ["outbox", "known", "lease"])
def test_a_foreign_value_in_the_way_stops_nothing(
    consoles: Consoles, receiver: Receiver, broker: Broker, kind: str
) -> None:
    keys = broker.keys
    key = {"outbox": keys.notify_outbox, "known": keys.notify, "lease": keys.notify_lease}[kind]
    broker.client.rpush(key, "foreign")
    notifier, poller = consoles.new()
    look(notifier, poller)
    consoles.act("maria")
    look(notifier, poller)
    assert receiver.titles == ["maria: clear queue (emails): success"]


def test_an_outage_of_redis_is_reported_by_the_console_that_sent_and_so_is_its_end(
    consoles: Consoles, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opsdash.services.notify.observe.AWAY_S", 0.0)
    (first, one), (second, two) = consoles.new(), consoles.new()
    look(first, one)
    look(second, two)
    with pytest.MonkeyPatch.context() as away:

        def gone(*_args: Any, **_options: Any) -> Any:
            raise redis.ConnectionError("gone")

        away.setattr(type(consoles.broker.client), "eval", gone)
        away.setattr(type(consoles.broker.client), "pipeline", gone)
        for console in ((first, one), (second, two)):
            look(*console, redis_error="Redis did not answer.")
        assert receiver.titles == ["Redis does not answer"]
        look(first, one, redis_error="Redis did not answer.")
    consoles.broker.client.delete(consoles.broker.keys.notify_lease)
    look(second, two)  # the other one is first
    look(second, two)
    look(first, one)
    assert receiver.titles == ["Redis does not answer", "Redis answers again"]


def test_what_redis_has_lost_is_known_to_the_console_that_sends(
    consoles: Consoles, receiver: Receiver, broker: Broker
) -> None:
    notifier, poller = consoles.new()
    look(notifier, poller)
    consoles.act("maria")
    look(notifier, poller)
    broker.client.flushall()
    consoles.act("ann")
    look(notifier, poller)
    look(notifier, poller)
    assert receiver.titles == ["maria: clear queue (emails): success", "ann: clear queue (emails): success"]


def test_after_the_log_was_restored_from_a_backup_what_is_done_is_sent_again(
    consoles: Consoles, receiver: Receiver
) -> None:
    notifier, poller = consoles.new()
    look(notifier, poller)
    for _ in range(3):
        consoles.act("maria")
    look(notifier, poller, audit_head="3:x")
    look(notifier, poller, audit_head="2:x")  # a snapshot that is older than the look before
    with consoles.audit.engine.begin() as connection:
        for trigger in connection.execute(sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars():
            connection.execute(sa.text(f"DROP TRIGGER {trigger}"))
        connection.execute(sa.text("DELETE FROM audit_log WHERE seq > 1"))
        connection.execute(sa.text("UPDATE audit_head SET seq = 1"))
    look(notifier, poller, audit_head="1:x")
    receiver.got.clear()
    consoles.act("ann")
    look(notifier, poller, audit_head="2:x")
    look(notifier, poller, audit_head="2:x")
    assert receiver.titles == ["ann: clear queue (emails): success"]


def test_how_far_the_audit_log_is_pushed_is_looked_at(
    consoles: Consoles, receiver: Receiver, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("opsdash.services.notify.observe.NOT_PUSHED_S", 0.0)
    monkeypatch.setattr("opsdash.services.notify.looking.PUSH_S", 0.0)
    notifier, poller = consoles.new(notify_kinds=("push",), audit_push="http://127.0.0.1:9/planted")
    record = {"number": 3, "at": "2026-01-01T00:00:00+00:00", "problem": "it answered 500"}
    broker.client.set(broker.keys.audit_push, closed(SIGNER, record))
    look(notifier, poller, audit_head="5:x")
    broker.client.set(broker.keys.audit_push, "x:foreign")
    look(notifier, poller, audit_head="6:x")
    broker.client.set(broker.keys.audit_push, closed(SIGNER, {**record, "number": 6}))
    look(notifier, poller, audit_head="6:x")
    assert receiver.titles == ["The audit log is not pushed: 2 entries wait", "The audit log is pushed again"]


def test_messages_that_redis_has_lost_are_sent_by_the_console_that_still_has_them(
    consoles: Consoles, receiver: Receiver, broker: Broker
) -> None:
    notifier, poller = consoles.new()
    look(notifier, poller)
    receiver.problem = NotTaken("connection refused")
    consoles.act("maria")
    look(notifier, poller)
    broker.client.flushall()
    look(notifier, poller)
    assert broker.client.hlen(broker.keys.notify_outbox) == 1
    receiver.problem = None
    look(notifier, poller)
    assert receiver.titles == ["maria: clear queue (emails): success"]


def test_what_no_console_has_written_into_the_outbox_is_removed_and_a_copy_is_not_sent_again(
    consoles: Consoles, receiver: Receiver, broker: Broker
) -> None:
    outbox_key = broker.keys.notify_outbox
    receiver.problem = NotTaken("connection refused")
    notifier, poller = consoles.new()
    look(notifier, poller)
    consoles.act("maria")
    look(notifier, poller)
    ((_, value),) = broker.client.hgetall(outbox_key).items()
    foreign = {f"x{number}": "foreign" for number in range(120)}
    broker.client.hset(outbox_key, mapping={**foreign, "copy": value, "large": "x" * 100_000})
    broker.client.delete(broker.keys.notify_lease)
    receiver.problem = None
    for _ in range(3):
        look(*consoles.new())
        broker.client.delete(broker.keys.notify_lease)
    assert receiver.titles == ["maria: clear queue (emails): success"]
    assert broker.client.hlen(outbox_key) == 0


def test_an_outbox_of_many_large_messages_is_taken_over(consoles: Consoles, receiver: Receiver, broker: Broker) -> None:
    store, lease = NotificationStore(broker, SIGNER), Lease(broker, lambda: broker.keys.notify_lease)
    assert lease.hold()
    now = datetime.now(UTC)
    large = OperationEnded(
        at=now, audit_id="a", number=1, user="maria", operation="clear_queue", status="success", message="ü" * 3_000
    )
    new = outbox.Waiting().add([large] * 250, ["one"], now)  # 4 MB and more
    assert store.save(lease, put=new)
    assert len(store.load().messages) == 250


def test_a_message_that_can_not_be_put_into_words_is_not_in_the_way_of_others(
    consoles: Consoles, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    notifier, poller = consoles.new()
    look(notifier, poller)
    told = notifiers.targets.ready

    def broken(notification: Any, *args: Any, **options: Any) -> Ready:
        if notification.user == "eve":
            raise TypeError("a bug")
        return told(notification, *args, **options)

    monkeypatch.setattr(notifiers.targets, "ready", broken)
    consoles.act("eve")
    consoles.act("maria")
    look(notifier, poller)
    look(notifier, poller)
    assert receiver.titles == ["maria: clear queue (emails): success"]


def test_the_heartbeat_stops_where_nobody_looks_or_nothing_can_arrive(
    consoles: Consoles, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    notifier, poller = consoles.new(heartbeat_url="http://127.0.0.1:9/beat")
    beats: list[int] = []
    monkeypatch.setattr(notifier._heartbeat, "beat", lambda: beats.append(1))
    look(notifier, poller)
    assert beats
    beats.clear()
    notifier._looked_s -= 61  # as if the snapshot had stood still for so long
    notifier.tick()
    assert not beats
    monkeypatch.setattr(notifier._delivery, "failing_s", lambda _target: 901.0)
    look(notifier, poller)
    assert not beats
    monkeypatch.setattr(notifier._delivery, "failing_s", lambda _target: 0.0)
    notifier.problems = ("address 1 (slack://): apprise is not installed",)
    look(notifier, poller)
    assert not beats
    notifier.problems = ()
    look(notifier, poller)
    assert beats


def test_a_lease_is_one_consoles_until_it_ends(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "LEASE_S", 0.2)
    first, second = Lease(broker, lambda: "lease"), Lease(broker, lambda: "lease")
    assert first.hold()
    assert not second.hold()
    assert first.hold()
    assert (first.taken, first.held, second.held) == (1, True, False)
    assert until(second.hold)
    assert not first.held
    assert not first.hold()
    second.release()
    assert first.hold()
    assert first.taken == 2
    assert first.holder() == first.who.rpartition("/")[0]


def test_a_lease_without_an_end_is_nobodys(broker: Broker) -> None:
    broker.client.set("lease", "foreign")
    assert Lease(broker, lambda: "lease").hold()


def test_figures_are_empty_where_nothing_was_ever_sent(broker: Broker) -> None:
    assert NotificationStore(broker, SIGNER).figures() == NotificationFigures()


def test_a_console_without_the_lease_writes_nothing(consoles: Consoles, broker: Broker) -> None:
    store, lease = NotificationStore(broker, SIGNER), Lease(broker, lambda: broker.keys.notify_lease)
    assert not store.save(lease, figures=NotificationFigures(sent=5))
    assert lease.hold()
    assert store.save(lease, figures=NotificationFigures(sent=5))
    assert store.figures().sent == 5


def test_a_lease_follows_the_key_prefix_that_a_worker_reports_later(broker: Broker) -> None:
    keys = ["opsdash:notify:lease"]
    lease, other = Lease(broker, lambda: keys[0]), Lease(broker, lambda: "shop:opsdash:notify:lease")
    assert lease.hold()
    assert other.hold()
    keys[0] = "shop:opsdash:notify:lease"
    assert not lease.hold()
    assert not lease.held
