"""Figures against the truth: what opsdash says beside what Redis and ``celery inspect`` say."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest
from celery.signals import before_task_publish
from support.cli import Result
from support.deployment import Deployment
from support.workers import GREEN, Worker, eventually, worker

from opsdash.api.metrics import Meter
from opsdash.model import HistoryPoint
from opsdash.operations import ClearQueue
from opsdash.services.console import Console
from opsdash.services.monitoring import history
from opsdash.worker.sent_time import UID, stamp_sent_messages


def inspected(deployment: Deployment, running: Worker) -> dict[str, int]:
    """What ``celery inspect`` counts on one worker."""
    inspect = deployment.celery.control.inspect([running.hostname], timeout=5)
    kinds: dict[str, Callable[[], Any]] = {
        "active": inspect.active,
        "reserved": inspect.reserved,
        "scheduled": inspect.scheduled,
    }
    return {kind: len((ask() or {}).get(running.hostname, ())) for kind, ask in kinds.items()}


@pytest.mark.long
def test_what_workers_hold_is_the_sum_of_what_stands_beside_it_and_of_what_celery_inspect_says(
    deployment: Deployment, console_for: Callable[..., Console], cli: Callable[..., Result]
) -> None:
    console = console_for(queues=("celery",))
    with worker(concurrency=2, env=deployment.env) as running:
        deployment.send(5, kwargs={"seconds": 60})
        deployment.send(3, countdown=600)
        deployment.records.wait_for(2)
        expected = {"active": 2, "reserved": 3, "scheduled": 3}
        eventually(lambda: inspected(deployment, running) == expected, what="celery inspect sees them")

        def reported() -> dict[str, int]:
            return {kind: sum(getattr(w, kind) for w in console.workers.read()) for kind in expected}

        eventually(lambda: reported() == expected, what="the worker reports them")
        output = cli("status").out
        assert "8 more in workers (running, reserved or scheduled)" in output
        assert "tasks: 2 running, 3 reserved, 3 scheduled" in output
        # Two run, and were acknowledged before they began: Redis counts the other six.
        assert (deployment.unacked(), console.snapshot().unacked) == (6, 6)
        assert "; 6 tasks fetched and not acknowledged yet" in output
        assert "8 more in workers" in cli("queues").out


@pytest.mark.long
def test_a_worker_that_was_told_to_take_no_more_tasks_is_nowhere_called_online(
    deployment: Deployment, console_for: Callable[..., Console], cli: Callable[..., Result]
) -> None:
    console = console_for(queues=("celery",))
    with (
        worker(pool="threads", env=deployment.env, queues=["celery"]) as quiet,
        worker(pool="threads", env=deployment.env, queues=["celery"]) as other,
    ):
        eventually(lambda: len(console.get_active_workers()) == 2, what="both report")
        assert "2 workers online, 0 offline" in cli("status").out
        deployment.celery.control.cancel_consumer("celery", destination=[quiet.hostname], reply=True)
        eventually(lambda: deployment.health(quiet.hostname)["queues"] == "[]", what="it reports no queue")
        done = cli("status")
        assert "1 worker online, 1 quiet, 0 offline" in done.out
        assert f"{quiet.hostname} takes no tasks" in done.err
        (line,) = [line for line in cli("workers").out.splitlines() if line.startswith(quiet.hostname)]
        assert re.search(r"quiet: takes no tasks\b", line)
        (plain,) = [line for line in cli("workers").out.splitlines() if line.startswith(other.hostname)]
        assert " online " in plain


@pytest.mark.long
def test_a_queues_pause_counts_the_workers_of_that_queue_and_those_that_still_run_what_they_took_from_it(
    deployment: Deployment, console_for: Callable[..., Console], cli: Callable[..., Result]
) -> None:
    console = console_for(queues=("celery", "emails"))
    with (
        worker(pool="threads", env=deployment.env, queues=["celery"]),
        worker(pool="threads", env=deployment.env, queues=["celery", "emails"]) as both,
    ):
        eventually(lambda: len(console.get_active_workers()) == 2, what="both report")
        deployment.pause("emails")
        deployment.wait_until_confirmed(both.hostname)
        assert "The one worker on emails has stopped taking from it; nothing of it runs" in cli("status").out
        deployment.resume("emails")
        deployment.send(1, queue="emails", kwargs={"seconds": 20})
        deployment.records.wait_for(1)
        deployment.celery.control.cancel_consumer("emails", destination=[both.hostname], reply=True)
        eventually(lambda: "emails" not in deployment.health(both.hostname)["queues"], what="it takes none any more")
        deployment.pause("emails")
        deployment.wait_until_confirmed(both.hostname)
        eventually(lambda: deployment.health(both.hostname)["active"] == "1", what="it reports what it runs")
        assert f"{both.hostname} finishes 1 task" in cli("status").out, "it runs one that it took before"


@pytest.mark.long
def test_while_a_worker_that_was_alone_is_silent_the_history_has_a_gap_and_no_zero(
    deployment: Deployment, console_for: Callable[..., Console], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "SERIES", (history.Series("short", 100, 600),))
    console = console_for(queues=("celery",))

    def recorded() -> HistoryPoint | None:
        console.history.record(console.snapshot())
        points = console.history.read(60)
        return points[-1] if points else None

    with worker(pool="threads", env=deployment.env) as running:
        eventually(lambda: (at := recorded()) and at.online == 1 and at.started_per_s.get("celery") == 0.0, what="zero")
        os.kill(running.pid, signal.SIGSTOP)
        eventually(lambda: (at := recorded()) and at.online is None, what="it is silent", timeout_s=20)
        last = recorded()
        assert last is not None
        assert (last.active, last.slots, last.started_per_s, last.failed_per_s) == (None, None, {}, None)
        os.kill(running.pid, signal.SIGCONT)
        eventually(lambda: (at := recorded()) and at.online == 1, what="it reports again")


def test_the_age_of_the_oldest_is_one_figure_whoever_tells_it(
    deployment: Deployment, console_for: Callable[..., Console], cli: Callable[..., Result]
) -> None:
    console = console_for(queues=("celery",))
    now = time.time()
    for ago_s in (900, 90_000, 30):  # the first is the next to run; one behind it was sent long before
        deployment.celery.send_task("sample.short", headers={"sent_at": now - ago_s})
    table = console.snapshot().queues[0].oldest_s
    preview = console.preview(ClearQueue(queue="celery"))
    console.history.record(console.snapshot())
    recorded = console.history.read()[-1].oldest_s["celery"]
    meter = Meter(console)
    console.poller.refresh()
    (metric,) = [
        sample.value
        for family in meter.collect()
        for sample in family.samples
        if sample.name == "opsdash_queue_oldest_seconds"
    ]
    assert table is not None
    for value in (preview.values()["oldest_s"], recorded, metric):
        assert value == pytest.approx(table, abs=10)
    assert 900 <= table < 910
    assert re.search(r"^celery .* 15m \d+s ", cli("queues").out, re.MULTILINE)
    assert any("15m" in line.text for line in preview.lines)


def test_of_stock_celery_the_age_is_told_as_at_least_everywhere(
    deployment: Deployment, console_for: Callable[..., Console]
) -> None:
    console = console_for(queues=("celery",))
    before_task_publish.disconnect(dispatch_uid=UID)
    try:
        deployment.send(1)
    finally:
        stamp_sent_messages()
    console.snapshot()
    eventually(lambda: (console.snapshot().queues[0].oldest_s or 0) > 1, what="it has waited a second")
    (queue,) = console.snapshot().queues
    preview = console.preview(ClearQueue(queue="celery"))
    assert (queue.oldest_at_least, preview.values()["oldest_at_least"]) == (True, True)
    assert any("≥ 1s" in line.text or "≥ 2s" in line.text for line in preview.lines)


def test_an_empty_trash_says_so_and_one_that_can_not_be_read_is_not_called_empty(
    deployment: Deployment, cli: Callable[..., Result]
) -> None:
    assert cli("trash").out.strip() == "The trash is empty: there are no cleared tasks to restore or delete."
    deployment.redis.zadd(deployment.keys.trash_index, {"odd": time.time() + 600})
    deployment.redis.set(deployment.keys.trash("odd", "info"), "no hash")
    odd = cli("trash")
    assert "is empty" not in odd.out
    assert "odd" in odd.err


OTHERS = ["threads", "solo", *GREEN]


@pytest.mark.long
@pytest.mark.parametrize("pool", ["prefork", *(pytest.param(pool, marks=pytest.mark.slow) for pool in OTHERS)])
def test_a_worker_tells_how_many_of_the_messages_it_holds_are_of_which_queue(deployment: Deployment, pool: str) -> None:
    slots = 1 if pool == "solo" else 2
    more = ["--prefetch-multiplier=8"]
    with worker(
        pool=pool, concurrency=slots, env=deployment.env, queues=["celery", "emails"], arguments=more
    ) as running:
        deployment.send(2, queue="emails", countdown=600)
        deployment.send(1, queue="celery", countdown=600)
        eventually(lambda: deployment.health(running.hostname)["scheduled"] == "3", what="it holds those with an ETA")
        assert json.loads(deployment.health(running.hostname)["held_by_queue"]) == {"emails": 2, "celery": 1}
        if pool in ("prefork", "threads"):  # the others take no more than they run
            deployment.send(slots, queue="celery", kwargs={"seconds": 20})
            deployment.records.wait_for(slots)
            deployment.send(3, queue="emails")
            eventually(
                lambda: json.loads(deployment.health(running.hostname)["held_by_queue"]) == {"emails": 5, "celery": 1},
                what="it tells the queues of all it holds",
            )
        report = deployment.health(running.hostname)
        assert sum(json.loads(report["held_by_queue"]).values()) == int(report["reserved"]) + int(report["scheduled"])
