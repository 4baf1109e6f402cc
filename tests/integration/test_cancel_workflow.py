"""A workflow with real workers: seen as a tree while it runs, cancelled, and brought back."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from celery import Signature, chain, group
from support import programs
from support.cli import Result
from support.deployment import Deployment
from support.errors import fails
from support.messages import message
from support.previews import texts
from support.workers import GREEN, PATH, PYTHON, eventually, worker

from opsdash.errors import Refused
from opsdash.model import Workflow
from opsdash.operations import CancelWorkflow, RestoreQueue
from opsdash.services.console import Console
from opsdash.services.queues.remove_tasks import MOST_QUEUES
from opsdash.services.workflows import look

POOLS = ["prefork", *(pytest.param(pool, marks=pytest.mark.slow) for pool in ("threads", *GREEN))]


SEND_CHORD = """
from celery import chord
from support.sample_app import app
step = app.signature
chord([step("sample.step", (n,)) for n in range(3)])(step("sample.gather"))
"""


def in_a_process_of_its_own(script: str, env: Mapping[str, str]) -> None:
    """Runs Python code. Results hold connections that only their process's end closes."""
    path = os.pathsep.join(PATH)
    programs.run([PYTHON, "-c", script], env={**os.environ, "PYTHONPATH": path, **env}, check=True)


def tree(found: Workflow) -> list[str]:
    """Each row: how deep, its name's end and its state."""
    return ["." * row.depth + f"{row.name.removeprefix('sample.') or '-'} {row.state}" for row in found.tasks]


@pytest.fixture
def task(deployment: Deployment) -> Callable[..., Signature]:
    def signature(name: str = "short", *args: Any, **kwargs: Any) -> Signature:
        return Signature(f"sample.{name}", args, kwargs, immutable=True, app=deployment.celery)

    return signature


def send(canvas: Any, deployment: Deployment) -> Any:
    with deployment.celery.connection_for_write() as connection:
        return canvas.apply_async(connection=connection)


def cancel(console: Console, root: str, **more: Any) -> Any:
    operation = CancelWorkflow(root=root, **more)
    return console.run(operation, actor="maria", confirm="YES", reviewed=console.preview(operation))


@pytest.fixture
def console(console_for: Callable[..., Console]) -> Console:
    return console_for(queues=("celery", "emails"))


@pytest.mark.long
@pytest.mark.parametrize("pool", POOLS)
def test_a_chain_is_seen_while_its_first_task_runs_and_what_follows_never_runs(
    deployment: Deployment, console: Console, task: Callable[..., Signature], pool: str
) -> None:
    with worker(pool=pool, concurrency=1, env=deployment.env) as running:
        last = send(chain(task(seconds=10), task("late"), task("step", 1)), deployment)
        root = last.parent.parent.id
        eventually(lambda: root in deployment.health(running.hostname).get("running", ""), what="it reports the task")
        for asked in (root, last.id):
            found = console.workflow(asked)
            assert (found.root, tree(found)) == (root, ["short active", ".late not_sent", "..step not_sent"])
        assert found.tasks[0].worker == running.hostname
        preview = texts(console.preview(CancelWorkflow(root=root)))
        assert any("1 running task not ended" in text for text in preview)
        assert any("2 tasks not sent yet: workers discard them" in text for text in preview)
        effect = cancel(console, root)
        assert "3 revoked (1 worker confirmed). 1 task still running." in effect.message
        running.wait_for_log("Discarding revoked task", timeout_s=30)
        assert deployment.records.stay(1.0) == 0
        assert len(deployment.records) == 1, "only the first one ran"
        with pytest.raises(Refused, match="Nothing is left of workflow"):
            console.preview(CancelWorkflow(root=root))


