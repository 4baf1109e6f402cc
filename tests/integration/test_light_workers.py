"""Light workers of the scale runs: what they write is what a real worker of Celery with the plug-in writes."""

from __future__ import annotations

import contextlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from benchmarks.scale.light_app import make_app
from support import programs
from support.services import Valkey
from support.workers import PATH, eventually, worker

from opsdash.config.settings import Settings
from opsdash.keys import Keys
from opsdash.services.broker.client import connect
from opsdash.services.pause.flags import PauseFlags

KEYS, QUEUES = Keys(), ["queue000", "queue001"]
OF_A_PROCESS = {"time", "clock", "loop_tick", "uptime_s", "pid", "pid_started", "instance", "load", "memory_bytes"}
MEASURED = {"time_in_queue", "clients", "hostname"}
TASKS = 3
OFTEN = {"LIGHT_POLL_S": "0.25"}


def shape(text: str) -> Any:
    """Of a value as it was written: the kinds of its JSON, or that it is text or nothing."""

    def kind(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: kind(one) for name, one in value.items()}
        return sorted({str(kind(one)) for one in value}) if isinstance(value, list) else type(value).__name__

    with contextlib.suppress(ValueError):
        return kind(json.loads(text))
    return "text" if text else ""


def written(store: redis.Redis, hostname: str) -> dict[str, Any]:
    """Key → its type, and what stands in it; with one word in place of this worker's name."""
    found: dict[str, Any] = {}
    for key in store.scan_iter():
        if "reply" in key or key.startswith("unacked"):
            continue
        kind, name = store.type(key), key.replace(hostname, "HOST")
        if kind == "hash":
            fields = store.hgetall(key)
            found[name] = kind, {field: shape(text) for field, text in fields.items()}, store.ttl(key) > 0
        else:
            members = store.smembers(key) if kind == "set" else store.zrange(key, 0, -1) if kind == "zset" else []
            found[name] = kind, sorted(one.replace(hostname, "HOST") for one in members), store.ttl(key) > 0
    return found


def same(report: dict[str, str]) -> dict[str, str]:
    """What must be the very same of two workers that were told the same."""
    skipped = OF_A_PROCESS | MEASURED | {"layout", "machine"}
    layout = json.loads(report["layout"])
    return {name: text for name, text in report.items() if name not in skipped} | {"steps": str(layout["steps"])}


def life(server: Valkey, hostname: str) -> dict[str, Any]:
    """A worker's day, as it stands in Redis: it reports, takes tasks, is asked, pauses and resumes."""
    day: dict[str, Any] = {}
    app, broker = make_app(server.url, QUEUES), connect(Settings.from_env({}, redis_url=server.url))
    with redis.Redis.from_url(server.url, decode_responses=True) as store:

        def report() -> dict[str, str]:
            return store.hgetall(KEYS.worker(hostname))

        eventually(lambda: report().get("clients", "[]") != "[]", what="a report of one that fetches")
        day["idle"] = written(store, hostname), same(report())
        listening = (one["sub"] + one["psub"] for one in store.client_list())
        day["listens"] = Counter(one for one in listening if one != "00")
        pauses = PauseFlags(broker)
        for queue in QUEUES[:1] * TASKS:
            app.send_task("light.nothing", queue=queue)
        eventually(lambda: report()["processed"] == str(TASKS), what="the tasks' count")
        day["after tasks"] = same(report()), set(json.loads(report()["time_in_queue"]))
        day["answer"] = app.control.inspect([hostname], timeout=5).active_queues()[hostname]
        epoch = pauses.pause(None, by="maria", reason="", ttl_s=600).epoch
        eventually(lambda: report()["epoch"] == str(epoch), what="the pause's report")
        day["paused"] = same(report())
        app.send_task("light.nothing", queue=QUEUES[1])
        (said,) = app.control.broadcast("opsdash_recall_eta", destination=[hostname], reply=True, timeout=5)
        day["recalled"] = said[hostname]
        pauses.resume(None)
        eventually(lambda: report()["processed"] == str(TASKS + 1), what="the task after the resume")
        day["resumed"] = same(report())
    app.close()
    broker.client.close()
    return day


@contextlib.contextmanager
def light(server: Valkey) -> Iterator[None]:
    """One light worker, as the scale runs start many."""
    command = [sys.executable, "-m", "benchmarks.scale.light_workers", server.url, "1", "0", "2", "2"]
    with programs.Popen(programs.leashed(command), env={"PYTHONPATH": ":".join(PATH), **OFTEN}) as process:
        try:
            yield
        finally:
            process.kill()


@pytest.mark.long
def test_a_light_worker_writes_what_a_real_one_writes(valkey: Valkey) -> None:
    env = {"OPSDASH_REDIS_URL": valkey.url, "LIGHT_QUEUES": ",".join(QUEUES), **OFTEN}
    quiet = ["--without-gossip", "--without-heartbeat"]
    app, name = "benchmarks.scale.light_app:app", "real0000@scale"
    with worker(app, "threads", 4, env=env, arguments=quiet, hostname=name):
        expected = life(valkey, name)
    with redis.Redis.from_url(valkey.url) as store:
        store.flushall()
    with light(valkey):
        found = life(valkey, "light0000@scale")
    assert found == expected
