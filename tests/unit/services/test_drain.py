from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from opsdash.model import OtherWorker, PauseInfo, Snapshot, WorkerStats
from opsdash.services.drain import Pace, drain

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


def test_a_worker_without_the_plug_in_is_named_and_it_is_never_safe_while_it_may_work():
    free = OtherWorker(hostname="free", queues=("celery",))
    stand = drain(replace(paused(worker("a")), others=(free,)))
    assert not stand.done
    assert stand.message == "The one worker that reports has stopped. Not held by opsdash: free."
    told = OtherWorker(hostname="free", queues=(), active=0)
    assert drain(replace(paused(worker("a")), others=(told,))).message.endswith("stopped; safe to deploy.")
    busy = OtherWorker(hostname="free", queues=(), active=1)
    assert not drain(replace(paused(worker("a")), others=(busy,))).done


def test_a_worker_without_the_plug_in_keeps_only_the_queues_it_serves_from_being_done():
    other = OtherWorker(hostname="free", queues=("reports",))
    assert drain(replace(paused(worker("a"), queue="emails"), others=(other,)), "emails").done
    both = OtherWorker(hostname="free", queues=("reports", "emails"))
    assert not drain(replace(paused(worker("a"), queue="emails"), others=(both,)), "emails").done


def test_while_nobody_could_be_asked_for_other_workers_it_says_so_and_is_not_done():
    stand = drain(replace(paused(worker("a")), others=None))
    assert not stand.done
    assert stand.message.endswith("Whether workers without the plug-in run is not known.")


def test_only_so_many_workers_without_the_plug_in_are_named():
    others = tuple(OtherWorker(hostname=f"w{i}", queues=("celery",)) for i in range(40))
    assert "more." in drain(replace(paused(worker("a")), others=others)).message
    assert len(drain(replace(paused(worker("a")), others=others)).message) < 300


def test_the_estimate_follows_the_pace_since_the_pause_began():
    pace, pause = Pace(), PauseInfo(queue=None, epoch=7)
    assert pace.drained_in_s(pause, [worker("a", active=8)], 100.0) is None  # nothing has ended yet
    assert pace.drained_in_s(pause, [worker("a", active=6)], 110.0) == 30.0  # two in ten seconds, six to go
    assert pace.drained_in_s(pause, [worker("a", active=0)], 140.0) == 0.0
    assert pace.drained_in_s(replace(pause, epoch=8), [worker("a", active=4)], 150.0) is None  # another pause
    assert pace.drained_in_s(None, [worker("a", active=1)], 160.0) is None
    slow = drain(replace(paused(worker("a", active=6)), drained_in_s=30.0))
    assert slow.message.endswith("At this pace nothing runs in about 30s.")