def test_a_group_is_cancelled_wherever_its_tasks_are_and_those_that_waited_come_back(
    deployment: Deployment, console: Console, task: Callable[..., Signature]
) -> None:
    with worker(concurrency=1, env=deployment.env) as running:
        sent = send(group(task("bounded", n, seconds=20) for n in range(12)), deployment)
        ids = [one.id for one in sent.results]
        deployment.records.wait_for(1)
        eventually(lambda: ids[0] in deployment.health(running.hostname).get("running", ""), what="the report")
        eventually(lambda: deployment.waiting() == 7, what="it has fetched its share")
        found = console.workflow(ids[5])
        assert (found.root, found.group, found.total) == (sent.id, sent.id, 12)
        assert found.counts == {"active": 1, "reserved": 4, "waiting": 7}
        waiting = deployment.task_ids()
        effect = cancel(console, sent.id, terminate=True)
        assert effect.details["removed"] == {"celery": 7}
        assert (effect.details["revoked"], effect.details["ended"], effect.ok) == (5, [ids[0]], True)
        assert "7 tasks taken out (7 from celery), 5 revoked (1 worker confirmed), 1 ended" in effect.message
        eventually(lambda: deployment.unacked() == 0, what="the worker has thrown away what it had fetched")
        assert len(deployment.records) == 1
        assert console.workflow(sent.id).counts == {"cleared": 7}
        found_one = console.find_task(waiting[3])
        assert (found_one.state, found_one.places[0].trash_id) == ("cleared", effect.details["trash_id"])
    preview = console.preview(effect.undo)
    assert preview.title == f"Restore workflow {sent.id}"
    done = console.run(effect.undo, actor="otto", confirm="YES", reviewed=preview)
    assert done.message == f"Restored 7 tasks of workflow {sent.id}."
    assert deployment.task_ids() == waiting
    assert isinstance(effect.undo, RestoreQueue)


@pytest.mark.long
def test_a_chord_and_a_task_that_failed_in_the_middle_of_a_chain(
    deployment: Deployment, console: Console, task: Callable[..., Signature]
) -> None:
    env = {**deployment.env, "SAMPLE_RESULTS": "yes"}
    with worker(concurrency=1, env=env):
        broken = send(chain(task("step", 1), task("ends", 1, how="error"), task("step", 2)), deployment)
        middle, first = broken.parent.id, broken.parent.parent.id
        eventually(lambda: console.find_task(middle).state == "failed", what="the failure is kept")
        found = console.workflow(broken.id)
        assert (found.root, found.gaps) == (first, (first,)), "the first one has ended"
        assert tree(found) == ["- unknown", ".ends failed", "..step not_sent"]
        with pytest.raises(Refused, match="Nothing is left of workflow"):
            console.preview(CancelWorkflow(root=first))
        effect = cancel(console, first, discard_failed=True)
        assert effect.details["discarded"] == 1
        thrown = console.find_task(middle)
        assert (thrown.state, thrown.places[0].trash_id) == ("cleared", effect.details["failed_trash_id"])
        assert tree(console.workflow(broken.id))[1] == ".ends cleared"
        again = RestoreQueue(trash_id=effect.details["failed_trash_id"])
        console.run(again, actor="maria", confirm="YES", reviewed=console.preview(again))
        assert console.find_task(middle).state == "failed"

    in_a_process_of_its_own(SEND_CHORD, env)
    members = deployment.task_ids()
    found = console.workflow(members[0])
    assert found.root == found.group == deployment.messages()[0]["headers"]["group"]
    assert tree(found) == ["- unknown", ".step waiting", ".step waiting", ".step waiting", ".gather not_sent"]
    effect = cancel(console, found.root)
    assert effect.details["removed"] == {"celery": 3}
    assert effect.details["revoked"] == 0
    console.run(effect.undo, actor="maria", confirm="YES")
    with worker(concurrency=1, env=env):
        deployment.records.wait_for(6)
        assert deployment.records.starts()[-1].name == "sample.gather", "the whole chord ran after the undo"


@pytest.mark.long
def test_an_unmanaged_worker_does_not_say_what_its_running_task_sends_and_the_preview_says_so(
    deployment: Deployment, console: Console, task: Callable[..., Signature]
) -> None:
    with worker(pool="threads", concurrency=1, env={**deployment.env, "SAMPLE_PLUGIN": "no"}) as running:
        last = send(chain(task(seconds=10), task("late")), deployment)
        root = last.parent.id
        deployment.records.wait_for(1)
        found = console.workflow(root)
        assert tree(found) == ["short active"]
        said = "of a running task it is not known what it belongs to: its worker has not reported it"
        assert said in found.problems
        preview = texts(console.preview(CancelWorkflow(root=root, terminate=True)))
        assert said in preview
        effect = cancel(console, root, terminate=True)
        assert effect.details["unable"] == [running.hostname]
        assert not effect.ok
        assert "can't terminate a task: it runs to its end there" in effect.message


