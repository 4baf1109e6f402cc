"""History: bounded, written once per bucket however many consoles record, and honest about gaps."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import redis
from support.services import Valkey

from opsdash.config.settings import Settings
from opsdash.model import HeldTasks, Hold, PauseInfo, QueueStats, Snapshot, WorkerStats
from opsdash.model.time_in_queue import BUCKETS, TimeInQueue
from opsdash.services.broker.client import Broker, connect
from opsdash.services.monitoring import history
from opsdash.services.monitoring.history import COARSE, FINE, History, Series
from opsdash.services.workers.reports import ReportedTimes

NOW = datetime.now(UTC)
STEP_MS = 100


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bucket of a tenth of a second, three of them, so that a test needn't wait for ten."""
    monkeypatch.setattr(history, "SERIES", (Series("short", STEP_MS, 3), Series("1m", 60_000, 5)))


def worker(started: dict[str, int], **over: object) -> WorkerStats:
    return WorkerStats(hostname="w1", state="online", heartbeat_at=NOW, pid=1, started=started, **over)


def snapshot(waiting: int = 3, *workers: WorkerStats, **over: object) -> Snapshot:
    queues = (QueueStats(name="celery", waiting=waiting), QueueStats(name="emails", waiting=0))
    return Snapshot(taken_at=NOW, redis_age_s=0.0, queues=queues, workers=workers, redis_ms=0.5, **over)


def next_bucket(broker: Broker) -> None:
    """Until Redis's clock is in the next bucket."""
    began = bucket(broker)
    while bucket(broker) == began:
        time.sleep(0.002)


