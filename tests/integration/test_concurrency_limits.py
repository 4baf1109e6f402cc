"""Concurrency limits with real workers: never more at once than there are slots, whoever starts or dies meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from support.deployment import Deployment
from support.errors import fails
from support.messages import message
from support.previews import texts
from support.workers import eventually, worker

import opsdash
from opsdash.errors import Invalid, Refused
from opsdash.model import Actor, HeldTasks, Role
from opsdash.services.console import Console

SLOW = [pytest.param(pool, marks=pytest.mark.slow) for pool in ("threads", "gevent", "eventlet", "solo")]
MARIA = Actor(name="maria", role=Role.OPERATOR, surface="python")


def run(console: Console, operation: opsdash.operation.Operation) -> opsdash.model.Effect:
    return console.run(operation, actor=MARIA, confirm="YES")


def limit(console: Console) -> HeldTasks:
    """The one limit."""
    (found,) = console.snapshot().concurrency_limits
    return found


def leased(console: Console) -> dict[str, int]:
    """Instance → slots it has."""
    keys, client = console.broker.keys, console.broker.client
    found = client.hgetall(keys.slots(limit(console).hold.id))
    return {name: int(text.split(" ")[0]) for name, text in found.items()}


def at_once(deployment: Deployment, seconds: float, ids: list[str]) -> int:
    """How many of these tasks, each of so many seconds, ran at once at most."""
    starts = sorted(start.at for start in deployment.records.starts() if start.task_id in ids)
    return max(sum(at - seconds < other <= at for other in starts) for at in starts)


@pytest.mark.long
@pytest.mark.parametrize("pool", ["prefork", *SLOW])
def test_so_many_run_at_once_in_order_and_tasks_of_other_names_do_not_wait_behind_them(
    deployment: Deployment, console_for: Callable[..., Console], pool: str
) -> None:
    console = console_for()
    run(console, opsdash.LimitConcurrency(task="sample.short", most=2, duration_s=600))
    ids = deployment.send(12, kwargs={"seconds": 0.2})
    others = deployment.send(8, name="sample.late")
    with worker(pool=pool, concurrency=4, env=deployment.env):
        deployment.records.wait_for(20)
        eventually(lambda: deployment.unacked() == 0, what="all have ended")
    starts = [start.task_id for start in deployment.records.starts()]
    assert deployment.records.times_run() == dict.fromkeys([*ids, *others], 1)
    assert at_once(deployment, 0.2, ids) == (1 if pool == "solo" else 2)
    order = [ids.index(one) for one in starts if one in ids]
    assert all(abs(place - number) < 2 for place, number in enumerate(order)), "two that begin together may be swapped"
    if pool != "solo":  # which runs one at a time, whatever the limit
        assert starts.index(others[-1]) < starts.index(ids[-1])
    assert limit(console).held == 0


def test_tasks_that_two_limits_match_keep_to_both_in_order_and_do_not_go_to_and_fro(
    deployment: Deployment, console_for: Callable[..., Console]
) -> None:
    console = console_for()
    run(console, opsdash.LimitConcurrency(task="sample.*", most=3, duration_s=600))
    run(console, opsdash.LimitConcurrency(task="sample.short", most=2, duration_s=600))
    ids = deployment.send(6, kwargs={"seconds": 0.1})
    others = deployment.send(4, name="sample.late", kwargs={"seconds": 0.1})
    ids += deployment.send(6, kwargs={"seconds": 0.1})
    with worker(pool="threads", concurrency=6, env=deployment.env):
        deployment.records.wait_for(16)
        eventually(lambda: deployment.unacked() == 0, what="all have ended")
    assert deployment.records.times_run() == dict.fromkeys([*ids, *others], 1)
    assert at_once(deployment, 0.1, ids) == 2
    assert at_once(deployment, 0.1, [*ids, *others]) == 3
    order = [ids.index(start.task_id) for start in deployment.records.starts() if start.task_id in ids]
    assert all(abs(place - number) < 2 for place, number in enumerate(order)), "two that begin together may be swapped"
    assert [one.held for one in console.snapshot().concurrency_limits] == [0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_what_a_worker_has_fetched_when_a_limit_begins_waits_too(
    deployment: Deployment, console_for: Callable[..., Console], pool: str
) -> None:
    console = console_for()
    with worker(pool=pool, env=deployment.env):
        ids = deployment.send(8, kwargs={"seconds": 0.3})
        deployment.records.wait_for(2)
        run(console, opsdash.LimitConcurrency(task="sample.short", most=1, duration_s=600))
        applied_at = time.time() + 0.3
        deployment.records.wait_for(8)
        starts = [start for start in deployment.records.starts() if start.at > applied_at]
        assert len(starts) >= 4
        assert at_once(deployment, 0.3, [start.task_id for start in starts]) == 1
        assert [start.task_id for start in starts] == ids[-len(starts) :]
        assert deployment.records.times_run() == dict.fromkeys(ids, 1)


@pytest.mark.slow
def test_a_killed_workers_share_is_back_within_15_seconds_and_one_that_starts_later_keeps_to_the_limit(
    deployment: Deployment, console_for: Callable[..., Console]
) -> None:
    console = console_for()
    run(console, opsdash.LimitConcurrency(task="sample.*", most=3, duration_s=600))
    with worker(pool="prefork", concurrency=4, env=deployment.env) as first:
        deployment.send(3, kwargs={"seconds": 60})
        deployment.records.wait_for(3)
        ids = deployment.send(6, kwargs={"seconds": 0.1})
        with worker(pool="prefork", concurrency=4, env=deployment.env) as second:
            eventually(lambda: second.hostname in console.get_active_workers(), what="it reports")
            eventually(lambda: limit(console).held == 6, what="no slot is free, so they wait")
            eventually(lambda: limit(console).shares == {first.hostname: 3}, what="it has all slots")
            assert (limit(console).running, limit(console).workers, limit(console).of) == (3, 2, 2)
            killed_at = time.time()
            first.kill()
            deployment.records.wait_for(9, timeout_s=20)
            began = min(start.at for start in deployment.records.starts() if start.task_id in ids)
            assert began - killed_at < 15
            assert at_once(deployment, 0.1, ids) <= 3
            assert {start.task_id for start in deployment.records.starts()} >= set(ids)


@pytest.mark.slow
def test_a_limit_is_removed_with_what_waits_in_front_and_comes_back_by_its_undo(
    deployment: Deployment, console_for: Callable[..., Console]
) -> None:
    console = console_for()
    act = opsdash.LimitConcurrency(task="sample.short", most=1, duration_s=600, reason="slow shop")
    assert act.heading() == "Limit sample.short to 1 at once"
    assert any("No worker keeps to it now" in text for text in texts(console.preview(act)))
    assert run(console, act).message == "At most 1 task of sample.short runs at once for 10 minutes."
    with worker(pool="threads", env=deployment.env) as one:
        ids = deployment.send(5, kwargs={"seconds": 3})
        eventually(lambda: limit(console).held == 4, what="one runs, the others wait")
        eventually(lambda: limit(console).shares == {one.hostname: 1}, what="it reports that one runs")
        preview = texts(console.preview(opsdash.RemoveConcurrencyLimit(task="sample.short")))
        assert preview[1] == "4 tasks that waited will be the next to run, in their order."
        removed = run(console, opsdash.RemoveConcurrencyLimit(task="sample.short"))
        assert removed.message == "sample.short has no concurrency limit; 4 tasks back in front."
        assert isinstance(removed.undo, opsdash.LimitConcurrency)
        assert (removed.undo.most, removed.undo.reason) == (1, "slow shop")
        assert 500 < (removed.undo.duration_s or 0) <= 600
        deployment.records.wait_for(5, timeout_s=20)
        assert deployment.records.times_run() == dict.fromkeys(ids, 1)
        assert at_once(deployment, 3, ids) == 2, "as many as it has threads"
    assert console.snapshot().concurrency_limits == ()


def test_a_limit_ends_by_itself_and_that_is_audited(
    deployment: Deployment, console_for: Callable[..., Console]
) -> None:
    console = console_for()
    run(console, opsdash.LimitConcurrency(task="sample.short", most=1, duration_s=1))

    def ended() -> bool:
        console.snapshot()
        (newest,) = console.get_recent_operations(limit=1)
        return newest.operation == "remove_concurrency_limit"

    eventually(ended, what="it has ended, and is written down")
    (newest,) = console.get_recent_operations(limit=1)
    assert "The concurrency limit of sample.short by maria expired." in str(newest.details["message"])
    assert newest.details["params"] == {"task": "sample.short"}


@pytest.mark.long
@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"task": "", "most": 3}, "task"),
        ({"task": "*", "most": 3}, "task"),
        ({"task": "t"}, "most"),
        ({"task": "t", "most": 0}, "most"),
        ({"task": "t", "most": 10_001}, "most"),
        ({"task": "t", "most": 3, "duration_s": 10**9}, "duration_s"),
    ],
)
def test_a_limit_that_can_not_be_meant_is_refused(console: Console, fields: dict[str, Any], wrong: str) -> None:
    with fails(Invalid, field=wrong):
        run(console, opsdash.LimitConcurrency(**fields))
    assert console.services.holds.read().holds == ()


def test_a_limit_that_is_not_there_can_not_be_removed_and_the_replaced_one_comes_back_by_undo(console: Console) -> None:
    run(console, opsdash.LimitConcurrency(task="t", most=3))
    assert "At most 1 task of u runs at once" in texts(console.preview(opsdash.LimitConcurrency(task="u", most=1)))[0]
    second = run(console, opsdash.LimitConcurrency(task="t", most=5, duration_s=60))
    assert "Replaced 3 by maria." in second.message
    assert isinstance(second.undo, opsdash.LimitConcurrency)
    assert second.undo.most == 3
    with fails(Refused, field="task") as error:
        run(console, opsdash.RemoveConcurrencyLimit(task="u"))
    assert "Names that have one: t." in str(error.value)


@pytest.mark.parametrize("asked", [opsdash.LimitConcurrency(), opsdash.SetRateLimit(), opsdash.HoldTasks()])
def test_the_dialog_offers_the_names_that_wait_most_often(console: Console, asked: opsdash.operation.Operation) -> None:
    texts = [message(f"m{at}", task=name) for at, name in enumerate(("shop.ship", "shop.charge", "shop.charge"))]
    console.broker.client.lpush("celery", *texts, "no message")
    assert console.suggest(asked) == {"task": ("shop.charge", "shop.ship")}
