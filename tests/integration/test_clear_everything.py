"""Clearing all that does not run: what workers have prefetched, and what waits in them for its time, goes too."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import redis
from support import programs
from support.deployment import Deployment, each_exactly_once
from support.previews import texts
from support.workers import GREEN, Worker, eventually, worker

import opsdash
from opsdash.errors import Refused, Uncertain
from opsdash.model import Effect, Preview
from opsdash.services.console import Console
from opsdash.services.pause.flags import PauseFlags
from opsdash.services.queues import reclaim
from opsdash.services.workers.unmanaged import UnmanagedWorkers
from opsdash.views import form

BARE = {"SAMPLE_PLUGIN": "no"}
POOLS = ["prefork", "threads", "solo", *GREEN]


@pytest.fixture
def ops(console_for: Callable[..., Console]) -> Iterator[Console]:
    return console_for(queues=("celery", "emails"))


def clear(ops: Console, preview: Preview | None = None, **over: object) -> Effect:
    operation = opsdash.ClearQueue(queue="celery", everything=True)
    return ops.run(operation, actor="maria", confirm="YES", reviewed=preview, **over)


def look(ops: Console) -> Preview:
    return ops.preview(opsdash.ClearQueue(queue="celery", everything=True))


def reports(deployment: Deployment, running: Worker, **figures: int) -> None:
    """Waits until the worker's own report says so."""
    expected = {name: str(number) for name, number in figures.items()}
    eventually(lambda: expected.items() <= deployment.health(running.hostname).items(), what=f"it reports {figures}")


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
def test_everything_that_does_not_run_is_cleared_and_can_be_undone(
    deployment: Deployment, ops: Console, pool: str
) -> None:
    slots = 1 if pool == "solo" else 2
    with worker(pool=pool, concurrency=slots, env=deployment.env, queues=["celery"]) as running:
        scheduled = deployment.send(7, countdown=8)
        eventually(lambda: deployment.unacked() == 7, what="the worker holds them")
        long = deployment.send(slots, kwargs={"seconds": 4})
        deployment.records.wait_for(slots)
        waiting = deployment.send(20)
        if pool != "solo":
            reports(deployment, running, active=slots, scheduled=7)
        preview = look(ops)
        later = deployment.send(3)
        effect = clear(ops, preview)
        assert (effect.affected, effect.details["arrived_after_preview"]) == (27, 3)
        assert effect.message == (
            "Cleared 27 tasks from celery. 3 tasks arrived after the preview and stay."
            " The queue was paused for it, and works again."
        )
        assert ops.pause.read(["celery"]) == {}
        deployment.records.wait_for(slots + 3)
        assert deployment.records.stay(1.0) == 0
        assert deployment.records.times_run() == each_exactly_once(long + later), "what runs finishes, what is new runs"
        ops.run(opsdash.RestoreQueue(trash_id=effect.details["trash_id"]), actor="maria", confirm="YES")
        deployment.records.wait_for(slots + 30, timeout_s=20)
    assert deployment.records.times_run() == each_exactly_once(long + later + waiting + scheduled)


@pytest.mark.long
def test_scheduled_tasks_of_an_empty_queue_are_cleared_and_later_ones_stay(
    deployment: Deployment, ops: Console
) -> None:
    with worker(env=deployment.env, queues=["celery", "emails"]) as running:
        due = datetime.now(UTC) + timedelta(seconds=60)
        deployment.send(5, eta=due)
        others = deployment.send(2, eta=due, queue="emails")
        reports(deployment, running, scheduled=7)
        plain = ops.preview(opsdash.ClearQueue(queue="celery"))
        assert plain.choices == ("everything",)
        with pytest.raises(Refused, match=r"did not include the tasks in workers"):
            clear(ops, plain)
        preview = look(ops)
        assert "5" not in texts(preview)[0]
        assert any("in 1 worker, of 5 in all its workers" in line for line in texts(preview))
        later = deployment.send(4, eta=due)
        eventually(lambda: deployment.unacked() == 11, what="the worker holds the later ones too")
        effect = clear(ops, preview)
        assert (effect.affected, effect.details["arrived_after_preview"]) == (5, 4)
        eventually(lambda: deployment.unacked() == 6, what="the worker has them again")
        reports(deployment, running, scheduled=6)
        deployment.pause()
        deployment.wait_until_confirmed(running.hostname)
        ops.unmanaged.recall([running.hostname], "celery")
        eventually(lambda: deployment.unacked() == 0, what="all are in their lists")
        assert (deployment.task_ids(), deployment.task_ids("emails")) == (later, others)


