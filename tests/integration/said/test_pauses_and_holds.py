"""Pauses, holds and concurrency limits: what an operator reads before and after each, word for word."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from support.desk import Desk, told_progress
from support.held import put_aside
from support.messages import message

from opsdash.model import Snapshot
from opsdash.model.hold import HeldTasks, Hold, hold_id
from opsdash.operation import TakenBack
from opsdash.operations import (
    ClearHeld,
    HoldTasks,
    HoldTenant,
    LimitConcurrency,
    PauseProcessing,
    ReleaseTasks,
    ReleaseTenant,
    RemoveConcurrencyLimit,
    ResumeProcessing,
    pause_processing,
)
from opsdash.services.queues import release_held


def test_a_pause_of_everything_that_nobody_serves(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.both(PauseProcessing(reason="fire"))
    monkeypatch.setattr(pause_processing, "JUST_S", -1)
    desk.act(PauseProcessing(reason="fire"))
    desk.evidence(PauseProcessing())
    desk.both(ResumeProcessing())
    desk.evidence(PauseProcessing())
    desk.evidence(ResumeProcessing())
    desk.both(ResumeProcessing())


def test_a_pause_counts_what_waits_what_runs_and_what_workers_hold(desk: Desk) -> None:
    desk.wait(3)
    desk.wait(1, queue="emails")
    desk.worker("a@h", active=2, reserved=1, queues='["celery", "emails"]')
    desk.worker("b@h", active=1, scheduled=4, pausing="Redis refuses the script")
    desk.worker("gone@h", silent_s=600, active=1)
    desk.unmanaged("free@h", "other@h")
    desk.both(PauseProcessing(duration_s=900))
    desk.preview(PauseProcessing(duration_s=900, cancel_consumer=True))
    desk.note("again, by who has paused before")
    desk.both(PauseProcessing(without_end=True, reason="fire"))
    desk.both(PauseProcessing(duration_s=60))
    desk.evidence(PauseProcessing())
    desk.both(ResumeProcessing())


def test_a_pause_of_one_queue_leaves_the_others_alone(desk: Desk) -> None:
    desk.wait(2)
    desk.wait(5, queue="emails")
    both = '{"celery": 1, "emails": 2}'
    desk.worker("a@h", reserved=3, held_by_queue=both, active=2, running_by_queue='{"emails": 1, "celery": 1}')
    desk.worker("b@h", queues='["emails"]', reserved=2)
    desk.worker("c@h", reserved=2)
    desk.unmanaged("free@h", queues=("emails",))
    desk.both(PauseProcessing(queue="emails"))
    desk.preview(PauseProcessing())
    desk.note("everything, beside it")
    desk.act(PauseProcessing())
    desk.preview(ResumeProcessing())
    desk.preview(ResumeProcessing(queue="emails"))
    desk.act(ResumeProcessing())
    desk.act(PauseProcessing())
    desk.act(ResumeProcessing(queue="emails"))
    desk.preview(PauseProcessing(queue="nowhere"))
    desk.preview(ResumeProcessing(queue="nowhere"))


def test_unmanaged_workers_are_stopped_with_a_pause_where_asked(desk: Desk) -> None:
    desk.unmanaged("free@h", "mute@h", queues=("celery", "emails"), active=1)
    desk.fleet.answers["cancel_consumer"] = {"free@h": {"ok": "no longer consuming"}, "mute@h": None}
    desk.worker("a@h")
    desk.both(PauseProcessing(cancel_consumer=True))
    desk.said += desk.fleet.sent
    desk.fleet.sent.clear()
    desk.both(ResumeProcessing())
    desk.said += desk.fleet.sent
    desk.note("nobody there, and nobody to ask")
    desk.unmanaged()
    desk.act(PauseProcessing(cancel_consumer=True))
    desk.fleet.others = None
    desk.both(PauseProcessing(cancel_consumer=True))


def test_durations_that_can_not_be_meant(desk_for: Callable[..., Desk]) -> None:
    desk = desk_for(pause_ttl_s=60)
    for kind, named in (
        (PauseProcessing, {}),
        (HoldTasks, {"task": "shop.charge"}),
        (HoldTenant, {"tenant": "acme"}),
    ):
        for wrong in ({"duration_s": 0}, {"duration_s": 365 * 86_400 + 1}, {"duration_s": 5, "without_end": True}):
            desk.preview(kind(**named, **wrong))
        desk.preview(kind(**named, duration_s=365 * 86_400))
        desk.preview(kind(**named, duration_s=1))
    for seconds in (0, 1, 365 * 86_400, 365 * 86_400 + 1):
        desk.preview(LimitConcurrency(task="shop.charge", most=2, duration_s=seconds))
    for most in (None, 0, 10_001):
        desk.preview(LimitConcurrency(task="shop.charge", most=most))
    for task in ("", "*", "**?"):
        desk.preview(LimitConcurrency(task=task, most=1))
        desk.preview(HoldTasks(task=task))
    for tenant in ("", "  ", "*"):
        desk.preview(HoldTenant(tenant=tenant))
    desk.preview(RemoveConcurrencyLimit())
    desk.preview(HoldTasks(task="shop.charge", queue="nowhere"))


def test_a_run_leaves_a_pause_that_stands_and_takes_back_its_own(desk: Desk) -> None:
    mine, now = PauseProcessing(duration_s=600), datetime.now(UTC)

    def take_back(operation: PauseProcessing, user: str = "maria", **told: object) -> None:
        before = told.pop("before", {})
        done = TakenBack(user=user, since=now - timedelta(seconds=5), before=before, effect=told)
        found = operation.take_back(desk.services, done)
        desk.said.append(f"  {found}" if isinstance(found, str) else f"  takes back with {found}")

    desk.said.append(f"  stands: {mine.standing(desk.services) or 'none'}; before: {mine.before(desk.services)}")
    take_back(mine)
    effect = desk.act(mine)
    assert effect is not None
    desk.said.append(f"  stands: {PauseProcessing(duration_s=590).standing(desk.services)}")
    desk.said.append(f"  stands: {PauseProcessing(duration_s=610).standing(desk.services) or 'none'}")
    desk.said.append(f"  stands: {PauseProcessing(without_end=True).standing(desk.services) or 'none'}")
    take_back(mine)
    take_back(mine, user="otto")
    take_back(mine, epoch=effect.details["epoch"])
    take_back(mine, epoch=99)
    for ends in (now + timedelta(days=400), now - timedelta(days=1), None):
        told = {"pause": {"expires_at": ends and ends.isoformat(), "reason": "before"}}
        take_back(mine, before=told)
    desk.note("of one queue, without an end")
    one = PauseProcessing(queue="emails", without_end=True, reason="mail is late")
    desk.act(one)
    desk.said.append(f"  stands: {PauseProcessing(queue='emails', duration_s=600).standing(desk.services)}")
    desk.said.append(f"  before: {sorted(one.before(desk.services)['pause'])}")
    take_back(PauseProcessing(queue="emails"), epoch=99)
    take_back(PauseProcessing(queue="celery"))
    desk.client.set(desk.broker.keys.pause("celery"), "1")
    desk.said.append(f"  stands: {PauseProcessing(queue='celery').standing(desk.services)}")
    take_back(PauseProcessing(queue="celery"), epoch=99)


def test_queues_with_pauses_of_their_own_are_named_and_many_of_them_counted(desk_for: Callable[..., Desk]) -> None:
    names = tuple(f"q{at:02}" for at in range(12))
    desk = desk_for(queues=names)
    for at, name in enumerate(names):
        desk.wait(at % 3, queue=name)
        desk.services.pause.pause(name, by="otto", reason="", ttl_s=None if at % 2 else 3_600)
    desk.worker("a@h", reserved=3, queues='["q00", "q11"]', held_by_queue='{"q00": 1, "q11": 2}')
    desk.preview(PauseProcessing())
    desk.services.pause.pause(None, by="otto", reason="", ttl_s=3_600)
    desk.preview(ResumeProcessing())
    desk.act(ResumeProcessing())
    for name in names[1:]:
        desk.services.pause.resume(name)
    desk.act(ResumeProcessing())


def test_a_hold_of_tasks_from_its_preview_to_its_release(desk: Desk) -> None:
    desk.wait(3)
    desk.wait(1, queue="emails")
    desk.wait(2, task="shop.send")
    desk.worker("a@h")
    desk.worker("old@h", holding="", version="0.9")
    desk.worker("full@h", holding="Redis is full")
    desk.worker("gone@h", silent_s=600, reserved=2)
    desk.unmanaged("free@h", "other@h")
    desk.suggest(HoldTasks())
    desk.preview(HoldTasks(task="shop.*"))
    desk.both(HoldTasks(task="shop.charge", queue="emails", without_end=True, reason="slow"))
    desk.evidence(HoldTasks(task="shop.charge"))
    desk.both(HoldTasks(task="shop.charge", duration_s=900))
    desk.evidence(HoldTasks(task="shop.charge"))
    desk.note("longer")
    desk.both(HoldTasks(task="shop.charge"))
    desk.suggest(ReleaseTasks())
    desk.preview(ReleaseTasks(task="shop.send"))
    desk.both(ReleaseTasks(task="shop.charge"))
    desk.evidence(ReleaseTasks(task="shop.charge"))
    desk.evidence(ReleaseTasks(task="shop.charge", queue="emails"))
    desk.both(ReleaseTasks(task="shop.charge", queue="emails"))
    desk.preview(ReleaseTasks(task="shop.charge", queue="emails"))
    desk.fleet.others = None
    desk.preview(HoldTasks(task="nobody.knows"))


def test_many_workers_that_hold_nothing_are_counted(desk: Desk) -> None:
    for at in range(7):
        desk.worker(f"w{at}@h", holding="", version="")
    desk.unmanaged(*(f"free{at}@h" for at in range(6)))
    desk.both(HoldTasks(task="shop.charge"))


def test_what_a_hold_has_set_aside_is_released_or_cleared(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    hold = desk.hold("task", "shop.charge", held_tasks=3)
    desk.wait(2)
    desk.services.pause.pause("celery", by="otto", reason="", ttl_s=600)
    desk.preview(ReleaseTasks(task="shop.charge"))
    desk.both(ClearHeld(task="shop.charge"))
    desk.evidence(ClearHeld(task="shop.charge"))
    desk.both(ClearHeld(task="shop.charge"))
    desk.preview(ClearHeld(task="shop.charge", tenant="acme"))
    desk.hold("task", "shop.charge", held_tasks=1)
    desk.evidence(ReleaseTasks(task="shop.charge"))
    desk.both(ReleaseTasks(task="shop.charge"))
    desk.waits("celery")
    desk.note("of two queues, while more come")
    more = desk.hold("task", "shop.charge", held_tasks=2)
    put_aside(desk.broker, more, message("mail", "shop.charge"), queue="emails")
    desk.preview(ReleaseTasks(task="shop.charge"))
    limit = desk.hold("limit", "shop.send", most=2, held_tasks=1)
    mover = release_held.HeldTasksMover.release
    monkeypatch.setattr(
        release_held.HeldTasksMover,
        "release",
        lambda *args, **options: dataclasses.replace(mover(*args, **options), ended=False),
    )
    desk.act(ReleaseTasks(task="shop.charge"))
    desk.act(RemoveConcurrencyLimit(task="shop.send"))
    assert limit.kind == "limit"
    desk.said.append(f"  {hold.id == hold_id('task', 'shop.charge', '')}")


def test_a_hold_of_a_tenant(desk_for: Callable[..., Desk]) -> None:
    desk = desk_for(tenant_key="customer", undo_window_s=0)
    desk.wait(2, customer="acme")
    desk.wait(1, customer="other")
    desk.worker("a@h")
    desk.both(HoldTenant(tenant="acme", duration_s=900))
    desk.said += [f"  held by {hold.key}, {hold.reason or 'no reason'}" for hold in desk.services.holds.read().holds]
    desk.evidence(HoldTenant(tenant="acme"))
    desk.evidence(HoldTenant(tenant="other"))
    desk.both(HoldTenant(tenant="acme", without_end=True))
    desk.suggest(ReleaseTenant())
    desk.evidence(ReleaseTenant(tenant="acme"))
    desk.preview(ReleaseTenant(tenant="other"))
    desk.hold("tenant", "acme", held_tasks=2)
    desk.both(ClearHeld(tenant="acme"))
    desk.hold("tenant", "acme", held_tasks=1)
    desk.both(ReleaseTenant(tenant="acme"))
    desk.preview(ReleaseTenant(tenant="acme"))
    for tenant in ("none", "other"):
        desk.preview(HoldTenant(tenant=tenant))


def test_a_concurrency_limit_from_its_preview_to_its_end(desk: Desk) -> None:
    desk.wait(1)
    desk.worker("a@h", limited="{}")
    desk.worker("old@h")
    desk.unmanaged("free@h")
    desk.suggest(LimitConcurrency())
    desk.both(LimitConcurrency(task="shop.charge", most=1, duration_s=900))
    desk.both(LimitConcurrency(task="shop.charge", most=1_200))
    desk.evidence(LimitConcurrency(task="shop.charge"))
    desk.evidence(LimitConcurrency(task="shop.send"))
    desk.preview(LimitConcurrency(task="shop.sent", most=3))
    desk.suggest(RemoveConcurrencyLimit())
    desk.preview(RemoveConcurrencyLimit(task="shop.send"))
    desk.hold("limit", "shop.charge", most=2, held_tasks=3)
    desk.evidence(RemoveConcurrencyLimit(task="shop.charge"))
    desk.both(RemoveConcurrencyLimit(task="shop.charge"))
    desk.evidence(RemoveConcurrencyLimit(task="shop.charge"))
    desk.preview(RemoveConcurrencyLimit(task="shop.charge"))
    desk.waits("celery")
    desk.fleet.others = None
    desk.client.delete(desk.broker.keys.workers)
    desk.preview(LimitConcurrency(task="shop.charge", most=2))


def test_what_is_being_released_is_gone_on_with(desk: Desk) -> None:
    for kind, name, operation in (
        ("task", "shop.charge", ReleaseTasks(task="shop.charge")),
        ("limit", "shop.send", RemoveConcurrencyLimit(task="shop.send")),
    ):
        hold = desk.hold(kind, name, held_tasks=1, **({"most": 2} if kind == "limit" else {}))
        desk.client.hset(desk.broker.keys.hold, f"{hold.id}!", '{"by": "otto", "at": "2026-01-01T00:00:00+00:00"}')
        desk.preview(operation)
        desk.evidence(operation)


def test_how_far_workers_have_come(desk: Desk) -> None:
    hold = Hold(id=hold_id("task", "shop.charge", ""), kind="task", name="shop.charge")
    limit = Hold(id=hold_id("limit", "shop.charge"), kind="limit", name="shop.charge", most=1_200)
    empty = Snapshot.example(holds=(), concurrency_limits=())
    hold_tasks, limit_tasks = HoldTasks(task="shop.charge"), LimitConcurrency(task="shop.charge", most=3)
    desk.said += [told_progress(hold_tasks.progress(empty)), told_progress(limit_tasks.progress(empty))]
    desk.said.append(told_progress(HoldTenant(tenant="acme").progress(empty)))
    for workers in (1, 2, 3):
        held = HeldTasks(hold=hold, workers=workers, of=2, held=1_300)
        limited = HeldTasks(hold=limit, workers=workers, of=2, held=1, shares={"a@h": 1_000, "b@h": 100})
        found = dataclasses.replace(empty, holds=(held,), concurrency_limits=(limited,))
        desk.said += [told_progress(hold_tasks.progress(found)), told_progress(limit_tasks.progress(found))]
    desk.said.append(told_progress(PauseProcessing().progress(dataclasses.replace(empty, pause=None))))
