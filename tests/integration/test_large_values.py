"""A value of 20 MB wherever something is read: it stays in Redis, and what it stands beside is read as ever."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from support.errors import fails
from support.tenants import add, preview, stored, sync

from opsdash.errors import OpsdashError, Refused
from opsdash.operations import ClearQueue, DeleteTrash, PauseProcessing, RestoreQueue
from opsdash.services.broker import connected_clients, key_layout
from opsdash.services.broker.queue_expiry import suspended_ms
from opsdash.services.console import Console
from opsdash.services.queues.reclaim import Reclaim
from opsdash.worker.identity import identify
from opsdash.worker.report import Reporter

LARGE = "x" * 20_000_000
FEW_BYTES = 2_000_000


@pytest.fixture
def console(console_for: Callable[..., Console], sqlite_url: str) -> Iterator[Console]:
    console = console_for(database_url=sqlite_url, queues=("celery",))
    console.broker.client.rpush("celery", "a", "b")
    yield console
    console.broker.client.flushall()


@contextlib.contextmanager
def few_bytes(console: Console) -> Iterator[None]:
    """What the server sends meanwhile."""
    before = console.broker.client.info("stats")["total_net_output_bytes"]
    yield
    assert console.broker.client.info("stats")["total_net_output_bytes"] - before < FEW_BYTES


def test_a_tenants_key_its_mark_or_another_name_in_the_index_is_not_brought_here(console: Console):
    client, keys = console.broker.client, console.broker.keys
    add(console, "a", "b", "c")
    sync(console)
    client.set(keys.tenant_config("a"), LARGE)
    client.hset(keys.tenants, mapping={"b": LARGE, LARGE: "x"})
    with few_bytes(console):
        drift = console.tenants.drift()
        assert set(drift.altered) == {"a", "b"}
        assert "was empty, or too large to be read" in preview(console)
        assert sync(console).affected == 2
    assert stored(console, "a")["tenant_id"] == "a"
    assert set(console.tenants.drift().altered) == set()


def test_tenants_before_there_was_an_index_are_found_without_names_that_are_none(console: Console):
    client, keys = console.broker.client, console.broker.keys
    client.set(keys.tenant_config("old"), "{}")
    client.set(keys.tenant_config(LARGE), "{}")
    with few_bytes(console):
        assert console.tenants.orphans() == (["old"], 1)


def test_what_a_snapshot_reads_beside_reports_is_small(console: Console):
    client, layout_ = console.broker.client, console.broker.layout
    client.zadd(console.broker.unacked_index, {LARGE: 1.0, "tag": time.time() - 60})
    client.sadd(layout_.binding("celery"), LARGE)
    client.hset(console.broker.keys.expires, "celery", LARGE)
    with few_bytes(console):
        snapshot = console.snapshot()
        assert suspended_ms(console.broker, ["celery"]) == 0
    assert snapshot.redis_error == ""
    assert snapshot.queues[0].waiting == 2


def test_what_workers_hold_is_told_by_names_that_can_be_ones(console: Console):
    console.broker.client.hset("unacked", mapping={"tag/celery": "x", LARGE: "x"})
    reclaim = Reclaim(broker=console.broker, pause=console.pause, workers=console.workers, unmanaged=console.unmanaged)
    with few_bytes(console):
        assert reclaim.delivery_tags("celery") == ["tag"]


def test_whoever_is_at_work_on_a_queue_is_told_of_in_few_words(console: Console):
    client, keys = console.broker.client, console.broker.keys
    client.set(keys.busy("celery"), LARGE)
    with few_bytes(console), fails(Refused, retry=True):
        console.run(ClearQueue(queue="celery"), actor="maria", confirm="YES")
    client.delete(keys.busy("celery"))
    trash_id = console.run(ClearQueue(queue="celery"), actor="maria", confirm="YES").details["trash_id"]
    client.hset(keys.trash(trash_id, "info"), "state", LARGE)
    with few_bytes(console):
        for act in (RestoreQueue(trash_id=trash_id), DeleteTrash(trash_id=trash_id)):
            with contextlib.suppress(OpsdashError):
                console.run(act, actor="maria", confirm="YES")


def test_a_worker_reads_little_of_the_report_that_is_in_its_place(console: Console):
    client, keys = console.broker.client, console.broker.keys
    client.hset(keys.worker("w@x"), mapping={"instance": LARGE, "pid": LARGE, "machine": LARGE, "time": time.time()})
    reporter, link = Reporter("w@x", identify()), SimpleNamespace(redis=client, keys=keys)
    with few_bytes(console):
        for _ in range(2):
            report: Any = {"time": str(time.time()), "hostname": "w@x", **reporter.identity.fields()}
            reporter.push(link, report)
    assert client.hget(keys.worker("w@x"), "instance") == reporter.identity.instance


@pytest.mark.long
@pytest.mark.parametrize("flood", ["stories", "cancelled", "requests", "tenants"])
def test_a_pause_beside_fifty_thousand_of_anything_reads_little_and_is_set(console: Console, flood: str):
    client, keys = console.broker.client, console.broker.keys
    names = [f"name-{number}" for number in range(50_000)]
    match flood:
        case "requests":
            client.zadd(keys.approvals, dict.fromkeys(names, time.time() + 600))
        case _:
            key = {"stories": keys.pause_info, "cancelled": keys.pause_cancelled, "tenants": keys.tenants}[flood]
            client.hset(key, mapping=dict.fromkeys(names, '{"by": "x"}'))
    with few_bytes(console):
        assert console.run(PauseProcessing(), actor="maria", confirm="YES").affected == 1
        snapshot = console.snapshot()
    assert snapshot.redis_error == ""
    assert snapshot.pause is not None
    if flood == "requests":
        assert "Showing 0 of 50,000 requests for approval." in [one.message for one in snapshot.unread]


def test_more_channels_than_are_looked_at_are_not_brought_here(console: Console, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(key_layout, "MOST_CHANNELS", 3)
    with contextlib.closing(console.broker.client.pubsub()) as listening:
        listening.subscribe(*(f"{number}:opsdash:nudge" for number in range(10)))
        for _ in range(10):
            assert listening.get_message(timeout=5)
        _, live, _, _ = console.broker.layouts._query("", "celery")
    assert len(live) == 3


def test_of_more_connections_than_are_looked_through_the_number_is_told(
    console: Console, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(connected_clients, "MOST_CONNECTIONS", 0)
    with pytest.raises(redis.ResponseError, match="connections; 0 at most are looked through"):
        connected_clients.fetching(console.broker, set())
    assert console.run(PauseProcessing(), actor="maria", confirm="YES").affected == 1
    console.unmanaged.look()
    assert "at most are looked through" in (console.unmanaged.found(paused=True) or SimpleNamespace()).connections_error
