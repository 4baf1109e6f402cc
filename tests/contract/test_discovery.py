"""Queues are found by themselves: in settings, app, workers and bindings, never by looking through the keys."""

from __future__ import annotations

import contextlib
import uuid
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import redis

from opsdash.model import OtherWorker, WorkerStats
from opsdash.model.key_layout import Layout
from opsdash.services.broker.client import Broker
from opsdash.services.broker.key_layout import Layouts
from opsdash.services.queues.discovery import Discovery, consumed

NOW = datetime.now(UTC)


def worker(*queues: str, state: str = "online") -> WorkerStats:
    return WorkerStats(hostname="w@x", state=state, heartbeat_at=NOW, queues=queues)


def bind(broker: Broker, exchange: str, queue: str, key: str | None = None) -> None:
    member = broker.separator.join([queue if key is None else key, "", queue])
    broker.client.sadd(broker.layout.binding(exchange), member)


@pytest.fixture
def untold(broker: Broker) -> Broker:
    """A console that was told neither queues nor app."""
    return replace(broker, queues=())


def test_queues_come_from_the_settings_then_workers_then_bindings(broker: Broker):
    bind(broker, "celery", "reports")
    bind(broker, "shop", "orders")
    other = OtherWorker(hostname="o@x", queues=("slow",), active=0)
    found = Discovery(replace(broker, exchanges=("shop",))).names([worker("emails", "shop")], [other])
    assert found == ("celery", "emails", "shop", "slow", "reports", "orders")


def test_a_queues_own_name_is_looked_for_as_an_exchange(broker: Broker):
    bind(broker, "emails", "emails-low", "low")
    assert "emails-low" in Discovery(broker).names([], None)


def test_the_default_queue_is_shown_until_workers_report_without_it(untold: Broker):
    discovery = Discovery(untold)
    assert discovery.names([], ()) == ("celery",)
    assert discovery.names([worker("emails")], ()) == ("emails",)


def test_the_default_queue_stays_while_something_waits_in_it_or_it_is_bound(untold: Broker):
    untold.client.rpush(untold.lists("celery")[3], "x")
    assert Discovery(untold).names([worker("emails")], ()) == ("celery", "emails")
    untold.client.delete(untold.lists("celery")[3])
    bind(untold, "celery", "celery")
    assert Discovery(untold).names([worker("emails")], ()) == ("emails", "celery")


def test_broadcasts_mailboxes_and_replies_are_never_listed(untold: Broker):
    unique = f"bcast.{uuid.uuid4()}"
    bind(untold, "celery", unique, "")
    bind(untold, "celery", "w@x.celery.pidbox", "")
    bind(untold, "emails", f"{uuid.uuid4()}", "")
    assert Discovery(untold).names([worker("emails", unique)], ()) == ("emails",)


def test_a_key_of_another_type_costs_its_exchange_only(broker: Broker):
    broker.client.set(broker.layout.binding("celery"), "x")
    bind(broker, "emails", "emails-low", "low")
    assert Discovery(broker).names([], None) == ("celery", "emails", "emails-low")


def test_a_queue_whose_name_is_too_long_is_counted_and_named_in_short(broker: Broker):
    bind(broker, "celery", "reports")
    bind(broker, "celery", "x" * 10_000)
    bind(broker, "celery", "é" * 10_000, "")
    discovery = Discovery(broker)
    assert discovery.names([], ()) == ("celery", "emails", "reports")
    (unread,) = discovery.unread
    assert unread.names == (f"{'x' * 39}… (10,000 bytes)", f"{'é' * 39}… (20,000 bytes)")
    assert unread.message.startswith("Not readable, and left out, of the queues: xxx")


def test_of_many_queues_with_too_long_names_some_are_named(broker: Broker):
    for number in range(300):
        bind(broker, "celery", f"{number:03}" + "x" * 1_000)
    discovery = Discovery(broker)
    discovery.names([], ())
    (unread,) = discovery.unread
    assert len(unread.names) == 100
    assert len(unread.message) < 400


def test_a_queue_is_consumed_by_whoever_names_it():
    other = OtherWorker(hostname="o@x", queues=("slow",), active=0)
    assert consumed("emails", [worker("emails")], None) is True
    assert consumed("slow", [], [other]) is True
    assert consumed("emails", [worker("emails", state="offline")], ()) is False


def test_whether_a_queue_is_consumed_is_not_known_while_others_could_not_be_asked():
    assert consumed("emails", [worker("reports")], None) is None


def test_a_queue_that_this_user_of_redis_may_not_read_is_left_out(valkey_url: str):
    with contextlib.closing(redis.Redis.from_url(valkey_url)) as admin:
        admin.execute_command(
            "ACL", "SETUSER", "narrow", "reset", "on", ">pw", "+@all", "~_kombu*", "~opsdash*", "~emails*"
        )
        try:
            host = valkey_url.partition("://")[2].rpartition("@")[2]
            narrow = redis.Redis.from_url(f"redis://narrow:pw@{host}", decode_responses=True)
            broker = Broker(narrow, Layouts.fixed(narrow, Layout()), "test")
            for queue in ("emails", "secret"):
                bind(broker, "celery", queue)
            assert Discovery(broker).names([worker("emails")], ()) == ("emails",)
            narrow.close()
        finally:
            admin.execute_command("ACL", "DELUSER", "narrow")
