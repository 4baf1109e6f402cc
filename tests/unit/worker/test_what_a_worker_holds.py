"""What a worker counts of its own tasks, what it tells of a drain, and what it answers to opsdash's own commands."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from celery.worker import state as worker_state

import opsdash
from opsdash.worker import celery_private, connection, control, drain_state
from opsdash.worker.alive import verdict
from opsdash.worker.celery_private import started, workload
from opsdash.worker.failures import ended
from opsdash.worker.gate import READY, PauseState
from opsdash.worker.message_origin import Origin


class Request:
    """As much of Celery's as is looked at."""

    def __init__(self, queue: str | None = "celery", time_start: float | None = None) -> None:
        home = None if queue is None else Origin(queue, queue, b"{}")
        self.message, self.time_start = SimpleNamespace(opsdash_origin=home), time_start


@pytest.fixture(autouse=True)
def _no_tasks() -> Iterator[None]:
    yield
    worker_state.reserved_requests.clear()
    worker_state.active_requests.clear()


def consumer(*limited: Request, **has: Any) -> Any:
    """One whose rate-limited tasks these are."""
    buckets = {"a": SimpleNamespace(contents=[(one, 1) for one in limited]), "b": None}
    conf = SimpleNamespace(worker_enable_remote_control=True, worker_pool_restarts=False, worker_disable_prefetch=True)
    given = {
        "task_buckets": buckets,
        "app": SimpleNamespace(conf=conf),
        "pool": SimpleNamespace(num_processes=4),
        "qos": SimpleNamespace(value=8),
        "timer": SimpleNamespace(schedule=SimpleNamespace(queue=[])),
        "task_consumer": None,
        "blueprint": SimpleNamespace(state=1),
        "hostname": "a@h",
    }
    return SimpleNamespace(**{**given, **has})


def holds(monkeypatch: pytest.MonkeyPatch, *later: Request) -> None:
    """These wait for their time."""
    monkeypatch.setattr(workload, "scheduled", lambda _consumer: list(later))


def test_tasks_that_run_wait_for_a_rate_or_for_their_time_are_counted_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    runs, waits, limited, later = Request(), Request("emails"), Request("emails"), Request(None)
    worker_state.reserved_requests.update([runs, waits])
    worker_state.active_requests.add(runs)
    holds(monkeypatch, later)
    monkeypatch.setattr(worker_state, "scheduled_requests", {later}, raising=False)
    one = consumer(limited)
    found = workload.counts(one)
    assert (found["active"], found["reserved"], found["scheduled"]) == (1, 2, 1)
    assert workload.held_by_queue(one) == {"emails": 2, "": 1}
    assert workload.unstarted_by_queue(one) == {"emails": 2}
    monkeypatch.setattr(workload, "MOST_RESERVED", 2)
    assert workload.held_by_queue(one) is None
    monkeypatch.setattr(workload, "MOST_RESERVED", 3)
    assert workload.held_by_queue(one) is not None


def test_what_is_acknowledged_is_no_entry_of_a_workers_any_more() -> None:
    qos = SimpleNamespace(_delivered={"a": 1, "b": 1, "c": 1}, _dirty={"a"})
    known = consumer(task_consumer=SimpleNamespace(channel=SimpleNamespace(qos=qos)))
    assert workload.accounted(known) == 2
    qos._dirty = {"a", "b", "c", "d"}
    assert workload.accounted(known) == 0
    assert workload.accounted(consumer()) == 0, "not connected"


def test_how_it_fetches_and_how_large_its_pool_is() -> None:
    one = consumer()
    assert workload.fetch_settings(one) == {"remote_control": "1", "prefetch": "8", "disable_prefetch": "1"}
    one.qos = None
    one.app.conf = SimpleNamespace(worker_enable_remote_control=False, worker_pool_restarts=True)
    assert workload.fetch_settings(one) == {"remote_control": "0", "prefetch": "0", "disable_prefetch": "0"}
    runs = Request()
    worker_state.active_requests.add(runs)
    assert workload.pool_facts(one) == {"concurrency": 4, "active": 1, "pool_restarts": True}
    one.pool.num_processes = None
    assert workload.pool_facts(one)["concurrency"] == 0


def test_the_longest_running_come_first_and_what_has_not_begun_runs_not() -> None:
    late, early, new = Request(time_start=9.0), Request(time_start=1.0), Request()
    worker_state.active_requests.update([late, early, new])
    assert workload.running() == [early, late]


@pytest.mark.parametrize(
    ("asked", "state", "stops"),
    [
        ({}, 1, False),
        ({"should_stop": 0}, 1, True),
        ({"should_terminate": True}, 1, True),
        ({}, 2, True),
        ({}, 3, True),
    ],
)
def test_a_worker_stops_when_it_was_asked_to_or_its_loop_has_ended(
    monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], state: int, stops: bool
) -> None:
    for name, value in {"should_stop": None, "should_terminate": None, **asked}.items():
        monkeypatch.setattr(worker_state, name, value)
    assert workload.stopping(consumer(blueprint=SimpleNamespace(state=state))) is stops


