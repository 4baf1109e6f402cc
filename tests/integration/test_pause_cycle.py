"""Pausing real workers on a real broker: nothing starts, nothing is lost, nothing runs twice."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from kombu import Exchange
from support.deployment import SOON_S, Deployment, as_sent, deploy, each_exactly_once
from support.sample_app import UNREADABLE
from support.services import Valkey
from support.workers import GREEN, eventually, worker

from opsdash.services.workers.reports import Workers

GREEN_LATER = [pytest.param(pool, marks=pytest.mark.slow) for pool in GREEN]
POOLS = ["prefork", "threads", pytest.param("solo", marks=pytest.mark.slow), *GREEN_LATER]
PREFORK_NOW_OTHERS_LATER = [
    "prefork",
    *(pytest.param(pool, marks=pytest.mark.slow) for pool in ("threads", "solo")),
    *GREEN_LATER,
]
LONG = {"seconds": 2.5}


@pytest.mark.parametrize("pool", POOLS)
def test_a_pause_amid_500_tasks_starts_none_and_its_end_runs_each_exactly_once(
    deployment: Deployment, pool: str
) -> None:
    ids = deployment.send(500)
    with worker(pool=pool, env=deployment.env) as first:
        deployment.records.wait_for(100)
        paused_at = deployment.pause()
        with worker(pool=pool, env=deployment.env) as newcomer:
            assert deployment.records.stay(max(0.0, paused_at + 3.0 - time.time())) <= 5
            assert deployment.started_after(paused_at + SOON_S) == 0
            assert len(deployment.records) < 500
            assert deployment.waiting() + len(deployment.records) == 500, "every message is in the list again"
            deployment.wait_until_confirmed(newcomer.hostname)
            assert deployment.health(newcomer.hostname)["processed"] == "0"
            assert deployment.puts_in(1.0) == 0, "paused workers leave the messages alone, they don't bounce them"
            resumed_at = time.time()
            deployment.resume()
            deployment.records.wait_for(500)
    after = {start.worker for start in deployment.records.starts() if start.at > resumed_at}
    assert after == {first.hostname, newcomer.hostname}, "both work on"
    assert deployment.records.times_run() == each_exactly_once(ids)


@pytest.mark.long
def test_a_worker_that_starts_during_a_pause_knows_of_it_before_its_first_message(deployment: Deployment) -> None:
    deployment.pause()
    deployment.send(10)
    with worker(pool="solo", env={**deployment.env, "SAMPLE_BREAK": "late-listener"}) as running:
        deployment.wait_until_confirmed(running.hostname)
        assert len(deployment.records) == 0


@pytest.mark.long
@pytest.mark.parametrize("pool", PREFORK_NOW_OTHERS_LATER)
def test_scheduled_rate_limited_and_late_acknowledged_tasks_wait_for_the_end_of_a_pause(
    deployment: Deployment, pool: str
) -> None:
    with worker(pool=pool, env=deployment.env) as running:
        # Time enough for a loaded machine to get to the pause, where the test is not among the fast ones.
        due = datetime.now(UTC) + timedelta(seconds=1.5 if pool == "prefork" else 4.0)
        ids = deployment.send(5, eta=due)
        eventually(lambda: deployment.unacked() == 5, what="the worker holds the scheduled tasks")
        ids += deployment.send(3, "sample.limited") + deployment.send(10, "sample.late", kwargs={"seconds": 0.3})
        deployment.records.wait_for(1)
        paused_at = deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        assert deployment.health(running.hostname)["scheduled"] == "5"
        if pool != "solo":  # its loop stands while a task runs: it confirms at once, and puts back a moment later
            assert deployment.unacked() <= 5 + 2, "held are scheduled and running ones, not those that wait for a rate"
        assert datetime.now(UTC) < due, "the pause came before they were due"
        eventually(lambda: deployment.waiting() + len(deployment.records) == 18, what="all met the gate and went back")
        assert datetime.now(UTC) > due, "not before they were due"
        assert deployment.records.stay(0.5) == 0
        assert deployment.started_after(paused_at + SOON_S) == 0
        deployment.resume()
        deployment.records.wait_for(18)
    assert deployment.records.times_run() == each_exactly_once(ids)


@pytest.mark.long
@pytest.mark.parametrize("pool", PREFORK_NOW_OTHERS_LATER)
def test_a_queues_own_pause_holds_only_that_queue(deployment: Deployment, pool: str) -> None:
    with worker(pool=pool, env=deployment.env, queues=["celery", "emails"]) as running:
        emails = deployment.send(60, queue="emails", kwargs={"seconds": 0.02})
        deployment.records.wait_for(3)
        paused_at = deployment.pause("emails")
        deployment.wait_until_confirmed(running.hostname)
        others = deployment.send(50)
        eventually(lambda: set(others) <= set(deployment.records.times_run()), what="the other queue runs")
        late = [s for s in deployment.records.starts() if s.task_id in emails and s.at > paused_at + SOON_S]
        assert late == []
        assert deployment.waiting("emails") > 0
        health = deployment.health(running.hostname)
        assert (health["paused"], health["paused_queues"]) == ("0", '["emails"]')
        deployment.resume("emails")
        deployment.records.wait_for(110)
    assert deployment.records.times_run() == each_exactly_once(emails + others)


@pytest.mark.long
def test_a_flag_set_and_deleted_by_hand_is_obeyed_within_three_seconds(deployment: Deployment) -> None:
    with worker(pool="threads", env=deployment.env) as running:
        deployment.redis.set(deployment.keys.pause(), "true")
        eventually(lambda: deployment.health(running.hostname).get("paused") == "1", timeout_s=3, what="paused")
        ids = deployment.send(10)
        assert deployment.records.stay(0.5) == 0
        deployment.redis.delete(deployment.keys.pause())
        deployment.records.wait_for(10, timeout_s=3)
    assert deployment.records.times_run() == each_exactly_once(ids)


@pytest.mark.long
@pytest.mark.parametrize("pool", PREFORK_NOW_OTHERS_LATER)
def test_a_worker_that_loses_its_connections_or_its_broker_stays_paused(deployment: Deployment, pool: str) -> None:
    with worker(pool=pool, env=deployment.env) as running:
        deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        ids = deployment.send(40)
        for kind in ("normal", "pubsub"):
            deployment.redis.client_kill_filter(_type=kind, skipme=True)
        running.wait_for_log("Connection to broker lost")
        assert deployment.records.stay(1.5) == 0
        deployment.server.stop()
        deployment.server.start()
        assert deployment.records.stay(2.0) == 0
        eventually(lambda: time.time() - float(deployment.health(running.hostname)["time"]) < 2.5, what="health again")
        assert deployment.health(running.hostname)["paused"] == "1"
        deployment.resume()
        deployment.records.wait_for(40)
    assert deployment.records.times_run() == each_exactly_once(ids)


@pytest.mark.parametrize("pool", PREFORK_NOW_OTHERS_LATER)
def test_ending_a_paused_worker_warmly_or_with_kill_9_loses_nothing(deployment: Deployment, pool: str) -> None:
    slots = 1 if pool == "solo" else 2
    with (
        worker(pool=pool, env=deployment.env, queues=["celery", "emails"]) as killed,
        worker(pool=pool, env=deployment.env, queues=["celery", "reports"]) as stopped,
    ):
        long = [i for queue in ("emails", "reports") for i in deployment.send(slots, queue=queue, kwargs=LONG)]
        deployment.records.wait_for(2 * slots)
        ids = long + deployment.send(60 - len(long))
        if pool != "solo":
            eventually(lambda: deployment.waiting() < 60 - len(long), what="they have prefetched")
        deployment.pause()
        for one in (killed, stopped):
            deployment.wait_until_confirmed(one.hostname)
        assert deployment.waiting() == 60 - len(long), "all unstarted are in the list again, the others still run"
        # A busy solo worker acknowledges the task that runs when it has run, as without opsdash.
        assert deployment.unacked() == (2 if pool == "solo" else 0), "no worker holds a message that waits"
        killed.kill()
        assert stopped.stop() == 0
        assert deployment.waiting() == 60 - len(long)
        deployment.resume()
        with worker(pool=pool, env=deployment.env):
            deployment.records.wait_for(60)
    assert deployment.records.times_run() == each_exactly_once(ids)


@pytest.mark.long
def test_a_deployment_with_a_key_prefix_is_paused_by_its_own_flag_only(valkey: Valkey) -> None:
    with deploy(valkey, "blue:") as blue, deploy(valkey) as plain, worker(env=blue.env) as running:
        plain.pause()
        ids = blue.send(10)
        blue.records.wait_for(10)
        plain.resume()
        blue.pause()
        blue.wait_until_confirmed(running.hostname)
        ids += blue.send(10)
        assert blue.records.stay(0.5) == 0
        assert blue.waiting() == 10
        blue.resume()
        blue.records.wait_for(20)
        assert blue.records.times_run() == each_exactly_once(ids)


@pytest.mark.long
@pytest.mark.parametrize("pool", ["prefork", pytest.param("threads", marks=pytest.mark.slow)])
def test_priorities_and_their_order_outlive_a_pause(deployment: Deployment, pool: str) -> None:
    with worker(pool=pool, concurrency=1, env=deployment.env) as running:
        blocker = deployment.send(1, kwargs={"seconds": 3.0})
        deployment.records.wait_for(1)
        sent = {priority: deployment.send(6, priority=priority) for priority in (0, 9, 6, 3)}
        eventually(lambda: deployment.waiting() == 20, what="it has prefetched four")
        deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        eventually(lambda: deployment.waiting() == 24 and deployment.unacked() == 0, what="all are in the lists")
        assert [deployment.redis.llen(key) for key in deployment.lists()] == [6, 6, 6, 6]
        deployment.resume()
        deployment.records.wait_for(25)
    started = [start.task_id for start in deployment.records.starts()]
    assert started == blocker + sent[0] + sent[3] + sent[6] + sent[9]


@pytest.mark.long
@pytest.mark.parametrize("pool", ["prefork", pytest.param("threads", marks=pytest.mark.slow)])
def test_order_outlives_a_pause_that_comes_while_the_worker_waits_for_more(deployment: Deployment, pool: str) -> None:
    with worker(pool=pool, concurrency=1, env=deployment.env) as running:
        blocker = deployment.send(1, kwargs={"seconds": 3.0})
        deployment.records.wait_for(1)
        ids = deployment.send(2)  # fewer than it may prefetch: a fetch is under way, and gets what is put back first
        eventually(lambda: deployment.waiting() == 0, what="it has prefetched both")
        deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        eventually(lambda: deployment.waiting() == 2 and deployment.unacked() == 0, what="both are in the list")
        assert deployment.task_ids() == ids
        returned = as_sent(deployment.messages())
        deployment.resume()
        deployment.records.wait_for(3)
    assert [start.task_id for start in deployment.records.starts()] == blocker + ids
    deployment.send(2)
    sent = as_sent(deployment.messages())
    assert [set(message["headers"]) for message in returned] == [set(message["headers"]) for message in sent]
    assert [message["body"] for message in returned] == [message["body"] for message in sent]


def test_a_worker_whose_broker_refuses_scripts_works_and_says_that_it_can_not_be_paused(
    deployment: Deployment,
) -> None:
    deployment.redis.execute_command("ACL", "SETUSER", "default", "-eval")
    try:
        with worker(concurrency=1, env=deployment.env) as running:
            deployment.send(1)
            deployment.records.wait_for(1)
            running.wait_for_log("this worker can't be paused: Redis refuses the script that gives tasks back")
            running.wait_for_log("this worker's health can't be pushed")  # a report is a script too
            assert "Traceback" not in running.log
    finally:
        deployment.redis.execute_command("ACL", "SETUSER", "default", "+eval")


def test_a_worker_says_once_that_the_plug_in_is_active(deployment: Deployment) -> None:
    with worker(env=deployment.env, pool="threads", queues=["celery", "emails"]) as running:
        running.wait_for_log("is active: this worker can be paused (pool threads, queues celery, emails)")
        running.wait_for_log(" ready.")

        def cut() -> bool:  # of a connection that is not used yet the worker makes another one, and says nothing
            deployment.redis.client_kill_filter(_type="normal", skipme=True)
            return "Connection to broker lost" in running.log

        eventually(cut, timeout_s=20, what="the worker has lost its connection")
        deployment.send(1)
        deployment.records.wait_for(1)
        assert running.log.count("is active") == 1


@pytest.mark.long
def test_a_paused_queue_that_is_added_to_a_running_worker_runs_nothing(deployment: Deployment) -> None:
    with worker(env=deployment.env, queues=["celery"]) as running:
        deployment.pause("reports")
        ids = deployment.send(20, queue="reports")
        deployment.celery.control.add_consumer("reports", destination=[running.hostname], reply=True, timeout=5)
        assert "reports" in deployment.health(running.hostname)["queues"] or deployment.records.stay(2.5) == 0
        assert deployment.records.stay(0.5) == 0
        deployment.resume("reports")
        deployment.records.wait_for(20)
    assert deployment.records.times_run() == each_exactly_once(ids)


def test_broadcasts_are_left_alone(deployment: Deployment) -> None:
    with worker(env=deployment.env) as running:
        deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        # Celery declares no Broadcast for a sender, and kombu sends what it doesn't know as a fanout to a list.
        ids = deployment.send(3, "sample.broadcast", routing_key="celery", declare=[Exchange("news", type="fanout")])
        deployment.records.wait_for(3)
        assert "news" not in deployment.health(running.hostname)["queues"]
    assert deployment.records.times_run() == each_exactly_once(ids)


@pytest.mark.long
@pytest.mark.parametrize("jump_s", [86_400 * 2, pytest.param(-86_400 * 2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "pool", ["prefork", *(pytest.param(pool, marks=pytest.mark.slow) for pool in ("threads", *GREEN))]
)
def test_a_clock_that_jumps_by_two_days_neither_opens_the_gate_nor_hides_a_worker(
    deployment: Deployment, tmp_path: Path, pool: str, jump_s: int
) -> None:
    clock = tmp_path / "clock"
    env = {**deployment.env, "SAMPLE_BREAK": "clock", "SAMPLE_CLOCK": str(clock)}
    workers = Workers(deployment.broker)

    def states() -> dict[str, str]:
        return {seen.hostname: seen.state for seen in workers.read()}

    def jump(seconds: int) -> None:  # whole or not at all: the worker reads the file at any moment
        draft = tmp_path / "draft"
        draft.write_text(str(seconds))
        draft.rename(clock)

    with worker(pool=pool, env=env) as first, worker(pool="solo", env=deployment.env) as steady:
        deployment.pause()
        deployment.wait_until_confirmed(first.hostname)
        deployment.wait_until_confirmed(steady.hostname)
        jump(jump_s)
        ids = deployment.send(20)
        reports = [deployment.health(first.hostname)["uptime_s"]]
        for _ in range(3):  # a report every 2 s
            eventually(lambda: deployment.health(first.hostname)["uptime_s"] != reports[-1], what="another report")
            reports.append(deployment.health(first.hostname)["uptime_s"])
            assert states() == {first.hostname: "online", steady.hostname: "online"}
        assert len(deployment.records) == 0
        jump(-jump_s)
        deployment.resume()
        deployment.records.wait_for(20)
        deployment.pause()
        deployment.wait_until_confirmed(first.hostname)
        assert states() == {first.hostname: "online", steady.hostname: "online"}
        assert all(abs((seen.heartbeat_at - datetime.now(UTC)).total_seconds()) < 10 for seen in workers.read())
    assert deployment.records.times_run() == each_exactly_once(ids)


@pytest.mark.long
def test_a_worker_that_can_not_read_the_flag_works_on_after_the_grace_and_says_so(deployment: Deployment) -> None:
    with worker(env={**deployment.env, "SAMPLE_BREAK": "unreadable"}) as running:
        deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        ids = deployment.send(10)
        deployment.redis.set(UNREADABLE, "yes")
        try:
            assert deployment.records.stay(3.0) == 0, "the last known state holds for the grace"
            deployment.records.wait_for(10, timeout_s=6)
            eventually(lambda: "can't be read" in deployment.health(running.hostname)["pausing"], what="health says so")
            assert deployment.health(running.hostname)["epoch"] == ""
            assert "the pause flag can't be read, so tasks run" in running.log
        finally:
            deployment.redis.delete(UNREADABLE)
        deployment.wait_until_confirmed(running.hostname)
        assert deployment.health(running.hostname)["pausing"] == "ready"
        ids += deployment.send(5)
        assert deployment.records.stay(0.5) == 0, "readable again: paused again"
        deployment.resume()
        deployment.records.wait_for(15)
    assert deployment.records.times_run() == each_exactly_once(ids)
