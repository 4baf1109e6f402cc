"""What real workers keep of tasks that fail: the message as it came, what happened, and nothing that is secret."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from kombu import Exchange
from support.deployment import Deployment
from support.failures import counted, everything_readable, groups, raw_messages, store_of, wait_for
from support.workers import GREEN, eventually, worker

POOLS = ["prefork", "solo", *(pytest.param(pool, marks=pytest.mark.slow) for pool in ("threads", *GREEN))]
PASSWORD = "correct-horse-17"


@pytest.mark.parametrize("pool", POOLS)
def test_a_failed_task_is_kept_with_its_message_byte_for_byte_and_can_be_sent_again(
    deployment: Deployment, pool: str
) -> None:
    sent = deployment.send(1, "sample.fails", priority=6) + deployment.send(1, "sample.fails_late")
    lists = ("celery\x06\x166", "celery")
    messages = {one: raw_messages(deployment, name)[0] for one, name in zip(sent, lists, strict=True)}
    with worker(pool=pool, env=deployment.env) as running:
        failures = {failure.id: failure for failure in wait_for(deployment, 2)}
        eventually(lambda: deployment.unacked() == deployment.waiting() == 0, what="both are acknowledged")
        for kept in store_of(deployment).messages(sent):
            assert kept.message == messages[kept.id]
            deployment.redis.lpush(kept.list, kept.message)
        eventually(lambda: store_of(deployment).find(sent[0]).times == 2, what="it has failed again")
        running.stop()
    early, late = (failures[one] for one in sent)
    assert (early.task, early.queue, early.list, early.priority) == (
        "sample.fails", "celery", "celery\x06\x166", 6,
    )  # fmt: skip
    assert (early.error, early.message_text, early.kind) == ("ValueError", "no good: 0", "failed")
    assert early.place == "fails in support/sample_app.py"
    assert early.traceback.startswith("Traceback (most recent call last):")
    assert early.traceback.rstrip().endswith("ValueError: no good: 0")
    assert (early.worker, early.times, early.retries, early.arguments) == (running.hostname, 1, 0, "0")
    assert (early.sendable, early.task_id, early.root_id) == (True, sent[0], sent[0])
    assert abs(early.at.timestamp() - time.time()) < 60
    assert (late.task, late.list, late.priority) == ("sample.fails_late", "celery", 0)


@pytest.mark.long
@pytest.mark.parametrize("pool", POOLS)
def test_a_task_that_is_tried_again_has_not_failed_before_its_last_try(deployment: Deployment, pool: str) -> None:
    with worker(pool=pool, env=deployment.env):
        deployment.send(1, "sample.tries")
        (failure,) = wait_for(deployment, 1)
        assert (failure.error, failure.retries, failure.times) == ("ConnectionError", 2, 1)
        assert len(deployment.records) == 3
        assert counted(deployment) == 1


@pytest.mark.long
def test_all_that_ends_a_task_without_success_is_told_apart(deployment: Deployment) -> None:
    send = deployment.celery.send_task
    deployment.redis.lpush("celery", json.dumps(foreign("no task at all")))
    with worker(pool="prefork", env=deployment.env):
        ids = {
            "rejected": send("sample.ends", kwargs={"how": "reject"}).id,
            "unregistered": send("nobody.registered_this", [1]).id,
            "killed": send("sample.ends", kwargs={"how": "exit"}).id,
            "time_limit": send("sample.short", kwargs={"seconds": 60}, time_limit=1).id,
        }
        unreadable = send("sample.short", serializer="yaml").id  # which this worker does not accept
        send("sample.short", expires=-1)
        for how in ("ignore", "well", "retry"):
            send("sample.ends", kwargs={"how": how})
        failures = wait_for(deployment, 6, timeout_s=30)
        eventually(lambda: groups(deployment, "expired"), what="the expired one is counted")
    kinds = {failure.task_id: failure.kind for failure in failures}
    foreign_one = next(failure for failure in failures if failure.id.startswith("unreadable-"))
    assert kinds == {**{task_id: kind for kind, task_id in ids.items()}, unreadable: "unreadable", "": "unreadable"}
    assert (foreign_one.sendable, foreign_one.list) == (True, "celery")
    errors = {failure.kind: failure.error for failure in failures if failure.task_id}
    assert errors["killed"] == "billiard.exceptions.WorkerLostError"
    assert errors["time_limit"] == "billiard.exceptions.TimeLimitExceeded"
    assert errors["unregistered"] == "celery.exceptions.NotRegistered"
    (expired,) = groups(deployment, "expired")
    assert (expired.count, expired.kept, expired.not_kept, expired.task) == (1, 0, 0, "sample.short")


def foreign(text: str) -> dict[str, Any]:
    """A message of somebody else."""
    properties = {"delivery_tag": "x", "delivery_info": {"exchange": "", "routing_key": "celery"}}
    kind = {"content-encoding": "utf-8", "content-type": "application/json"}
    return {"body": text, **kind, "headers": {}, "properties": properties}


@pytest.mark.long
@pytest.mark.parametrize(
    "pool", ["prefork", *(pytest.param(pool, marks=pytest.mark.slow) for pool in ("solo", *GREEN))]
)
def test_what_is_no_message_at_all_is_kept_and_ends_no_worker(deployment: Deployment, pool: str) -> None:
    garbage = [b"\xff\x00 no text", b"no JSON", b"[]", b"{}", b"17", b'{"body": 1, "properties": {}}']
    garbage.append(json.dumps({**foreign("17"), "headers": {"id": "x", "task": "sample.short"}}).encode())
    for one in garbage:
        deployment.redis.lpush("celery", one)
    deployment.send(1)
    with worker(pool=pool, env=deployment.env) as running:
        failures = wait_for(deployment, len(garbage))
        deployment.records.wait_for(1)
        number = str(len(garbage))
        eventually(lambda: deployment.health(running.hostname)["failed"] == number, what="the worker reports them")
        assert running.running
    assert {failure.kind for failure in failures} == {"unreadable"}
    kept = store_of(deployment).messages([failure.id for failure in failures])
    assert {one.message for one in kept} == set(garbage)


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_a_task_that_was_revoked_is_counted_and_not_kept(deployment: Deployment, pool: str) -> None:
    with worker(pool=pool, env=deployment.env):
        task = deployment.celery.send_task("sample.short", countdown=2)
        eventually(lambda: deployment.unacked() == 1, what="the worker has it, and waits for its time")
        deployment.celery.control.revoke(task.id)
        eventually(lambda: groups(deployment, "revoked"), what="the revoked one is counted")
        assert store_of(deployment).page().total == 0


@pytest.mark.long
@pytest.mark.parametrize("pool", ["prefork", pytest.param("threads", marks=pytest.mark.slow)])
def test_secrets_in_arguments_errors_and_tracebacks_are_nowhere_but_in_the_message(
    deployment: Deployment, pool: str
) -> None:
    with worker(pool=pool, env=deployment.env) as running:
        deployment.celery.send_task("sample.leaks", ["maria"], kwargs={"password": PASSWORD})
        (failure,) = wait_for(deployment, 1)
        deployment.celery.send_task("sample.leaks", [PASSWORD], kwargs={"password": PASSWORD}, serializer="json")
        wait_for(deployment, 2)
        running.stop()
    shown = everything_readable(deployment)
    assert PASSWORD not in shown
    assert "maria@db" not in shown, "it stands where an address has its password"
    assert "maria has no access with (hidden)" in failure.message_text
    assert 'raise LookupError(f"{argument} has no access' in failure.traceback
    assert failure.arguments == '"maria", password=(hidden)'


def test_what_the_expression_of_the_worker_finds_is_hidden_too(deployment: Deployment) -> None:
    with worker(pool="solo", env={**deployment.env, "OPSDASH_REDACT": "customer|DE\\d+"}):
        deployment.celery.send_task("sample.leaks", ["DE1234567890"], kwargs={"customer": "Miller & Sons"})
        wait_for(deployment, 1)
    shown = everything_readable(deployment)
    assert "DE1234567890" not in shown
    assert "Miller" not in shown


@pytest.mark.long
def test_switched_off_nothing_is_kept_and_nothing_is_counted_by_its_error(deployment: Deployment) -> None:
    with worker(pool="threads", env={**deployment.env, "OPSDASH_FAILED_MAX": "0"}) as running:
        deployment.send(3, "sample.fails")
        eventually(lambda: deployment.health(running.hostname).get("failed") == "3", what="they have failed")
        running.stop()
    assert list(deployment.redis.scan_iter("opsdash:failed*")) == []


def test_a_message_that_is_too_large_is_named_and_not_kept(deployment: Deployment) -> None:
    with worker(pool="threads", env=deployment.env):
        deployment.celery.send_task("sample.fails", ["x" * 300_000])
        (failure,) = wait_for(deployment, 1)
    assert (failure.too_large, failure.sendable) == (True, False)
    assert failure.message_bytes > 300_000
    assert failure.list == "celery"


@pytest.mark.slow
def test_a_broadcast_that_fails_is_kept_without_a_message_since_it_has_no_queue_to_go_back_to(
    deployment: Deployment,
) -> None:
    with worker(pool="threads", env=deployment.env):
        # Celery declares no Broadcast for a sender, and kombu sends what it doesn't know as a fanout to a list.
        news = [Exchange("news", type="fanout")]
        deployment.celery.send_task("sample.broadcast", ["error"], routing_key="celery", declare=news)
        (failure,) = wait_for(deployment, 1)
    assert (failure.sendable, failure.list, failure.queue, failure.message_text) == (False, "", "", "on purpose")


@pytest.mark.long
def test_the_last_failures_are_written_before_a_worker_ends(deployment: Deployment) -> None:
    sent = deployment.send(20, "sample.fails")
    with worker(pool="prefork", env=deployment.env) as running:
        eventually(lambda: deployment.waiting() == 0 and deployment.unacked() == 0, what="all have run")
        assert running.stop() == 0
    assert {failure.id for failure in store_of(deployment).every()} == set(sent)


def test_a_worker_that_is_killed_just_after_a_failure_leaves_whole_entries(deployment: Deployment) -> None:
    with worker(pool="threads", concurrency=4, env=deployment.env) as running:
        deployment.send(300, "sample.fails")
        eventually(lambda: store_of(deployment).page().total > 0, what="some are kept")
        running.kill()
    store = store_of(deployment)
    failures = list(store.every())
    assert failures
    assert {kept.id for kept in store.messages([one.id for one in failures])} == {one.id for one in failures}
    (group,) = groups(deployment)
    assert group.kept == len(failures) <= group.count
