"""Whatever dies between two steps of ``Console.run``: no act without an entry, no entry without a true outcome.

Each operation, each step, each of: ``kill -9``, Redis stopped, the database stopped, both. Afterwards everything is
started again and a console that had no part in it looks, as the next poll would.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from support import programs, steps
from support.failed_tasks import failed, keep
from support.held import put_aside
from support.messages import message
from support.services import Postgres, Valkey, until
from support.steps import BOB, STEPS
from support.workers import eventually, worker

import opsdash
from opsdash.errors import NeedsApproval, OpsdashError, Unavailable
from opsdash.model import Actor, AuditEntry, Role, Status
from opsdash.operation import Operation, registry
from opsdash.operations import DrainBuild, QuietWorker, RevokeTask, WakeBuild, WakeWorker
from opsdash.services.audit import reaper
from opsdash.services.audit.approvals import Approvals
from opsdash.services.audit.chain import BEFORE
from opsdash.services.console import Console
from opsdash.services.database.tables import audit_log, tenant_config
from opsdash.services.failures.store import FailureStore
from opsdash.services.workers import time_limits
from opsdash.services.workers.unmanaged import ANSWER_S

QUEUES = ("celery", "emails", "reports")
"""The last one is known, and no worker takes from it."""
MARIA = Actor(name="maria", role=Role.ADMIN, surface="page")
TASK = json.dumps({"headers": {"task": "shop.order", "id": "1"}})
QUICK = {
    ("clear_queue", "after the intent", "kill"),
    ("clear_queue", "after the act", "kill"),
    ("clear_queue", "before the intent", "both"),
    ("clear_queue", "after the act", "redis"),
    ("clear_queue", "after the act", "database"),
    ("clear_queue", "after the act", "both"),
}
"""Tested at each run of the fast suite; all others by ``pytest -m slow``."""


@dataclass
class Scene:
    """An operation that has something to do, and how to see whether it was done."""

    operation: Operation
    done: Callable[[Console], bool]


def fill(console: Console) -> None:
    console.broker.client.rpush("emails", *(TASK.replace('"1"', f'"{number}"') for number in range(3)))


def cleared(console: Console) -> bool:
    return console.get_queue_length("emails") == 0


def trash_of(console: Console) -> str:
    fill(console)
    console.run(opsdash.ClearQueue(queue="emails"), actor=MARIA, confirm="YES")
    return console.trash.list()[0].id


def clear_scene(console: Console) -> Scene:
    fill(console)
    return Scene(opsdash.ClearQueue(queue="emails"), cleared)


def clear_tasks_scene(console: Console) -> Scene:
    fill(console)
    return Scene(opsdash.ClearTasks(queue="emails", task="shop.*"), cleared)


def clear_tenant_scene(console: Console) -> Scene:
    console.broker.client.lpush("emails", *(message(f"t{n}", tenant_id="acme") for n in range(3)))
    return Scene(opsdash.ClearTenant(tenant="acme"), cleared)


def restore_scene(console: Console) -> Scene:
    operation = opsdash.RestoreQueue(trash_id=trash_of(console))
    return Scene(operation, lambda later: later.get_queue_length("emails") == 3)


def delete_scene(console: Console) -> Scene:
    return Scene(opsdash.DeleteTrash(trash_id=trash_of(console)), lambda later: later.trash.list() == ())


def dismiss_scene(console: Console) -> Scene:
    with console.broker.client.pipeline() as pipe:
        pipe.hset(console.broker.keys.worker("gone@a"), mapping={"time": "1", "active": "1"})
        pipe.zadd(console.broker.keys.workers, {"gone@a": 1.0})
        pipe.execute()
    return Scene(opsdash.DismissWorker(hostname="gone@a"), lambda later: later.workers.read() == ())


def resume_scene(console: Console) -> Scene:
    console.run(opsdash.PauseProcessing(), actor=MARIA, confirm="YES")
    return Scene(opsdash.ResumeProcessing(), lambda later: not later.is_processing_paused())


def sync_scene(console: Console) -> Scene:
    with console.engine.begin() as connection:
        connection.execute(sa.insert(tenant_config), {"tenant_id": "t", "name": "T", "settings": {}})
    key = console.broker.keys.tenant_config("t")
    return Scene(opsdash.SyncTenantConfigs(), lambda later: bool(later.broker.client.exists(key)))


def prune_scene(console: Console) -> Scene:
    old = uuid4()
    row = {"id": old, "request_id": uuid4(), "timestamp": datetime(2020, 1, 1, tzinfo=UTC), "user": "maria"}
    row |= {"operation": "clear_queue", "status": "success", "details": {}, "key_id": BEFORE}
    with console.engine.begin() as connection:
        connection.execute(sa.insert(audit_log), row)

    def done(later: Console) -> bool:
        with later.engine.connect() as connection:
            return connection.scalar(sa.select(audit_log.c.id).where(audit_log.c.id == old)) is None

    return Scene(opsdash.PruneAuditLog(), done)


def approve_scene(console: Console) -> Scene:
    fill(console)
    with pytest.raises(NeedsApproval) as raised:
        console.run(opsdash.ClearQueue(queue="emails"), actor=MARIA, confirm="YES")
    return Scene(opsdash.ApproveOperation(approval_id=raised.value.approval_id), cleared)


def quiet_scene(console: Console) -> Scene:
    host = hand_of(console)
    return Scene(QuietWorker(hostname=host), lambda later: answer(later, "active_queues", host) == [])


def wake_scene(console: Console) -> Scene:
    host = hand_of(console)
    console.run(QuietWorker(hostname=host), actor=MARIA, confirm="YES")
    return Scene(WakeWorker(hostname=host), lambda later: answer(later, "active_queues", host) != [])


def drain_scene(console: Console) -> Scene:
    host = hand_of(console)
    return Scene(DrainBuild(build=BUILD), lambda later: answer(later, "active_queues", host) == [])


def wake_build_scene(console: Console) -> Scene:
    host = hand_of(console)
    console.run(DrainBuild(build=BUILD), actor=MARIA, confirm="YES")
    return Scene(WakeBuild(build=BUILD), lambda later: answer(later, "active_queues", host) != [])


def revoke_scene(console: Console) -> Scene:
    host, task_id = hand_of(console), str(uuid4())
    console.broker.client.lpush("reports", message(task_id))  # a queue that no worker takes from
    return Scene(RevokeTask(task_id=task_id), lambda later: task_id in answer(later, "revoked", host))


def resize_scene(console: Console) -> Scene:
    host = hand_of(console)

    def done(later: Console) -> bool:
        return answer(later, "stats", host)["opsdash"]["concurrency"] == 3

    return Scene(opsdash.ResizePool(hostname=host, size=3), done)


def autoscale_scene(console: Console) -> Scene:
    host = hand_of(console)

    def done(later: Console) -> bool:
        return answer(later, "stats", host)["autoscaler"]["max"] == 6

    return Scene(opsdash.Autoscale(hostname=host, most=6, least=2), done)


def restart_scene(console: Console) -> Scene:
    host = hand_of(console)
    before = set(answer(console, "stats", host)["pool"]["processes"])

    def done(later: Console) -> bool:
        return until(lambda: not before <= set(answer(later, "stats", host)["pool"]["processes"]), timeout_s=8)

    return Scene(opsdash.RestartPool(hostname=host), done)


def shutdown_scene(console: Console) -> Scene:
    host = hand_of(console)

    def done(later: Console) -> bool:
        return until(lambda: host not in later.get_active_workers(), timeout_s=8)

    return Scene(opsdash.ShutdownWorker(hostname=host), done)


def time_limit_scene(console: Console) -> Scene:
    host = hand_of(console)

    def done(later: Console) -> bool:
        services = later.services
        limits, _ = time_limits.read(services.remote, services.pools.choose(host).pools, "sample.short")
        return limits[host].hard_s == 60

    return Scene(opsdash.SetTimeLimit(task="sample.short", hard_s=60), done)


def rates(console: Console) -> list[str]:
    return [limit.rate for limit in console.rate_limits()]


def rate_scene(console: Console) -> Scene:
    return Scene(opsdash.SetRateLimit(task="shop.order", rate="10/s"), lambda later: rates(later) == ["10/s"])


def at_once(console: Console) -> list[int]:
    return [hold.most for hold in console.services.holds.read().holds if hold.kind == "limit"]


def limit_scene(_console: Console) -> Scene:
    return Scene(opsdash.LimitConcurrency(task="shop.order", most=3), lambda later: at_once(later) == [3])


def remove_limit_scene(console: Console) -> Scene:
    console.services.holds.set("limit", "shop.order", most=3, by="maria", reason="", ttl_s=600)
    return Scene(opsdash.RemoveConcurrencyLimit(task="shop.order"), lambda later: at_once(later) == [])


def remove_rate_scene(console: Console) -> Scene:
    console.run(opsdash.SetRateLimit(task="shop.order", rate="10/s"), actor=MARIA, confirm="YES")
    return Scene(opsdash.RemoveRateLimit(task="shop.order"), lambda later: rates(later) == [])


def remove_scene(console: Console) -> Scene:
    console.broker.client.lpush("emails", message("removable"))
    return Scene(opsdash.RemoveTask(task_id="removable"), lambda later: later.get_queue_length("emails") == 0)


def cancel_scene(console: Console) -> Scene:
    console.broker.client.lpush("emails", *(message(f"t{n}", root_id="root-1") for n in range(3)))
    return Scene(opsdash.CancelWorkflow(root="root-1"), lambda later: later.get_queue_length("emails") == 0)


def hold_scene(operation: opsdash.HoldTasks | opsdash.HoldTenant) -> Scene:
    return Scene(operation, lambda later: len(later.holds.read().holds) == 1)


def held_scene(console: Console, hold: Any, operation: Any, left: int) -> Scene:
    """A hold with three tasks; so many are in the queue afterwards."""
    console.run(hold, actor=MARIA, confirm="YES")
    (one,) = console.holds.read().holds
    put_aside(console.broker, one, *(message(f"h{n}") for n in range(3)), queue="emails")

    def done(later: Console) -> bool:
        return sum(of.held for of in later.holds.look().holds) == 0 and later.get_queue_length("emails") == left

    return Scene(operation, done)


CHARGE, ACME = opsdash.HoldTasks(task="shop.charge"), opsdash.HoldTenant(tenant="acme")


def kept_as_failed(console: Console) -> int:
    return FailureStore(console.broker).page().total


def retry_scene(console: Console) -> Scene:
    keep(console.broker, [failed(f"t{number}", queue="emails") for number in range(3)])
    return Scene(opsdash.RetryFailed(task="*"), lambda later: later.get_queue_length("emails") == 3)


def discard_scene(console: Console) -> Scene:
    keep(console.broker, [failed(f"t{number}", queue="emails") for number in range(3)])
    return Scene(opsdash.DiscardFailed(task="*"), lambda later: kept_as_failed(later) == 0)


def edit_scene(console: Console) -> Scene:
    keep(console.broker, [failed("t1", queue="emails")])
    return Scene(opsdash.EditFailed(failure_id="t1", args="[1]"), lambda later: kept_as_failed(later) == 0)


def schedule_paused(console: Console) -> bool:
    return any(one.pause for one in console.schedules.read())


def pause_schedule_scene(console: Console) -> Scene:
    console.broker.client.hset(console.broker.keys.schedules, "nightly", '{"task": "report", "at": 1}')
    return Scene(opsdash.PauseSchedule(schedule="nightly"), schedule_paused)


def resume_schedule_scene(console: Console) -> Scene:
    console.run(pause_schedule_scene(console).operation, actor=MARIA, confirm="YES")
    return Scene(opsdash.ResumeSchedule(schedule="nightly"), lambda later: not schedule_paused(later))


def hand_of(console: Console) -> str:
    """The hostname of the one real worker."""
    eventually(console.get_active_workers, what="the worker reports")
    (host,) = console.get_active_workers()
    assert answer(console, "active_queues", host), "it takes tasks"
    return host


def answer(console: Console, question: str, host: str) -> Any:
    """What the worker itself says, once it has found its broker again."""
    said: list[Any] = []

    def heard() -> bool:
        with suppress(Unavailable), console.unmanaged.control() as (control, connection):
            inspect = control.inspect([host], timeout=ANSWER_S, limit=1, connection=connection)
            said.extend((getattr(inspect, question)() or {}).values())
        return bool(said)

    eventually(heard, what="the worker's answer", timeout_s=30)
    return said[0]


SCENES: dict[str, Callable[[Console], Scene]] = {
    "pause_processing": lambda _: Scene(opsdash.PauseProcessing(), lambda later: later.is_processing_paused()),
    "resume_processing": resume_scene,
    "clear_queue": clear_scene,
    "clear_tasks": clear_tasks_scene,
    "clear_tenant": clear_tenant_scene,
    "restore_queue": restore_scene,
    "delete_trash": delete_scene,
    "dismiss_worker": dismiss_scene,
    "sync_tenant_configs": sync_scene,
    "prune_audit_log": prune_scene,
    "approve": approve_scene,
    "quiet_worker": quiet_scene,
    "wake_worker": wake_scene,
    "drain_build": drain_scene,
    "wake_build": wake_build_scene,
    "revoke_task": revoke_scene,
    "remove_task": remove_scene,
    "cancel_workflow": cancel_scene,
    "hold_tasks": lambda _: hold_scene(CHARGE),
    "hold_tenant": lambda _: hold_scene(ACME),
    "release_tasks": lambda console: held_scene(console, CHARGE, opsdash.ReleaseTasks(task="shop.charge"), 3),
    "release_tenant": lambda console: held_scene(console, ACME, opsdash.ReleaseTenant(tenant="acme"), 3),
    "clear_held": lambda console: held_scene(console, CHARGE, opsdash.ClearHeld(task="shop.charge"), 0),
    "retry_failed": retry_scene,
    "discard_failed": discard_scene,
    "edit_failed": edit_scene,
    "resize_pool": resize_scene,
    "autoscale": autoscale_scene,
    "restart_pool": restart_scene,
    "shutdown_worker": shutdown_scene,
    "set_time_limit": time_limit_scene,
    "limit_concurrency": limit_scene,
    "remove_concurrency_limit": remove_limit_scene,
    "set_rate_limit": rate_scene,
    "remove_rate_limit": remove_rate_scene,
    "pause_schedule": pause_schedule_scene,
    "resume_schedule": resume_schedule_scene,
}
PREFORK = {"resize_pool", "autoscale", "restart_pool", "set_time_limit"}
WITH_A_WORKER = {
    *("quiet_worker", "wake_worker", "drain_build", "wake_build", "revoke_task", "shutdown_worker"),
    *PREFORK,
}
BUILD = "1.41"
FAULTS = ("redis", "database", "both")


def each(*faults: str) -> list[Any]:
    """Every operation, at every step, with each of these faults."""
    return [
        pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow)
        for case in itertools.product(SCENES, STEPS, faults)
    ]


def test_no_operation_is_left_out_of_the_chaos() -> None:
    # A note is its entry, and changes nothing else. Beat runs a schedule: tests/integration/test_schedules.py says what
    # comes of it where none answers.
    assert set(SCENES) == set(registry()) - {"add_note", "run_schedule_now"}


@pytest.fixture(autouse=True)
def hand(request: pytest.FixtureRequest) -> Iterator[None]:
    """A real worker, where the operation acts on one by Celery's remote control."""
    callspec = getattr(request.node, "callspec", None)
    name = "" if callspec is None else callspec.params.get("name")
    if name not in WITH_A_WORKER:
        yield
        return
    env = {"OPSDASH_REDIS_URL": request.getfixturevalue("valkey_url"), "SAMPLE_POOL_RESTARTS": "yes"}
    env["OPSDASH_BUILD"] = BUILD
    scaled = ["--autoscale=4,2"] if name == "autoscale" else []
    pool = "prefork" if name in PREFORK else "threads"
    with worker(pool=pool, env=env, queues=["celery", "emails"], arguments=scaled):
        yield


