"""Tasks with an ``expires`` of their own: a pause keeps them, and Celery does not run what has expired meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.deployment import Deployment
from support.previews import texts
from support.workers import eventually, worker

import opsdash
from opsdash.services.console import Console


@pytest.mark.long
def test_a_pause_says_which_waiting_tasks_end_before_it_and_celery_revokes_just_those(
    deployment: Deployment, console_for: Callable[..., Console]
) -> None:
    console = console_for(queues=("celery", "emails"))
    gone = deployment.send(3, queue="emails", expires=2)
    kept = deployment.send(4, queue="emails", expires=3_600) + deployment.send(5, queue="emails")
    preview = console.preview(opsdash.PauseProcessing(duration_s=60))
    assert (preview.values()["expiring"], preview.values()["expiring_error"]) == (3, 0)
    assert (
        "Of those that wait, 3 end (their expires) before the pause does: received later, Celery revokes them unrun."
        in texts(preview)
    )
    other = console.preview(opsdash.PauseProcessing(queue="celery", duration_s=60))
    assert (other.values()["expiring"], any("expires" in line for line in texts(other))) == (0, False)
    assert console.preview(opsdash.PauseProcessing(queue="emails", duration_s=7_200)).values()["expiring"] == 7

    deployment.pause()
    with worker(pool="threads", queues=["emails"], env=deployment.env) as running:
        deployment.wait_until_confirmed(running.hostname)
        assert deployment.records.stay(2.2) == 0
        assert deployment.waiting("emails") == 12, "they wait on"
        deployment.resume()
        deployment.records.wait_for(len(kept))
        revoked = [f"Discarding revoked task: sample.short[{task_id}]" for task_id in gone]
        eventually(lambda: all(line in running.log for line in revoked), what="they were received, and not run")
    assert set(deployment.records.times_run()) == set(kept)
