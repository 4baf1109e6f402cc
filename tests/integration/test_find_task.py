"""A task by its id, with real workers of each pool, a real result backend, and on each surface."""

from __future__ import annotations

import json
import pickle
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.cli import Result
from support.deployment import Deployment
from support.errors import fails
from support.messages import message
from support.previews import texts
from support.workers import CELERY, GREEN, eventually, worker

from opsdash.errors import Refused
from opsdash.model import FoundTask
from opsdash.operations import RemoveTask, RestoreQueue, RevokeTask
from opsdash.operations.remove_task import act_on
from opsdash.services.console import Console
from opsdash.services.queues.search_tasks import TaskQuery

POOLS = ["prefork", *(pytest.param(pool, marks=pytest.mark.slow) for pool in ("threads", *GREEN))]


@pytest.mark.long
@pytest.mark.parametrize("pool", POOLS)
def test_a_task_is_found_wherever_a_worker_has_it(deployment: Deployment, console_for, pool: str):
    console: Console = console_for(queues=("celery",))
    with worker(pool=pool, concurrency=1, env=deployment.env) as running:
        (later,) = deployment.send(1, countdown=3600)  # first: a green pool that is full fetches one task more
        (long,) = deployment.send(1, kwargs={"seconds": 30})
        deployment.records.wait_for(1)
        (fetched,) = deployment.send(1)
        eventually(lambda: console.find_task(fetched).state == "reserved", what="the worker has fetched it")
        eventually(lambda: running.hostname in console.get_active_workers(), what="the worker reports")
        deployment.send(3)

        found = console.find_task(long)
        assert (found.state, found.worker, found.complete) == ("active", running.hostname, True)
        (place,) = found.places
        assert place.since is not None
        assert abs((datetime.now(UTC) - place.since).total_seconds()) < 30
        assert (place.name, place.queue, place.arguments) == ("sample.short", "celery", "0, seconds=30")
        assert act_on(place) == RevokeTask(task_id=long, terminate=True)

        found = console.find_task(fetched)
        assert (found.state, found.worker, len(found.places)) == ("reserved", running.hostname, 1)
        assert act_on(found.places[0]) == RevokeTask(task_id=fetched)

        found = console.find_task(later)
        teller = running.hostname if CELERY >= (5, 7) else ""  # older workers don't tell of tasks with an ETA
        assert (found.state, found.worker, len(found.places)) == ("scheduled", teller, 1)
        eta = found.places[0].eta
        assert eta is not None
        assert 3_500 < (eta - datetime.now(UTC)).total_seconds() < 3_600

        for task_id in (long, fetched, later):
            assert console.find_task(task_id[:13]).ids == (task_id,), "its beginning finds it"
        eventually(lambda: long in deployment.health(running.hostname)["running"], what="it reports what it runs")
        states = {one.id: one.state for one in console.tasks.page(TaskQuery()).tasks}
        assert [states[long], states[fetched], states[later]] == ["active", "reserved", "scheduled"]
        assert console.find_task("0123-nowhere").state == "not_found"


@pytest.mark.long
def test_a_busy_solo_worker_answers_nobody_and_is_said_to_be_silent(deployment: Deployment, console_for):
    console: Console = console_for(queues=("celery",))
    with worker(pool="solo", concurrency=1, env=deployment.env) as running:
        (long,) = deployment.send(1, kwargs={"seconds": 8})
        deployment.records.wait_for(1)
        eventually(lambda: long in deployment.health(running.hostname)["running"], what="it reports what it runs")
        found = console.find_task(long)
        assert (found.state, found.worker, found.complete) == ("active", running.hostname, False)
        found = console.find_task("0123-nowhere")
        assert (found.state, found.complete) == ("not_found", False)
        look = found.look("workers")
        assert look is not None
        assert (look.number, look.of, look.problem) == (0, 1, f"no answer from {running.hostname}")


def test_a_worker_without_the_plug_in_is_asked_as_well(deployment: Deployment, console_for):
    console: Console = console_for(queues=("celery",))
    with worker(concurrency=1, env={**deployment.env, "SAMPLE_PLUGIN": "no"}) as bare:
        with deployment.celery.connection_for_write() as connection:
            args = [{"password": "hunter2-planted"}, 20]
            long = deployment.celery.send_task("sample.short", args, connection=connection).id
        deployment.records.wait_for(1)
        assert (console.find_task(long).state, console.find_task(long[:8]).worker) == ("active", bare.hostname)
        (found,) = console.tasks.page(TaskQuery(states=("active",))).tasks
        assert (found.id, found.worker) == (long, bare.hostname)
        assert "hunter2" not in repr(found)