def bucket(broker: Broker) -> int:
    seconds, micros = broker.client.time()
    return (seconds * 1000 + micros // 1000) // STEP_MS


def points(broker: Broker) -> list[dict[str, object]]:
    entries = broker.client.xrange(broker.keys.history("short"))
    return [json.loads(fields["point"]) for _, fields in entries]


def test_each_bucket_is_written_once_however_many_consoles_record(broker: Broker) -> None:
    consoles = [History(broker) for _ in range(3)]
    next_bucket(broker)
    for number, console in enumerate(consoles):
        console.record(snapshot(number))
    assert [point["queues"]["celery"][0] for point in points(broker)] == [0]
    next_bucket(broker)
    for number, console in enumerate(reversed(consoles)):
        console.record(snapshot(10 + number))
    assert [point["queues"]["celery"][0] for point in points(broker)] == [0, 12]


@pytest.mark.long
def test_one_console_writes_the_history_until_it_dies_and_then_another_does(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease_ms = STEP_MS * 20  # a busy machine does not let it end between two buckets
    monkeypatch.setattr(history, "LEASE_MS", lease_ms)
    writer, other = History(broker), History(broker)
    for number in range(25):  # buckets: longer than a lease
        next_bucket(broker)
        if number:
            other.record(snapshot(99))
        writer.record(snapshot(number))
    seen = [point["queues"]["celery"][0] for point in points(broker)]
    assert seen == [22, 23, 24][-len(seen) :]  # on a busy machine a bucket is over before the next one is written
    assert 0 < broker.client.pttl(broker.keys.history_writer) <= lease_ms
    while broker.client.exists(broker.keys.history_writer):  # `writer` records no more
        time.sleep(0.01)
    next_bucket(broker)
    other.record(snapshot(6))
    assert points(broker)[-1]["queues"]["celery"][0] == 6


@pytest.mark.long
def test_the_series_is_bounded_and_ends_by_itself(broker: Broker) -> None:
    console = History(broker)
    for number in range(5):
        next_bucket(broker)
        console.record(snapshot(number))
    seen = [point["queues"]["celery"][0] for point in points(broker)]
    assert seen == [2, 3, 4][-len(seen) :]
    assert 0 < broker.client.pttl(broker.keys.history("short")) <= 3 * STEP_MS


def test_throughput_is_what_the_same_worker_process_has_started_since(broker: Broker) -> None:
    console = History(broker)
    next_bucket(broker)
    console.record(snapshot(3, worker({"celery": 100})))
    next_bucket(broker)
    again = replace(worker({"celery": 5}), pid=2)  # restarted: nothing to compare with
    console.record(snapshot(3, worker({"celery": 140, "emails": 7}), again))
    first, second = points(broker)
    assert first["queues"] == {"celery": [3, None], "emails": [0, None]}  # nobody knows yet
    rates = {name: rate for name, (_, rate) in second["queues"].items()}
    assert rates["emails"] > 0
    assert rates["celery"] == pytest.approx(rates["emails"] * 40 / 7, rel=0.01)


def test_what_was_recorded_is_read_back_by_another_console(broker: Broker) -> None:
    next_bucket(broker)
    pauses = {"emails": PauseInfo(queue="emails")}
    busy = worker({}, active=2, concurrency=4)
    History(broker).record(snapshot(3, busy, pause=PauseInfo(queue=None), paused_queues=pauses))
    (point,) = History(broker).read(STEP_MS * 3 / 1000)
    assert (point.waiting, point.started_per_s) == ({"celery": 3, "emails": 0}, {})
    assert (point.paused, point.online, point.active, point.slots, point.redis_ms) == ({"*", "emails"}, 1, 2, 4, 0.5)
    assert point.at.timestamp() * 1000 % STEP_MS == pytest.approx(0)


def test_while_redis_can_not_be_read_nothing_is_recorded(broker: Broker) -> None:
    console = History(broker)
    console.record(snapshot(redis_error="Redis did not answer"))
    console.record(Snapshot(taken_at=NOW))
    assert points(broker) == []


def test_an_entry_that_no_opsdash_has_written_is_left_out(broker: Broker) -> None:
    next_bucket(broker)
    History(broker).record(snapshot(3))
    for nonsense in ("", "{", "[]", '{"queues": 3}', '{"queues": {"c": [1]}}', '{"queues": {"c": [1, "NaN"]}}'):
        broker.client.xadd(broker.keys.history("short"), {"point": nonsense})
    broker.client.xadd(broker.keys.history("short"), {"other": "field"})
    assert [point.waiting["celery"] for point in History(broker).read(STEP_MS * 3 / 1000)] == [3]


def test_an_outage_is_logged_once(
    broker: Broker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise redis.ConnectionError("away")

    console = History(broker)
    with monkeypatch.context() as away:
        away.setattr(broker.client, "eval", refuse)
        for _ in range(3):
            console.record(snapshot())
    assert [record.message.split(":")[0] for record in caplog.records] == ["history is not recorded"]
    console.record(snapshot())
    assert len(points(broker)) == 1


def test_the_charts_spans_have_a_series_that_goes_back_so_far() -> None:
    assert [FINE.span_s, COARSE.span_s] == [3_600, 86_400]


def test_the_history_survives_a_restart_of_console_and_broker(valkey: Valkey) -> None:
    def connected() -> Broker:
        return connect(Settings.from_env({}, redis_url=valkey.url, queues=("celery",)))

    broker = connected()
    next_bucket(broker)
    History(broker).record(snapshot(7))
    broker.client.close()
    valkey.stop()
    valkey.start()
    broker = connected()
    again = History(broker)
    (point,) = [p for p in again.read(3_600) if p.waiting.get("celery") == 7]
    again.record(snapshot(8))
    times = [p.at for p in again.read(3_600)]
    assert times[0] == point.at
    assert len(times) == len(set(times)), "no minute is written twice"
    broker.client.close()


def test_the_age_of_the_oldest_task_is_recorded_where_it_is_known(broker: Broker) -> None:
    next_bucket(broker)
    known = (QueueStats(name="celery", waiting=3, oldest_s=61.24), QueueStats(name="emails", waiting=1))
    History(broker).record(replace(snapshot(), queues=known))
    (point,) = History(broker).read(STEP_MS * 3 / 1000)
    assert point.oldest_s == {"celery": 61.2}


def test_while_all_workers_are_silent_nothing_is_known_of_them_and_no_zero_is_recorded(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "SERIES", (Series("short", STEP_MS, 50),))
    console, busy = History(broker), worker({"celery": 100}, queues=("celery",), active=2, concurrency=4, failed=3)
    next_bucket(broker)
    console.record(snapshot(3, busy))
    for state in ("silent", "offline"):
        next_bucket(broker)
        console.record(snapshot(3, replace(busy, state=state)))
    first, silent, gone = History(broker).read(STEP_MS * 50 / 1000)
    assert (first.online, first.active, first.slots) == (1, 2, 4)
    assert (silent.online, silent.active, silent.slots) == (None, None, None)
    assert (silent.started_per_s, silent.failed_per_s) == ({}, None)
    assert (gone.online, gone.active, gone.slots) == (0, 0, 0), "silent for minutes: it is gone"


@pytest.mark.long
def test_what_happened_while_nobody_looked_is_no_rate_of_the_bucket_after_it(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "SERIES", (Series("short", STEP_MS, 50),))
    console = History(broker)
    next_bucket(broker)
    console.record(snapshot(3, worker({"celery": 100})))
    time.sleep(STEP_MS * 3.5 / 1000)  # an outage: nothing was recorded
    next_bucket(broker)
    console.record(snapshot(3, worker({"celery": 900})))
    next_bucket(broker)
    console.record(snapshot(3, worker({"celery": 901})))
    *_, after, later = History(broker).read(STEP_MS * 50 / 1000)
    assert after.started_per_s == {}
    assert 0 < later.started_per_s["celery"] < 100  # one task within a bucket or a part of it, and not 801 in five


def test_an_idle_queue_has_a_rate_of_zero_only_where_a_worker_tells_so(broker: Broker) -> None:
    console = History(broker)
    for _ in range(2):
        next_bucket(broker)
        console.record(snapshot(3, worker({}, queues=("celery",))))
    point = History(broker).read(STEP_MS * 3 / 1000)[-1]
    assert point.started_per_s == {"celery": 0.0}, "who takes from emails, if anybody does, does not report"


def test_failures_per_second_are_recorded_of_all_workers_together(broker: Broker) -> None:
    console = History(broker)
    next_bucket(broker)
    console.record(snapshot(3, worker({"celery": 0}, failed=10)))
    next_bucket(broker)
    other = replace(worker({}, failed=900), hostname="w2")  # it has just come: nothing to compare with
    console.record(snapshot(3, worker({"celery": 40}, failed=30), other))
    first, second = History(broker).read(STEP_MS * 3 / 1000)
    assert first.failed_per_s is None
    assert second.failed_per_s == pytest.approx(second.started_per_s["celery"] / 2, rel=0.01)
    assert "failed" not in second.waiting


def test_a_point_of_an_older_opsdash_says_nothing_of_failures_and_is_read(broker: Broker) -> None:
    for more in ("", ', "failed": NaN', ', "failed": "x"'):
        broker.client.xadd(broker.keys.history("short"), {"point": f'{{"queues": {{"c": [1, 2]}}{more}}}'})
    found = History(broker).read(STEP_MS * 3 / 1000)
    assert [(point.waiting, point.failed_per_s) for point in found] == [({"c": 1}, None)] * 3


def test_held_tasks_are_recorded_by_queue_and_come_in_as_others_do(broker: Broker) -> None:
    recorded = History(broker)

    def held(**by_queue: int) -> HeldTasks:
        hold = Hold(id=str(by_queue), kind="task", name="x")
        return HeldTasks(hold=hold, held=sum(by_queue.values()), by_queue=by_queue)

    recorded.record(snapshot(holds=(held(celery=5, emails=2), held(celery=3))))
    next_bucket(broker)
    recorded.record(snapshot())
    first, second = History(broker).read(0.3)
    assert (first.held, second.held) == ({"celery": 8, "emails": 2}, {})
    assert "held" not in points(broker)[1]


@pytest.mark.parametrize("where", ["writer", "writer for a year", "writer is a list", "series is text", "far future"])
def test_what_somebody_left_in_the_historys_keys_does_not_end_it(broker: Broker, where: str) -> None:
    client, keys = broker.client, broker.keys
    match where:
        case "writer" | "writer for a year":
            client.set(keys.history_writer, "somebody", ex=365 * 86_400 if "year" in where else None)
        case "writer is a list":
            client.rpush(keys.history_writer, "x")
        case "series is text":
            client.set(keys.history("short"), "x")
        case _:
            client.xadd(keys.history("short"), {"point": "{}"}, id=f"{2**60}-0")
    History(broker).record(snapshot(3))
    assert [point["queues"]["celery"][0] for point in points(broker)] == [3]


def test_times_in_queue_are_recorded_once_by_bucket_and_read_back(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "SERIES", (Series("short", STEP_MS, 100), COARSE))  # however busy the machine is
    monkeypatch.setattr(history, "GAP", 1_000)

    def report(first: int) -> ReportedTimes:
        times = TimeInQueue((first, *(0,) * (BUCKETS - 1)), 1.5, paused=2)
        return ReportedTimes(process="w1", uptime_s=100.0, silent_s=0.0, by_queue={"emails": times})

    console = History(broker)
    for first in (5, 9, 9):
        next_bucket(broker)
        console.times.note([report(first)])
        console.record(snapshot(3))
    found = [point.times for point in History(broker).read(STEP_MS * 100 / 1000)]
    assert [one["emails"].counts[0] if one else None for one in found] == [None, 4, None]
