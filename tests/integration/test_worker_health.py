"""What real workers report about themselves, and what they do when opsdash can't work."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
import redis
from support.services import Valkey
from support.workers import Records, eventually, producer, worker

import opsdash
from opsdash.keys import Keys

KEYS = Keys()
FIELDS = {
    "time", "clock", "loop_tick", "pid", "uptime_s", "processed", "active", "reserved", "scheduled", "oldest_s",
    "concurrency", "pool", "memory_bytes", "queues", "paused", "paused_queues", "epoch", "pausing", "version",
    "started", "failed", "load", "running", "running_by_queue", "held_by_queue",
    "hostname", "instance", "machine", "pid_started",
    "unacked", "remote_control", "prefetch", "running_arguments", "disable_prefetch", "clients", "layout",
    "exchanges", "expires_ms", "draining", "build", "running_workflow", "running_tenants",
    "time_in_queue", "rate_limits",
    "holding", "holds", "limited",
}  # fmt: skip


FAULTS = ["start", *(pytest.param(fault, marks=pytest.mark.slow) for fault in ("recall", "children"))]
POOLS = ["prefork", *(pytest.param(pool, marks=pytest.mark.slow) for pool in ("threads", "solo"))]


@pytest.fixture
def client(valkey: Valkey) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey.url, decode_responses=True) as made:
        yield made


def environment(server: Valkey, **more: str) -> dict[str, str]:
    return {"OPSDASH_REDIS_URL": server.url, **more}


@pytest.mark.long
@pytest.mark.parametrize(
    "pool", ["prefork", *(pytest.param(pool, marks=pytest.mark.slow) for pool in ("solo", "threads"))]
)
def test_a_worker_reports_what_it_is_and_what_it_does(valkey: Valkey, client: redis.Redis, pool: str) -> None:
    slots = 1 if pool == "solo" else 2
    with (
        worker(pool=pool, env=environment(valkey), queues=["celery", "emails"]) as running,
        producer(valkey.url) as celery,
    ):
        key = KEYS.worker(running.hostname)
        eventually(lambda: client.exists(key), what="a report")
        idle = client.hgetall(key)
        assert set(idle) == FIELDS
        assert idle["pid"] == str(running.pid)
        assert (idle["pool"], idle["concurrency"]) == (pool, str(slots))
        assert sorted(json.loads(idle["queues"])) == ["celery", "emails"]
        assert (idle["paused"], idle["paused_queues"], idle["epoch"], idle["pausing"]) == ("0", "[]", "0", "ready")
        assert (idle["version"], idle["oldest_s"]) == (opsdash.__version__, "")
        assert (idle["failed"], idle["running"]) == ("0", "[]")
        assert float(idle["load"]) >= 0
        assert int(idle["memory_bytes"]) > 10_000_000
        assert 86_390 < client.ttl(key) <= 86_400
        assert (idle["hostname"], idle["unacked"], idle["remote_control"]) == (running.hostname, "0", "1")
        assert idle["running_by_queue"] == "{}"
        for _ in range(slots * 2):
            celery.send_task("sample.short", kwargs={"seconds": 2.5})
        celery.send_task("sample.short", queue="emails", countdown=60)
        # Reserved is without active; a busy solo worker fetches nothing.
        expected = [str(slots), str(slots), str(slots if pool != "solo" else 0), str(int(pool != "solo"))]
        fields = ["processed", "active", "reserved", "scheduled"]
        eventually(lambda: client.hmget(key, fields) == expected, what=f"{fields} are {expected}")
        assert [task[1:3] for task in json.loads(client.hget(key, "running"))] == [["sample.short", "celery"]] * slots
        assert json.loads(client.hget(key, "running_by_queue")) == {"celery": slots}
        eventually(lambda: client.hget(key, "unacked") == str(client.hlen("unacked")), what="all of unacked is its own")
        eventually(lambda: client.hget(key, "processed") == str(slots * 2), what="processed counts every start")
        eventually(lambda: client.zscore(KEYS.workers, running.hostname) > time.time() - 2.5, what="listed")
        assert running.stop() == 0
        assert not client.exists(key), "a worker that ends on purpose leaves the list"
        assert client.zscore(KEYS.workers, running.hostname) is None


@pytest.mark.slow
def test_a_busy_solo_worker_still_reports_and_shows_that_its_loop_stands(valkey: Valkey, client: redis.Redis) -> None:
    with worker(pool="solo", env=environment(valkey)) as running, producer(valkey.url) as celery:
        key = KEYS.worker(running.hostname)
        celery.send_task("sample.short", kwargs={"seconds": 6})
        eventually(lambda: client.hget(key, "active") == "1", what="busy")
        began = time.time()
        eventually(lambda: float(client.hget(key, "time") or 0) > began + 3.5, what="reports go on")
        report = client.hgetall(key)
        assert float(report["time"]) - float(report["loop_tick"]) > 2
        eventually(lambda: float(client.hget(key, "loop_tick") or 0) > began + 5, what="the loop turns again")


@pytest.mark.long
@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_tells_how_long_its_oldest_task_has_been_running(
    valkey: Valkey, client: redis.Redis, pool: str
) -> None:
    def oldest() -> float:
        return float(client.hget(KEYS.worker(running.hostname), "oldest_s") or -1)

    with worker(pool=pool, env=environment(valkey)) as running, producer(valkey.url) as celery:
        celery.send_task("sample.short", kwargs={"seconds": 7})
        eventually(lambda: oldest() >= 2, what="the first one")
        celery.send_task("sample.short", kwargs={"seconds": 0.1})
        eventually(lambda: oldest() >= 4, what="the age is that of the oldest")
        eventually(lambda: oldest() == -1, what="nothing runs any more")


@pytest.mark.long
@pytest.mark.parametrize("pool", POOLS)
def test_the_end_of_the_last_task_of_a_paused_worker_is_reported_at_once(
    valkey: Valkey, client: redis.Redis, pool: str
) -> None:
    with worker(pool=pool, env=environment(valkey)) as running, producer(valkey.url) as celery:
        key, records = KEYS.worker(running.hostname), Records(valkey.url)
        celery.send_task("sample.short", kwargs={"seconds": 3.2})
        records.wait_for(1)
        ends_at = records.starts()[0].at + 3.2
        records.close()
        client.set(KEYS.pause(), "true")
        client.publish(KEYS.nudge, '{"field": "*", "paused": true}')
        eventually(lambda: client.hmget(key, ["paused", "active"]) == ["1", "1"], what="paused, and still runs one")
        eventually(lambda: client.hget(key, "active") == "0", what="drained")
        assert time.time() - ends_at < 0.8


def test_a_killed_worker_stays_listed_with_its_last_time_and_old_ones_are_forgotten(
    valkey: Valkey, client: redis.Redis
) -> None:
    client.zadd(KEYS.workers, {"old@test": time.time() - 90_000, "recent@test": time.time() - 80_000})
    with worker(env=environment(valkey)) as running:
        eventually(lambda: client.zscore(KEYS.workers, running.hostname), what="listed")
        running.kill()
        assert client.exists(KEYS.worker(running.hostname))
        assert set(client.zrange(KEYS.workers, 0, -1)) == {running.hostname, "recent@test"}


@pytest.mark.slow
def test_a_report_that_redis_refuses_is_logged_once_until_it_works_again(valkey: Valkey, client: redis.Redis) -> None:
    with worker(env=environment(valkey)) as running:
        eventually(lambda: client.exists(KEYS.worker(running.hostname)), what="a report")
        client.execute_command("ACL", "SETUSER", "default", "-expire")
        try:
            running.wait_for_log("health can't be pushed")
            time.sleep(4.5)
        finally:
            client.execute_command("ACL", "SETUSER", "default", "+expire")
        running.wait_for_log("health is pushed again")
        assert running.log.count("health can't be pushed") == 1


def test_a_celery_that_lacks_a_private_name_leaves_a_worker_that_works_and_says_it_can_not_pause(
    valkey: Valkey, client: redis.Redis
) -> None:
    with worker(env=environment(valkey, SAMPLE_BREAK="private-name")) as running, producer(valkey.url) as celery:
        client.set(KEYS.pause(), "true")
        celery.send_task("sample.short")
        records = Records(valkey.url)
        records.wait_for(1)
        records.close()
        eventually(lambda: client.exists(KEYS.worker(running.hostname)), what="a report")
        report = client.hgetall(KEYS.worker(running.hostname))
        assert report["pausing"] == "this version of Celery has no channel.qos.moved_on"
        assert (report["paused"], report["epoch"]) == ("0", "")
        assert running.log.count("this worker can't be paused") == 1
        assert "Traceback" not in running.log


@pytest.mark.parametrize(
    "fault", ["start", *(pytest.param(fault, marks=pytest.mark.slow) for fault in ("recall", "children"))]
)
def test_a_fault_in_the_plug_in_leaves_a_worker_that_works_and_says_it_can_not_pause(
    valkey: Valkey, client: redis.Redis, fault: str
) -> None:
    with worker(env=environment(valkey, SAMPLE_BREAK=fault)) as running, producer(valkey.url) as celery:
        client.set(KEYS.pause(), "true")
        running.wait_for_log("RuntimeError: broken on purpose")
        celery.send_task("sample.short")
        records = Records(valkey.url)
        records.wait_for(1)
        records.close()
        eventually(
            lambda: "the worker's log says why" in (client.hget(KEYS.worker(running.hostname), "pausing") or ""),
            what="the report says so",
        )


def test_a_worker_on_another_broker_than_redis_starts_and_says_so_in_one_line() -> None:
    with worker(pool="solo", env={"OPSDASH_REDIS_URL": "memory://"}) as running:
        assert running.log.count("opsdash:") == 1
        assert "opsdash: not active, this worker can't be paused: its broker is memory" in running.log


@pytest.mark.parametrize("pool", ["prefork", pytest.param("solo", marks=pytest.mark.slow)])
def test_the_auto_module_needs_no_line_of_code(valkey: Valkey, client: redis.Redis, pool: str) -> None:
    env = environment(valkey, SAMPLE_PLUGIN="no")
    client.set(KEYS.pause(), "true")
    with worker(pool=pool, env=env, arguments=["-I", "opsdash.worker.auto"]) as running:
        eventually(lambda: client.hget(KEYS.worker(running.hostname), "paused") == "1", what="it reports, paused")


def test_a_worker_without_the_plug_in_reports_nothing(valkey: Valkey, client: redis.Redis) -> None:
    with worker(pool="solo", env=environment(valkey, SAMPLE_PLUGIN="no")):
        assert client.zcard(KEYS.workers) == 0
