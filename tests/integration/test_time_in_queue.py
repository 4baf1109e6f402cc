"""Real workers measure how long tasks were in their queue."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from uuid import uuid4

import pytest
import redis
from celery import Celery
from support.services import Valkey
from support.workers import REPORTS_OFTEN, Records, eventually, producer, worker

from opsdash.bootstrap import assemble
from opsdash.config import parsers
from opsdash.keys import SENT, Keys
from opsdash.model import QueuePace
from opsdash.model.time_in_queue import TimeInQueue, by_queue
from opsdash.operations import HoldTasks, ReleaseTasks
from opsdash.services.console import Console
from opsdash.services.monitoring import history, pace
from opsdash.services.monitoring.history import Series

KEYS = Keys()
POOLS = ["prefork", "threads"]


@pytest.fixture
def client(valkey: Valkey) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey.url, decode_responses=True) as made:
        yield made


def reported(client: redis.Redis, hostname: str, queue: str = "celery") -> TimeInQueue:
    text = client.hget(KEYS.worker(hostname), "time_in_queue") or "{}"
    return by_queue(json.loads(text)).get(queue, TimeInQueue())


def send_stamped(celery: Celery, header: dict[str, object]) -> None:
    """Sends a task past Celery's signals, as another program does, with this header in place of the time of sending."""
    template = celery.amqp.as_task_v2(str(uuid4()), "sample.short", (), {})
    headers = {**template.headers, **header}
    with celery.producer_pool.acquire(block=True) as made:
        made.publish(template.body, routing_key="celery", headers=headers, serializer="json", **template.properties)


def pause(client: redis.Redis, on: bool) -> None:
    client.set(KEYS.pause(), "true", ex=60) if on else client.delete(KEYS.pause())
    client.publish(KEYS.nudge, "{}")


@pytest.mark.long
@pytest.mark.parametrize("pool", POOLS)
def test_waiting_etas_retries_pauses_and_clocks_are_told_apart(valkey: Valkey, client: redis.Redis, pool: str) -> None:
    env = {"OPSDASH_REDIS_URL": valkey.url, **REPORTS_OFTEN}
    records = Records(valkey.url)
    with producer(valkey.url) as celery:
        sent = time.time() - 20
        for number in range(3):
            send_stamped(celery, {SENT: sent - number / 100})
        with worker(pool=pool, env=env) as running:
            name = running.hostname
            eventually(lambda: reported(client, name).tasks == 3, what="the three that waited for the worker")
            waited = time.time() - sent
            first = reported(client, name)
            assert 20 * 3 / 5 < first.percentile(0.01) <= first.percentile(1) < waited * 5 / 3

            celery.send_task("sample.short", countdown=2)
            eventually(lambda: reported(client, name).tasks == 4, what="the one with an ETA")
            assert reported(client, name).since(first).percentile(1) < 1, "it counts from its ETA"

            before = reported(client, name)
            celery.send_task("sample.flaky", kwargs={"failures": 2, "countdown": 0.3, "seconds": 1.5})
            eventually(lambda: reported(client, name).tasks == before.tasks + 3, what="three tries", timeout_s=20)
            assert reported(client, name).since(before).percentile(1) < 1.4, "each counts from its own sending"

            before = reported(client, name)
            pause(client, True)
            eventually(lambda: client.hget(KEYS.worker(name), "paused") == "1", what="paused")
            celery.send_task("sample.short", ["held"])
            eventually(lambda: client.llen("celery") == 1, what="it waits")
            pause(client, False)
            eventually(lambda: reported(client, name).paused == 1, what="the one that was held")
            assert reported(client, name).tasks == before.tasks
            celery.send_task("sample.short", ["after"])
            eventually(lambda: reported(client, name).tasks == before.tasks + 1, what="one after the pause")

            for header in ({SENT: time.time() + 3_600}, {SENT: "yesterday"}, {}):
                send_stamped(celery, header)
            eventually(lambda: reported(client, name).unknown == 2, what="those without a time that can be read")
            assert reported(client, name).clock == 1
            assert reported(client, name).tasks == before.tasks + 1
    records.close()


def test_the_header_of_the_sender_reaches_the_queue(valkey: Valkey, client: redis.Redis) -> None:
    with producer(valkey.url) as celery:
        began = time.time()
        celery.send_task("sample.short")
    (message,) = client.lrange("celery", 0, -1)
    assert began <= json.loads(message)["headers"][SENT] <= time.time()


@pytest.mark.long
def test_the_figures_outlive_a_worker_that_is_killed_and_a_console_that_is_restarted(
    valkey: Valkey, client: redis.Redis, settings_for, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Series("10s", 500, 7_200)
    monkeypatch.setattr(history, "SERIES", (short, history.COARSE))
    monkeypatch.setattr(pace, "FINE", short)
    monkeypatch.setattr(pace, "READ_S", 0.0)
    env = {"OPSDASH_REDIS_URL": valkey.url, **REPORTS_OFTEN}
    settings = settings_for(redis_url=valkey.url, objectives=parsers.objectives("celery=90% within 30s over 1h"))
    with producer(valkey.url) as celery, closing(assemble(settings)) as console:

        def measured(of: Console, number: int) -> QueuePace | None:
            snapshot = of.snapshot()
            of.history.record(snapshot)
            found = next(queue.pace for queue in snapshot.queues if queue.name == "celery")
            return found if found is not None and found.recent and found.recent.tasks == number else None

        measured(console, 0)
        with worker(env=env, pool="threads", hostname="first@test") as first:
            for _ in range(5):
                celery.send_task("sample.short")
            eventually(lambda: measured(console, 5), what="five tasks", timeout_s=20)
            first.kill()
        with worker(env=env, pool="threads", hostname="first@test"):
            for _ in range(3):
                celery.send_task("sample.short")
            eventually(lambda: measured(console, 8), what="three more of the one that followed", timeout_s=20)
        assert console.history.times.totals()["celery"].tasks == 8
        with closing(assemble(settings)) as other:
            eventually(lambda: measured(other, 8), what="all of them, in another console")
            found = measured(other, 8)
            assert found is not None
            assert found.objective is not None
            assert (found.objective.share, found.objective.kept) == (1.0, True)
            assert found.waits[0].p50_s <= found.waits[0].p95_s <= found.waits[0].p99_s < 30


def test_tasks_that_were_held_are_counted_apart(valkey: Valkey, client: redis.Redis, settings_for) -> None:
    settings = settings_for(redis_url=valkey.url)
    with (
        producer(valkey.url) as celery,
        closing(assemble(settings)) as console,
        worker(env={"OPSDASH_REDIS_URL": valkey.url, **REPORTS_OFTEN}, pool="threads") as running,
    ):
        eventually(console.get_active_workers, what="the worker reports")
        console.run(HoldTasks(task="sample.short"), actor="maria", confirm="YES")
        for _ in range(3):
            celery.send_task("sample.short")
        eventually(lambda: [one.held for one in console.snapshot().holds] == [3], what="all are set aside")
        console.run(ReleaseTasks(task="sample.short"), actor="maria", confirm="YES")
        eventually(lambda: reported(client, running.hostname).paused == 3, what="they ran")
        celery.send_task("sample.short")
        eventually(lambda: reported(client, running.hostname).tasks == 1, what="one after the hold")