@pytest.fixture
def stored(
    deployment: Deployment, console_for, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[Console, Any]]]:
    """Makes consoles whose app has a result backend; the app stores results as a worker would."""

    def make(backend: str = "", **conf: Any) -> tuple[Console, Any]:
        url = deployment.server.url
        (tmp_path / "resultful.py").write_text(
            "from celery import Celery\n"
            f"app = Celery('resultful', broker={url!r}, backend={backend or url!r}, set_as_current=False)\n"
            f"app.conf.update({conf!r})\n"
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        sys.modules.pop("resultful", None)
        console = console_for(celery_app="resultful:app", queues=("celery",))
        return console, sys.modules["resultful"].app

    yield make
    sys.modules.pop("resultful", None)


@pytest.mark.filterwarnings("ignore:Call to deprecated setex")  # by Celery's backend
def test_a_finished_task_is_found_by_its_result_and_nothing_is_guessed(stored):
    console, app = stored()
    for task_id, status in (("done-1", "SUCCESS"), ("bad-1", "FAILURE"), ("gone-1", "REVOKED")):
        app.backend.store_result(task_id, ValueError("x") if status == "FAILURE" else 4, status)
        found: FoundTask = console.find_task(task_id)
        assert (found.state, found.places[0].result) == ("finished", status)
        assert found.places[0].ended_at is not None
        assert act_on(found.places[0]) is None
    app.backend.store_result("begun-1", None, "STARTED")
    found = console.find_task("begun-1")
    assert (found.state, found.result, found.complete) == ("not_found", "STARTED", True)
    assert console.find_task("never-1").state == "not_found"
    large = {"status": "SUCCESS", "result": "x" * 3_000_000, "date_done": "2026-11-28T00:00:00+00:00"}
    console.broker.client.set("celery-task-meta-large-1", json.dumps(large))
    assert console.find_task("large-1").state == "finished"
    for nonsense in ("{", "[]", "7", '{"status": 7}', b"\xff", '{"result": {"status": "SUCCESS"}}'):
        console.broker.client.set("celery-task-meta-odd-1", nonsense)
        found = console.find_task("odd-1")
        assert (found.state, found.result) == ("not_found", "unreadable")


class Bomb:
    """Says so when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("it was unpickled",))


def test_a_pickled_result_is_never_opened(stored):
    console, _ = stored(result_serializer="pickle", accept_content=["json", "pickle"])
    console.broker.client.set("celery-task-meta-pickled-1", pickle.dumps({"status": "SUCCESS", "result": Bomb()}))
    found = console.find_task("pickled-1")
    assert (found.state, found.result) == ("not_found", "unreadable")


def test_a_result_backend_that_is_no_store_by_key_or_does_not_answer_is_no_error(stored, tmp_path: Path):
    console, _ = stored(f"db+sqlite:///{tmp_path}/results.sqlite3")
    look = console.find_task("any-1").look("results")
    assert (look.complete, look.problem) == (True, "results in DatabaseBackend are not looked into")
    console, _ = stored("redis://127.0.0.1:1/0", redis_socket_connect_timeout=0.2)
    found = console.find_task("any-1")
    assert (found.state, found.complete) == ("not_found", False)
    assert "result backend" in found.look("results").problem


def test_a_console_without_an_app_says_that_it_knows_no_result_backend(console_for):
    console: Console = console_for(separator=":")
    look = console.find_task("any-1").look("results")
    assert look is not None
    assert look.problem == "no app is set (OPSDASH_CELERY_APP), so the result backend is not known"


def test_a_task_is_removed_audited_and_put_back_from_its_result(console_for):
    console: Console = console_for(queues=("celery",), separator=":")
    key = console.broker.lists("celery")[0]
    embed = {"chord": {"task": "x"}, "chain": [{"task": "y"}]}
    wanted = message("wanted-1", "shop.mail", ["to whom", {"password": "hunter2-planted"}], embed=embed)
    console.broker.client.lpush(key, message("first-1"), wanted, message("last-1"))
    before = console.broker.client.lrange(key, 0, -1)
    preview = console.preview(RemoveTask(task_id="wanted-1"))
    assert texts(preview)[0] == "shop.mail is taken out: it is waiting in queue celery, place 2 of 3."
    said = " ".join(texts(preview))
    assert "It is part of a chord: the chord's body will not run." in said
    assert "It is part of a chain: the tasks behind it will not run." in said
    assert "A task's place is next to the nearest of 5 tasks on either side that still waits" in said
    assert "hunter2" not in said
    done = console.run(RemoveTask(task_id="wanted-1"), actor="maria", confirm="YES", reviewed=preview)
    assert done.message == "Removed wanted-1 from celery, place 2 of 3."
    assert done.affected == 1
    assert isinstance(done.undo, RestoreQueue)
    assert console.get_queue_length("celery") == 2
    found = console.find_task("wanted-1")
    assert (found.state, act_on(found.places[0])) == ("cleared", done.undo)
    with fails(Refused, field="task_id", hint=f"Instead: opsdash restore-queue {done.undo.trash_id}"):
        console.run(RemoveTask(task_id="wanted-1"), actor="maria", confirm="YES")
    undo = console.preview(done.undo)
    assert undo.title == "Put back task wanted-1"
    back = console.run(done.undo, actor="otto", confirm="YES", reviewed=undo)
    assert back.message == (
        "Put wanted-1 back into celery: it runs right before the newer task that waited next to it."
    )
    assert console.broker.client.lrange(key, 0, -1) == before
    again = console.run(done.undo, actor="otto", confirm="YES")
    assert again.message == "The 1 task had already been restored to celery; nothing changed."
    assert [entry.status for entry in console.get_recent_operations()] == ["success", "success", "refused", "success"]
    assert "hunter2" not in repr(console.get_recent_operations())


def test_what_can_not_be_removed_is_refused_with_what_can_be_done_instead(deployment: Deployment, console_for):
    console: Console = console_for(queues=("celery",))
    with worker(concurrency=1, env=deployment.env) as running:
        (long,) = deployment.send(1, kwargs={"seconds": 30})
        deployment.records.wait_for(1)
        (fetched,) = deployment.send(1)
        eventually(lambda: deployment.unacked() == 1, what="the worker has fetched it")
        eventually(lambda: running.hostname in console.get_active_workers(), what="the worker reports")
        with fails(Refused, field="task_id", hint=f"Instead: opsdash revoke-task --terminate {long}"):
            console.preview(RemoveTask(task_id=long))
        with fails(Refused, field="task_id", hint=f"Instead: opsdash revoke-task {fetched}"):
            console.run(RemoveTask(task_id=fetched), actor="maria", confirm="YES")
        with pytest.raises(Refused, match=r"There is no task 0123 in any known queue\.") as refused:
            console.preview(RemoveTask(task_id="0123"))
        assert "could be looked at" not in refused.value.message
        with pytest.raises(Refused):
            console.preview(RemoveTask(task_id=fetched[:13]))  # the beginning is not enough to destroy by


def test_the_command_line_finds_searches_and_removes(cli: Callable[..., Result], deployment: Deployment):
    key = deployment.lists()[0]
    texts_ = [message("cmd-1", "shop.mail", ["Order 4711", {"token": "hunter2-planted"}]), message("cmd-2")]
    deployment.redis.lpush(key, *texts_)
    shown = cli("find-task", "cmd-1")
    assert shown.code == 0
    assert shown.out.splitlines()[0] == "Task cmd-1 is waiting in queue celery, place 1 of 2."
    assert "Remove Task: opsdash remove-task cmd-1" in shown.out
    assert "hunter2" not in shown.out
    found = json.loads(cli("find-task", "cmd-1", "--json").out)
    assert {"id", "state", "queue", "worker", "position", "looked_at"} <= found.keys()
    assert (found["state"], found["position"], found["act"]["operation"]) == ("waiting", 1, "remove_task")
    assert all("age_s" in one for one in found["looked_at"])
    nowhere = cli("find-task", "nowhere-1", "--json")
    assert (nowhere.code, json.loads(nowhere.out)["state"], json.loads(nowhere.out)["act"]) == (5, "not_found", None)
    assert cli("find-task", "two ids").code == 2
    short = cli("find-task", "cmd").out.splitlines()[0]
    assert short.endswith(". To find one by the beginning of its id, give 8 characters or more.")
    listed = cli("tasks", "--name", "shop.*", "--text", "order 4711")
    assert "cmd-1" in listed.out
    assert "cmd-2" not in listed.out
    assert "No task of 2 tasks matches." in cli("tasks", "--text", "hunter2").out
    assert [one["id"] for one in json.loads(cli("tasks", "--json").out)["tasks"]] == ["cmd-2", "cmd-1"]
    page = json.loads(cli("tasks", "--limit", "1", "--json").out)
    following = json.loads(cli("tasks", "--limit", "1", "--json", "--after", page["after"]).out)
    assert [one["id"] for one in (*page["tasks"], *following["tasks"])] == ["cmd-2", "cmd-1"]
    assert cli("tasks", "--after", "x").code == 2
    assert cli("tasks", "--queue", "nosuch").code == 3
    removed = json.loads(cli("remove-task", "cmd-1", "--confirm", "YES", "--json").out)
    assert removed["status"] == "success"
    assert deployment.redis.lrange(key, 0, -1) == [texts_[1]]
    assert json.loads(cli("trash", "--json").out)[0]["task_id"] == "cmd-1"
    undo = removed["undo"]["params"]["trash_id"]
    assert cli("restore-queue", undo, "--confirm", "YES").code == 0
    assert deployment.redis.lrange(key, 0, -1) == texts_[::-1]
