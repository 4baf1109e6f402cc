"""What Redis refuses is not done, and the operator is told so: exit code 4 and ``failure``, never "look"."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator

import pytest
import redis
import sqlalchemy as sa
from support.deployment import Deployment
from support.errors import fails
from support.failed_tasks import failed, keep
from support.messages import message
from support.reports import report
from support.services import Valkey, until
from support.workers import worker

from opsdash.errors import OpsdashError, Unavailable, Uncertain
from opsdash.model import Actor, Role, Status
from opsdash.operation import Operation, registry
from opsdash.operations import (
    AddNote,
    ApproveOperation,
    Autoscale,
    CancelWorkflow,
    ClearHeld,
    ClearQueue,
    ClearTasks,
    ClearTenant,
    DeleteTrash,
    DiscardFailed,
    DismissWorker,
    EditFailed,
    HoldTasks,
    HoldTenant,
    LimitConcurrency,
    PauseProcessing,
    PauseSchedule,
    PruneAuditLog,
    QuietWorker,
    ReleaseTasks,
    ReleaseTenant,
    RemoveConcurrencyLimit,
    RemoveRateLimit,
    RemoveTask,
    ResizePool,
    RestartPool,
    RestoreQueue,
    ResumeProcessing,
    ResumeSchedule,
    RetryFailed,
    RevokeTask,
    RunScheduleNow,
    SetRateLimit,
    SetTimeLimit,
    ShutdownWorker,
    SyncTenantConfigs,
    WakeWorker,
)
from opsdash.services.broker import writes
from opsdash.services.broker.client import ADVICE
from opsdash.services.console import Console
from opsdash.services.database.tables import tenant_config
from opsdash.services.pause.flags import PauseFlags

OWN = re.compile(r"opsdash:(busy|running|request|tenants:busy)|_kombu\.")
"""Marks and leases that end by themselves, and what kombu keeps of a mailbox for answers."""
USER = "console"

OPERATIONS: dict[str, Callable[[str], Operation]] = {
    "pause_processing": lambda _: PauseProcessing(queue="emails"),
    "resume_processing": lambda _: ResumeProcessing(),
    "clear_queue": lambda _: ClearQueue(queue="celery"),
    "clear_queue, everything": lambda _: ClearQueue(queue="celery", everything=True),
    "clear_tasks": lambda _: ClearTasks(queue="celery", task="*"),
    "clear_tenant": lambda _: ClearTenant(tenant="umbrella"),
    "hold_tasks": lambda _: HoldTasks(task="shop.mail"),
    "release_tasks": lambda _: ReleaseTasks(task="shop.charge"),
    "hold_tenant": lambda _: HoldTenant(tenant="acme"),
    "release_tenant": lambda _: ReleaseTenant(tenant="umbrella"),
    "clear_held": lambda _: ClearHeld(task="shop.charge"),
    "restore_queue": lambda trash: RestoreQueue(trash_id=trash),
    "delete_trash": lambda trash: DeleteTrash(trash_id=trash),
    "dismiss_worker": lambda _: DismissWorker(hostname="silent@test"),
    "sync_tenant_configs": lambda _: SyncTenantConfigs(),
    "retry_failed": lambda _: RetryFailed(task="*"),
    "discard_failed": lambda _: DiscardFailed(task="*"),
    "remove_task": lambda _: RemoveTask(task_id="removable"),
    "cancel_workflow": lambda _: CancelWorkflow(root="flow-1"),
    "pause_schedule": lambda _: PauseSchedule(schedule="nightly"),
    "resume_schedule": lambda _: ResumeSchedule(schedule="held"),
    "run_schedule_now": lambda _: RunScheduleNow(schedule="nightly"),
    "edit_failed": lambda _: EditFailed(failure_id="failed", args="[1]"),
    "limit_concurrency": lambda _: LimitConcurrency(task="shop.order", most=3),
    "remove_concurrency_limit": lambda _: RemoveConcurrencyLimit(task="shop.charge"),
    "set_rate_limit": lambda _: SetRateLimit(task="shop.order", rate="10/s"),
    "remove_rate_limit": lambda _: RemoveRateLimit(task="shop.charge"),
}
POOLS: dict[str, Callable[[str], Operation]] = {
    "resize_pool": lambda host: ResizePool(hostname=host, size=3),
    "autoscale": lambda host: Autoscale(hostname=host, most=6, least=2),
    "restart_pool": lambda host: RestartPool(hostname=host),
    "shutdown_worker": lambda host: ShutdownWorker(hostname=host),
    "set_time_limit": lambda _: SetTimeLimit(task="sample.short", hard_s=60),
}
BY_REMOTE_CONTROL = {"quiet_worker", "wake_worker", "drain_build", "wake_build", "revoke_task", *POOLS}
ELSEWHERE = {"approve", "prune_audit_log", "add_note"}
"""The first does what another one asks for, the others change the database only."""


def test_every_operation_is_tried():
    assert {name.partition(",")[0] for name in OPERATIONS} | BY_REMOTE_CONTROL | ELSEWHERE == set(registry())
    assert {ApproveOperation.name, PruneAuditLog.name, AddNote.name} == ELSEWHERE


@pytest.fixture
def prepared(console_for: Callable[..., Console], valkey: Valkey) -> str:
    """Something to pause, resume, clear, restore, delete, retry and sync; returns the id of some trash."""
    console = console_for(queues=("celery", "emails"))
    with console.engine.begin() as connection:
        connection.execute(sa.insert(tenant_config).values(tenant_id="acme", name="Acme", enabled=True, settings={}))
    client = console.broker.client
    client.lpush("celery", "first")
    trash = console.run(ClearQueue(queue="celery"), actor="maria", confirm="YES").details["trash_id"]
    client.lpush("celery", "second", "third", message("removable"), message("kid", root_id="flow-1"))
    keep(console.broker, [failed("failed")])
    for hold in (HoldTasks(task="shop.charge"), HoldTenant(tenant="umbrella")):
        console.run(hold, actor="maria", confirm="YES")
    for one in console.holds.read().holds:
        client.hset("opsdash:held", f"{one.id}:0:emails", "emails")
        client.lpush(f"opsdash:held:emails:{one.id}:0", message(f"held-{one.kind}"))
    console.run(PauseProcessing(), actor="maria", confirm="YES")
    console.run(SetRateLimit(task="shop.charge", rate="1/s"), actor="maria", confirm="YES")
    console.run(LimitConcurrency(task="shop.charge", most=3), actor="maria", confirm="YES")
    report(client, "silent@test", lasts_s=-60.0)
    for name in ("nightly", "held"):
        client.hset(console.broker.keys.schedules, name, json.dumps({"task": "report", "at": time.time()}))
    console.run(PauseSchedule(schedule="held"), actor="maria", confirm="YES")
    return str(trash)


@contextlib.contextmanager
def as_user(valkey: Valkey, *rules: str) -> Iterator[str]:
    """The URL of a user with these rights."""
    with redis.Redis.from_url(valkey.url) as client:
        client.execute_command("ACL", "SETUSER", USER, "reset", "on", ">pw", "~*", "&*", "+@all", *rules)
        try:
            yield valkey.url.replace("redis://", f"redis://{USER}:pw@")
        finally:
            client.execute_command("ACL", "DELUSER", USER)


@contextlib.contextmanager
def without_scripts(valkey: Valkey) -> Iterator[str]:
    with as_user(valkey, "-@scripting") as url:
        yield url


@contextlib.contextmanager
def without_writes(valkey: Valkey) -> Iterator[str]:
    with as_user(valkey, "-@write") as url:
        yield url


@contextlib.contextmanager
def as_a_replica(valkey: Valkey) -> Iterator[str]:
    with redis.Redis.from_url(valkey.url) as client:
        client.config_set("replica-serve-stale-data", "yes")
        client.replicaof("127.0.0.1", 1)  # nobody there: it stays as it is, and takes no writes
        try:
            yield valkey.url
        finally:
            client.replicaof("NO", "ONE")


@contextlib.contextmanager
def full(valkey: Valkey) -> Iterator[str]:
    with redis.Redis.from_url(valkey.url) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        try:
            yield valkey.url
        finally:
            client.config_set("maxmemory", 0)


@contextlib.contextmanager
def without_the_command(valkey: Valkey) -> Iterator[str]:
    valkey.stop()
    valkey.start_with("--rename-command", "EVAL", "")
    try:
        yield valkey.url
    finally:
        valkey.stop()
        valkey.start()


REFUSALS = {
    "no right to scripts": without_scripts,
    "no right to write": without_writes,
    "a replica": as_a_replica,
    "full": full,
    "no such command": without_the_command,
}
NEEDS_ROOM = {"sync_tenant_configs", "run_schedule_now"}
"""What a full Redis can't do: it adds. All else takes away, moves, or is what an operator pauses with."""


