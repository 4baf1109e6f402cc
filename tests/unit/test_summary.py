"""The one screen of ``opsdash status``, from snapshots as they come."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from rich.console import Console as Screen

from opsdash.cli.summary import MOST_QUEUES, pace_lines, summarize
from opsdash.model import (
    Approval,
    AuditEntry,
    Disagreement,
    FailureGroup,
    FailureOverview,
    HeldTasks,
    Hold,
    ObjectiveStatus,
    OtherWorker,
    PauseInfo,
    QueuePace,
    QueueStats,
    RateLimit,
    Snapshot,
    Status,
    TenantDrift,
    TrashEntry,
    Wait,
    WorkerStats,
)

NOW = datetime(2026, 11, 25, 3, 0, tzinfo=UTC)
CALM = Snapshot(taken_at=NOW, queues=(QueueStats(name="celery", waiting=3),), redis_ms=0.4, redis_age_s=0.0)


def worker(name: str, **over: Any) -> WorkerStats:
    return WorkerStats(hostname=name, heartbeat_at=NOW, **{"state": "online", "queues": ("celery",), **over})


def text(snapshot: Snapshot) -> str:
    screen = Screen(width=200, file=io.StringIO())
    with screen.capture() as shown:
        for line in summarize(snapshot, "redis").shown:
            screen.print(line)
    return shown.get()


def warnings(snapshot: Snapshot) -> list[str]:
    return summarize(snapshot, "redis").warnings


def test_a_calm_deployment_takes_few_lines_and_warns_of_nothing():
    shown = text(replace(CALM, workers=(worker("w1", active=2), worker("w2", state="stalled"))))
    assert "Processing Status: RUNNING" in shown
    assert "1 worker online, 1 stalled, 0 offline; tasks: 2 running, 0 reserved, 0 scheduled" in shown
    assert len(shown.splitlines()) < 10
    assert warnings(CALM) == []


def test_what_waits_for_a_second_person_and_what_can_be_undone_is_counted():
    approval = Approval(
        id="1", operation="clear_queue", title="Clear Queue", params={}, by="maria", at=NOW, expires_at=NOW
    )
    shown = text(replace(CALM, approvals=(approval,), trash=(TrashEntry(id="a", queue="celery", count=1_204),)))
    assert "1 pending approval: opsdash approvals" in shown
    assert "1 clear can be undone, 1,204 tasks: opsdash trash" in shown
    assert "2 pending approvals" in text(replace(CALM, approvals=(approval, approval)))


def test_two_hundred_queues_stay_one_screen_and_those_in_trouble_are_never_among_the_others():
    queues = tuple(QueueStats(name=f"q{n}", waiting=n) for n in range(200))
    queues += (QueueStats(name="paused", waiting=0, paused=True), QueueStats(name="odd", waiting=0, error="a hash"))
    shown = text(replace(CALM, queues=queues))
    assert len(shown.splitlines()) < 30
    for name in ("odd", "paused", "q199"):
        assert f"\n{name} " in shown
    rest = sum(range(200 - MOST_QUEUES + 2))
    assert f"187 more queues with {rest:,} tasks: opsdash queues" in shown


def test_forty_workers_without_the_plug_in_are_a_few_lines():
    lines = warnings(replace(CALM, others=tuple(OtherWorker(hostname=f"w{n}", queues=("celery",)) for n in range(40))))
    assert lines[0] == "w0 is not managed by opsdash: a pause does not stop it. It takes tasks from celery"
    assert lines[5:] == ["and 35 more workers like these"]


def test_a_worker_that_can_not_pause_is_named():
    assert warnings(replace(CALM, workers=(worker("w1", pausing="too old"),))) == ["w1 can't pause: too old"]


def test_drift_and_what_waits_for_the_database_are_warnings():
    drift = TenantDrift(rows=3, synced_rows=2, keys=2, synced_keys=2)
    lines = warnings(
        replace(CALM, tenant_drift=drift, spooled=4, database_error="The database is down.", silent=("database",))
    )
    assert lines == [
        "Tenant configs in database and Redis differ: 1 tenant more in the database.",
        "4 steps of the audit log wait in the outbox for the database",
        "The database is down.",
    ]


def test_stale_figures_say_how_old_they_are():
    pause = PauseInfo(queue=None, by="maria", at=NOW, expires_at=NOW + timedelta(hours=1), reason="fire")
    gone = replace(CALM, pause=pause, redis_error="Redis did not answer.", redis_age_s=14.2)
    assert warnings(gone) == ["Redis did not answer. Figures are 14s old."]
    assert "PAUSED by maria since 2026-11-25 03:00:00 UTC until 2026-11-25 04:00:00 UTC (fire)" in text(gone)
    assert warnings(replace(gone, redis_age_s=None))[0].endswith("There are no figures yet.")


def test_a_queue_that_no_worker_takes_tasks_from_says_so_and_is_never_among_the_others_while_something_waits():
    queues = tuple(QueueStats(name=f"q{n}", waiting=n) for n in range(100))
    queues += (
        QueueStats(name="lost", waiting=1, consumed=False),
        QueueStats(name="held", waiting=1, consumed=False, paused=True),
    )
    lines = text(replace(CALM, queues=queues)).splitlines()
    assert next(line for line in lines if line.startswith("lost ")).rstrip().endswith("no consumer")
    assert next(line for line in lines if line.startswith("held ")).rstrip().endswith("paused, no consumer")


def test_a_disagreement_about_the_layout_is_a_warning():
    conflict = Disagreement(fact="separator", said={"':'": ("w1@x",), "'|'": ("the Celery app",)}, setting="SETTING")
    assert warnings(replace(CALM, layout_conflicts=(conflict,))) == [conflict.message]
    assert conflict.message.endswith("Make them agree, or say it by SETTING.")
    wrong = replace(conflict, said={"':'": ("SETTING",), "'|'": ("w1@x",)})
    assert wrong.message.endswith("Make them agree, or correct SETTING.")


def test_a_queue_s_own_pause_says_by_whom_until_when_and_why_also_below_a_pause_of_everything():
    own = PauseInfo(queue="emails", by="maria", reason="bad template", at=NOW, expires_at=NOW + timedelta(hours=2))
    alone = replace(CALM, paused_queues={"emails": own})
    story = (
        "Queue emails has its own pause, by maria since 2026-11-25 03:00:00 UTC until 2026-11-25 05:00:00 UTC"
        " (bad template)."
    )
    assert f"{story} No worker reports" in text(alone)
    assert text(alone).splitlines()[0] == (
        "Processing Status: RUNNING except emails: this queue has its own pause (no worker is online)"
    )
    both = text(replace(alone, pause=PauseInfo(queue=None, by="ben", at=NOW)))
    assert f"{story}\n" in both
    assert both.count("No worker reports") == 1


def test_the_last_operation_names_its_queue():
    last = AuditEntry(
        id=UUID(int=1),
        request_id=UUID(int=2),
        timestamp=NOW,
        user="maria",
        operation="pause_processing",
        status=Status.SUCCESS,
        details={"params": {"queue": "emails"}},
    )
    shown = text(replace(CALM, operations=(last,)))
    assert "maria Pause queue emails success" in shown
    refused = replace(last, id=UUID(int=3), user="ben", status=Status.REFUSED)
    assert text(replace(CALM, operations=(refused, last))) == shown, "what was refused hides nothing that was done"


def test_which_builds_run_is_told_where_workers_name_them_and_how_many_are_drained_while_something_is_held():
    plain = (worker("a"), worker("b"))
    assert "uild" not in text(replace(CALM, workers=plain))
    mixed = (worker("a", build="1.41", uptime_s=900), worker("b", build="1.42", uptime_s=60), worker("c", uptime_s=5))
    assert "Build 1.41: 1 worker; build 1.42: 1 worker; no build named: 1 worker." in text(replace(CALM, workers=mixed))
    workers = tuple(
        worker(f"old-{n}", build="1.41", uptime_s=900, paused=True, active=int(n == 0), scheduled=3) for n in range(12)
    )
    new = worker("new", build="1.42", uptime_s=3, paused=True, reserved=1)
    assert "Build 1.41: drained 11 of 12; build 1.42: drained 0 of 1." in text(replace(CALM, workers=(*workers, new)))


def test_a_worker_counts_as_drained_only_by_its_own_word():
    drained = {"build": "1.41", "draining": True}
    assert worker("a", **drained).drained
    assert worker("a", queues=("celery",), paused_queues=("celery", "emails")).drained
    for over in (
        {"draining": False},
        {"state": "silent"},
        {"state": "offline"},
        {"active": 1},
        {"reserved": 1},
        {"pausing": "the pause flag can't be read"},
        {"draining": False, "queues": ("celery", "emails"), "paused_queues": ("celery",)},
    ):
        assert not worker("a", **{**drained, **over}).drained


def test_an_act_on_another_broker_is_not_this_ones_last_operation():
    def entry(title: str, broker: str | None) -> AuditEntry:
        details = {} if broker is None else {"broker": broker}
        return AuditEntry(
            id=uuid4(),
            timestamp=NOW,
            user="maria",
            operation=title,
            status=Status.SUCCESS,
            details=details,
            request_id=uuid4(),
        )

    snapshot = replace(
        CALM, operations=(entry("resume_processing", "other:6379/0"), entry("clear_queue", "here:6379/0"))
    )
    screen = Screen(width=200, file=io.StringIO())
    with screen.capture() as shown:
        for line in summarize(snapshot, "redis", "here:6379/0").shown:
            screen.print(line)
    assert "Clear Queue" in shown.get()
    assert "Resume" not in shown.get()


def test_workers_that_are_drained_are_told():
    output = text(replace(CALM, workers=(worker("w1", draining=True), worker("w2"))))
    assert "1 worker takes no tasks: it is about to be stopped." in output


def test_failed_tasks_are_counted_and_the_line_says_where_they_are_shown():
    group = FailureGroup(
        fingerprint="0a",
        kind="failed",
        task="shop.charge",
        error="E",
        place="",
        count=12,
        kept=3,
        first_at=NOW,
        last_at=NOW,
    )
    screen = Screen(width=200, file=io.StringIO())
    with screen.capture() as shown:
        for line in summarize(CALM, "redis", failed=FailureOverview(total=3, not_kept=9, groups=(group,))).shown:
            screen.print(line)
    said = "3 failed tasks kept; 9 more were counted and not kept, the last one 2026-11-25 03:00:00 UTC, shop.charge"
    assert f"{said}: opsdash failed" in shown.get()
    assert "failed" not in text(CALM)


def test_rate_limits_that_hold_have_a_line_since_they_make_tasks_wait() -> None:
    limits = [RateLimit(task=f"t{n}", rate="1/m", per_s=1 / 60, until=1.0) for n in range(7)]
    said = [str(shown) for shown in summarize(replace(CALM, rate_limits=tuple(limits[:1])), "redis").shown]
    assert "Rate limits: t0 1/m: opsdash rate-limits" in said
    said = [str(shown) for shown in summarize(replace(CALM, rate_limits=tuple(limits)), "redis").shown]
    assert "Rate limits: t0 1/m, t1 1/m, t2 1/m, t3 1/m, t4 1/m and 2 more: opsdash rate-limits" in said
    assert "Rate limits" not in text(CALM)


def test_concurrency_limits_have_a_line_with_what_waits_for_them() -> None:
    one = HeldTasks(hold=Hold(id="l", kind="limit", name="shop.*", most=3), held=12)
    limited = replace(CALM, concurrency_limits=(one,))
    said = "Concurrency limits: shop.* 3 at once, 12 tasks wait: opsdash concurrency-limits"
    assert said in [str(shown) for shown in summarize(limited, "redis").shown]
    assert "Concurrency limits" not in text(CALM)


def test_objectives_and_queues_that_fall_behind_have_a_line_those_in_trouble_first() -> None:
    kept = ObjectiveStatus(wanted=0.9, within_s=10.0, over_s=3_600, share=1.0, tasks=4)
    missed = ObjectiveStatus(wanted=0.95, within_s=30.0, over_s=3_600, share=0.7, tasks=4)
    paces = {
        "a": QueuePace(objective=kept, drained_in_s=734.0, falling_behind=False),
        "b": QueuePace(objective=missed, falling_behind=True),
        "c": QueuePace(waits=(Wait(span_s=300, unknown=3),)),
    }
    queues = tuple(QueueStats(name=name, waiting=10, pace=pace) for name, pace in paces.items())
    assert [str(line) for line in pace_lines(queues)] == [
        "b: 95 % within 30s over 1h: 70 %; falling behind",
        "a: 90 % within 10s over 1h: 100 %; drained in about 12 min",
        "Some tasks don't say when they were sent: call opsdash.worker.install(app) where tasks are sent",
    ]
