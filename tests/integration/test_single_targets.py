"""One task revoked, one worker quieted: with real workers, confirmed and audited as every operation is."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.deployment import Deployment
from support.errors import fails
from support.messages import fetched, message
from support.previews import texts
from support.workers import eventually, worker

from opsdash.errors import Invalid, Refused, Unavailable, Uncertain
from opsdash.model import OtherWorker
from opsdash.operations import DismissWorker, QuietWorker, RevokeTask, WakeWorker
from opsdash.services.console import Console
from opsdash.services.queues import find_in_lists

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_worker_that_is_quieted_takes_nothing_until_it_is_woken_and_no_sooner_than_its_pause_ends(
    deployment: Deployment, console_for
):
    console: Console = console_for(queues=("celery", "emails", "reports"))
    with (
        worker(env=deployment.env, queues=["celery", "emails"]) as quiet,
        worker(concurrency=1, env={**deployment.env, "SAMPLE_PLUGIN": "no"}, queues=["celery"]) as other,
    ):
        eventually(lambda: quiet.hostname in console.get_active_workers(), what="the worker reports")
        preview = console.preview(QuietWorker(hostname=quiet.hostname))
        assert preview.values() == {"queues": ["celery", "emails"], "held": 0, "alone": ["emails"]}
        assert "No other worker takes tasks from emails: they will wait." in texts(preview)
        with fails(Refused, field="confirm"):
            console.run(QuietWorker(hostname=quiet.hostname), actor="maria", confirm="yes")
        effect = console.run(QuietWorker(hostname=quiet.hostname), actor="maria", confirm="YES")
        assert effect.message == f"{quiet.hostname} takes no more tasks from celery, emails."
        assert effect.undo == WakeWorker(hostname=quiet.hostname)
        eventually(lambda: deployment.health(quiet.hostname)["queues"] == "[]", what="the worker reports no queue")
        with pytest.raises(Refused, match="already takes tasks from no queue"):
            console.run(QuietWorker(hostname=quiet.hostname), actor="maria", confirm="YES")
        deployment.send(10, queue="celery")
        deployment.send(3, queue="emails")
        deployment.records.wait_for(10)
        assert {start.worker for start in deployment.records.starts()} == {other.hostname}
        assert deployment.waiting("emails") == 3

        deployment.pause("emails")
        preview = console.preview(WakeWorker(hostname=quiet.hostname))
        assert preview.values() == {
            "queues": ["celery", "emails"],
            "waiting": 0,
            "staying": 3,
            "paused_queues": ["emails"],
        }
        woken = console.run(WakeWorker(hostname=quiet.hostname), actor="maria", confirm="YES")
        assert woken.details["queues"] == ["celery", "emails"]
        eventually(
            lambda: "emails" in deployment.health(quiet.hostname)["queues"], what="the worker reports its queues"
        )
        assert deployment.records.stay(1.5) == 0, "a queue that was paused meanwhile stays paused"
        deployment.resume("emails")
        deployment.records.wait_for(13)
        with pytest.raises(Refused, match="was not quieted by opsdash"):
            console.run(WakeWorker(hostname=quiet.hostname), actor="maria", confirm="YES")
    found = [entry.status for entry in console.get_recent_operations()]
    assert found == ["refused", "success", "refused", "success", "refused"]


@pytest.mark.slow
def test_a_worker_that_a_pause_can_not_hold_is_not_woken_during_one(deployment: Deployment, console_for):
    console: Console = console_for(queues=("celery",))
    with worker(concurrency=1, env={**deployment.env, "SAMPLE_PLUGIN": "no"}, queues=["celery"]) as bare:
        preview = console.preview(QuietWorker(hostname=bare.hostname))
        assert preview.figure("held").value is None, "it sends no report: unknown, and not 0"
        console.run(QuietWorker(hostname=bare.hostname), actor="maria", confirm="YES")
        deployment.pause()
        with pytest.raises(Refused, match="is not stopped by the current pause"):
            console.run(WakeWorker(hostname=bare.hostname), actor="maria", confirm="YES")
        deployment.resume()
        deployment.send(1)
        console.run(WakeWorker(hostname=bare.hostname), actor="maria", confirm="YES")
        deployment.records.wait_for(1)


@pytest.mark.slow
def test_a_task_that_is_revoked_does_not_run_and_one_that_runs_is_ended_when_asked(deployment: Deployment, console_for):
    console: Console = console_for()
    with worker(concurrency=1, env=deployment.env) as running:
        (long,) = deployment.send(1, kwargs={"seconds": 60})
        deployment.records.wait_for(1)
        fetched, last = deployment.send(2)
        (later,) = deployment.send(1, countdown=3600)
        eventually(lambda: deployment.unacked() == 3, what="the worker has fetched the others")
        eventually(lambda: running.hostname in console.get_active_workers(), what="the worker reports")
        host, name = running.hostname, "sample.short"

        preview = console.preview(RevokeTask(task_id=long))
        assert texts(preview)[:2] == (f"{host} is running it: {name}.", "A running task is not ended.")
        assert any(line.startswith("Not removed from Redis. The workers") for line in texts(preview))
        assert (
            texts(console.preview(RevokeTask(task_id=long, terminate=True)))[1]
            == "Its process is ended in the middle of its work."
        )
        preview = console.preview(RevokeTask(task_id=fetched))
        assert texts(preview)[0] == f"{host} has fetched it and not started it: {name}."
        preview = console.preview(RevokeTask(task_id=later))
        assert texts(preview)[0] == f"{host} has fetched it, with an ETA: {name}."

        done = console.run(RevokeTask(task_id=fetched), actor="maria", confirm="YES")
        assert done.message == f"Revoked {fetched}: 1 worker confirmed."
        done = console.run(RevokeTask(task_id=long, terminate=True), actor="maria", confirm="YES")
        assert done.message == f"Revoked {long}: 1 worker confirmed. Ended, or not started, on {host}."
        deployment.records.wait_for(2)
        eventually(lambda: deployment.health(host)["active"] == "0", what="nothing runs any more")
        assert deployment.records.times_run() == {long: 1, last: 1}
        with fails(Refused, field="task_id"):
            console.run(RevokeTask(task_id=long, terminate=True), actor="maria", confirm="YES")
    assert [entry.status for entry in console.get_recent_operations()] == ["refused", "success", "success"]


@pytest.mark.slow
def test_a_pool_that_can_not_end_a_task_is_a_failure_that_says_so(deployment: Deployment, console_for):
    console: Console = console_for()
    with worker(pool="threads", env=deployment.env) as running:
        (long,) = deployment.send(1, kwargs={"seconds": 4})
        deployment.records.wait_for(1)
        says = f"The pool threads of {running.hostname} can't terminate a task: it runs to its end there."
        eventually(lambda: running.hostname in console.get_active_workers(), what="the worker reports")
        lines = console.preview(RevokeTask(task_id=long, terminate=True)).lines
        assert [line.kind for line in lines if line.text == says] == ["will_not"]
        assert not [line for line in lines if "Its process is ended" in line.text]
        done = console.run(RevokeTask(task_id=long, terminate=True), actor="maria", confirm="YES")
        assert not done.ok
        assert done.message == f"Revoked {long}: 1 worker confirmed. {says}"
        assert (done.details["unable"], done.details["failed"]) == ((running.hostname,), {})
    assert console.get_recent_operations()[0].status == "failure"


@pytest.mark.long
def test_what_nobody_confirms_is_uncertain_and_what_is_no_target_is_refused(console_for):
    console: Console = console_for(separator=":")
    with pytest.raises(Refused, match="There is no task an-id: no worker has it"):
        console.preview(RevokeTask(task_id="an-id"))
    console.broker.client.lpush("celery", '{"headers": {"id": "an-id", "task": "shop.mail"}}')
    assert console.preview(RevokeTask(task_id="an-id")).figure("waits_in").value == "celery"
    with pytest.raises(Uncertain, match="No worker confirmed that an-id is revoked"):
        console.run(RevokeTask(task_id="an-id"), actor="maria", confirm="YES")
    for wrong in ("", "two ids", "an\x1bid", "*", "a" * 300, "<id>"):
        with fails(Invalid, field="task_id"):
            console.preview(RevokeTask(task_id=wrong))
    with pytest.raises(Refused, match=r"There is no worker 'w1@nowhere'"):
        console.run(QuietWorker(hostname="w1@nowhere"), actor="maria", confirm="YES")
    for operation in (QuietWorker(), WakeWorker()):
        with fails(Invalid, field="hostname"):
            console.preview(operation)
    assert [entry.status for entry in console.get_recent_operations()] == ["refused", "unknown"]


def test_a_task_is_not_revoked_where_the_separator_that_workers_use_is_not_known(console_for):
    console: Console = console_for()
    for attempt in (lambda: console.preview(RevokeTask(task_id="an-id")), lambda: revoke(console, "an-id")):
        with pytest.raises(Unavailable, match=r"^Workers can't be asked by remote control: "):
            attempt()
    assert [entry.status for entry in console.get_recent_operations()] == ["failure"]


@pytest.mark.long
def test_a_task_that_is_nowhere_is_not_revoked_and_one_that_waits_is_and_then_does_not_run(
    deployment: Deployment, console_for
):
    console: Console = console_for(queues=("celery",))
    with worker(pool="threads", env=deployment.env, queues=["emails"]) as running:
        eventually(lambda: running.hostname in console.get_active_workers(), what="the worker reports")
        with fails(Refused, field="task_id"):
            revoke(console, "0123")
        waiting, other = deployment.send(2, queue="celery")
        done = revoke(console, waiting)
        assert (done.ok, done.details["confirmed"]) == (True, (running.hostname,))
        deployment.celery.control.add_consumer("celery", destination=[running.hostname], reply=True)
        deployment.records.wait_for(1)
        assert deployment.records.stay(0.5) == 0
        assert deployment.records.times_run() == {other: 1}
        with fails(Refused, field="task_id"):
            revoke(console, other)  # it has run
    assert [entry.status for entry in console.get_recent_operations()] == ["refused", "success", "refused"]


def test_a_task_that_was_not_looked_for_everywhere_is_unknown_and_never_a_success(
    deployment: Deployment, console_for, monkeypatch: pytest.MonkeyPatch
):
    console: Console = console_for(queues=("celery",))
    monkeypatch.setattr(find_in_lists, "LOOK_S", 0)
    with worker(pool="threads", env=deployment.env, queues=["emails"]) as running:
        eventually(lambda: running.hostname in console.get_active_workers(), what="the worker reports")
        deployment.send(3, queue="celery")
        preview = console.preview(RevokeTask(task_id="0123"))
        assert not preview.figure("found").value
        assert preview.in_order[0].kind == "warning"
        with pytest.raises(Uncertain, match="the search ended after 0 s"):
            revoke(console, "0123")
    assert console.get_recent_operations()[0].status == "unknown"


@pytest.mark.long
def test_a_task_that_a_busy_solo_worker_runs_is_found_by_its_report(deployment: Deployment, console_for):
    console: Console = console_for(queues=("celery",))
    with worker(pool="solo", concurrency=1, env=deployment.env) as running:
        (long,) = deployment.send(1, kwargs={"seconds": 8})
        deployment.records.wait_for(1)
        eventually(lambda: long in deployment.health(running.hostname)["running"], what="it reports what it runs")
        assert console.preview(RevokeTask(task_id=long)).figure("active_on").value == (running.hostname,)
        warned = console.preview(RevokeTask(task_id="0123"))
        assert warned.in_order[0].kind == "warning", "what else it has is not known"


def test_a_large_message_is_the_task_if_it_has_its_id_and_only_then(console_for):
    console: Console = console_for(queues=("celery",), separator=":")
    console.broker.client.lpush("celery", "x" * 2_000_000)
    with pytest.raises(Refused, match="There is no task large-1"):
        console.preview(RevokeTask(task_id="large-1"))
    console.broker.client.lpush("celery", message("large-1", args=["x" * 2_000_000]))
    assert console.preview(RevokeTask(task_id="large-1")).figure("waits_in").value == "celery"
    console.broker.client.delete("celery")
    console.broker.client.hset(console.broker.unacked, "tag", fetched(message("large-1", args=["x" * 2_000_000])))
    assert console.preview(RevokeTask(task_id="large-1")).in_order[0].kind == "warning"


def revoke(console: Console, task_id: str):
    return console.run(RevokeTask(task_id=task_id), actor="maria", confirm="YES")


def test_nonsense_about_quieted_workers_names_none(console_for):
    console: Console = console_for()
    for nonsense in ("{", "7", "null"):
        console.broker.client.hset(console.broker.keys.quiet, "w1@host", nonsense)
        with fails(Refused, field="hostname"):
            console.preview(WakeWorker(hostname="w1@host"))


def test_a_worker_without_the_plug_in_is_not_dismissed_and_not_said_to_be_none(
    console_for, monkeypatch: pytest.MonkeyPatch
):
    console: Console = console_for(separator=":")
    monkeypatch.setattr(console.unmanaged, "known", lambda: (OtherWorker(hostname="free@x", queues=("celery",)),))
    with pytest.raises(Refused, match=r"free@x is not managed by opsdash and answers: "):
        console.preview(DismissWorker(hostname="free@x"))
    with fails(Refused, field="hostname"):
        console.preview(DismissWorker(hostname="w@x"))
