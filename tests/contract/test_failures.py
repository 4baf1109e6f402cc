"""What workers write of failed tasks, and what the console reads of it: bounded, counted once, byte for byte."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from opsdash.errors import Refused
from opsdash.services.broker.client import Broker
from opsdash.services.failures.store import FailureFilter, FailureStore
from opsdash.worker.failures import batch
from opsdash.worker.failures.batch import Count, Entry, Group
from opsdash.worker.failures.settings import FailureSettings

CHARGE = Group("failed", "shop.charge", "shop.errors.Declined", "charge in shop/tasks.py")
SEND = Group("failed", "shop.send", "TimeoutError", "send in shop/mail.py")
RAW = b'{"body": "W1tdXQ==", "headers": {"id": "\xff\x00"}}'


class Worker:
    """Writes as a worker does."""

    def __init__(self, broker: Broker, **settings: int) -> None:
        self.link: Any = SimpleNamespace(redis=broker.client, keys=broker.keys)
        self.settings = FailureSettings(**settings)
        self.number = 0

    def write(self, entries: Iterable[Entry], counts: dict[tuple[Group, str], Count] | None = None) -> None:
        entries = list(entries)
        if counts is None:
            counts = {}
            for entry in entries:
                count = counts.setdefault((entry.group, "celery"), Count())
                count.times, count.last, count.text = count.times + 1, entry.at, "on purpose"
        self.number += 1
        self.again(entries, counts)

    def again(self, entries: list[Entry], counts: dict[tuple[Group, str], Count]) -> None:
        now = time.monotonic()
        batch.write(self.link, "w1", self.number, counts, entries, worker="w1@host", now=now, settings=self.settings)


def entry(name: str = "a", group: Group = CHARGE, ago_s: float = 0.0, **fields: str | bytes) -> Entry:
    given = {"task": group.task, "error": group.error, "kind": group.kind, "queue": "celery", "list": "celery"}
    given |= {"message": RAW, "sendable": "1", **fields}
    return Entry(id=name, group=group, at=time.monotonic() - ago_s, fields=given)


@pytest.fixture
def worker(broker: Broker) -> Worker:
    return Worker(broker)


@pytest.fixture
def store(broker: Broker) -> FailureStore:
    return FailureStore(broker)


def test_what_failed_is_found_with_its_message_byte_for_byte(worker: Worker, store: FailureStore):
    worker.write([entry("a", traceback="Traceback …"), entry("b", SEND)])
    page = store.page()
    assert (page.total, {one.id for one in page.failures}) == (2, {"a", "b"})
    failure = store.find("a")
    assert (failure.task, failure.error, failure.traceback) == (CHARGE.task, CHARGE.error, "Traceback …")
    assert abs((datetime.now(UTC) - failure.at).total_seconds()) < 5
    (kept,) = store.messages(["a"])
    assert (kept.message, kept.list, kept.version) == (RAW, "celery", failure.version)


def test_failures_are_grouped_by_task_error_and_place(worker: Worker, store: FailureStore):
    worker.write([entry("a", ago_s=7200), entry("b"), entry("c", SEND)])
    groups, unread = store.groups()
    assert unread == ()
    one = next(group for group in groups if group.task == CHARGE.task)
    assert (one.count, one.kept, one.not_kept, one.message_text) == (2, 2, 0, "on purpose")
    assert dict(one.queues) == {"celery": 2}
    assert dict(one.workers) == {"w1@host": 2}
    assert sum(one.hours.values()) == 2
    assert (one.error, one.place, one.kind) == (CHARGE.error, CHARGE.place, "failed")


def test_the_same_task_that_fails_again_is_one_entry_that_failed_twice_and_has_a_new_version(
    worker: Worker, store: FailureStore
):
    worker.write([entry("a", ago_s=100, traceback="first")])
    before = store.find("a")
    worker.write([entry("a", SEND)])
    after = store.find("a")
    assert (after.times, after.error, after.traceback) == (2, SEND.error, "")
    assert after.first_at == before.first_at < after.at
    assert after.version != before.version
    kept = {group.task: group.kept for group in store.groups()[0]}
    assert kept == {CHARGE.task: 0, SEND.task: 1}, "it has gone over to the other group"
    assert store.page().total == 1


def test_a_batch_that_is_sent_twice_because_its_answer_got_lost_counts_once(worker: Worker, store: FailureStore):
    entries, counts = [entry("a")], {(CHARGE, "celery"): Count(times=5, not_kept=4, last=time.monotonic())}
    worker.write(entries, counts)
    worker.again(entries, counts)
    (group,) = store.groups()[0]
    assert (group.count, group.not_kept, store.find("a").times) == (5, 4, 1)


def test_above_the_maximum_the_oldest_go_and_their_group_says_how_many(broker: Broker, store: FailureStore):
    worker = Worker(broker, most=3)
    worker.write(entry(f"t{n}", ago_s=100 - n) for n in range(10))
    assert [one.id for one in store.page().failures] == ["t9", "t8", "t7"]
    (group,) = store.groups()[0]
    assert (group.count, group.kept, group.not_kept) == (10, 3, 7)
    assert broker.client.exists(broker.keys.failed_entry("t0")) == 0


def test_above_the_maximum_of_bytes_the_oldest_go(broker: Broker, store: FailureStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batch, "MOST_BYTES", 100_000)
    Worker(broker).write(entry(f"t{n}", ago_s=100 - n, message=b"x" * 30_000) for n in range(10))
    assert [one.id for one in store.page().failures] == ["t9", "t8", "t7"]
    assert int(broker.client.hget(broker.keys.failed_bytes, "*") or 0) < 100_000


def test_what_is_older_than_the_time_to_keep_goes(broker: Broker, store: FailureStore):
    worker = Worker(broker, ttl_s=3600)
    worker.write([entry("old", SEND, ago_s=4000), entry("new")])
    assert [one.id for one in store.page().failures] == ["new"]
    assert [group.task for group in store.groups()[0]] == [CHARGE.task]
    for key in (broker.keys.failed, broker.keys.failed_entry("new"), broker.keys.failed_bytes):
        assert 0 < broker.client.ttl(key) <= 3600


def test_of_more_groups_than_are_kept_the_oldest_go_with_their_entries(
    broker: Broker, store: FailureStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(batch, "MOST_GROUPS", 5)
    Worker(broker).write(entry(f"t{n}", Group("failed", f"task{n}", "E", ""), ago_s=100 - n) for n in range(9))
    assert [group.task for group in store.groups()[0]] == ["task8", "task7", "task6", "task5", "task4"]
    assert store.page().total == 5


def test_a_group_counts_twenty_queues_by_name_and_the_rest_together(worker: Worker, store: FailureStore):
    now = time.monotonic()
    worker.write([], {(CHARGE, f"q{n}"): Count(times=2, not_kept=2, last=now) for n in range(30)})
    (group,) = store.groups()[0]
    assert len(group.queues) == 21
    assert group.queues["*"] == 20
    assert sum(group.queues.values()) == 60
    assert (group.kept, group.not_kept) == (0, 60)


def test_failures_are_found_by_task_error_queue_kind_group_and_time(worker: Worker, store: FailureStore):
    killed = Group("killed", "shop.charge", "WorkerLostError", "")
    counts = {(group, "celery"): Count(times=1, last=time.monotonic()) for group in (CHARGE, killed)}
    counts[SEND, "emails"] = Count(times=2, last=time.monotonic())
    entries = [entry("a"), entry("b", SEND, queue="emails"), entry("c", SEND, ago_s=5000), entry("d", killed)]
    worker.write(entries, counts)

    def ids(**where: Any) -> set[str]:
        return {one.id for one in store.every(FailureFilter(**where))}

    assert ids() == {"a", "b", "c", "d"}
    assert ids(task="shop.ch*") == {"a", "d"}
    assert ids(error="Timeout*") == {"b", "c"}
    assert ids(queue="emails") == {"b"}
    assert ids(kind="killed") == {"d"}
    assert ids(fingerprint=SEND.fingerprint) == {"b", "c"}
    assert ids(since=datetime.now(UTC) - timedelta(hours=1)) == {"a", "b", "d"}
    assert ids(task="nothing") == set()


def test_failures_are_read_page_by_page(worker: Worker, store: FailureStore):
    worker.write(entry(f"t{n}", ago_s=n) for n in range(7))
    first, second = store.page(number=5), store.page(first=6, number=5)
    assert [one.id for one in first.failures] == ["t0", "t1", "t2", "t3", "t4"]
    assert (first.total, first.upto, second.upto) == (7, 5, 7)
    assert [one.id for one in second.failures] == ["t5", "t6"]
    assert [one.id for one in store.page(FailureFilter(queue="celery"), first=6).failures] == ["t5", "t6"]


def test_a_failure_that_is_not_kept_is_refused_by_name(store: FailureStore):
    with pytest.raises(Refused, match="No failed task 'nobody' is kept"):
        store.find("nobody")
    assert list(store.messages(["nobody", "", "a b"])) == store.some(["nobody", "\n"]) == []


@pytest.mark.parametrize("kind", ["string", "list", "set", "hash", "zset"])
def test_a_foreign_value_under_a_name_of_the_store_gives_way_to_what_a_worker_writes(
    broker: Broker, worker: Worker, store: FailureStore, kind: str
):
    keys, client = broker.keys, broker.client
    names = [keys.failed, keys.failed_bytes, keys.failed_groups, keys.failed_entry("a"), keys.failed_batch("w1")]
    names += [keys.failed_group(CHARGE.fingerprint), keys.failed_group_entries(CHARGE.fingerprint)]
    for name in names:
        put(client, name, kind)
    store.groups(), store.page(), list(store.messages(["a"]))
    worker.write([entry("a")])
    assert store.find("a").times == 1
    assert [group.fingerprint for group in store.groups()[0] if group.task] == [CHARGE.fingerprint]


def put(client: redis.Redis, key: str, kind: str) -> None:
    match kind:
        case "string":
            client.set(key, "x" * 10)
        case "list":
            client.rpush(key, "x")
        case "set":
            client.sadd(key, "x")
        case "hash":
            client.hset(key, mapping={"count": "x", "*": "y", "times": "z", "at": "nan", "last_at": "1e99"})
        case "zset":
            client.zadd(key, {"x y": 1.0, "z": float("inf")})