def test_a_start_is_noted_with_its_message_for_its_own_worker_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    noted: dict[str, Any] = {}
    monkeypatch.setattr(started, "_callbacks", noted)
    accepts = started._noting(lambda *args: calls.append(args) or "done")
    noted["a@h"] = lambda *told: calls.append(told)
    new = SimpleNamespace(_hostname="a@h", _message="m")
    assert accepts(new, 7, 1.5) == "done"
    assert calls == [(new, 7, 1.5), (new, "m")]
    old = SimpleNamespace(hostname="a@h", message="old")
    accepts(old, 7, 1.5)
    assert calls[-1] == (old, "old")
    accepts(SimpleNamespace(_hostname="b@h", _message="m"), 7, 1.5)
    assert len(calls) == 5, "another worker of this process"

    def broken(*_told: Any) -> None:
        raise ValueError

    noted["a@h"] = broken
    assert accepts(new, 7, 1.5) == "done", "a task does not fail for a figure"


def test_starts_are_watched_once_and_a_name_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(started, "_callbacks", {})
    monkeypatch.setattr(started, "_watched", [])
    kind = type("Request", (), {started.HOOK: lambda _self, _pid, _at: "done"})
    monkeypatch.setattr(started, "Request", kind)
    seen: list[Any] = []
    assert started.watch_starts("a@h", lambda *told: seen.append(told)) == ""
    once = getattr(kind, started.HOOK)
    assert started.watch_starts("b@h", lambda *told: None) == ""
    assert getattr(kind, started.HOOK) is once
    one = kind()
    one._hostname, one._message = "a@h", "m"
    assert one.on_accepted(7, 1.0) == "done"
    assert seen == [(one, "m")]
    monkeypatch.setattr(started, "Request", type("Request", (), {}))
    assert started.watch_starts("a@h", lambda *told: None) == f"Request.{started.HOOK}"


def facts(monkeypatch: pytest.MonkeyPatch, **over: Any) -> dict[str, Any]:
    """Of a worker that is drained, but for this."""
    given = {
        "draining": True, "pausing": READY, "channel": "channel", "fetching": False, "unacked": 0, "counts": {},
        "connected": True, "applied": True, "watch": None, **over,
    }  # fmt: skip
    counts = {"active": 0, "reserved": 0, "scheduled": 0, "processed": 9, **given["counts"]}
    private = {
        "is_fetching": lambda _channel: given["fetching"],
        "counts": lambda _consumer: counts,
        "accounted": lambda _consumer: given["unacked"],
        "pool_name": lambda _pool: "threads",
        "stopping": lambda _consumer: False,
    }
    for name, instead in private.items():
        monkeypatch.setattr(drain_state.celery_private, name, instead)
    monkeypatch.setattr(drain_state.time, "monotonic", lambda: 100.0)
    gate: Any = SimpleNamespace(
        pausing=given["pausing"], state=PauseState(draining=given["draining"]), channel=given["channel"]
    )
    health: Any = SimpleNamespace(tick_age_s=1.23456)
    return drain_state.facts(
        consumer(), gate, health, given["watch"], connected=given["connected"], applied=given["applied"]
    )


@pytest.mark.parametrize(
    ("over", "drained"),
    [
        ({}, True),
        ({"draining": False}, False),
        ({"pausing": "no"}, False),
        ({"applied": False}, False),
        ({"applied": False, "connected": False}, True),
        ({"fetching": True}, False),
        ({"fetching": True, "connected": False}, True),
        ({"fetching": True, "channel": None}, True),
        ({"unacked": 1}, False),
        ({"counts": {"active": 1}}, False),
        ({"counts": {"reserved": 1}}, False),
        ({"counts": {"scheduled": 1}}, False),
        ({"counts": {"processed": 10}}, True),
    ],
)
def test_a_worker_is_drained_when_nothing_starts_is_held_runs_or_is_on_its_way(
    monkeypatch: pytest.MonkeyPatch, over: dict[str, Any], drained: bool
) -> None:
    assert facts(monkeypatch, **over)["drained"] is drained


def test_what_a_worker_tells_the_containers_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    told = facts(monkeypatch)
    assert told == {
        "hostname": "a@h", "version": opsdash.__version__, "pool": "threads", "pausing": "ready", "draining": True,
        "drained": True, "active": 0, "reserved": 0, "scheduled": 0, "unacked": 0, "connected": True,
        "stopping": False, "tick_s": 1.235, "turned_s": 0.0, "failed_s": None,
    }  # fmt: skip
    watch = SimpleNamespace(failed_at=98.00001, turned_at=99.5)
    later = facts(monkeypatch, watch=watch)
    assert (later["turned_s"], later["failed_s"]) == (0.5, 2.0)


