"""A Redis at its ``maxmemory`` that throws nothing away: what is read, what pauses and what frees works."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest
import redis
from support.reports import report
from support.services import Valkey
from support.workers import eventually, producer, worker

import opsdash
from opsdash.errors import Unavailable
from opsdash.model import Actor, Role
from opsdash.operation import Operation
from opsdash.services.broker import writes
from opsdash.services.broker.client import ADVICE
from opsdash.services.console import Console
from opsdash.services.workers.cancelled_consumers import Cancelled
from opsdash.web.auth.sign_out import MOST, SignedOut

MARIA = Actor(name="maria", role=Role.ADMIN)


@pytest.fixture
def console(console_for: Callable[..., Console], valkey: Valkey) -> Iterator[Console]:
    """On a broker that is full from now on."""
    made = console_for(queues=("celery",))
    made.broker.client.lpush("celery", *(f"message {n}" for n in range(20)))
    report(made.broker.client, "w1@test")
    with redis.Redis.from_url(valkey.url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        try:
            yield made
        finally:
            with contextlib.suppress(redis.ConnectionError):
                client.config_set("maxmemory", 0)


def do(console: Console, operation: Operation) -> opsdash.model.Effect:
    return console.run(operation, actor=MARIA, confirm="YES", reviewed=console.preview(operation))


def test_reading_previewing_pausing_resuming_and_freeing_work(console: Console) -> None:
    with pytest.raises(redis.OutOfMemoryError):
        console.broker.client.set("any", "thing")
    assert console.snapshot().redis_error == ""
    assert (console.snapshot().queues[0].waiting, console.get_queue_length()) == (20, 20)
    do(console, opsdash.PauseProcessing())
    assert console.is_processing_paused()
    assert console.snapshot().pause is not None
    do(console, opsdash.ResumeProcessing())
    assert not console.is_processing_paused()
    cleared = do(console, opsdash.ClearQueue(queue="celery"))
    assert cleared.affected == 20
    trash = cleared.details["trash_id"]
    assert do(console, opsdash.RestoreQueue(trash_id=trash)).affected == 20
    trash = do(console, opsdash.ClearQueue(queue="celery")).details["trash_id"]
    assert do(console, opsdash.DeleteTrash(trash_id=trash)).affected == 20
    assert console.broker.client.llen("celery") == 0
    assert {entry.status.value for entry in console.get_recent_operations()} == {"success"}


def test_with_the_database_gone_too_a_pause_is_set_and_waits_to_be_written_down(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise Unavailable("The database did not answer")

    monkeypatch.setattr(type(console.audit), "_write", gone)
    do(console, opsdash.PauseProcessing())
    assert (console.is_processing_paused(), console.audit.outbox_length()) == (True, 2)


def test_what_can_not_be_done_is_one_sentence_that_says_what_helps(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def adds(*_: object) -> None:
        console.broker.client.set("any", "thing")

    monkeypatch.setattr(opsdash.SyncTenantConfigs, "execute", adds)
    with pytest.raises(Unavailable) as refusal:
        console.run(opsdash.SyncTenantConfigs(), actor=MARIA, confirm="YES")
    text = str(refusal.value)
    assert "is full" in text
    assert text.endswith(f" Nothing was changed. {ADVICE}")


@pytest.mark.parametrize("prefix", ["", "team:"])
def test_a_worker_goes_on_and_loses_no_task(valkey: Valkey, prefix: str) -> None:
    """A worker of plain Celery ends at the first task that it fetches, and that task is lost."""
    client = redis.Redis.from_url(valkey.url)
    env = {"OPSDASH_REDIS_URL": valkey.url, "SAMPLE_KEYPREFIX": prefix}
    with producer(valkey.url, prefix) as app, worker(pool="threads", env=env) as running:
        for _ in range(20):
            app.send_task("sample.nothing", queue="elsewhere")
        client.config_set("maxmemory", 1)
        try:
            client.rename(f"{prefix}elsewhere", f"{prefix}celery")
            eventually(lambda: running.log.count("succeeded in") == 20 or not running.running, what="all have run")
            assert running.running, running.log[-2_000:]
            assert running.log.count("goes on although Redis is full") == 1
            eventually(lambda: not client.exists(f"{prefix}unacked", f"{prefix}unacked_index"), what="acknowledged")
        finally:
            client.config_set("maxmemory", 0)
            client.close()


def test_reads_that_a_full_redis_refuses_as_one_are_read_one_after_another(console: Console) -> None:
    """Redis 7 refuses them; Valkey 9 does not."""
    with console.broker.client.pipeline(transaction=True) as pipe:
        pipe.llen("celery")
        pipe.get("nothing")
        assert pipe.execute() == [20, None]


def test_a_write_that_takes_nothing_away_has_changed_nothing(console: Console) -> None:
    client = console.broker.client
    with writes.watching() as writing:
        client.eval("return redis.call('DEL', KEYS[1])", 1, "nothing")
        assert not writing.possible
        client.eval("return redis.call('DEL', KEYS[1])", 1, "celery")
        assert writing.possible


def test_what_workers_were_told_is_written_down_and_undone(console: Console) -> None:
    records = Cancelled(console.broker)
    records.add(None, {"stock@test": ["celery"]})
    assert records.begin_to_free() == {"stock@test": ["celery"]}
    records.end_to_free({"stock@test": ["celery"]})
    assert records.read() == {}


def test_who_has_signed_out_is_signed_out_at_the_other_console(console: Console) -> None:
    here, there = (SignedOut(console.broker, b"key") for _ in range(2))
    until_s = time.time() + 60
    here.end("mark", until_s)
    here.sync()
    there.sync()
    assert there.has("mark", until_s)


def test_a_value_in_the_place_of_who_signed_out_is_put_right(console: Console) -> None:
    key, until_s = console.broker.keys.signed_out, time.time() + 60
    console.broker.client.config_set("maxmemory", 0)
    console.broker.client.set(key, "x")
    here, there = (SignedOut(console.broker, b"key") for _ in range(2))
    here.end("mark", until_s)
    here.sync()
    console.broker.client.zadd(key, {f"bogus{n}": 1e12 + n for n in range(MOST + 1)})
    there.sync()
    assert there.has("mark", until_s)
