"""Holds beside whatever else makes Celery deliver a task otherwise: nothing is lost, doubled or out of order."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from kombu import Exchange
from support import programs
from support.deployment import Deployment, deploy, each_exactly_once
from support.holds import applied, began, held, hold, release
from support.sample_app import ORDERS
from support.services import Valkey
from support.workers import PATH, PYTHON, ROOT, eventually, worker

import opsdash
from opsdash.errors import Refused
from opsdash.services.console import Console

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

BEFORE_HOLDS = "b75386e~1"
"""The last commit whose plug-in knows no holds."""


@pytest.fixture
def ops(console_for: Callable[..., Console], deployment: Deployment, sqlite_url: str) -> Console:
    return console_for(redis_url=deployment.server.url, database_url=sqlite_url, queues=("celery", "emails"))


def succeeded(deployment: Deployment, task_id: str) -> bool:
    return '"SUCCESS"' in (deployment.redis.get(f"celery-task-meta-{task_id}") or "")


def sent_by(script: str, env: dict[str, str]) -> list[str]:
    """Runs Python code in a process of its own, which holds connections for results; the words it prints."""
    path = os.pathsep.join(PATH)
    begin = "from celery import chain, chord, group\nfrom support.sample_app import app\nstep = app.signature\n"
    done = programs.run(
        [PYTHON, "-c", begin + script],
        env={**os.environ, "PYTHONPATH": path, **env},
        stdout=subprocess.PIPE,
        check=True,
    )
    return done.stdout.decode().split()


def copies(deployment: Deployment, number: int) -> list[str]:
    """Sends tasks to a topic exchange that two queues are bound to."""
    return deployment.send(number, "sample.late", exchange=ORDERS, routing_key="order.new", declare=[ORDERS])


@pytest.mark.parametrize("apart", [True, False], ids=["a worker for each queue", "one worker"])
def test_both_copies_of_a_message_on_a_topic_exchange_are_held_and_released_each_in_its_queue(
    deployment: Deployment, console_for: Callable[..., Console], sqlite_url: str, apart: bool
) -> None:
    ops = console_for(database_url=sqlite_url, queues=("billing", "stock"))
    env = {**deployment.env, "SAMPLE_TOPICS": "yes"}
    with (
        worker(env=env, queues=["billing"] if apart else ["billing", "stock"]) as one,
        worker(env=env, queues=["stock"] if apart else ["emails"]) as other,
    ):
        hold(ops, deployment, one, *([other] if apart else []))
        ids = copies(deployment, 30)
        eventually(lambda: held(ops) == 60, what="two copies of each are held")
        (look,) = ops.holds.look().holds
        assert dict(look.by_queue) == {"billing": 30, "stock": 30}
        assert deployment.unacked() == 0
        assert release(ops) == 60
        deployment.records.wait_for(60)
        eventually(lambda: deployment.unacked() == 0, what="all have ended")
        assert deployment.records.times_run() == dict.fromkeys(ids, 2)


def test_of_one_queue_alone_the_copy_is_held_while_the_other_runs(
    deployment: Deployment, console_for: Callable[..., Console], sqlite_url: str
) -> None:
    ops = console_for(database_url=sqlite_url, queues=("billing", "stock"))
    env = {**deployment.env, "SAMPLE_TOPICS": "yes"}
    with worker(env=env, queues=["billing", "stock"]) as one:
        hold(ops, deployment, one, queue="billing")
        ids = copies(deployment, 30)
        eventually(lambda: held(ops) == 30, what="one copy of each is held")
        deployment.records.wait_for(30)
        assert deployment.records.times_run() == each_exactly_once(ids)
        assert release(ops, queue="billing") == 30
        deployment.records.wait_for(60)
        eventually(lambda: deployment.unacked() == 0, what="all have ended")
        assert deployment.records.times_run() == dict.fromkeys(ids, 2)


def test_a_broadcast_is_not_held(deployment: Deployment, ops: Console) -> None:
    with worker(env=deployment.env) as one, worker(pool="threads", env=deployment.env) as other:
        hold(ops, deployment, one, other, task="sample.*")
        deployment.send(5, "sample.broadcast", routing_key="celery", declare=[Exchange("news", type="fanout")])
        deployment.records.wait_for(10)
        assert held(ops) == 0


def test_with_a_key_prefix_another_separator_and_priorities_tasks_come_back_as_they_were(
    valkey: Valkey, console_for: Callable[..., Console], sqlite_url: str
) -> None:
    options = {"sep": ":", "priority_steps": [0, 4, 8]}
    with deploy(valkey, "shop.") as deployment:
        deployment.celery.conf.broker_transport_options = {
            **deployment.celery.conf.broker_transport_options,
            **options,
        }
        ops = console_for(
            database_url=sqlite_url, queues=("celery",), key_prefix="shop.", separator=":", priority_steps=(0, 4, 8)
        )
        env = {**deployment.env, "SAMPLE_OPTIONS": json.dumps(options)}
        with worker(pool="solo", env=env, queues=["celery"]) as one:
            hold(ops, deployment, one)
            ids = {step: deployment.send(20, "sample.late", priority=step) for step in (8, 0, 4)}
            eventually(lambda: held(ops) == 60, what="held")
            release(ops)
            deployment.records.wait_for(60)
            ran = [start.task_id for start in deployment.records.starts()]
            assert Counter(ran) == each_exactly_once([*ids[0], *ids[4], *ids[8]])
            for of_one in ids.values():
                assert [one for one in ran if one in set(of_one)] == of_one, "in their order"
        assert not list(deployment.redis.scan_iter("*hel[dp]*")) + list(deployment.redis.scan_iter("*opsdash:hold*"))


def test_a_retry_that_is_due_while_its_name_is_held_waits_and_goes_on(deployment: Deployment, ops: Console) -> None:
    with worker(env=deployment.env, queues=["celery"]) as one:
        retried = deployment.send(10, "sample.flaky", kwargs={"failures": 2, "countdown": 1.0})
        by_itself = deployment.send(5, "sample.tries")
        deployment.records.wait_for(10 + 15)
        hold(ops, deployment, one, task="sample.flaky")
        eventually(lambda: held(ops) == 10, what="their retries are held")
        eventually(lambda: deployment.unacked() == 0, what="nothing is left in the worker")
        release(ops, "sample.flaky")
        eventually(lambda: deployment.records.times_run() == {**dict.fromkeys(retried + by_itself, 3)}, what="ran")
        assert deployment.records.stay(1.5) == 0


def test_a_chain_a_group_and_a_chord_go_on_after_the_release_of_a_member(deployment: Deployment, ops: Console) -> None:
    env = {**deployment.env, "SAMPLE_RESULTS": "yes"}
    script = """