def holds(valkey: Valkey) -> dict[str, object]:
    """Everything on the server, but what ends by itself."""
    with redis.Redis.from_url(valkey.url, decode_responses=True, encoding_errors="backslashreplace") as client:
        kept = {}
        read = {
            "string": client.get,
            "list": lambda key: client.lrange(key, 0, -1),
            "hash": client.hgetall,
            "zset": lambda key: client.zrange(key, 0, -1, withscores=True),
            "set": client.smembers,
            "stream": client.xrange,
        }
        for key in client.scan_iter():
            if not OWN.match(key):
                kept[key] = (read[client.type(key)](key), client.ttl(key) == -1)
        return kept


def outcome(console: Console, operation: Operation) -> OpsdashError | None:
    """What is told of an act; None: that it was done."""
    try:
        console.run(operation, actor="maria", confirm="YES")
    except OpsdashError as error:
        return error
    return None


@pytest.mark.long
@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_redis_refuses_is_told_as_not_done(
    console_for: Callable[..., Console], valkey: Valkey, prepared: str, operation: str, refusal: str
):
    with REFUSALS[refusal](valkey) as url:
        console = console_for(redis_url=url, queues=("celery", "emails"))
        before = holds(valkey)
        result = outcome(console, OPERATIONS[operation](prepared))
        if result is None:
            assert (refusal, operation not in NEEDS_ROOM) == ("full", True)
            return
        if refusal == "full":
            assert (operation in NEEDS_ROOM, ADVICE in str(result)) == (True, True), str(result)
        assert (result.exit_code, result.changed) == (4, "nothing"), str(result)
        assert holds(valkey) == before
        (entry,) = console.get_recent_operations(1)
        assert (entry.operation, entry.status) == (operation.partition(",")[0], Status.FAILURE)


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(BY_REMOTE_CONTROL))
def test_what_no_worker_could_be_told_is_told_as_not_done(
    console_for: Callable[..., Console], deployment: Deployment, valkey: Valkey, name: str
):
    queues = ("celery", "emails")
    with worker(pool="threads", env=deployment.env) as running:
        operation: Operation = RevokeTask(task_id="some-task")
        if name in POOLS:
            operation = POOLS[name](running.hostname)
        elif name != "revoke_task":
            operation = QuietWorker(hostname=running.hostname)
        if name == "wake_worker":
            console_for(queues=queues).run(operation, actor="maria", confirm="YES")
            operation = WakeWorker(hostname=running.hostname)
        with as_user(valkey, "-publish") as url:
            console = console_for(redis_url=url, queues=queues)
            with pytest.raises(Unavailable) as untold:
                console.run(operation, actor=Actor(name="maria", role=Role.ADMIN, surface="python"), confirm="YES")
            assert untold.value.changed == "nothing"
            assert console.get_recent_operations(1)[0].status is Status.FAILURE


