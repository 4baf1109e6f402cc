"""Much of anything is asked for its size first: so many are shown, of so many, at a constant number of round trips."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker
from opsdash.services.queues import trash, watermark
from opsdash.services.queues.read import Queues
from opsdash.services.queues.sampling import sample_tasks
from opsdash.services.queues.selective_clear import SelectiveClear
from opsdash.services.queues.task_filter import TaskFilter
from opsdash.services.queues.trash import Trash
from opsdash.services.workers import reports as workers
from opsdash.services.workers.reports import Workers

LARGE = bounded_reads.LARGE_MESSAGE + 1


def cleared(broker: Broker, number: int) -> None:
    for i in range(number):
        broker.client.lpush(broker.lists("celery")[0], f"task {i}")
        Queues(broker).clear("celery", by="maria", keep_s=60, trash_id=f"t{i}")


def message(number: int, size: int = 0) -> str:
    return json.dumps(
        {
            "body": json.dumps([[f"number {number}" + "x" * size], {}, {}]),
            "content-type": "application/json",
            "headers": {"task": "shop.mail", "id": str(number)},
            "properties": {"delivery_tag": f"tag {number}"},
        }
    )


@pytest.fixture
def round_trips(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One number for each pipeline or single command: how many commands it had."""
    sent: list[int] = []
    pipeline = broker.client.pipeline

    def counted(*args: Any, **options: Any) -> Any:
        made = pipeline(*args, **options)
        execute = made.execute

        def executed(*args: Any, **options: Any) -> Any:
            sent.append(len(made.command_stack))
            return execute(*args, **options)

        made.execute = executed
        return made

    monkeypatch.setattr(broker.client, "pipeline", counted)
    return sent


def test_a_list_of_clears_costs_three_round_trips_however_many_there_are(
    broker: Broker, round_trips: list[int]
) -> None:
    counts = []
    for number in (1, 30):
        cleared(broker, number)
        round_trips.clear()
        assert len(Trash(broker).list()) == number
        counts.append(list(round_trips))
        broker.client.flushdb()
    assert counts == [[1, 1, 1]] * 2


def test_more_clears_than_are_read_are_counted(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trash, "MOST_ENTRIES", 3)
    cleared(broker, 5)
    entries, unread = Trash(broker).look()
    assert len(entries) == 3
    assert [one.message for one in unread] == ["Showing 3 of 5 clears that can be undone."]


def test_a_clear_whose_story_is_nonsense_is_named_and_hides_no_other(broker: Broker) -> None:
    cleared(broker, 2)
    broker.client.hset(broker.keys.trash("t0", "info"), mapping={"count": "1e5", "at": "x" * 100_000})
    broker.client.zadd(broker.keys.trash_index, {"t2": time.time() + 60})
    broker.client.set(broker.keys.trash("t2", "info"), "x")
    entries, unread = Trash(broker).look()
    assert [entry.id for entry in entries] == ["t1"]
    assert [sorted(one.names) for one in unread] == [["t0", "t2"]]


def test_of_more_workers_than_are_read_those_that_came_last_are_and_the_rest_is_counted(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "MOST_WORKERS", 2)
    now, _ = broker.client.time()
    for number, name in enumerate(("old", "newer", "newest", "never")):
        broker.client.zadd(broker.keys.workers, {name: "inf" if name == "never" else now + number - 3})
        broker.client.hset(broker.keys.worker(name), mapping={"time": now})
    reports = Workers(broker).look()
    assert [worker.hostname for worker in reports.workers] == ["newer", "newest"]
    assert [one.message for one in reports.unread] == ["Showing 2 of 4 workers' reports."]


def test_what_most_workers_report_alike_is_read_once(broker: Broker) -> None:
    now, _ = broker.client.time()
    long = [f"queue-{number}" for number in range(100)]
    for number, queues in enumerate((["celery"], ["celery"], long, ["emails"])):
        broker.client.zadd(broker.keys.workers, {f"w{number}": now})
        report = {"time": now, "queues": json.dumps(queues), "started": '{"celery": 5}', "pool": "solo"}
        broker.client.hset(broker.keys.worker(f"w{number}"), mapping=report)
    first, second, third, fourth = Workers(broker).read()
    assert first.queues is second.queues
    assert first.started is fourth.started
    assert (third.queues, fourth.queues) == (tuple(long), ("emails",))


def test_a_field_that_is_too_large_or_nonsense_is_named_and_costs_the_report_nothing_else(broker: Broker) -> None:
    now, _ = broker.client.time()
    broker.client.zadd(broker.keys.workers, {"w1": now})
    broker.client.hset(
        broker.keys.worker("w1"), mapping={"time": now, "pid": 7, "active": "nan", "queues": "[" * 300_000}
    )
    (worker,) = Workers(broker).read()
    assert (worker.pid, worker.active, worker.queues) == (7, 0, ())
    assert set(worker.unread) == {"active", "queues"}


def test_large_messages_are_neither_brought_here_nor_lost_nor_mixed_up(broker: Broker) -> None:
    texts = [message(n, LARGE if n % 3 == 0 else 0) for n in range(12)]
    broker.client.lpush(broker.lists("celery")[0], *texts)
    mark = watermark.take_watermark(broker, "celery")
    broker.client.lpush(broker.lists("celery")[0], message(99))
    found = sample_tasks(broker, "celery")
    assert (found.number, found.by_task["(unreadable)"], found.by_task["shop.mail"]) == (13, 4, 9)
    done = SelectiveClear(broker).clear(
        "celery", TaskFilter(containing="number"), by="maria", keep_s=60, trash_id="t", watermark=mark
    )
    assert (done.total, done.looked_at, done.newer) == (8, 13, 1), "what is not looked into is not meant"
    large = [text for text in texts if len(text) > LARGE]
    assert broker.client.lrange(broker.lists("celery")[0], 0, -1) == [message(99), *large[::-1]]
    Trash(broker).restore("t", by="maria")
    assert sorted(broker.client.lrange(broker.lists("celery")[0], 0, -1)) == sorted([*texts, message(99)])


@pytest.mark.parametrize("newest", [0, 3])
def test_a_clear_goes_by_a_watermark_that_is_a_large_message(broker: Broker, newest: int) -> None:
    broker.client.lpush(broker.lists("celery")[0], message(1), message(2, LARGE))
    mark = watermark.take_watermark(broker, "celery")
    for number in range(newest):
        broker.client.lpush(broker.lists("celery")[0], message(10 + number, LARGE))
    done = Queues(broker).clear("celery", by="maria", keep_s=60, watermark=mark)
    assert (done.total, done.newer) == (2, newest)
    assert broker.client.llen(broker.lists("celery")[0]) == newest


@pytest.mark.parametrize("foreign", [b"\0large:", b"\0large:x", b"\0large:7:", b"\0large:99999999:tag"])
def test_a_message_that_looks_like_the_mark_of_a_large_one_is_taken_for_itself(broker: Broker, foreign: bytes) -> None:
    key = broker.lists("celery")[0]
    broker.client.lpush(key, message(1), foreign, message(2))
    (mark,) = (one for one in bounded_reads.messages(broker.client, key, 0, 10) if bounded_reads.is_mark(one))
    assert bounded_reads.size_of(mark) == len(foreign)
    assert sample_tasks(broker, "celery").by_task == {"shop.mail": 2, "(unreadable)": 1}
    assert len(Queues(broker).peek("celery", 5, "x")) == 3
    mark = watermark.take_watermark(broker, "celery")
    done = Queues(broker).clear("celery", by="maria", keep_s=60, watermark=mark)
    assert (done.total, done.newer) == (3, 0)
