"""The commands of a worker's own container: ``python -m opsdash.worker.drain`` and ``opsdash.worker.alive``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.services import Valkey
from support.workers import GREEN, PATH, PYTHON, Records, Worker, eventually, producer, worker

from opsdash.services.console import Console
from opsdash.worker import alive, local_client

MANIFEST = Path(__file__).parents[2] / "apps/deploy/kubernetes/worker.yaml"
POOLS = [
    "prefork",
    *(pytest.param(pool, marks=pytest.mark.slow) for pool in ("threads", "solo", *GREEN)),
]


def run(command: str, *arguments: str, timeout_s: float = 60.0) -> tuple[int, str]:
    """Runs one of the two commands as a preStop hook or a probe does, without any setting; exit code and words."""
    ended = subprocess.run(
        [PYTHON, "-m", f"opsdash.worker.{command}", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(PATH)},
    )
    return ended.returncode, ended.stdout + ended.stderr


def facts(running: Worker) -> dict[str, Any]:
    """What the worker tells, as the commands ask it."""
    (place,) = (place for place in local_client.places() if place.pid == running.pid)
    return local_client.send_command(place, "status")


def unique(name: str) -> str:
    """Another run of the tests on this machine is in the same container."""
    return f"{name}-{uuid.uuid4().hex[:8]}@test"


class Stage:
    def __init__(self, server: Valkey, console: Console, app: Any) -> None:
        self.server, self.console, self.app = server, console, app
        self.records = Records(server.url)
        self.env = {"OPSDASH_REDIS_URL": server.url, "SAMPLE_RECORDS_URL": server.url}

    def report(self, hostname: str) -> Any:
        return next((w for w in self.console.workers.read() if w.hostname == hostname), None)

    def by(self, hostname: str) -> int:
        return sum(start.worker == hostname for start in self.records.starts())


@pytest.fixture
def stage(valkey: Valkey, console_for: Any) -> Iterator[Stage]:
    with producer(valkey.url) as app:
        made = Stage(valkey, console_for(), app)
        yield made
        made.records.close()


@pytest.mark.long
def test_the_manifests_probe_and_pre_stop_hook_work_beside_a_real_worker(stage: Stage):
    (container,) = yaml.safe_load(MANIFEST.read_text())["spec"]["template"]["spec"]["containers"]
    hook, probe = container["lifecycle"]["preStop"]["exec"]["command"], container["livenessProbe"]["exec"]["command"]
    name = unique("worker")
    with worker(env=stage.env, hostname=name, queues=["celery"]) as running:
        # Another worker of this machine is no other pod's: both commands are told which one is meant.
        assert run(probe[2].rpartition(".")[2], *probe[3:], "--name", name)[0] == 0
        for _ in range(20):
            stage.app.send_task("sample.short", ["a", 0.2])
        stage.records.wait_for(1)
        assert run(hook[2].rpartition(".")[2], *hook[3:], "--name", name)[0] == 0
        begun, left = len(stage.records), stage.records.redis.llen("celery")
        assert running.stop() == 0
        assert (len(stage.records), stage.records.redis.llen("celery")) == (begun, left)
        assert begun + left == 20


@pytest.mark.long
@pytest.mark.parametrize("pool", POOLS)
def test_a_drained_worker_ends_what_it_runs_and_gives_the_rest_to_others(stage: Stage, pool: str):
    one, other = unique("one"), unique("other")
    env = stage.env | {"OPSDASH_BUILD": "shop:1.41-" + "x" * 200}
    with worker(pool=pool, concurrency=1, env=env, hostname=one, queues=["celery"]) as first:
        stage.app.send_task("sample.short", ["long", 3.0])
        stage.records.wait_for(1)
        stage.app.send_task("sample.short", ["later"], eta=datetime.now(UTC) + timedelta(hours=1))
        for number in range(6):
            stage.app.send_task("sample.short", [number])
        if pool != "solo":  # which fetches nothing while it runs something
            eventually(
                lambda: (status := facts(first))["reserved"] and status["scheduled"], what="tasks are prefetched"
            )
        code, said = run("drain", "--name", one)
        assert (code, said) == (0, f"{one} is drained: it takes no tasks, has none and runs none.\n")
        assert stage.by(one) == 1, "and nothing but what it ran already has started"
        assert stage.records.redis.llen("celery") == 7
        assert stage.records.redis.hlen("unacked") == 0
        eventually(lambda: stage.report(one).drained, what="the fleet is told")
        assert stage.report(one).draining
        assert stage.report(one).build.startswith("shop:1.41-xxx")
        assert len(stage.report(one).build) == 120
        with worker(pool=pool, concurrency=1, env=stage.env, hostname=other, queues=["celery"]):
            stage.records.wait_for(7)
        assert stage.by(one) == 1
        assert stage.by(other) == 6


@pytest.mark.long
def test_a_worker_that_still_runs_a_task_is_not_drained_and_a_restart_under_its_name_is_not_held(stage: Stage):
    name = unique("worker")
    with worker(concurrency=1, env=stage.env, hostname=name) as first:
        stage.app.send_task("sample.short", ["long", 60.0])
        stage.records.wait_for(1)
        code, said = run("drain", "--name", name, "--timeout", "1s")
        assert code == 5
        assert f"{name} is not drained after 1s: has 1 running" in said
        stage.app.send_task("sample.short", ["next"])
        assert stage.records.stay(1.0) == 0
        first.kill()
    with worker(concurrency=1, env=stage.env, hostname=name):
        stage.records.wait_for(2)


@pytest.mark.slow
def test_a_reader_that_has_gone_is_no_fault_of_a_drain_or_a_probe(stage: Stage):
    name = unique("worker")
    with worker(pool="solo", env=stage.env, hostname=name):
        for command in ("alive", "drain"):
            line = f"{PYTHON} -m opsdash.worker.{command} --name {name} | true; exit ${{PIPESTATUS[0]}}"
            env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(PATH)}
            done = subprocess.run(
                ["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False, env=env
            )
            assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.long
def test_a_drain_that_was_a_mistake_is_taken_back(stage: Stage):
    name = unique("worker")
    with worker(pool="threads", env=stage.env, hostname=name):
        assert run("drain", "--name", name)[0] == 0
        stage.app.send_task("sample.short", ["waits"])
        assert stage.records.stay(1.0) == 0
        assert run("drain", "--name", name, "--release") == (0, f"{name} takes tasks again.\n")
        stage.records.wait_for(1)


@pytest.mark.long
def test_without_its_broker_an_idle_worker_lives_and_is_drained_and_stays_so_when_the_broker_is_back(stage: Stage):
    name = unique("worker")
    with worker(pool="threads", env=stage.env, hostname=name) as running:
        assert run("alive", "--name", name) == (0, f"{name} turns its event loop and reports\n")
        stage.server.kill()
        running.wait_for_log("Connection to broker lost")
        eventually(lambda: facts(running)["failed_s"] is not None, what="its listener has met the outage")
        assert alive.verdict(facts(running) | {"tick_s": 500.0}, 60)[0]
        code, said = run("drain", "--name", name, "--timeout", "20s")
        assert code == 0, said
        stage.server.start()
        running.wait_for_log("Connected to redis", timeout_s=30)
        stage.app.send_task("sample.short", ["waits"])
        eventually(lambda: (report := stage.report(name)) and report.reports and report.draining, what="it is back")
        assert stage.records.stay(1.0) == 0


@pytest.mark.slow
def test_a_frozen_broker_stops_the_event_loop_and_is_no_reason_to_end_a_worker(stage: Stage):
    with worker(pool="threads", env=stage.env, hostname=unique("worker")) as running:
        stage.server.freeze()
        eventually(
            lambda: (status := facts(running))["failed_s"] is not None and status["tick_s"] > 3, what="it is seen"
        )
        lives, said = alive.verdict(facts(running), 3.0)
        stage.server.thaw()
    assert lives, said


@pytest.mark.slow
def test_an_event_loop_that_stands_still_is_no_live_worker_and_neither_is_one_that_does_not_answer(stage: Stage):
    name = unique("worker")
    with worker(env=stage.env | {"SAMPLE_BREAK": "stuck-loop"}, hostname=name) as running:
        eventually(lambda: facts(running)["tick_s"] > 4, what="its event loop stands still")
        lives, said = alive.verdict(facts(running), 3.0)
        assert (lives, said.partition(" for ")[0]) == (False, "has an event loop that has been blocked")
        assert run("alive", "--name", name)[0] == 0, "a minute is its patience"
        os.kill(running.pid, signal.SIGSTOP)
        assert run("alive", "--name", name) == (5, f"the worker of process {running.pid} does not answer within 2 s\n")


@pytest.mark.slow
def test_a_solo_worker_that_runs_a_long_task_lives(stage: Stage):
    with worker(pool="solo", env=stage.env, hostname=unique("worker")) as running:
        stage.app.send_task("sample.short", ["long", 30.0])
        stage.records.wait_for(1)
        eventually(lambda: facts(running)["tick_s"] > 2, what="its event loop stands still")
        assert alive.verdict(facts(running), 1.0) == (True, "runs a task in its event loop")


def test_neither_command_loads_celery_or_redis():
    for command in ("drain", "alive"):
        script = (
            f"import sys, opsdash.worker.{command} as it\n"
            "from contextlib import suppress\n"
            "it.local_client.SOCKETS = '/dev/null'\n"
            "code = it.main([])\n"
            "print(code, *sys.modules)\n"
        )
        ended = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(PATH)},
        )
        code, *modules = ended.stdout.split()
        assert code == "5"
        assert not {"celery", "kombu", "redis", "asyncio", "logging"} & set(modules)


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "threads", "solo", *GREEN])
def test_a_drained_worker_may_be_killed_and_no_task_is_lost_or_run_twice(stage: Stage, pool: str):
    ids = set()
    for _ in range(4):
        name = unique("worker")
        with worker(pool=pool, concurrency=2, env=stage.env, hostname=name, queues=["celery"]) as running:
            before = len(stage.records)
            with stage.app.connection_for_write() as connection:
                for number in range(300):
                    task = "sample.late" if number % 3 else "sample.short"
                    ids.add(stage.app.send_task(task, [number], connection=connection).id)
            stage.records.wait_for(before + 20)
            code, said = run("drain", "--name", name)
            running.kill()
            assert code == 0, said
    with worker(pool=pool, concurrency=4, env=stage.env, queues=["celery"]):
        stage.records.wait_for(len(ids), timeout_s=60)
        stage.records.stay(1.0)
    assert stage.records.times_run() == dict.fromkeys(ids, 1)
