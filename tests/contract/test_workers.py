from __future__ import annotations

import json
import time

import pytest

from opsdash.model import untrusted
from opsdash.services.broker.client import Broker
from opsdash.services.workers import reports as workers
from opsdash.services.workers.reports import SILENT_AFTER_S, Workers


def report(broker: Broker, hostname: str, age_s: float = 0.0, **fields: object) -> None:
    now = time.time() - age_s
    values = {"time": now, "loop_tick": now, "pool": "prefork", **fields}
    broker.client.hset(broker.keys.worker(hostname), mapping={k: str(v) for k, v in values.items()})
    broker.client.zadd(broker.keys.workers, {hostname: now})


def test_no_report_is_no_worker(broker: Broker):
    assert Workers(broker).read() == ()


def test_a_worker_is_read_as_it_reported_itself(broker: Broker):
    report(
        broker,
        "a@host",
        pid=7,
        uptime_s=9252.4,
        processed=12,
        failed=5,
        load="2.25",
        active=1,
        reserved=4,
        scheduled=2,
        concurrency=8,
        memory_bytes=1000,
        queues=json.dumps(["celery", "emails"]),
        paused="1",
        paused_queues="[]",
        epoch=3,
        version="0.2.0",
    )
    (worker,) = Workers(broker).read()
    assert (worker.hostname, worker.state, worker.uptime, worker.processed) == ("a@host", "online", "2h 34m 12s", 12)
    assert (worker.active, worker.reserved, worker.scheduled, worker.concurrency) == (1, 4, 2, 8)
    assert (worker.queues, worker.paused, worker.paused_queues, worker.epoch) == (("celery", "emails"), True, (), 3)
    assert (worker.memory_bytes, worker.pausing, worker.failed, worker.load) == (1000, "ready", 5, 2.25)


def test_a_worker_of_an_older_opsdash_has_no_load_and_tells_of_no_failure_and_no_running_task(broker: Broker):
    report(broker, "a@host", active=2)
    (worker,) = Workers(broker).read()
    assert (worker.failed, worker.load) == (None, None)
    assert Workers(broker).running("a@host") == ()


def test_a_worker_is_silent_after_two_missed_reports_and_offline_after_minutes(broker: Broker):
    report(broker, "online@host", age_s=5, active=1)
    report(broker, "silent@host", age_s=12, active=2)
    report(broker, "long@host", age_s=400, active=3)
    broker.client.zadd(broker.keys.workers, {"gone@host": time.time() - 30})  # its hash is gone
    found = {w.hostname: w for w in Workers(broker).read()}
    assert {name: (w.state, w.reports, w.active) for name, w in found.items()} == {
        "online@host": ("online", True, 1),
        "silent@host": ("silent", False, 2),
        "long@host": ("offline", False, 3),
        "gone@host": ("offline", False, 0),
    }
    assert found["online@host"].silent_s == 0
    assert found["silent@host"].silent_s == pytest.approx(12, abs=1)


def test_two_processes_of_one_name_are_read_as_two_workers(broker: Broker):
    report(broker, "w@host", pid=1)
    report(broker, "w@host #bb", pid=2)
    broker.client.hset(broker.keys.worker("w@host #bb"), "hostname", "w@host")
    report(broker, "w@host #cc", pid=3)
    found = [(w.hostname, w.record, w.pid) for w in Workers(broker).read()]
    assert found == [("w@host", "w@host", 1), ("w@host", "w@host #bb", 2), ("w@host", "w@host #cc", 3)]


def test_what_a_worker_says_of_its_connections_and_its_messages_is_read(broker: Broker):
    told = {"unacked": 3, "remote_control": "0", "clients": "[7, 9]", "running_by_queue": '{"emails": 2, "": 1}'}
    report(broker, "a@host", **told)
    report(broker, "older@host")
    report(broker, "odd@host", unacked="many", remote_control="", clients="[" * 5_000, running_by_queue="7")
    a, odd, older = Workers(broker).read()
    assert (a.unacked, a.remote_control, a.clients, a.running_by_queue) == (3, False, (7, 9), {"emails": 2, "": 1})
    assert (older.unacked, older.remote_control, older.clients, older.running_by_queue) == (None, None, None, None)
    assert (odd.unacked, odd.remote_control, odd.clients, odd.running_by_queue) == (None, None, None, None)
    assert set(odd.unread) == {"unacked", "clients", "running_by_queue"}


