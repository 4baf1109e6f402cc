"""Workers, their pools, limits of tasks, and beat's schedule: what an operator reads, word for word."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from support.desk import Desk, told_progress
from support.messages import fetched, message

from opsdash.model import Snapshot
from opsdash.operation import TakenBack
from opsdash.operations import (
    Autoscale,
    DismissWorker,
    DrainBuild,
    PauseSchedule,
    QuietWorker,
    RemoveRateLimit,
    ResizePool,
    RestartPool,
    ResumeSchedule,
    RevokeTask,
    RunScheduleNow,
    SetRateLimit,
    SetTimeLimit,
    ShutdownWorker,
    WakeBuild,
    WakeWorker,
)
from opsdash.services.workers import pools, schedules
from opsdash.services.workers.rate_limits import REPORTED
from opsdash.services.workers.task_holders import HeldTask

PREFORK = "celery.concurrency.prefork:TaskPool"
OK = {"ok": "done"}


def stats(
    kind: str = "prefork", size: int = 4, active: int = 0, *, restarts: bool = True, **more: Any
) -> dict[str, Any]:
    """What a worker with the plug-in answers to ``stats``."""
    ours = {"concurrency": size, "active": active, "pool_restarts": restarts}
    pool = {"implementation": f"celery.concurrency.{kind}:TaskPool"}
    return {"pid": 7, "uptime": 60, "pool": pool, "opsdash": ours, **more}


def stock(processes: int = 3) -> dict[str, Any]:
    """What one without the plug-in answers."""
    return {"pid": 8, "uptime": 60, "pool": {"implementation": PREFORK, "processes": list(range(processes))}}


def queues(**named: list[str]) -> dict[str, Any]:
    """Answers to ``active_queues``."""
    return {f"{host}@h": [{"name": name} for name in names] for host, names in named.items()}


def test_a_worker_is_quieted_and_woken(desk: Desk) -> None:
    desk.wait(2)
    desk.wait(3, queue="emails")
    desk.worker("a@h", queues='["celery", "emails"]', active=1, reserved=1)
    desk.worker("b@h")
    desk.fleet.answers["active_queues"] = queues(a=["celery", "emails"], b=["celery"], idle=[], free=["emails"])
    desk.fleet.answers["cancel_consumer"] = {"a@h": OK, "free@h": OK}
    for name in ("", "nobody@h", "idle@h"):
        desk.preview(QuietWorker(hostname=name))
    desk.preview(WakeWorker())
    desk.preview(WakeWorker(hostname="a@h"))
    desk.evidence(QuietWorker(hostname="a@h"))
    desk.both(QuietWorker(hostname="a@h"))
    desk.evidence(QuietWorker(hostname="a@h"))
    desk.preview(QuietWorker(hostname="b@h"))
    desk.both(QuietWorker(hostname="b@h"))
    desk.note("woken while one of its queues is paused")
    desk.services.pause.pause("emails", by="otto", reason="", ttl_s=600)
    desk.evidence(WakeWorker(hostname="a@h"))
    desk.both(WakeWorker(hostname="a@h"))
    desk.fleet.answers["add_consumer"] = {"a@h": OK}
    desk.both(WakeWorker(hostname="a@h"))
    desk.evidence(WakeWorker(hostname="a@h"))
    desk.note("one without the plug-in")
    desk.unmanaged("free@h", queues=("emails",))
    desk.preview(QuietWorker(hostname="b@h"))
    desk.both(QuietWorker(hostname="free@h"))
    desk.preview(WakeWorker(hostname="free@h"))
    desk.services.pause.resume("emails")
    desk.preview(WakeWorker(hostname="free@h"))
    desk.services.pause.pause(None, by="otto", reason="", ttl_s=600)
    desk.act(QuietWorker(hostname="a@h"))
    desk.preview(WakeWorker(hostname="a@h"))
    desk.said += desk.fleet.sent


def test_a_build_is_drained_and_woken(desk: Desk) -> None:
    desk.wait(3)
    desk.worker("new@h", build="1.42", queues='["celery"]')
    for at in range(7):
        desk.worker(f"old{at}@h", build="1.41", queues='["celery", "emails"]', active=1, reserved=2, scheduled=at)
    desk.worker("gone@h", build="1.41", silent_s=600)
    desk.fleet.answers["active_queues"] = queues(**{f"old{at}": ["celery", "emails"] for at in range(7)})
    desk.fleet.answers["cancel_consumer"] = {f"old{at}@h": OK for at in range(6)}
    for build in ("", "1.40"):
        desk.both(DrainBuild(build=build))
    for build in ("", "1.41"):
        desk.preview(WakeBuild(build=build))
    desk.both(DrainBuild(build="1.41"))
    desk.evidence(DrainBuild(build="1.41"))
    desk.evidence(WakeBuild(build="1.41"))
    desk.both(WakeBuild(build="1.41"))
    desk.services.pause.pause("celery", by="otto", reason="", ttl_s=600)
    desk.fleet.answers["add_consumer"] = {f"old{at}@h": OK for at in range(5)}
    desk.both(WakeBuild(build="1.41"))
    desk.fleet.answers["add_consumer"] = {f"old{at}@h": OK for at in range(7)}
    desk.both(WakeBuild(build="1.41"))
    done = TakenBack(user="maria", since=Snapshot.example().taken_at, before={}, effect={})
    desk.said.append(f"  {DrainBuild(build='1.41').take_back(desk.services, done)}")
    desk.fleet.answers["active_queues"] = {}
    desk.act(DrainBuild(build="1.41"))
    away = Snapshot.example(redis_error="Redis did not answer.")
    desk.said.append(told_progress(DrainBuild(build="1.41").progress(away)))
    desk.note("without any build")
    desk.client.flushdb()
    desk.preview(DrainBuild(build="1.41"))


def test_silent_workers_are_dismissed(desk: Desk) -> None:
    desk.worker("a@h")
    desk.worker("gone@h", silent_s=600.5, active=1, reserved=2, scheduled=3, pid=70)
    desk.unmanaged("free@h")
    for name in ("", "nobody@h", "a@h", "free@h"):
        desk.preview(DismissWorker(hostname=name))
    desk.evidence(DismissWorker(hostname="gone@h"))
    desk.both(DismissWorker(hostname="gone@h"))
    desk.evidence(DismissWorker(hostname="gone@h"))


def test_pools_are_resized(desk: Desk) -> None:
    desk.pools(a=stats(size=4, active=6), b=stats(size=8), c=stats("thread"), d=stats(autoscaler={"max": 8, "min": 2}))
    desk.worker("silent@h")
    for size in (None, 0, 1_001):
        desk.preview(ResizePool(hostname="a@h", size=size))
    for names in ("", "a@h all", "nobody@h", "c@h", "c@h d@h", "silent@h"):
        desk.preview(ResizePool(hostname=names, size=8))
    desk.preview(ResizePool(hostname="all", size=8))
    desk.preview(ResizePool(hostname="a@h b@h", size=2))
    desk.preview(ResizePool(hostname="a@h", size=16))
    desk.preview(ResizePool(hostname="a@h", size=6))
    desk.evidence(ResizePool(hostname="a@h b@h"))
    desk.fleet.answers["pool_grow"] = {"a@h": OK}
    desk.note("it grows")
    sizes = iter([stats(size=4), stats(size=8)])
    grows = desk.fleet.answers["stats"]

    def inspect(hosts: Any, **_options: Any) -> Any:
        grows["a@h"] = next(sizes, stats(size=8))
        return original(hosts)

    original = desk.fleet.inspect
    desk.fleet.inspect = inspect
    desk.act(ResizePool(hostname="a@h", size=8))
    desk.note("it confirms, and stays; another one refuses; and nobody answers")
    desk.fleet.inspect = original
    desk.fleet.answers["pool_shrink"] = {"a@h": OK, "b@h": {"error": "ValueError('Can\\'t shrink pool.')"}}
    desk.act(ResizePool(hostname="a@h b@h", size=2))
    desk.fleet.answers["pool_shrink"] = {"b@h": {"error": "busy"}}
    desk.act(ResizePool(hostname="b@h", size=2))
    desk.fleet.answers["pool_shrink"] = {}
    desk.act(ResizePool(hostname="b@h", size=2))
    desk.note("without the plug-in")
    desk.pools(a=stock())
    desk.fleet.answers["pool_grow"] = {"a@h": OK}
    desk.act(ResizePool(hostname="a@h", size=5))
    desk.said += desk.fleet.sent


def test_bounds_of_an_autoscaler_are_changed(desk: Desk) -> None:
    scaler = {"max": 8, "min": 2}
    desk.pools(
        a=stats(size=5, autoscaler=scaler),
        b=stats(autoscaler=scaler),
        c=stats(),
        d=stats(autoscaler={"max": 9, "min": 0}),
    )
    for bounds in (
        {},
        {"most": 8},
        {"least": 8},
        {"most": 2, "least": 3},
        {"most": 1_001, "least": 1},
        {"most": 5, "least": 0},
    ):
        desk.preview(Autoscale(hostname="a@h", **bounds))
    desk.preview(Autoscale(hostname="c@h", most=4, least=1))
    desk.preview(Autoscale(hostname="all", most=4, least=4))
    desk.fleet.answers["autoscale"] = {"a@h": OK, "b@h": {"error": "ValueError('Autoscale not enabled')"}, "d@h": OK}
    desk.act(Autoscale(hostname="a@h b@h c@h", most=1_000, least=1))
    desk.act(Autoscale(hostname="d@h", most=4, least=2))
    desk.act(Autoscale(hostname="a@h d@h", most=4, least=2))
    desk.evidence(Autoscale(hostname="a@h c@h"))
    desk.said += desk.fleet.sent


def test_pools_are_restarted(desk: Desk) -> None:
    desk.pools(a=stats(active=1), b=stats(restarts=False), c=stats("gevent"), free=stock())
    desk.both(RestartPool(hostname="b@h"))
    desk.fleet.answers["pool_restart"] = {"a@h": OK}
    desk.both(RestartPool(hostname="all"))
    desk.evidence(RestartPool(hostname="a@h"))
    desk.said += desk.fleet.sent


def test_many_workers_are_counted_and_not_listed(desk: Desk) -> None:
    names = [f"w{at:02}" for at in range(10)]
    desk.pools(**{name: stats(size=2) for name in names})
    for at in range(7):
        desk.worker(f"silent{at}@h")
    desk.fleet.answers["pool_restart"] = {f"{name}@h": OK for name in names}
    desk.both(RestartPool(hostname="all"))
    desk.preview(ResizePool(hostname="all", size=8))
    desk.preview(ShutdownWorker(hostname=" ".join(f"silent{at}@h" for at in range(7))))
    desk.said.append(f"  phrase: {ShutdownWorker(hostname='all').phrase(desk.services)}")
    desk.said.append(f"  phrase: {ShutdownWorker(hostname='w01@h').phrase(desk.services) or 'none'}")


def test_a_worker_is_shut_down(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "LEAVES_S", 0.0)
    desk.pools(a=stats(active=2), b=stats(), free=stock(), mute=None)
    desk.worker("a@h", queues='["celery", "emails"]')
    desk.preview(ShutdownWorker(hostname="a@h b@h free@h mute@h"))
    desk.preview(ShutdownWorker(hostname="a@h"))
    desk.fleet.answers["ping"] = {"b@h": OK}
    desk.act(ShutdownWorker(hostname="a@h b@h mute@h"))
    desk.act(ShutdownWorker(hostname="b@h"))
    desk.evidence(ShutdownWorker(hostname="a@h nobody@h"))
    desk.evidence(ShutdownWorker(hostname="nobody@h"))
    desk.said += desk.fleet.sent


def test_a_worker_that_ends_is_told_from_one_that_has_ended(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.pools(ends=stats(), works=stats(active=2))
    desk.worker("works@h", active=2)
    original = desk.fleet.broadcast

    def broadcast(command: str, **options: Any) -> Any:
        desk.worker("works@h", active=2, draining=1)
        desk.client.zrem(desk.broker.keys.workers, "ends@h")
        return original(command, **options)

    monkeypatch.setattr(desk.fleet, "broadcast", broadcast)
    monkeypatch.setattr(pools, "LEAVES_S", 0.0)
    desk.act(ShutdownWorker(hostname="ends@h works@h"))


def test_time_limits_of_a_task_are_set(desk: Desk) -> None:
    desk.pools(a=stats(), b=stats("gevent"), c=stats("thread"), d=stats(), free=stock())
    desk.fleet.answers["registered"] = {
        "a@h": ["shop.charge [soft_time_limit=30 time_limit=60]", "shop.send"],
        "b@h": ["shop.charge", "shop.other"],
        "c@h": ["shop.charge"],
        "d@h": ["shop.other"],
        "free@h": ["shop.charge"],
    }
    desk.preview(SetTimeLimit())
    for wrong in ({}, {"soft_s": 0}, {"soft_s": 9, "hard_s": 9}, {"hard_s": 5, "remove": True}):
        desk.preview(SetTimeLimit(task="shop.charge", **wrong))
    desk.preview(SetTimeLimit(task="shop.charge", hostname="c@h d@h free@h", hard_s=60))
    desk.fleet.answers["opsdash_time_limit"] = {"a@h": OK, "b@h": OK}
    desk.both(SetTimeLimit(task="shop.charge", soft_s=90, hard_s=120))
    desk.both(SetTimeLimit(task="shop.charge", hostname="a@h", remove=True))
    desk.both(SetTimeLimit(task="shop.send", hostname="a@h", hard_s=3_600))
    desk.evidence(SetTimeLimit(task="shop.charge", hard_s=60))
    desk.said += desk.fleet.sent


def test_a_rate_limit_is_set_replaced_and_removed(desk: Desk) -> None:
    desk.wait(3)
    desk.worker("a@h", **{REPORTED: '{"shop.charge": 1.5}'})
    desk.worker("old@h")
    desk.unmanaged("free@h")
    desk.suggest(SetRateLimit())
    for wrong in (
        {"rate": "1/s"},
        {"task": "shop.*", "rate": "1/s"},
        {"task": "shop.charge", "rate": "often"},
        {"task": "shop.charge", "rate": "1/s", "duration_s": 0},
        {"task": "shop.charge", "rate": "1/s", "duration_s": 365 * 86_400 + 1},
        {"task": "shop.charge", "rate": "1/s", "duration_s": 365 * 86_400},
        {"task": "shop.charge", "rate": "1/s", "duration_s": 1},
        {"task": "shop.charge", "rate": "none"},
        {"task": "shop.charg", "rate": "1/s"},
    ):
        desk.preview(SetRateLimit(**wrong))
    desk.preview(RemoveRateLimit())
    desk.preview(RemoveRateLimit(task="shop.charge"))
    desk.both(SetRateLimit(task="shop.charge", rate="90/m", duration_s=900, reason="slow"))
    desk.evidence(SetRateLimit(task="shop.charge"))
    desk.evidence(RemoveRateLimit(task="shop.charge"))
    desk.preview(RemoveRateLimit(task="shop.send"))
    desk.both(SetRateLimit(task="shop.charge", rate="10/s"))
    desk.both(RemoveRateLimit(task="shop.charge"))
    desk.evidence(SetRateLimit(task="shop.charge"))
    desk.evidence(RemoveRateLimit(task="shop.charge"))
    desk.act(SetRateLimit(task="shop.charge", rate="10/s"))
    desk.act(SetRateLimit(task="shop.charge", rate="0"))


def test_a_task_is_revoked(desk: Desk) -> None:
    desk.wait(2)
    desk.worker("a@h")
    desk.worker("t@h", pool="threads")
    desk.worker("mute@h")
    for task_id in ("", "nobody-has-it"):
        desk.preview(RevokeTask(task_id=task_id))
    desk.preview(RevokeTask(task_id="celery-0-1"))
    desk.fleet.answers["revoke"] = {"a@h": {"ok": "tasks celery-0-1 flagged as revoked"}, "t@h": OK}
    desk.act(RevokeTask(task_id="celery-0-1"))
    desk.act(RevokeTask(task_id="celery-0-1", terminate=True))
    desk.fleet.answers["revoke"] = {"a@h": {"error": "no rights"}}
    desk.act(RevokeTask(task_id="celery-0-1"))
    desk.fleet.answers["revoke"] = {}
    desk.act(RevokeTask(task_id="celery-0-1"))
    desk.note("running")
    desk.has_task(
        HeldTask(id="runs", worker="a@h", state="active", name="shop.charge"),
        HeldTask(id="threads", worker="t@h", state="active", name="shop.charge"),
        HeldTask(id="fetched", worker="a@h", state="reserved", name="shop.charge"),
        HeldTask(id="later", worker="a@h", state="scheduled", name="shop.charge"),
    )
    for task_id in ("runs", "threads", "fetched", "later"):
        desk.preview(RevokeTask(task_id=task_id))
        desk.preview(RevokeTask(task_id=task_id, terminate=True))
    desk.fleet.answers["revoke"] = {"a@h": {"ok": "terminate: runs"}, "t@h": {"error": "NotImplementedError('x')"}}
    desk.act(RevokeTask(task_id="runs", terminate=True))
    desk.act(RevokeTask(task_id="threads", terminate=True))
    desk.note("fetched by one that does not answer")
    desk.client.hset(desk.broker.unacked, "tag", fetched(message("fetched-0")))
    desk.preview(RevokeTask(task_id="fetched-0"))
    desk.note("not all could be asked")
    desk.has_task(silent=["mute@h"])
    desk.preview(RevokeTask(task_id="somewhere"))
    desk.fleet.answers["revoke"] = {"a@h": OK}
    desk.act(RevokeTask(task_id="somewhere"))
    desk.evidence(RevokeTask(task_id="somewhere"))
    desk.said += desk.fleet.sent


def beat(desk: Desk, name: str, *, ago_s: float = 1.0, **told: Any) -> None:
    """An entry as beat reports it."""
    entry = {"task": "shop.report", "schedule": "crontab 0 4 * * *", "at": time.time() - ago_s, "host": "h", "pid": 7}
    desk.client.hset(desk.broker.keys.schedules, name, json.dumps(entry | told))


def test_an_entry_of_beats_schedule_is_paused_and_resumed(
    desk_for: Callable[..., Desk], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "ANSWER_S", 0.0)
    desk = desk_for(pause_ttl_s=3_600)
    desk.preview(PauseSchedule(schedule="nightly"))
    beat(desk, "nightly", next="2026-01-02T04:00:00+00:00", last="2026-01-01T04:00:00+00:00")
    beat(desk, "gone", ago_s=600, task="", schedule="")
    beat(desk, "due", next="")
    for wrong in (
        {},
        {"schedule": "nightl"},
        {"schedule": "nightly", "duration_s": 0},
        {"schedule": "nightly", "duration_s": 366 * 86_400},
    ):
        desk.preview(PauseSchedule(**wrong))
    desk.evidence(PauseSchedule(schedule="nightly"))
    desk.both(PauseSchedule(schedule="nightly", duration_s=600, reason="noisy"))
    desk.evidence(PauseSchedule(schedule="nightly"))
    desk.evidence(ResumeSchedule(schedule="nightly"))
    desk.both(PauseSchedule(schedule="nightly"))
    desk.both(PauseSchedule(schedule="gone"))
    desk.preview(PauseSchedule(schedule="due"))
    for name in ("", "due", "nobody"):
        desk.preview(ResumeSchedule(schedule=name))
        desk.preview(RunScheduleNow(schedule=name))
    desk.preview(RunScheduleNow(schedule="gone"))
    desk.both(RunScheduleNow(schedule="nightly"))
    desk.evidence(RunScheduleNow(schedule="nightly"))
    desk.both(ResumeSchedule(schedule="nightly", catch_up=True))
    desk.evidence(ResumeSchedule(schedule="nightly"))
    for catch_up in (False, True):
        desk.act(PauseSchedule(schedule="nightly"))
        beat(desk, "nightly", missed=1_200, paused=True, next="2026-01-02T04:00:00+00:00")
        desk.both(ResumeSchedule(schedule="nightly", catch_up=catch_up))
    desk.both(ResumeSchedule(schedule="gone"))


def test_what_beat_answers_is_said(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    beat(desk, "nightly", missed=2)
    desk.act(PauseSchedule(schedule="nightly"))
    for answer in ({"task_id": "t-1"}, {"error": "no such task"}):
        monkeypatch.setattr(schedules.Schedules, "_answer", lambda _self, _request, answer=answer: answer)
        desk.act(RunScheduleNow(schedule="nightly"))
        desk.act(ResumeSchedule(schedule="nightly", catch_up=True))
        desk.act(PauseSchedule(schedule="nightly"))
