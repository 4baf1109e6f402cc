"""What workers hold, in previews and on the status screen: of which queue, how old, and what is not known of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.deployment import Deployment
from support.previews import texts
from support.reports import report
from support.workers import eventually, worker

from opsdash.operations import ClearQueue, PauseProcessing
from opsdash.services.console import Console

BARE = {"SAMPLE_PLUGIN": "no"}


def told(console: Console, queue: str | None = None, *, pause: bool = False) -> str:
    return "\n".join(texts(console.preview(PauseProcessing(queue=queue) if pause else ClearQueue(queue=queue or ""))))


@pytest.mark.long
def test_a_clear_counts_of_its_workers_tasks_those_of_its_queue_and_names_the_way_to_remove_them(
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
        preview = console.preview(ClearQueue(queue="emails"))
        assert [(f.value, f.exactness) for f in map(preview.figure, ("active", "held"))] == [(1, "exact"), (2, "exact")]
        text = told(console, "emails")
        assert "Not removed by this: 1 running and 2 unstarted tasks of this queue in 1 worker" in text
        assert [line.choice for line in preview.lines if line.text.startswith("Not removed")] == ["everything"]
        deployment.pause("emails")
        assert "0 tasks waiting and 3 unstarted in workers run after the resume." in told(console, pause=True)
        assert "0 tasks waiting and 2 unstarted in workers stay" in told(console, pause=True)


def test_where_no_worker_has_a_task_and_nothing_waits_no_sentence_counts_to_zero(
    console_for: Callable[..., Console],
) -> None:
    console = console_for(queues=("emails",))
    text = told(console, "emails")
    assert "Not removed by this" not in text
    assert "0 tasks waiting" not in told(console, pause=True)


@pytest.mark.long
def test_what_unmanaged_workers_hold_is_said_not_to_be_counted(
    deployment: Deployment, console_for: Callable[..., Console], cli
) -> None:
    console = console_for(queues=("celery",))
    report(deployment.redis, "idle@test", lasts_s=60, active="0", reserved="0")
    with worker(pool="threads", env={**deployment.env, **BARE}) as free:
        eventually(lambda: [w.hostname for w in console.unmanaged.look() or ()] == [free.hostname], what="it answers")
        deployment.send(1, kwargs={"seconds": 60})
        deployment.records.wait_for(1)
        figure = console.preview(ClearQueue(queue="celery")).figure("active")
        assert (figure.value, figure.exactness) == (0, "estimated")
        text = told(console, "celery")
        assert "Not removed by this: at least 0 running" in text
        assert f"1 worker does not report what it holds, which comes on top: {free.hostname}." in text
        assert "nothing runs now in those that report" in told(console, pause=True)
        assert (
            "at least 0 more in workers (running, reserved or scheduled; 1 worker does not report)" in cli("status").out
        )


def test_the_last_report_of_a_silent_worker_is_old_and_not_exact(
    deployment: Deployment, console_for: Callable[..., Console], cli
) -> None:
    console = console_for(queues=("celery",))
    report(
        deployment.redis, "frozen@test", lasts_s=-60, running_by_queue='{"celery": 1}', held_by_queue='{"celery": 2}'
    )
    figure = console.preview(ClearQueue(queue="celery")).figure("active")
    assert (figure.value, figure.exactness) == (1, "old")
    assert figure.age_s is not None
    assert 60 <= figure.age_s < 120
    assert "frozen@test is silent for 1m" in told(console, "celery")
    assert "3 more in workers (running, reserved or scheduled; up to 1m" in cli("status").out
