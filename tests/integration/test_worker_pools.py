"""Operations on workers' pools, with real workers: what the preview says is what is done, and who did it is counted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.cli import Result
from support.deployment import Deployment
from support.errors import fails
from support.previews import texts
from support.workers import GREEN, eventually, worker

import opsdash
from opsdash.errors import Invalid, PhraseMissing, Refused, Unavailable
from opsdash.model import Actor, Role, Status
from opsdash.services.console import Console

BOSS = Actor(name="boss", role=Role.ADMIN, surface="python")
MARIA = Actor(name="maria", role=Role.OPERATOR, surface="python")


def run(console: Console, operation: opsdash.operation.Operation, **more: str) -> opsdash.model.Effect:
    return console.run(operation, actor=BOSS, confirm="YES", **more)


def test_a_pool_grows_and_shrinks_to_the_size_that_was_given_and_a_running_task_goes_on(
    deployment: Deployment, console_for: Callable[..., Console]
) -> None:
    console = console_for()
    with worker(env=deployment.env) as w, worker(pool="threads", env=deployment.env, queues=["emails"]) as threads:
        eventually(lambda: len(console.get_active_workers()) == 2, what="both report")
        (long,) = deployment.send(1, kwargs={"seconds": 4})
        deployment.records.wait_for(1)
        preview = console.preview(opsdash.ResizePool(hostname=w.hostname, size=5))
        assert texts(preview)[0] == f"{w.hostname}: 2 → 5 slots (prefork)."
        assert preview.values() == {"now": 2, "then": 5, "workers": 1, "unable": 0, "silent": 0, "active": 1}
        effect = run(console, opsdash.ResizePool(hostname=w.hostname, size=5))
        assert (effect.message, effect.affected) == (f"{w.hostname}: 2 → 5 slots.", 1)
        assert effect.undo == opsdash.ResizePool(hostname=w.hostname, size=2)
        eventually(lambda: deployment.health(w.hostname)["concurrency"] == "5", what="it reports five")
        eventually(lambda: len(deployment.children(w.hostname)) == 5, what="five processes", timeout_s=20)

        everybody = opsdash.ResizePool(hostname="all", size=3)
        preview = console.preview(everybody)
        assert f"{threads.hostname}: a pool of threads can't grow or shrink." in texts(preview)
        assert (preview.figure("workers").value, preview.figure("unable").value) == (1, 1)
        effect = run(console, everybody)
        assert effect.ok
        assert effect.message == (
            f"{w.hostname}: 5 → 3 slots. {threads.hostname}: a pool of threads can't grow or shrink."
        )
        assert effect.undo == opsdash.ResizePool(hostname=w.hostname, size=5), "of those that have changed"
        assert run(console, effect.undo).message == f"{w.hostname}: 3 → 5 slots."
        with fails(Refused, field="hostname"):
            run(console, opsdash.ResizePool(hostname=threads.hostname, size=3))
        assert deployment.records.times_run()[long] == 1
        assert console.get_recent_operations(1)[0].status is Status.REFUSED


@pytest.mark.long
def test_a_pool_whose_processes_are_busy_shrinks_as_far_as_it_can_and_says_so(
    deployment: Deployment, console_for: Callable[..., Console]
) -> None:
    console = console_for()
    with worker(concurrency=3, env=deployment.env) as w:
        deployment.send(2, kwargs={"seconds": 8})
        deployment.records.wait_for(2)
        smaller = opsdash.ResizePool(hostname=w.hostname, size=1)
        assert any("More than 1 tasks run in" in text for text in texts(console.preview(smaller)))
        effect = run(console, smaller)
        assert (effect.ok, effect.affected) == (False, 1)
        assert (
            effect.message
            == f"{w.hostname}: 3 → 2 slots. {w.hostname} refused: Can't shrink pool. All processes busy!."
        )
        assert effect.undo == opsdash.ResizePool(hostname=w.hostname, size=3)
        eventually(lambda: len(deployment.children(w.hostname)) == 2, what="the idle one is gone")
        with pytest.raises(Refused, match="All processes busy"):
            run(console, smaller)
        assert sorted(deployment.records.times_run().values()) == [1, 1]


@pytest.mark.parametrize("size", [None, 0, -1, 1_001, 10**12])
def test_a_size_that_can_not_be_meant_is_refused_before_any_worker_is_asked(console: Console, size: int | None) -> None:
    with fails(Invalid, field="size") as error:
        console.preview(opsdash.ResizePool(hostname="celery@a", size=size))
    assert "Nothing was changed." in str(error.value)
    for most, least in ((size, 1), (8, size), (2, 3)):
        with pytest.raises(Invalid):
            console.preview(opsdash.Autoscale(hostname="celery@a", most=most, least=least))


def test_nothing_is_done_to_a_worker_that_nobody_named(
    deployment: Deployment, console_for: Callable[..., Console]
) -> None:
    console = console_for()
    with pytest.raises(Refused, match="There is no worker"):
        console.preview(opsdash.RestartPool(hostname="all"))
    with worker(pool="threads", env=deployment.env) as w:
        eventually(lambda: console.get_active_workers() == (w.hostname,), what="it reports")
        for nobody in ("", " "):
            with pytest.raises(Invalid, match="name a worker, or all"):
                console.preview(opsdash.ShutdownWorker(hostname=nobody))
        with pytest.raises(Invalid, match="or all alone"):
            console.preview(opsdash.ShutdownWorker(hostname=f"all {w.hostname}"))
        with pytest.raises(Refused, match=r"There is no worker '8'\."):
            console.preview(opsdash.ResizePool(hostname=f"{w.hostname} 8", size=4))


@pytest.mark.long
def test_an_autoscaler_gets_other_bounds_and_a_worker_without_one_is_told_apart(
    deployment: Deployment, console_for: Callable[..., Console]
) -> None:
    console = console_for()
    with (
        worker(env=deployment.env, arguments=["--autoscale=4,2"]) as scaled,
        worker(env=deployment.env, queues=["emails"]) as fixed,
    ):
        eventually(lambda: len(console.get_active_workers()) == 2, what="both report")
        act = opsdash.Autoscale(hostname="all", most=6, least=3)
        preview = console.preview(act)
        assert texts(preview)[0] == f"{scaled.hostname}: 2 to 4 → 3 to 6 slots; it has 2 now."
        assert (preview.figure("most_now").value, preview.figure("most_then").value) == (4, 6)
        effect = run(console, act)
        assert effect.message.startswith(
            f"{scaled.hostname}: autoscales between 3 and 6. {fixed.hostname}: it was started"
        )
        assert effect.undo == opsdash.Autoscale(hostname=scaled.hostname, most=4, least=2)
        eventually(lambda: deployment.health(scaled.hostname)["concurrency"] == "3", what="the least at once")
        with pytest.raises(Refused, match="it autoscales between 3 and 6"):
            run(console, opsdash.ResizePool(hostname=scaled.hostname, size=4))
        with pytest.raises(Refused, match="without --autoscale"):
            run(console, opsdash.Autoscale(hostname=fixed.hostname, most=4, least=2))


@pytest.mark.long
def test_a_pool_restarts_with_new_processes_and_every_task_runs_once(
    deployment: Deployment, console_for: Callable[..., Console]
) -> None:
    console = console_for()
    allowed = {**deployment.env, "SAMPLE_POOL_RESTARTS": "yes"}
    with (
        worker(env=allowed) as w,
        worker(env=deployment.env, queues=["emails"]) as not_allowed,
        worker(pool="threads", env=allowed, queues=["reports"]) as threads,
    ):
        eventually(lambda: len(console.get_active_workers()) == 3, what="all report")
        before = set(deployment.children(w.hostname))
        ids = deployment.send(60, kwargs={"seconds": 0.1})
        deployment.records.wait_for(4)
        preview = console.preview(opsdash.RestartPool(hostname="all"))
        assert (preview.figure("workers").value, preview.figure("unable").value) == (1, 2)
        assert f"{threads.hostname}: a pool of threads has no processes to replace." in texts(preview)
        assert f"{not_allowed.hostname}: it was started without worker_pool_restarts=True." in texts(preview)
        effect = run(console, opsdash.RestartPool(hostname=w.hostname))
        assert (
            effect.message
            == f"{w.hostname}: replaces each process when its task has ended, an idle one after its next task."
        )
        eventually(lambda: before.isdisjoint(deployment.children(w.hostname)), what="new processes")
        deployment.records.wait_for(60)
        eventually(lambda: deployment.unacked() == 0, what="all have ended")
        assert deployment.records.times_run() == dict.fromkeys(ids, 1)
        with pytest.raises(Refused, match="without worker_pool_restarts"):
            run(console, opsdash.RestartPool(hostname=not_allowed.hostname))


@pytest.mark.long
@pytest.mark.parametrize(
    "pool", ["prefork", "threads", *(pytest.param(pool, marks=pytest.mark.slow) for pool in GREEN)]
)
def test_a_worker_that_is_shut_down_finishes_what_runs_and_gives_back_the_rest(
    deployment: Deployment, console_for: Callable[..., Console], pool: str
) -> None:
    console = console_for()
    with worker(pool=pool, env=deployment.env) as w:
        eventually(lambda: w.hostname in console.get_active_workers(), what="it reports")
        running = deployment.send(2, kwargs={"seconds": 3})
        deployment.records.wait_for(2)
        waiting = deployment.send(3)
        act = opsdash.ShutdownWorker(hostname=w.hostname)
        preview = console.preview(act)
        assert texts(preview)[0] == f"{w.hostname} takes no more tasks and ends after 2 running tasks."
        assert "No other worker takes tasks from celery, emails, reports: they will wait." in texts(preview)
        with pytest.raises(Refused, match="admin"):
            console.run(act, actor=MARIA, confirm="YES")
        effect = run(console, act)
        assert effect.message == f"{w.hostname} takes no more tasks and ends after 2 running tasks."
        eventually(lambda: not w.running, what="it has ended")
        assert deployment.records.times_run() == dict.fromkeys(running, 1)
        assert sorted(deployment.task_ids()) == sorted(waiting)
        assert console.get_active_workers() == ()


def test_all_workers_are_shut_down_only_with_their_number_typed(
    deployment: Deployment, console_for: Callable[..., Console]
) -> None:
    console = console_for()
    plain = {**deployment.env, "SAMPLE_PLUGIN": "no"}
    with worker(pool="threads", env=deployment.env) as w, worker(pool="threads", env=plain) as bare:
        eventually(lambda: w.hostname in console.get_active_workers(), what="it reports")
        console.unmanaged.look()
        everybody = opsdash.ShutdownWorker(hostname="all")
        assert console.preview(everybody).phrase == "2 workers"
        with pytest.raises(PhraseMissing):
            run(console, everybody)
        effect = run(console, everybody, phrase="2 workers")
        assert (
            effect.message == f"{w.hostname} ended. {bare.hostname} answers no more; it ends when its tasks have ended."
        )
        eventually(lambda: not w.running and not bare.running, what="both have ended")


@pytest.mark.long
def test_a_time_limit_is_for_tasks_that_start_later_and_its_undo_is_what_was_before(
    deployment: Deployment, console_for: Callable[..., Console]
) -> None:
    console = console_for()
    with (
        worker(hostname="processes@test", env=deployment.env) as w,
        worker(hostname="threads@test", pool="threads", env=deployment.env, queues=["emails"]) as threads,
    ):
        eventually(lambda: len(console.get_active_workers()) == 2, what="both report")
        act = opsdash.SetTimeLimit(task="sample.short", soft_s=1, hard_s=2)
        preview = console.preview(act)
        assert texts(preview)[0] == f"{w.hostname}: soft none, hard none → soft 1s, hard 2s."
        assert f"{threads.hostname}: a pool of threads limits no task." in texts(preview)
        effect = run(console, act)
        assert effect.message.startswith(f"{w.hostname}: sample.short has the limits soft 1s, hard 2s.")
        assert effect.undo == opsdash.SetTimeLimit(task="sample.short", remove=True, hostname=w.hostname)
        deployment.send(1, kwargs={"seconds": 30})
        eventually(lambda: deployment.health(w.hostname)["failed"] == "1", what="it was ended")
        shorter = run(console, opsdash.SetTimeLimit(task="sample.short", hard_s=60))
        assert shorter.undo == opsdash.SetTimeLimit(task="sample.short", soft_s=1, hard_s=2, hostname=w.hostname)
        run(console, effect.undo)
        assert texts(console.preview(act))[0] == f"{w.hostname}: soft none, hard none → soft 1s, hard 2s."
        with pytest.raises(Refused, match="it does not know the task"):
            run(console, opsdash.SetTimeLimit(task="sample.nobody", hard_s=60))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "task"),
        ({"task": "t"}, "soft_s"),
        ({"task": "t", "soft_s": 1, "remove": True}, "soft_s"),
        ({"task": "t", "soft_s": 0}, "soft_s"),
        ({"task": "t", "hard_s": 10**9}, "hard_s"),
        ({"task": "t", "soft_s": 5, "hard_s": 5}, "soft_s"),
    ],
)
def test_a_time_limit_that_can_not_be_meant_is_refused(console: Console, given: dict[str, object], field: str) -> None:
    with fails(Invalid, field=field):
        console.preview(opsdash.SetTimeLimit(**given))


@pytest.mark.long
def test_a_worker_without_the_plug_in_is_resized_too(
    deployment: Deployment, console_for: Callable[..., Console]
) -> None:
    console = console_for()
    with worker(env={**deployment.env, "SAMPLE_PLUGIN": "no"}) as bare:
        effect = run(console, opsdash.ResizePool(hostname=bare.hostname, size=3))
        assert effect.message == f"{bare.hostname}: 2 → 3 slots."
        eventually(lambda: len(deployment.children(bare.hostname)) == 3, what="three processes", timeout_s=20)


@pytest.mark.slow
@pytest.mark.parametrize("pool", GREEN)
def test_a_pool_of_green_threads_grows_and_shrinks(
    deployment: Deployment, console_for: Callable[..., Console], pool: str
) -> None:
    console = console_for()
    with worker(pool=pool, env=deployment.env) as w:
        eventually(lambda: w.hostname in console.get_active_workers(), what="it reports")
        grown = run(console, opsdash.ResizePool(hostname=w.hostname, size=4))
        assert grown.message == f"{w.hostname}: 2 → 4 slots."
        ids = deployment.send(5, kwargs={"seconds": 2})
        deployment.records.wait_for(4)
        assert deployment.records.stay(0.5) == 0, "four run at once, and no more"
        run(console, grown.undo)
        deployment.records.wait_for(5)
        eventually(lambda: deployment.unacked() == 0, what="all have ended")
        assert deployment.records.times_run() == dict.fromkeys(ids, 1)
        assert deployment.health(w.hostname)["concurrency"] == "2"


@pytest.mark.long
def test_a_worker_that_answers_nobody_is_not_told(deployment: Deployment, console_for: Callable[..., Console]) -> None:
    console = console_for()
    with worker(pool="threads", env={**deployment.env, "SAMPLE_REMOTE_CONTROL": "off"}) as deaf:
        eventually(lambda: deaf.hostname in console.get_active_workers(), what="it reports")
        with pytest.raises(Unavailable, match="does not answer"):
            run(console, opsdash.RestartPool(hostname=deaf.hostname))
        assert console.get_recent_operations(1)[0].status is Status.FAILURE


def test_on_the_command_line_a_worker_and_a_size_are_named(deployment: Deployment, cli: Callable[..., Result]) -> None:
    with worker(env=deployment.env) as w:
        w.wait_for_log("can be paused")
        eventually(lambda: deployment.health(w.hostname), what="it reports")
        assert cli("resize-pool", "--confirm", "YES").code == 3
        done = cli("resize-pool", w.hostname, "--size", "eight", "--confirm", "YES")
        assert (done.code, "'eight' is not a whole number" in done.err) == (2, True)
        done = cli("resize-pool", w.hostname, "--size", "3", "--confirm", "YES")
        assert done.out == f"{w.hostname}: 2 → 3 slots.\nUndo: opsdash resize-pool --size 2 {w.hostname}\n"
