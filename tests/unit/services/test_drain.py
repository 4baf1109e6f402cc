from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from opsdash.model import PauseInfo, Snapshot, WorkerStats
from opsdash.services.drain import drain

NOW = datetime.now(UTC)


def worker(hostname: str, **fields: Any) -> WorkerStats:
    given = {"state": "online", "queues": ("celery", "emails"), "paused": True, **fields}
    return WorkerStats(hostname=hostname, heartbeat_at=NOW, **given)


def paused(*workers: WorkerStats, queue: str | None = None) -> Snapshot:
    info = PauseInfo(queue=queue)
    return Snapshot(
        taken_at=NOW,
        pause=info if queue is None else None,
        paused_queues={queue: info} if queue else {},
        workers=workers,
    )


def test_without_a_pause_there_is_nothing_to_drain():
    assert drain(Snapshot(taken_at=NOW, workers=(worker("a"),))) is None
    assert drain(paused(worker("a"), queue="emails"), "celery") is None


def test_it_names_who_still_works_and_who_has_not_confirmed():
    stand = drain(paused(worker("a"), worker("b", active=4, reserved=2, oldest_s=98.4), worker("c", paused=False)))
    assert (stand.workers, stand.stopped, stand.running, stand.held, stand.done) == (3, 1, 4, 2, False)
    assert stand.message == "1 of 3 workers stopped; b finishes 4 tasks, oldest 1m 38s; c has not confirmed yet."


def test_once_nothing_runs_it_is_safe_to_deploy():
    stand = drain(paused(worker("a"), worker("b"), worker("gone", state="offline", active=3)))
    assert stand.done
    assert stand.message == "All 2 workers that report have stopped; safe to deploy."
    assert drain(paused(worker("a"))).message == "The one worker that reports has stopped; safe to deploy."


def test_a_worker_that_cannot_pause_is_named_and_never_safe():
    stand = drain(paused(worker("a"), worker("b", pausing="the plug-in failed", paused=False)))
    assert not stand.done
    assert "b can't pause: the plug-in failed" in stand.message


def test_a_stalled_worker_that_confirmed_nothing_keeps_it_unsafe():
    assert not drain(paused(worker("a", state="stalled", paused=False))).done


def test_without_any_worker_nothing_is_known_to_have_stopped():
    stand = drain(paused())
    assert not stand.done
    assert stand.message.startswith("No worker reports")


def test_a_queues_pause_is_drained_by_the_workers_of_that_queue():
    on_it = worker("a", paused=False, paused_queues=("emails",))
    elsewhere = worker("b", queues=("celery",), paused=False, active=7)
    stand = drain(paused(on_it, elsewhere, queue="emails"), "emails")
    assert (stand.workers, stand.done) == (1, True)


def test_a_long_list_is_cut_and_counted():
    stand = drain(paused(*(worker(f"w{i}", active=1) for i in range(9))))
    assert stand.message.endswith("; and 6 more.")


def test_a_queues_pause_is_done_although_other_queues_keep_the_worker_busy():
    busy = worker("a", paused=False, paused_queues=("emails",), active=3)
    stand = drain(paused(busy, queue="emails"), "emails")
    assert stand.done
    assert stand.message == (
        "The one worker that reports has stopped taking from emails; 3 tasks of all their queues still running."
    )