def test_only_workers_that_are_silent_can_be_dismissed(broker: Broker):
    report(broker, "gone@host", age_s=20, active=1)
    report(broker, "gone@host #ab", age_s=9)
    report(broker, "just@host", age_s=SILENT_AFTER_S + 0.02)
    report(broker, "back@host")
    broker.client.zadd(broker.keys.workers, {"bare@host": time.time() - 30})
    names = ["gone@host", "gone@host #ab", "just@host", "back@host", "bare@host", "never@host"]
    assert set(Workers(broker).dismiss(names)) == {*names} - {"back@host"}
    assert [w.hostname for w in Workers(broker).read()] == ["back@host"]


def test_a_worker_whose_event_loop_stands_still_is_stalled_unless_its_pool_is_solo(broker: Broker):
    report(broker, "prefork@host", loop_tick=time.time() - 30)
    report(broker, "solo@host", loop_tick=time.time() - 30, pool="solo")
    assert {w.hostname: w.state for w in Workers(broker).read()} == {"prefork@host": "stalled", "solo@host": "online"}


def test_nonsense_in_a_report_costs_the_field_and_not_the_page(broker: Broker):
    report(broker, "a@host", processed="many", queues="{", paused_queues="7", memory_bytes="", epoch="")
    (worker,) = Workers(broker).read()
    assert (worker.processed, worker.queues, worker.memory_bytes, worker.epoch) == (0, (), None, None)


@pytest.mark.parametrize("nonsense", ["NaN", "inf", "-inf", "1e300", "-5", "\x00", "٣x"])
@pytest.mark.parametrize(
    "field",
    [
        "processed",
        "active",
        "uptime_s",
        "memory_bytes",
        "epoch",
        "time",
        "loop_tick",
        "pid",
        "oldest_s",
        "failed",
        "load",
    ],
)
def test_a_figure_that_is_none_costs_itself_and_not_the_page(broker: Broker, field: str, nonsense: str):
    report(broker, "a@host")
    broker.client.hset(broker.keys.worker("a@host"), field, nonsense)
    (worker,) = Workers(broker).read()
    assert worker.hostname == "a@host"
    assert worker.uptime


def test_what_a_worker_runs_is_read_for_that_one_with_the_time_it_began(broker: Broker):
    report(broker, "a@host", age_s=3, running=json.dumps([["1", "orders.send", "emails", 60.5], ["2", "x", "", None]]))
    report(broker, "b@host", running=json.dumps([["3", "x", "celery", 1]]))
    first, second = Workers(broker).running("a@host")
    assert (first.task_id, first.name, first.queue) == ("1", "orders.send", "emails")
    assert first.started_at is not None
    assert time.time() - first.started_at.timestamp() == pytest.approx(63.5, abs=0.5)
    assert second.started_at is None
    assert Workers(broker).running("nobody@host") == ()


def test_a_read_of_all_workers_does_not_carry_what_they_run(broker: Broker):
    assert "running" not in workers.FIELDS


@pytest.mark.parametrize(
    "nonsense",
    ["", "{", "7", "null", '"text"', "{}", "[1]", "[[]]", '[["1", "x", "q"]]', '[["1", "x", null, 3]]', "[" * 50_000],
)
def test_a_report_of_running_tasks_that_is_none_is_no_running_task(broker: Broker, nonsense: str):
    report(broker, "a@host", running=nonsense)
    assert Workers(broker).running("a@host") == ()
    assert len(Workers(broker).read()) == 1


@pytest.mark.parametrize("reported", ["NaN", "-5", "0", "1e300", ""])
def test_a_running_task_with_nonsense_for_a_time_is_still_told(broker: Broker, reported: str):
    for nonsense in ("NaN", "Infinity", "-1", "1e300", '"soon"', "[]", "true", "1e9"):
        report(broker, "a@host", running=f'[["1", "x", "q", {nonsense}]]')
        broker.client.hset(broker.keys.worker("a@host"), "time", reported)
        (task,) = Workers(broker).running("a@host")
        assert (task.task_id, task.name, task.queue) == ("1", "x", "q")


def test_a_report_of_running_tasks_is_bounded_whoever_wrote_it(broker: Broker):
    many = [["\0" + "1" * 300, "x" * 300, "\ud800", 1]] * 30
    report(broker, "a@host", running=json.dumps(many))
    running = Workers(broker).running("a@host")
    assert len(running) == workers.MOST_RUNNING
    assert len(running[0].name) == untrusted.LONG
    assert (running[0].task_id[:5], running[0].queue) == ("\\x001", "\\ud800"), (
        "what no screen takes is written as escapes"
    )
    report(broker, "b@host", running=json.dumps([["1", "x" * workers.LARGE_REPORT, "q", 1]]))
    assert Workers(broker).running("b@host") == (), "it is not even fetched"


def test_somebody_elses_value_in_place_of_a_report_runs_nothing(broker: Broker):
    broker.client.set(broker.keys.worker("a@host"), "foreign")
    assert Workers(broker).running("a@host") == ()
