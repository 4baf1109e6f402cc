"""Rate limits for all workers together, with real workers: the total is kept, new workers share it, and it ends."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from support.cli import Result
from support.deployment import Deployment
from support.errors import fails
from support.previews import texts
from support.workers import REPORTS_OFTEN, eventually, worker

import opsdash
from opsdash.errors import Invalid, Refused
from opsdash.model import Actor, Role
from opsdash.services.console import Console
from opsdash.services.workers.rate_limits import RateLimits

MARIA = Actor(name="maria", role=Role.OPERATOR, surface="python")


def run(console: Console, operation: opsdash.operation.Operation) -> opsdash.model.Effect:
    return console.run(operation, actor=MARIA, confirm="YES")


def shares(console: Console) -> dict[str, float]:
    """What workers report of the one limit."""
    limits = console.rate_limits()
    return dict(limits[0].shares) if limits else {}


@pytest.mark.long
@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_all_workers_together_start_no_more_than_the_limit_and_one_that_comes_later_shares_it(
    deployment: Deployment, console_for: Callable[..., Console], pool: str
) -> None:
    console = console_for()
    with worker(pool=pool, env={**deployment.env, **REPORTS_OFTEN}) as first:
        eventually(lambda: first.hostname in console.get_active_workers(), what="it reports")
        preview = console.preview(opsdash.SetRateLimit(task="sample.short", rate="10/s", duration_s=600))
        assert texts(preview)[0] == "sample.short starts at most 10/s, in all workers together."
        effect = run(
            console, opsdash.SetRateLimit(task="sample.short", rate="10/s", duration_s=600, reason="slow shop")
        )
        assert effect.message == "sample.short is limited to 10/s for 10 minutes, in 1 worker and those that start."
        assert effect.undo == opsdash.RemoveRateLimit(task="sample.short")
        eventually(lambda: shares(console) == {first.hostname: 10.0}, what="it follows the limit")
        ids = deployment.send(120)
        with worker(pool=pool, env={**deployment.env, **REPORTS_OFTEN}) as second:
            eventually(
                lambda: shares(console) == {first.hostname: 5.0, second.hostname: 5.0}, what="they share", timeout_s=20
            )
            before, at = len(deployment.records), time.monotonic()
            deployment.records.wait_for(before + 20)
            per_s = 20 / (time.monotonic() - at)
            assert 5 < per_s < 14, f"{per_s:.1f}/s, not about 10"
            other = deployment.send(1, name="sample.late", queue="emails")
            # Its queue comes after the other one, of which a worker takes no more than it may start.
            eventually(
                lambda: other[0] in deployment.records.times_run(), what="another name is not limited", timeout_s=20
            )

            removed = run(console, opsdash.RemoveRateLimit(task="sample.short"))
            assert isinstance(removed.undo, opsdash.SetRateLimit)
            assert (removed.undo.rate, 400 < (removed.undo.duration_s or 0) < 600) == ("10/s", True)
            deployment.records.wait_for(121, timeout_s=10)
            eventually(lambda: deployment.unacked() == 0, what="all have ended")
            assert deployment.records.times_run() == dict.fromkeys([*ids, *other], 1)
            assert console.rate_limits() == ()


@pytest.mark.long
def test_a_limit_ends_by_itself_and_the_tasks_own_limit_holds_again(
    deployment: Deployment, console_for: Callable[..., Console]
) -> None:
    console = console_for()
    with worker(pool="threads", env={**deployment.env, **REPORTS_OFTEN}) as w:
        eventually(lambda: w.hostname in console.get_active_workers(), what="it reports")
        run(console, opsdash.SetRateLimit(task="sample.limited", rate="6/m", duration_s=600))
        eventually(lambda: shares(console) == {w.hostname: 0.1}, what="it follows the limit")
        run(console, opsdash.SetRateLimit(task="sample.limited", rate="100/s", duration_s=600))
        eventually(lambda: shares(console) == {w.hostname: 2.0}, what="the task's own 2/s is less")
        run(console, opsdash.SetRateLimit(task="sample.limited", rate="1/h", duration_s=4))
        eventually(
            lambda: shares(console) == {w.hostname: pytest.approx(1 / 3600, rel=0.01)}, what="it follows the limit"
        )
        ids = deployment.send(3, name="sample.limited")
        deployment.records.wait_for(3, timeout_s=15)
        assert deployment.records.times_run() == dict.fromkeys(ids, 1)
        w.wait_for_log("rate limits of this worker: none")


@pytest.mark.long
def test_a_worker_without_the_plug_in_is_named_and_a_limit_of_nobody_says_so(
    deployment: Deployment, console_for: Callable[..., Console], cli: Callable[..., Result]
) -> None:
    console = console_for()
    act = opsdash.SetRateLimit(task="sample.short", rate="10/s")
    assert any("No worker follows it now" in text for text in texts(console.preview(act)))
    plain = {**deployment.env, "SAMPLE_PLUGIN": "no"}
    with (
        worker(pool="threads", env=plain) as bare,
        worker(pool="threads", env={**deployment.env, **REPORTS_OFTEN}) as w,
    ):
        eventually(lambda: w.hostname in console.get_active_workers(), what="it reports")
        console.unmanaged.look()
        assert any(f"no plug-in that follows one: {bare.hostname}" in text for text in texts(console.preview(act)))
        for mistyped in (
            opsdash.SetRateLimit(task="sample.shrot", rate="1/s"),
            opsdash.HoldTasks(task="sample.shrot"),
            opsdash.LimitConcurrency(task="sample.shrot", most=2),
        ):
            told = texts(console.preview(mistyped))
            assert any("registers a task named sample.shrot, and none waits. Did you mean" in text for text in told), (
                told
            )
        assert run(console, act).message.endswith(f"Without a limit: {bare.hostname}.")
        eventually(lambda: shares(console) == {w.hostname: 10.0}, what="it follows the limit")
        listed = cli("rate-limits")
        assert "sample.short" in listed.out
        assert bare.hostname in listed.err
        (limit,) = json.loads(cli("rate-limits", "--json").out)
        assert (limit["task"], limit["rate"], limit["by"], limit["shares"]) == (
            "sample.short",
            "10/s",
            "maria",
            {w.hostname: 10.0},
        )


@pytest.mark.parametrize("rate", ["", "-1/s", "20000/s", "1/d", "fast", "1e9", "nan"])
def test_a_rate_that_can_not_be_meant_is_refused(console: Console, rate: str) -> None:
    with fails(Invalid, field="rate") as error:
        run(console, opsdash.SetRateLimit(task="t", rate=rate))
    assert "Nothing was changed." in str(error.value)
    assert RateLimits(console.broker).read() == ()


@pytest.mark.parametrize("rate", ["none", "0", " None ", "0/s", "0/m"])
def test_a_rate_of_none_or_0_removes_the_limit_as_it_does_in_celery(console: Console, rate: str) -> None:
    act = opsdash.SetRateLimit(task="t", rate=rate)
    with fails(Refused, field="task") as error:
        run(console, act)
    assert "t has no rate limit." in str(error.value)
    run(console, opsdash.SetRateLimit(task="t", rate="10/s", duration_s=600))
    assert act.heading() == "Remove the rate limit of t"
    assert texts(console.preview(act))[0] == "t may start as often as its code allows, not 10/s."
    removed = run(console, act)
    assert removed.message == "t has no rate limit."
    assert isinstance(removed.undo, opsdash.SetRateLimit)
    assert console.rate_limits() == ()


def test_a_limit_is_for_one_name_and_none_for_all_that_match(console: Console) -> None:
    with fails(Invalid, field="task") as error:
        run(console, opsdash.SetRateLimit(task="shop.*", rate="10/s"))
    assert "To stop many: Hold Tasks." in str(error.value)
    assert RateLimits(console.broker).read() == ()


def test_a_rate_without_a_unit_is_shown_and_kept_as_of_a_second(console: Console) -> None:
    act = opsdash.SetRateLimit(task="t", rate="10")
    assert act.heading() == "Limit t to 10/s"
    assert run(console, act).message.startswith("t is limited to 10/s ")
    assert console.rate_limits()[0].rate == "10/s"


def test_a_limit_that_is_replaced_comes_back_by_its_undo(console: Console) -> None:
    run(console, opsdash.SetRateLimit(task="t", rate="10/s", duration_s=600, reason="slow shop"))
    second = run(console, opsdash.SetRateLimit(task="t", rate="5/s", duration_s=60))
    assert isinstance(second.undo, opsdash.SetRateLimit)
    assert (second.undo.rate, second.undo.reason, second.followed) == ("10/s", "slow shop", False)
    assert "Replaced 10/s by maria." in second.message
    with fails(Refused, field="task") as error:
        run(console, opsdash.RemoveRateLimit(task="u"))
    assert "Tasks that have one: t." in str(error.value)
    with fails(Invalid, field="duration_s"):
        run(console, opsdash.SetRateLimit(task="t", rate="5/s", duration_s=10**9))
