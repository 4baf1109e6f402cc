"""What a preview says will happen and a receipt says has happened, against what Redis and real workers do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.cli import Result
from support.deployment import Deployment
from support.reports import report
from support.workers import eventually, worker

from opsdash.operations import (
    ClearQueue,
    ClearTasks,
    PauseProcessing,
    RestoreQueue,
    ResumeProcessing,
    WakeWorker,
)
from opsdash.operations.quiet_worker import QuietWorker
from opsdash.services.console import Console
from opsdash.services.queues.receipt import receipt_text


def test_restored_tasks_run_where_the_preview_says_at_the_front_of_their_priority(
    deployment: Deployment, console_for: Callable[..., Console]
) -> None:
    console = console_for(queues=("celery",))
    cleared = [*deployment.send(2, priority=3), *deployment.send(1, priority=9)]
    trash_id = console.run(ClearQueue(queue="celery"), actor="maria", confirm="YES").details["trash_id"]
    urgent, same, least = (deployment.send(number, priority=step) for number, step in ((4, 0), (2, 3), (3, 9)))
    preview = console.preview(RestoreQueue(trash_id=trash_id))
    assert (preview.figure("run_before").value, preview.figure("run_after").value) == (4, 5)
    assert preview.values()["by_priority"] == {"3": 2, "9": 1}
    texts = [line.text for line in preview.lines]
    assert "2 go to the front of priority 3: 4 waiting will run before, 5 waiting after." in texts
    assert "1 go to the front of priority 9: 6 waiting will run before, 3 waiting after." in texts
    console.run(RestoreQueue(trash_id=trash_id), actor="maria", confirm="YES")
    with worker(pool="solo", concurrency=1, env=deployment.env, arguments=["--prefetch-multiplier=1"]):
        deployment.records.wait_for(12)
    ran = [start.task_id for start in deployment.records.starts()]
    assert ran == [*urgent, *cleared[:2], *same, *cleared[2:], *least]


@pytest.mark.long
def test_a_queues_pause_says_how_many_of_the_held_and_running_tasks_are_of_that_queue(
    deployment: Deployment, console_for: Callable[..., Console]
) -> None:
    console = console_for(queues=("celery", "emails"))
    with worker(concurrency=2, env=deployment.env, queues=["celery", "emails"]) as running:
        deployment.send(1, queue="emails", kwargs={"seconds": 60})
        deployment.send(1, queue="celery", kwargs={"seconds": 60})
        deployment.records.wait_for(2)
        deployment.send(2, queue="emails", countdown=600)
        deployment.send(3, queue="celery", countdown=600)
        eventually(lambda: deployment.health(running.hostname)["scheduled"] == "5", what="it holds them")
        preview = console.preview(PauseProcessing(queue="emails"))
        assert (preview.figure("held").value, preview.figure("held").exactness) == (2, "exact")
        assert (preview.figure("active").value, preview.figure("active").exactness) == (1, "exact")
        assert console.preview(PauseProcessing()).figure("held").value == 5
        deployment.redis.hdel(deployment.keys.worker(running.hostname), "held_by_queue")  # an older plug-in
        older = console.preview(PauseProcessing(queue="emails")).figure("held")
        if older.exactness != "exact":  # it has reported anew meanwhile otherwise
            assert (older.value, older.error) == (0, 5)


def test_a_resume_counts_what_will_run_and_leaves_out_what_another_pause_holds(
    deployment: Deployment, console_for: Callable[..., Console]
) -> None:
    console = console_for(queues=("celery", "emails"))
    deployment.pause()
    deployment.pause("emails")
    deployment.send(2, queue="celery")
    deployment.send(3, queue="emails")
    everything = console.preview(ResumeProcessing())
    assert (everything.figure("waiting").value, everything.figure("staying").value) == (2, 3)
    assert [line.kind for line in everything.lines] == ["will", "will_not"]
    one = console.preview(ResumeProcessing(queue="emails"))
    assert (one.figure("waiting").value, one.figure("staying").value) == (0, 3)
    console.run(ResumeProcessing(), actor="maria", confirm="YES")
    with worker(pool="threads", env=deployment.env, queues=["celery", "emails"]):
        deployment.records.wait_for(2)
        assert deployment.records.stay(1) == 0
        assert deployment.waiting("emails") == 3
        alone = console.preview(ResumeProcessing(queue="emails"))
        assert (alone.figure("waiting").value, alone.figure("staying").value) == (3, 0)
    deployment.resume("emails")
    assert console.preview(ResumeProcessing()).figure("waiting").value == 0, "nothing is paused: nothing will change"


def test_a_resume_says_what_stays_in_workers_of_queues_with_their_own_pause(
    deployment: Deployment, console_for: Callable[..., Console]
) -> None:
    console = console_for(queues=("celery", "emails"))
    report(
        deployment.redis,
        "w1@test",
        queues='["celery", "emails"]',
        reserved="5",
        held_by_queue='{"celery": 2, "emails": 3}',
    )
    deployment.pause()
    deployment.pause("emails")
    deployment.send(1, queue="emails")
    preview = console.preview(ResumeProcessing())
    will, will_not = preview.lines
    assert will.text == "0 tasks waiting and 2 unstarted in workers will run."
    assert will_not.text.endswith("1 task waiting and 3 unstarted in workers stay.")
    assert (preview.figure("held").value, preview.figure("held_staying").value) == (2, 3)
    one = console.preview(ResumeProcessing(queue="emails"))
    assert one.lines[-1].text.startswith("All processing and 1 task waiting and 3 unstarted in workers of emails stay")
    deployment.resume()
    deployment.redis.hdel(deployment.keys.worker("w1@test"), "held_by_queue")  # an older plug-in
    older = console.preview(ResumeProcessing(queue="emails"))
    assert (older.figure("held").value, older.figure("held").error) == (0, 5)


def test_a_wake_names_as_paused_only_what_is_paused(
    deployment: Deployment, console_for: Callable[..., Console]
) -> None:
    console = console_for(queues=("celery", "emails"))
    with worker(pool="threads", env=deployment.env, queues=["celery", "emails"]) as quiet:
        eventually(lambda: quiet.hostname in console.get_active_workers(), what="the worker reports")
        console.run(QuietWorker(hostname=quiet.hostname), actor="maria", confirm="YES")
        deployment.send(2, queue="celery")
        deployment.send(3, queue="emails")
        deployment.pause("emails")
        preview = console.preview(WakeWorker(hostname=quiet.hostname))
        assert preview.figure("paused_queues").value == ("emails",)
        assert (preview.figure("waiting").value, preview.figure("staying").value) == (2, 3)
        will, will_not = preview.lines
        assert (will.kind, "emails" in will.text) == ("will", False)
        assert (will_not.kind, "celery " in will_not.text) == ("will_not", False)
        console.run(WakeWorker(hostname=quiet.hostname), actor="maria", confirm="YES")
        deployment.records.wait_for(2)
        assert deployment.records.stay(1) == 0


def test_of_fifty_thousand_tasks_estimates_look_like_estimates_and_others_is_a_row(
    deployment: Deployment, console_for: Callable[..., Console]
) -> None:
    console = console_for(queues=("celery",))
    deployment.send(1, name="sample.rare")
    (rare,) = deployment.redis.lrange("celery", 0, -1)
    common = rare.replace("sample.rare", "sample.short")
    with deployment.redis.pipeline(transaction=False) as pipe:
        for _ in range(50):
            pipe.lpush("celery", *[common] * 1_000)
        pipe.execute()
    preview = console.preview(ClearTasks(queue="celery", task="sample.*"))
    matching = preview.figure("matching")
    assert (matching.exactness, matching.value) == ("estimated", 50_001)
    (kinds,) = preview.breakdowns
    assert kinds.exactness == "estimated"
    assert all(part.error for part in kinds.parts)
    assert kinds.others is not None
    assert kinds.others.error, "the rare kind is in none of the sample, most likely"
    assert any("of others, which were not seen, up to" in line.text for line in preview.lines)
    exact = console.preview(ClearQueue(queue="celery"))
    assert (exact.figure("waiting").value, exact.figure("waiting").exactness) == (50_001, "exact")


def test_a_clear_and_its_undo_end_with_a_receipt_on_the_command_line_and_in_the_log(
    deployment: Deployment, console_for: Callable[..., Console], cli: Callable[..., Result]
) -> None:
    deployment.send(3)
    deployment.send(2, priority=9)
    deployment.send(4, queue="emails")
    console = console_for(queues=("celery", "emails"))
    effect = console.run(ClearQueue(queue="celery"), actor="maria", confirm="YES")
    receipt = effect.details["receipt"]
    assert (receipt["before"], receipt["after"], receipt["at_once"]) == ({0: 3, 9: 2}, {0: 0, 9: 0}, True)
    assert receipt["others"]["emails"] == {"before": 4, "after": 4}
    assert (deployment.waiting(), deployment.waiting("emails")) == (0, 4)
    (entry,) = console.get_recent_operations(limit=1)
    assert entry.details["receipt"]["before"] == {"0": 3, "9": 2}
    deployment.send(1, queue="emails")
    monkey = cli("restore-queue", effect.details["trash_id"], "--confirm", "YES").out
    assert "Receipt: celery 0 → 5 waiting (priority 0: 0 → 3, priority 9: 0 → 2)" in monkey
    assert receipt_text(effect.details).startswith("Receipt: celery 5 → 0 waiting (")
    assert "as they were: emails 4" in receipt_text(effect.details)
