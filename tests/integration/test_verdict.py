"""Safe to deploy is said only when every worker that could still run something is accounted for."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import programs
from support.deployment import Deployment
from support.errors import fails
from support.previews import texts
from support.workers import GREEN, Worker, eventually, worker

import opsdash
from opsdash.api.metrics import Meter
from opsdash.api.schemas import status_read
from opsdash.cli.summary import summarize
from opsdash.errors import Refused
from opsdash.model.verdict import Kind, State, Verdict
from opsdash.operations import PauseProcessing
from opsdash.services.console import Console
from opsdash.services.database import migrations
from opsdash.services.pause.verdict import verdict
from opsdash.services.pause.verdict_text import describe
from opsdash.state import SystemStatus

BARE = {"SAMPLE_PLUGIN": "no"}

OTHER_POOLS = [pytest.param(pool, marks=pytest.mark.slow) for pool in ("threads", "solo", *GREEN)]


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'o.sqlite3'}"
    migrations.upgrade(url)
    return url


@pytest.fixture
def ops(deployment: Deployment, database_url: str) -> Iterator[Console]:
    with contextlib.closing(opsdash.connect(redis_url=deployment.server.url, database_url=database_url)) as console:
        yield console


@contextlib.contextmanager
def frozen(process: Worker) -> Iterator[None]:
    """A worker whose process stands still, its children with it."""
    os.killpg(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGCONT)


def look(ops: Console) -> Verdict:
    ops.unmanaged.look()
    found = verdict(ops.snapshot())
    assert found is not None
    return found


def kinds(found: Verdict) -> set[Kind]:
    return {reason.kind for reason in found.reasons}


def becomes(ops: Console, *wanted: Kind) -> Verdict:
    """Waits until the verdict has just these reasons."""
    found = [look(ops)]

    def there() -> bool:
        found[0] = look(ops)
        return kinds(found[0]) == set(wanted)

    try:
        eventually(there, timeout_s=25, what=f"the verdict's reasons become {wanted}")
    except AssertionError as error:
        error.add_note(describe(found[0]))
        raise
    return found[0]


def pause(ops: Console) -> None:
    ops.run(opsdash.PauseProcessing(), actor="maria", confirm="YES")


@pytest.mark.parametrize("pool", ["prefork", *OTHER_POOLS])
def test_workers_that_have_stopped_and_nobody_else_are_safe(deployment: Deployment, ops: Console, pool: str) -> None:
    with worker(pool=pool, env=deployment.env) as one:
        deployment.send(3)
        deployment.records.wait_for(3)
        pause(ops)
        deployment.wait_until_confirmed(one.hostname)
        assert becomes(ops).safe


@pytest.mark.long
def test_a_worker_that_freezes_in_a_task_is_silent_its_task_counts_and_nothing_is_safe(
    deployment: Deployment, ops: Console
) -> None:
    with worker(pool="threads", env=deployment.env) as one, worker(pool="threads", env=deployment.env) as two:
        deployment.celery.send_task("sample.short", kwargs={"seconds": 12})
        deployment.records.wait_for(1)
        host = deployment.records.starts()[0].worker
        busy = one if one.hostname == host else two
        eventually(lambda: deployment.health(busy.hostname).get("active") == "1", what="its task is reported")
        with frozen(busy):
            pause(ops)
            eventually(
                lambda: {w.hostname: w.state for w in ops.workers.read()}[busy.hostname] == "silent", what="silent"
            )
            eventually(
                lambda: {Kind.SILENT, Kind.NO_ANSWER} <= kinds(look(ops)), timeout_s=20, what="silent, and missed"
            )
            found = look(ops)
            assert f"{busy.hostname} is silent for " in describe(found)
            assert "ran 1 task" in describe(found)
            assert found.state is State.UNKNOWN
            (silent,) = [line for line in texts(ops.preview(opsdash.PauseProcessing())) if "is silent" in line]
            assert "ran 1 task" in silent
        deployment.wait_until_confirmed(busy.hostname)
        assert becomes(ops).safe


@pytest.mark.long
def test_an_idle_worker_that_froze_hears_remote_control_and_is_missed(deployment: Deployment, ops: Console) -> None:
    with worker(pool="solo", env=deployment.env), worker(pool="threads", env={**deployment.env, **BARE}) as bare:
        eventually(lambda: deployment.celery.control.ping([bare.hostname]), what="it listens")
        with frozen(bare):
            pause(ops)
            eventually(lambda: Kind.NO_ANSWER in kinds(look(ops)), what="it is missed", timeout_s=20)
            found = look(ops)
            assert not found.safe
            assert bare.hostname in describe(found)


def test_a_worker_without_plug_in_that_is_gone_amid_a_task_and_without_a_goodbye_is_not_forgotten_at_once(
    deployment: Deployment, ops: Console
) -> None:
    with (
        worker(pool="threads", env=deployment.env, queues=["emails"]) as one,
        worker(pool="threads", env={**deployment.env, **BARE}, queues=["celery"]) as bare,
    ):
        deployment.celery.send_task("sample.short", kwargs={"seconds": 60})
        deployment.records.wait_for(1)
        ops.unmanaged.look()
        assert [(other.hostname, other.active) for other in ops.unmanaged.last or ()] == [(bare.hostname, 1)]
        bare.kill()  # to Redis this looks as if its network were cut, and then it runs on
        pause(ops)
        deployment.wait_until_confirmed(one.hostname)
        assert Kind.NO_PLUGIN in kinds(look(ops))


@pytest.mark.long
def test_a_worker_without_plug_in_and_remote_control_is_told_by_its_connection(
    deployment: Deployment, ops: Console
) -> None:
    off = {"SAMPLE_REMOTE_CONTROL": "off"}
    with (
        worker(pool="solo", env={**deployment.env, **off}) as one,
        worker(pool="solo", env={**deployment.env, **off, **BARE}),
    ):
        pause(ops)
        deployment.wait_until_confirmed(one.hostname)
        found = becomes(ops, Kind.CANNOT_ASK, Kind.TAKES_TASKS)
        assert (found.state, found.final) == (State.NOT_HELD, True)
        assert f"remote control is off on {one.hostname}" in describe(found)


@pytest.mark.long
def test_two_processes_of_one_name_are_both_seen_and_named(deployment: Deployment, ops: Console) -> None:
    same = ["-n", "same@test"]
    with (
        worker(pool="solo", env=deployment.env, arguments=same, wait=False) as one,
        worker(pool="solo", env=deployment.env, arguments=same, wait=False) as two,
    ):
        eventually(lambda: len([w for w in ops.workers.read() if w.reports]) == 2, what="both report", timeout_s=30)
        pause(ops)
        found = becomes(ops, Kind.SAME_NAME)
        (reason,) = found.reasons
        assert (reason.workers, set(reason.pids)) == (("same@test",), {one.pid, two.pid})
        newest = deployment.health("same@test")["pid"]
        (two if newest == str(two.pid) else one).stop()
        assert becomes(ops).safe
        eventually(
            lambda: [w.record for w in ops.workers.read()] == ["same@test"], what="the other takes the name back"
        )


@pytest.mark.long
def test_a_worker_that_is_killed_and_started_again_takes_its_predecessors_place_at_once(
    deployment: Deployment, ops: Console
) -> None:
    same = ["-n", "same@test"]
    with worker(pool="prefork", env=deployment.env, arguments=same, wait=False) as first:
        eventually(lambda: deployment.health("same@test"), what="it reports", timeout_s=30)
        deployment.celery.send_task("sample.short", kwargs={"seconds": 60})
        eventually(lambda: deployment.health("same@test").get("active") == "1", what="it runs a task")
        first.kill()
        with worker(pool="prefork", env=deployment.env, arguments=same, wait=False) as again:
            eventually(
                lambda: deployment.health("same@test").get("pid") == str(again.pid), what="it is back", timeout_s=30
            )
            (only,) = ops.workers.read()
            assert (only.record, only.pid, only.active) == ("same@test", again.pid, 0)
            ops.unmanaged.look()
            assert ops.snapshot().others == (), "no ghost of it as a worker without the plug-in"
            pause(ops)
            deployment.wait_until_confirmed("same@test")
            assert becomes(ops).safe


@pytest.mark.long
def test_a_silent_worker_can_be_dismissed_and_one_that_reports_can_not(deployment: Deployment, ops: Console) -> None:
    with worker(pool="threads", env=deployment.env) as one, worker(pool="threads", env=deployment.env) as two:
        deployment.celery.send_task("sample.short", kwargs={"seconds": 60})
        deployment.records.wait_for(1)
        host = deployment.records.starts()[0].worker
        busy, other = (one, two) if one.hostname == host else (two, one)
        eventually(lambda: deployment.health(host).get("active") == "1", what="its task is reported")
        with pytest.raises(Refused, match="still reports"):
            ops.run(opsdash.DismissWorker(hostname=host), actor="maria", confirm="YES")
        busy.kill()
        pause(ops)
        becomes(ops, Kind.SILENT)
        effect = ops.run(opsdash.DismissWorker(hostname=host), actor="maria", confirm="YES")
        assert effect.message == f"Dismissed {host}; in its last report it ran 1 task."
        assert becomes(ops).safe
        assert [w.hostname for w in ops.workers.read()] == [other.hostname]
        with fails(Refused, field="hostname"):
            ops.preview(opsdash.DismissWorker(hostname=host))


@pytest.mark.long
@pytest.mark.parametrize("pool", ["prefork", *OTHER_POOLS])
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGQUIT], ids=["warm", "cold"])
def test_a_worker_that_is_stopped_says_goodbye_when_nothing_of_it_runs_any_more(
    deployment: Deployment, pool: str, ending: signal.Signals
) -> None:
    with worker(pool=pool, env=deployment.env) as one:
        deployment.celery.send_task("sample.short", kwargs={"seconds": 4})
        deployment.records.wait_for(1)
        eventually(lambda: deployment.health(one.hostname).get("active") == "1", what="its task is reported")
        os.kill(one.pid, ending)
        if ending is signal.SIGTERM:
            assert deployment.health(one.hostname), "while a task of it runs it stays on the list"
        eventually(lambda: not one.running, what="it ends", timeout_s=30)
        assert deployment.redis.zcard(deployment.keys.workers) == 0
        assert not deployment.health(one.hostname)


def test_every_surface_tells_the_same_verdict_in_the_same_words(deployment: Deployment, ops: Console) -> None:
    with worker(pool="threads", env=deployment.env) as one:
        pause(ops)
        deployment.wait_until_confirmed(one.hostname)
        becomes(ops)
        snapshot = ops.snapshot()
        made = verdict(snapshot)
        assert made is not None
        words = "The one worker has stopped; safe to deploy."
        assert describe(made) == words
        page = SystemStatus()
        page.update(snapshot)
        assert (page.drain, page.safe) == (words, True)
        assert status_read(snapshot).verdict.message == words
        assert opsdash.PauseProcessing().progress(snapshot).message == words
        assert [line for line in summarize(snapshot, "").shown if str(line) == words]
        ops.poller.latest = snapshot
        states = {
            sample.labels["state"]: sample.value
            for family in Meter(ops).collect()
            if family.name == "opsdash_pause_verdict"
            for sample in family.samples
        }
        assert states == {"held": 1, "draining": 0, "unknown": 0, "not_held": 0}
        at_hand = ops.verdict()
        assert at_hand is not None
        assert at_hand.safe


@pytest.mark.long
def test_waiting_ends_early_where_it_can_change_nothing_and_is_not_called_done(
    deployment: Deployment, database_url: str
) -> None:
    env = {"OPSDASH_REDIS_URL": deployment.server.url, "OPSDASH_DATABASE_URL": database_url, "OPSDASH_AUTH": "dev"}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "opsdash", "pause-processing", "--confirm", "YES", *words]
        return programs.run(command, env={**os.environ, **env}, capture_output=True, text=True, check=False)

    done = run()
    assert done.returncode == 0, "Redis itself shows that nobody is connected"
    assert "No worker is connected to this broker, so nothing takes tasks now." in done.stdout
    up_s = deployment.redis.info("server")["uptime_in_seconds"]
    assert ("workers may still be reconnecting" in done.stdout) == (up_s <= 90) or 88 < up_s < 95
    assert deployment.redis.get(deployment.keys.pause()) == "true"
    done = run("--wait", "--timeout", "10m")
    assert done.returncode == 5
    assert "and waiting does not help: No worker reports" in done.stderr
    todo = "   → Check whether workers run, with the plug-in: opsdash doctor.\n"
    assert done.stderr.endswith(todo), "what keeps it waiting is told with what to do about it"
    assert run("--queue", "celery", "--wait", "--timeout", "10m").stderr.endswith(todo)


@pytest.mark.parametrize("remote_control", ["on", "off"])
def test_a_pause_is_not_told_as_done_while_a_worker_without_the_plug_in_is_connected(
    deployment: Deployment, ops: Console, remote_control: str
) -> None:
    options = {**BARE, "SAMPLE_REMOTE_CONTROL": remote_control}
    with worker(pool="solo", env={**deployment.env, **options}):
        deployment.send(1, "sample.short", kwargs={"seconds": 60})
        eventually(lambda: deployment.waiting() == 0, what="the worker has taken it")
        done = ops.run(PauseProcessing(), actor="maria", confirm="YES")
        assert not done.followed
        assert done.message.endswith("No worker reports to opsdash, so no worker is known to have stopped.")


def test_a_pause_is_not_told_as_done_while_a_worker_is_connected_to_another_database_of_the_server(
    deployment: Deployment, ops: Console
) -> None:
    elsewhere = {"OPSDASH_REDIS_URL": f"{deployment.server.url.rsplit('/', 1)[0]}/5"}
    with worker(pool="solo", env={**deployment.env, **elsewhere}):
        assert not ops.run(PauseProcessing(), actor="maria", confirm="YES").followed


@pytest.mark.long
def test_a_pause_is_not_told_as_done_while_a_worker_that_ran_something_is_silent(
    deployment: Deployment, ops: Console
) -> None:
    with worker(pool="threads", env=deployment.env) as running:
        deployment.send(1, "sample.short", kwargs={"seconds": 60})
        eventually(lambda: any(w.active for w in ops.get_worker_stats()), what="its report tells the task")
        running.kill()
    eventually(lambda: not any(w.reports for w in ops.get_worker_stats()), what="it is silent", timeout_s=20)
    assert not ops.run(PauseProcessing(), actor="maria", confirm="YES").followed


def test_a_pause_is_not_told_as_done_where_a_worker_has_left_a_trace_and_no_connection(
    deployment: Deployment, ops: Console
) -> None:
    traces = {
        "unacked": lambda key: deployment.redis.hset(key, "tag", "[]"),
        "_kombu.binding.celery.pidbox": lambda key: deployment.redis.sadd(key, "\x06\x16\x06\x16w@h.celery.pidbox"),
    }
    for key, leave in traces.items():
        leave(key)
        assert not ops.run(PauseProcessing(), actor="maria", confirm="YES").followed, key
        deployment.redis.delete(key)
    assert ops.run(PauseProcessing(), actor="maria", confirm="YES").followed


def test_a_pause_is_not_told_as_done_while_a_worker_is_silent_that_was_not_paused(
    deployment: Deployment, ops: Console
) -> None:
    with worker(pool="threads", env=deployment.env) as running:
        eventually(lambda: any(w.reports for w in ops.get_worker_stats()), what="it reports")
        running.kill()
    eventually(lambda: not any(w.reports for w in ops.get_worker_stats()), what="it is silent", timeout_s=20)
    deployment.redis.delete("_kombu.binding.celery.pidbox")
    assert not ops.run(PauseProcessing(), actor="maria", confirm="YES").followed