@pytest.fixture
def console(console_for: Callable[..., Console], postgres_url: str, request: pytest.FixtureRequest) -> Console:
    """Clearing needs two persons in the scenes of an approval."""
    approval = ("clear_queue",) if "approv" in request.node.name else ()
    return console_for(database_url=postgres_url, queues=QUEUES, approval=approval)


@pytest.fixture
def later(console: Console, console_for: Callable[..., Console], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Starts everything again; half a minute later another console has looked three times."""

    def look(valkey: Valkey, postgres: Postgres) -> Console:
        monkeypatch.undo()
        valkey.start()
        postgres.start()
        other = console_for(
            database_url=console.settings.database_url,
            queues=QUEUES,
            approval=console.settings.approval,
        )
        for key in other.broker.client.scan_iter("opsdash:running:*"):
            other.broker.client.delete(key)
        monkeypatch.setattr(reaper, "LOOK_S", 0.0)
        monkeypatch.setattr(reaper, "ALIVE_S", -5)
        for _ in range(3):
            snapshot = other.snapshot()
        assert (snapshot.redis_error, snapshot.database_error, snapshot.spooled) == ("", "", 0)
        return other

    return look


def outcome(later: Console, name: str, done: bool, before: set[UUID]) -> Status | None:
    """The one entry's status, after what holds for every act: an entry for each, and each of them true."""
    entries = [e for e in later.get_recent_operations(50) if e.operation == name and e.id not in before]
    if not entries:
        assert not done, "an act without an entry"
        return None
    (entry,) = entries
    is_true(later, entry, done)
    found = later.audit.verify()
    assert found.ok, found.problems
    return entry.status


def is_true(later: Console, entry: AuditEntry, done: bool) -> None:
    if entry.status is Status.SUCCESS:
        assert done, "it says that it was done"
    elif entry.status is Status.IN_PROGRESS:
        assert not done
        assert [one.id for one in later.approvals()] == [entry.id.hex], "nobody is at it"
    elif entry.status is not Status.UNKNOWN:
        assert not done, f"it says {entry.status}"
    assert entry.details["message"]


def known(console: Console) -> set[UUID]:
    return {entry.id for entry in console.get_recent_operations(50)}


def dies(console: Console, operation: Operation, watched: str, step: str) -> None:
    """A real process runs it and is killed at that step."""
    settings = console.settings
    env = {
        **os.environ,
        "OPSDASH_REDIS_URL": settings.redis_url,
        "OPSDASH_DATABASE_URL": settings.database_url,
        "OPSDASH_SECRET_KEY": settings.secret_key or "",
        "OPSDASH_QUEUES": "celery,emails",
        "OPSDASH_APPROVAL": ",".join(settings.approval),
    }
    command = [sys.executable, str(Path(steps.__file__)), operation.name, json.dumps(operation.params()), watched, step]
    assert programs.run(command, env=env, check=False).returncode == -signal.SIGKILL


@pytest.mark.parametrize(("name", "step", "fault"), each("kill"))
def test_a_process_killed_between_two_steps_leaves_the_truth(
    console: Console, later: Any, valkey: Valkey, postgres: Postgres, name: str, step: str, fault: str
) -> None:
    scene = SCENES[name](console)
    before = known(console)
    dies(console, scene.operation, name, step)
    other = later(valkey, postgres)
    done = scene.done(other)
    result = outcome(other, name, done, before)
    assert (result, done) == {
        "before the intent": (None, False),
        "after the intent": (Status.UNKNOWN, False),
        "after the act": (Status.UNKNOWN, True),
        "after the outcome": (Status.SUCCESS, True),
    }[step]


@pytest.mark.slow
@pytest.mark.parametrize("step", ["after the act", "after the outcome"])
def test_an_approver_killed_while_it_is_carried_out_leaves_the_truth_in_both_entries(
    console: Console, later: Any, valkey: Valkey, postgres: Postgres, step: str
) -> None:
    scene = approve_scene(console)
    before = known(console)
    dies(console, scene.operation, "clear_queue", step)
    other = later(valkey, postgres)
    assert scene.done(other)
    assert outcome(other, "approve", True, before) is Status.UNKNOWN
    result = outcome(other, "clear_queue", True, set())
    assert result is (Status.UNKNOWN if step == "after the act" else Status.SUCCESS)


@pytest.mark.long
@pytest.mark.parametrize(("name", "step", "fault"), each(*FAULTS))
def test_a_server_that_stops_between_two_steps_leaves_the_truth(
    console: Console,
    later: Any,
    valkey: Valkey,
    postgres: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    step: str,
    fault: str,
) -> None:
    scene = SCENES[name](console)
    before = known(console)
    steps.install(registry()[name], step, lambda: stop(fault, valkey, postgres), monkeypatch.setattr)
    with suppress(OpsdashError):
        console.run(scene.operation, actor=BOB, confirm="YES")
    other = later(valkey, postgres)
    done = scene.done(other)
    result = outcome(other, name, done, before)
    if step == "after the outcome":
        assert (result, done) == (Status.SUCCESS, True)
    if fault == "both" and step == "before the intent":
        assert (result, done) == (None, False)
    if step in {"after the act", "after the outcome"}:
        assert done


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) for name in SCENES])
def test_a_strict_log_whose_database_stops_between_two_steps_leaves_the_truth(
    console_for: Callable[..., Console],
    console: Console,
    later: Any,
    valkey: Valkey,
    postgres: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    step: str,
) -> None:
    scene = SCENES[name](console)
    before = known(console)
    url, approval = console.settings.database_url, console.settings.approval
    strict = console_for(database_url=url, queues=QUEUES, approval=approval, audit="strict")
    steps.install(registry()[name], step, postgres.stop, monkeypatch.setattr)
    with suppress(OpsdashError):
        strict.run(scene.operation, actor=BOB, confirm="YES")
    other = later(valkey, postgres)
    done = scene.done(other)
    result = outcome(other, name, done, before)
    if step == "before the intent":
        assert (result, done) == (None, False)
    if step == "after the act":
        assert (result, done) == (Status.UNKNOWN, True)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("step", ["after the intent", "after it was asked for"])
def test_a_server_that_stops_while_an_approval_is_asked_for_leaves_the_truth(
    console: Console,
    later: Any,
    valkey: Valkey,
    postgres: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    fault: str,
) -> None:
    fill(console)
    ask = Approvals.add

    def asking(*args: Any) -> Any:
        pending = ask(*args)
        stop(fault, valkey, postgres)
        return pending

    if step == "after the intent":
        steps.install(opsdash.ClearQueue, step, lambda: stop(fault, valkey, postgres), monkeypatch.setattr)
    else:
        monkeypatch.setattr(Approvals, "add", asking)
    with suppress(OpsdashError):
        console.run(opsdash.ClearQueue(queue="emails"), actor=MARIA, confirm="YES")
    other = later(valkey, postgres)
    assert other.get_queue_length("emails") == 3
    assert outcome(other, "clear_queue", False, set()) is not None


def stop(fault: str, valkey: Valkey, postgres: Postgres) -> None:
    if fault != "database":
        valkey.stop()
    if fault != "redis":
        postgres.stop()