@pytest.mark.slow
def test_a_queue_that_was_paused_before_stays_paused(deployment: Deployment, ops: Console) -> None:
    with worker(env=deployment.env, queues=["celery"]):
        deployment.send(5, countdown=60)
        eventually(lambda: deployment.unacked() == 5, what="the worker holds them")
        ops.run(opsdash.PauseProcessing(queue="celery"), actor="otto", confirm="YES")
        assert any("The queue is paused already; that pause stays" in line for line in texts(look(ops)))
        effect = clear(ops)
        assert effect.affected == 5
        assert effect.message.endswith("The queue was paused before and stays so.")
        assert ops.pause.read(["celery"])["celery"].by == "otto"


@pytest.mark.slow
def test_workers_it_can_not_hold_are_named(deployment: Deployment, ops: Console) -> None:
    with worker(pool="threads", env={**deployment.env, **BARE}, queues=["celery"]) as free:
        deployment.send(5, countdown=60)
        eventually(lambda: deployment.unacked() == 5, what="the worker holds them")
        assert f"Not reached, so their tasks stay: {free.hostname}." in texts(look(ops))
        effect = clear(ops)
        assert effect.affected == 0
        assert f"Not reached, so their tasks stay: {free.hostname}." in effect.message
        assert effect.details["everything"]["not_reached"] == [free.hostname]
        assert deployment.unacked() == 5


@pytest.mark.slow
def test_a_worker_that_gives_nothing_back_in_time_ends_it_and_the_pause_is_lifted(
    deployment: Deployment, ops: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reclaim, "WAIT_S", 1.0)
    with worker(pool="solo", env=deployment.env, queues=["celery"]) as busy:
        deployment.send(1, kwargs={"seconds": 30})
        deployment.records.wait_for(1)
        waiting = deployment.send(3)
        messages: list[str] = []
        with pytest.raises(Uncertain, match=rf"within 1 s: an answer of {busy.hostname}. Nothing was cleared"):
            clear(ops, on_progress=lambda progress: messages.append(progress.message))
        assert messages[-1] == f"Waiting for an answer of {busy.hostname}"
    assert ops.pause.read(["celery"]) == {}
    assert deployment.task_ids() == waiting[-deployment.waiting() :]
    assert ops.get_recent_operations()[0].status == "unknown"


def test_cancelled_it_clears_nothing_and_lifts_the_pause(deployment: Deployment, ops: Console) -> None:
    waiting = deployment.send(3)
    effect = clear(ops, cancelled=lambda: True)
    assert (effect.ok, effect.affected) == (False, 0)
    assert effect.message == "Cancelled. Nothing was cleared from celery. The queue was paused for it, and works again."
    assert (deployment.task_ids(), ops.pause.read(["celery"])) == (waiting, {})


def test_whatever_goes_wrong_the_pause_is_lifted_or_is_said_to_stand(
    deployment: Deployment, ops: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise redis.ConnectionError("gone on purpose")

    with monkeypatch.context() as patch:
        patch.setattr(UnmanagedWorkers, "known", breaks)
        with pytest.raises(Uncertain, match="gone on purpose"):
            clear(ops)
        assert ops.pause.read(["celery"]) == {}
        patch.setattr(PauseFlags, "resume", breaks)
        with pytest.raises(Uncertain, match=r"Its pause of celery could not be ended .* expires at"):
            clear(ops)
    stands = ops.pause.read(["celery"])["celery"]
    assert (stands.expires_at - datetime.now(UTC)).total_seconds() <= reclaim.PAUSE_S
    entry = ops.get_recent_operations()[0]
    assert entry.status == "unknown"
    assert "could not be ended" in entry.details["message"]
    assert "Its pause of celery ends within" in ops._evidence(entry)["message"]


def test_a_pause_that_somebody_sets_meanwhile_is_theirs(deployment: Deployment, ops: Console) -> None:
    def meanwhile() -> bool:
        deployment.flags.pause("celery", by="otto", reason="mine", ttl_s=600)
        return True

    effect = clear(ops, cancelled=meanwhile)
    assert effect.message.endswith("The pause that was set for it had ended already.")
    assert ops.pause.read(["celery"])["celery"].by == "otto"


def test_the_command_and_the_dialog_offer_it(deployment: Deployment, ops: Console) -> None:
    deployment.send(3)
    environment = {
        **os.environ,
        "OPSDASH_REDIS_URL": ops.settings.redis_url,
        "OPSDASH_DATABASE_URL": ops.settings.database_url,
    }
    command = [sys.executable, "-m", "opsdash", "clear-queue", "celery", "--everything", "--confirm", "YES", "--json"]
    done = programs.run(command, env=environment, capture_output=True, text=True, check=True)
    answer = json.loads(done.stdout)
    assert (answer["status"], answer["affected"]) == ("success", 3)
    assert answer["details"]["everything"] == {"paused_by_this": True, "scheduled_put_back": 0, "not_reached": []}
    box, reason = form.fields(opsdash.ClearQueue(queue="celery"), look(ops))
    assert (box["name"], box["kind"]) == ("everything", "flag")
    assert form.fields(opsdash.ClearQueue(queue="celery"), ops.preview(opsdash.ClearQueue(queue="celery"))) == [reason]