def test_a_loop_that_is_blocked_is_said_with_the_time() -> None:
    status = {"tick_s": 120.0, "turned_s": 0.1, "failed_s": None, "connected": True}
    assert verdict(status, 60.0) == (False, "has an event loop that has been blocked for 2m 0s")
    away = (False, "has not reconnected to its broker, which answers, for 2m 0s")
    assert verdict(status | {"connected": False}, 60.0) == away
    assert verdict(status | {"tick_s": None}, 60.0)[1].endswith("blocked for an unknown time")


@pytest.mark.parametrize("wrong", [0, -1, True, "5"])
def test_a_time_limit_is_seconds_above_none(wrong: Any) -> None:
    task = SimpleNamespace(name="shop.charge", soft_time_limit=1, time_limit=2)
    state = SimpleNamespace(app=SimpleNamespace(tasks={"shop.charge": task}), consumer="consumer")
    for given in ({"soft": wrong}, {"hard": wrong}):
        assert control.time_limit(state, "shop.charge", **given) == {"error": "expected seconds"}
    assert (task.soft_time_limit, task.time_limit) == (1, 2)


def test_time_limits_count_from_the_next_task_on(monkeypatch: pytest.MonkeyPatch) -> None:
    renewed: list[Any] = []
    monkeypatch.setattr(celery_private, "renew_strategy", lambda *args: renewed.append(args))
    task = SimpleNamespace(name="shop.charge", soft_time_limit=1, time_limit=2)
    state = SimpleNamespace(app=SimpleNamespace(tasks={"shop.charge": task}), consumer="consumer")
    assert control.time_limit(state, "shop.charge", soft=0.5) == {"ok": "time limits set"}
    assert (task.soft_time_limit, task.time_limit, renewed) == (0.5, None, [("consumer", task)])
    assert control.time_limit(state, "shop.send", hard=5) == {"error": "unknown task"}


def test_only_a_paused_worker_puts_back_what_waits_for_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = SimpleNamespace(pausing=READY, closed=False)
    recall = SimpleNamespace(gate=gate, run_scheduled=lambda: 3)
    monkeypatch.setattr(control, "recalls", {})
    monkeypatch.setattr(celery_private, "unstarted_by_queue", lambda _consumer: {"celery": 2})
    state = SimpleNamespace(consumer="consumer")
    assert control.recall_eta(state) == {"error": "this worker can't be paused"}
    control.recalls["consumer"] = recall
    assert control.recall_eta(state) == {"error": "nothing is paused"}
    gate.closed = True
    assert control.recall_eta(state) == {"recalling": 3, "unstarted": {"celery": 2}}
    gate.pausing = "it failed"
    assert control.recall_eta(state) == {"error": "it failed"}


def test_what_is_no_message_ends_as_one_of_its_list() -> None:
    place, error = Origin("celery", "celery", b"{"), ValueError("no JSON")
    made = ended.unreadable(place, error)
    assert (made.kind, made.error, made.message.body, made.message.opsdash_origin) == (
        *(ended.UNREADABLE, error),
        *(b"{", place),
    )
    own = SimpleNamespace()
    assert ended.unreadable(place, error, own).message is own


def test_an_error_that_came_as_a_name_alone_has_its_name() -> None:
    sent = SimpleNamespace(exc_module="shop.errors", exc_cls_name="Declined")
    assert ended.name_of(sent) == "shop.errors.Declined"  # as Celery sends what can't be pickled
    assert ended.name_of(ValueError()) == "ValueError"
    assert ended.name_of(SystemExit()) == "billiard.exceptions.WorkerLostError"


def test_a_link_is_opened_when_it_is_used_closed_and_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[Any] = []
    released: list[str] = []

    def connection_for_read(**options: Any) -> Any:
        opened.append(options)
        channel = SimpleNamespace(global_keyprefix="shop:", client=SimpleNamespace(connection_pool="pool"))
        return SimpleNamespace(channel=lambda: channel, release=lambda: released.append("released"))

    monkeypatch.setattr(connection.redis, "Redis", lambda *, connection_pool: ("client", connection_pool))
    options = {"sentinel_kwargs": {"password": "p"}}
    app = SimpleNamespace(
        conf=SimpleNamespace(broker_transport_options=options), connection_for_read=connection_for_read
    )
    link = connection.Link(app)
    assert link.keys.prefix == ""
    link.close()
    assert (opened, released) == ([], [])
    assert (link.redis, link.redis, link.keys.prefix) == (("client", "pool"), ("client", "pool"), "shop:")
    (given,) = opened
    assert given["transport_options"]["sentinel_kwargs"]["password"] == "p"
    assert given["transport_options"]["socket_timeout"] == connection.TIMEOUT_S
    link.close()
    assert released == ["released"]
    assert link.redis
    assert len(opened) == 2