def test_a_script_that_was_refused_half_way_is_told_as_uncertain(
    console_for: Callable[..., Console], valkey: Valkey, prepared: str
):
    with as_user(valkey, "-zadd") as url:  # the clear moves first, and keeps its index last
        console = console_for(redis_url=url, queues=("celery", "emails"))
        with pytest.raises(Uncertain, match="It may be partly done") as error:
            console.run(ClearQueue(queue="celery"), actor="maria", confirm="YES")
        assert writes.HALFDONE not in str(error.value)
        assert console.get_recent_operations(1)[0].status is Status.UNKNOWN


def test_a_pause_stands_where_the_nudge_to_workers_is_refused(console_for: Callable[..., Console], valkey: Valkey):
    with as_user(valkey, "resetchannels") as url:
        console = console_for(redis_url=url, queues=("celery",))
        assert console.run(PauseProcessing(), actor="maria", confirm="YES").ok
        assert console.is_processing_paused()
        assert console.run(ResumeProcessing(), actor="maria", confirm="YES").ok
        assert not console.is_processing_paused()


@pytest.mark.long
def test_what_was_sent_and_never_answered_is_told_as_uncertain(
    console_for: Callable[..., Console], valkey: Valkey, monkeypatch: pytest.MonkeyPatch
):
    console, resume = console_for(queues=("celery",)), PauseFlags.resume
    console.run(PauseProcessing(), actor="maria", confirm="YES")

    def into_silence(flags: PauseFlags, queue: str | None) -> bool:
        valkey.freeze()
        return resume(flags, queue)

    monkeypatch.setattr(PauseFlags, "resume", into_silence)
    with fails(Uncertain, changed="perhaps"):
        console.run(ResumeProcessing(), actor="maria", confirm="YES")
    valkey.thaw()
    assert until(lambda: not console.is_processing_paused())  # it was done, in fact
    assert console.get_recent_operations(1)[0].status is Status.UNKNOWN