def test_what_a_workflow_is_part_of_is_said_and_only_its_root_is_cancelled(
    deployment: Deployment, console: Console, cli: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSDASH_QUEUES", "celery,emails")
    deployment.redis.lpush("celery", message("kid-1", parent_id="root-1", root_id="root-1"))
    deployment.redis.lpush("emails", message("kid-2", parent_id="kid-1", root_id="root-1"))
    whole = "For the whole: opsdash cancel-workflow root-1"
    with fails(Refused, message="Task kid-1 is part of workflow root-1.", hint=whole, field="root"):
        console.preview(CancelWorkflow(root="kid-1"))
    shown = cli("workflow", "kid-2")
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert lines[0] == "Workflow of task root-1: 3 tasks, 2 waiting, 1 finished or never seen."
    assert lines[1:4] == [
        "  ? root-1: finished or never seen (1 child)",
        "    shop.charge kid-1: waiting in celery (1 child)",
        "      shop.charge kid-2: waiting in emails",
    ]
    assert lines[-1] == "Cancel Workflow: opsdash cancel-workflow root-1"
    data = json.loads(cli("workflow", "kid-1", "--json").out)
    assert (data["root"], data["total"], data["gaps"]) == ("root-1", 3, ["root-1"])
    assert data["act"] == {
        "operation": "cancel_workflow",
        "params": {"root": "root-1", "terminate": False, "discard_failed": False, "reason": ""},
    }
    assert cli("cancel-workflow", "kid-1", "--confirm", "YES").code == 3
    assert "Undo for 1d 0h: each goes back" in cli("cancel-workflow", "root-1", "--dry-run").out
    done = cli("cancel-workflow", "root-1", "--confirm", "YES", "--json")
    assert (done.code, json.loads(done.out)["details"]["removed"]) == (0, {"celery": 1, "emails": 1})
    trash_id = json.loads(done.out)["details"]["trash_id"]
    assert "(workflow) root-1" in cli("trash").out
    undo = cli("restore-queue", trash_id, "--dry-run").out
    assert "2 tasks go back to their places: 1 to celery, 1 to emails" in undo
    preview = json.loads(cli("restore-queue", trash_id, "--dry-run", "--json").out)
    assert preview["button"] == "Restore 2 tasks", "the page cuts a button with an id in it off"
    gone = cli("delete-trash", trash_id, "--confirm", "YES")
    assert (gone.code, "Deleted 2 cancelled tasks of workflow root-1 for good." in gone.out) == (0, True)
    assert cli("restore-queue", trash_id, "--confirm", "YES").code == 3
    assert cli("workflow", "nowhere-1").out.startswith(
        "Nothing of a task or group with the whole id nowhere-1 was found"
    )


@pytest.mark.long
def test_of_more_queues_than_one_trash_has_room_for_the_rest_is_said_left_and_can_be_cancelled_too(
    deployment: Deployment, console_for: Callable[..., Console]
) -> None:
    names = tuple(f"queue-{n:02}" for n in range(MOST_QUEUES + 3))
    console = console_for(queues=names)
    for name in names:
        deployment.redis.lpush(name, message(parent_id="root-1", root_id="root-1"))
    before = {name: deployment.redis.lrange(name, 0, -1) for name in names}
    preview = texts(console.preview(CancelWorkflow(root="root-1")))
    assert f"From {MOST_QUEUES} queues at once, those with the most of them: run it again for the other 3." in preview
    first = cancel(console, "root-1")
    assert (first.affected, first.ok, first.details["queues_left"]) == (MOST_QUEUES, False, 3)
    assert first.message.endswith("3 more queues have tasks of it: run it again.")
    second = cancel(console, "root-1")
    assert (second.affected, second.ok, second.details["queues_left"]) == (3, True, 0)
    for effect in (second, first):
        console.run(effect.undo, actor="maria", confirm="YES")
    assert {name: deployment.redis.lrange(name, 0, -1) for name in names} == before


def test_of_more_tasks_than_are_counted_the_preview_says_so_and_all_are_taken_out(
    deployment: Deployment, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(look, "MOST_SIGHTINGS", 3)
    for name in ("celery", "celery", "celery", "celery", "emails"):
        deployment.redis.lpush(name, message(root_id="root-1"))
    preview = console.preview(CancelWorkflow(root="root-1"))
    assert "3 waiting tasks taken out: 3 from celery." in texts(preview)
    assert "it has more than 3 tasks: the others are not counted here" in texts(preview)
    done = cancel(console, "root-1")
    assert (done.affected, done.details["removed"]) == (5, {"celery": 4, "emails": 1})