sent = [chain(*(step("sample.step", (n, i), immutable=True) for i in range(4)))() for n in range(5)]
sent += group(step("sample.step", (n, "g")) for n in range(10))().results
sent += [chord([step("sample.step", (n, "c")) for n in range(4)])(step("sample.gather")) for _ in range(5)]
print(*(result.id for result in sent))
"""
    with worker(env=env, queues=["celery"]) as one:
        hold(ops, deployment, one, task="sample.gather")
        ids = sent_by(script, env)
        deployment.records.wait_for(50)
        eventually(lambda: held(ops) == 5, what="the chords' bodies are held")
        hold_of_steps = opsdash.HoldTasks(task="sample.step")
        ops.run(hold_of_steps, actor="maria", confirm="YES")
        eventually(lambda: len(json.loads(deployment.health(one.hostname)["holds"])) == 2, what="both are applied")
        ids += sent_by(script, env)
        eventually(lambda: held(ops) == 5 + 5 + 10 + 20, what="members are held")
        release(ops, "sample.gather")
        release(ops, "sample.step")
        eventually(lambda: all(succeeded(deployment, one) for one in ids), what="every result is there", timeout_s=20)
        assert len(deployment.records) == 110
        assert set(deployment.records.times_run().values()) == {1}


def test_tasks_with_an_eta_are_held_when_they_are_due_and_none_runs_before(
    deployment: Deployment, ops: Console
) -> None:
    with worker(env=deployment.env, queues=["celery"]) as one:
        ids = deployment.send(20, "sample.late", countdown=2)
        due = time.time() + 2
        hold(ops, deployment, one)
        ids += deployment.send(5, "sample.late", countdown=1)
        eventually(lambda: held(ops) == 25, what="all are held once due")
        assert len(deployment.records) == 0
        assert time.time() >= due - 1
        release(ops)
        deployment.records.wait_for(25)
        assert deployment.records.times_run() == each_exactly_once(ids)


def test_a_redelivery_by_the_visibility_timeout_doubles_nothing_that_is_held(
    deployment: Deployment, ops: Console
) -> None:
    env = {**deployment.env, "SAMPLE_OPTIONS": json.dumps({"visibility_timeout": 2, "unacked_restore_limit": 1000})}
    with worker(env=env, queues=["celery"]) as one, worker(env=env, queues=["celery"]) as other:
        hold(ops, deployment, one, other)
        ids = deployment.send(20, "sample.late", countdown=6)
        ids += deployment.send(20, "sample.late")
        eventually(lambda: held(ops) >= 20, what="those without an ETA are held")
        time.sleep(8)  # kombu gives back what is unacknowledged for two seconds: the same messages to both workers
        eventually(lambda: held(ops) == 40 and deployment.unacked() == 0, what="all are held, each once", timeout_s=20)
        assert deployment.waiting() == 0
        assert len(deployment.records) == 0
        assert release(ops) == 40
        deployment.records.wait_for(40)
        assert deployment.records.stay(3.0) == 0
        assert deployment.records.times_run() == each_exactly_once(ids)


def test_what_expires_while_it_is_held_does_not_run_and_what_does_not_runs_once(
    deployment: Deployment, ops: Console
) -> None:
    with worker(env=deployment.env, queues=["celery"]) as one:
        hold(ops, deployment, one)
        expired = deployment.send(10, "sample.late", expires=2)
        ids = deployment.send(10, "sample.late", expires=datetime.now(UTC) + timedelta(hours=1))
        eventually(lambda: held(ops) == 20, what="held")
        time.sleep(2.0)  # the first ten expire
        assert held(ops) == 20, "a hold throws nothing away"
        release(ops)
        deployment.records.wait_for(10)
        eventually(lambda: deployment.waiting() + deployment.unacked() == 0, what="nothing is left")
        assert deployment.records.times_run() == each_exactly_once(ids)
        assert not set(expired) & set(deployment.records.times_run())


def test_a_held_task_that_was_removed_or_revoked_by_celery_does_not_run_after_its_release(
    deployment: Deployment, ops: Console
) -> None:
    with worker(env=deployment.env, queues=["celery"]) as one:
        hold(ops, deployment, one)
        ids = deployment.send(10, "sample.late")
        eventually(lambda: held(ops) == 10, what="held")
        with pytest.raises(Refused, match="held"):
            ops.run(opsdash.RevokeTask(task_id=ids[3]), actor="maria", confirm="YES")
        assert ops.run(opsdash.RemoveTask(task_id=ids[4]), actor="maria", confirm="YES").affected == 1
        deployment.celery.control.revoke(ids[3])
        release(ops)
        eventually(lambda: deployment.waiting() + deployment.unacked() == 0, what="nothing is left")
        assert deployment.records.times_run() == each_exactly_once([*ids[:3], *ids[5:]])


@pytest.mark.parametrize("how", ["saved", "append only", "lost"])
def test_held_tasks_outlive_a_restart_of_redis_that_keeps_its_data_and_go_with_it_where_it_does_not(
    deployment: Deployment, ops: Console, how: str
) -> None:
    server = deployment.server
    if how == "append only":
        deployment.redis.config_set("appendonly", "yes")
        eventually(lambda: deployment.redis.info("persistence")["aof_rewrite_in_progress"] == 0, what="written")
    with worker(concurrency=1, env=deployment.env, queues=["celery"]) as one:
        hold(ops, deployment, one)
        ids = deployment.send(50, "sample.late")
        eventually(lambda: held(ops) == 50, what="held")
        if how == "append only":
            deployment.redis.config_set("appendfsync", "always")
        if how == "saved":
            server.stop()
        else:
            server.kill()
        server.start_with(*(("--appendonly", "yes") if how == "append only" else ()))
        if how == "lost":
            assert ops.holds.look().holds == ()
            ids = deployment.send(10, "sample.late")
            deployment.records.wait_for(10)
        else:
            eventually(lambda: held(ops) == 50, what="they are still held")
            applied(ops, deployment, one)
            ids += deployment.send(5, "sample.late")
            eventually(lambda: held(ops) == 55, what="and it goes on holding")
            assert release(ops) == 55
            deployment.records.wait_for(55)
            assert began(deployment, "sample.late")[:50] == sorted(began(deployment, "sample.late")[:50])
        assert deployment.records.times_run() == each_exactly_once(ids)
    if how == "append only":
        deployment.redis.config_set("appendonly", "no")


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources of the plug-in that knew no holds."""
    folder = tmp_path_factory.mktemp("before")
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", BEFORE_HOLDS, "opsdash"], capture_output=True, check=False
    )
    if archive.returncode:
        pytest.skip(f"the history has no {BEFORE_HOLDS}: {archive.stderr.decode().strip()}")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def test_a_worker_whose_plug_in_knows_no_holds_is_named_and_the_others_hold(
    deployment: Deployment, ops: Console, before: Path
) -> None:
    old_env: dict[str, Any] = {**deployment.env, "PYTHONPATH": os.pathsep.join([str(before), str(ROOT / "tests")])}
    with worker(env=old_env, queues=["celery"]) as old, worker(env=deployment.env, queues=["celery"]) as new:
        eventually(lambda: len(ops.get_active_workers()) == 2, what="both report")
        preview = ops.preview(opsdash.HoldTasks(task="sample.late"))
        assert old.hostname in " ".join(line.text for line in preview.lines)
        done = ops.run(opsdash.HoldTasks(task="sample.late"), actor="maria", confirm="YES")
        applied(ops, deployment, new)
        (look,) = ops.holds.look(ops.workers.read()).holds
        assert look.without == (old.hostname,)
        assert old.hostname in done.message
        ids = deployment.send(40, "sample.late")
        eventually(lambda: held(ops) + len(deployment.records) == 40, what="each is held or ran")
        assert {start.worker for start in deployment.records.starts()} <= {old.hostname}
        old.stop()
        release(ops)
        deployment.records.wait_for(40)
        assert deployment.records.times_run() == each_exactly_once(ids)
