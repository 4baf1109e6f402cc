"""Where a worker's report stands on the list of workers, whoever else reports under its name."""

from __future__ import annotations

import dataclasses
import os
import time
from types import SimpleNamespace
from typing import Any

import pytest
import redis

from opsdash.services.broker.client import Broker
from opsdash.worker import identity
from opsdash.worker.identity import Identity, identify
from opsdash.worker.report import IDLE_SILENT_S, KEPT_S, Reporter

NAME = "w@host"


class Process:
    """A process that reports under a hostname."""

    def __init__(self, broker: Broker, identity: Identity | None = None) -> None:
        instance = identify().instance
        elsewhere = Identity(instance=instance, machine=f"of {instance}", pid=7, pid_started="1")
        self.link: Any = SimpleNamespace(redis=broker.client, keys=broker.keys)
        self.reporter = Reporter(NAME, identity or elsewhere)
        self.instance = self.reporter.identity.instance

    def report(self, age_s: float = 0.0, **figures: object) -> None:
        at = time.time() - age_s
        report = {"active": 0, "reserved": 0, "scheduled": 0, "unacked": 0, "time": at, **figures}
        fields = {name: str(value) for name, value in report.items()}
        self.reporter.push(self.link, {**fields, **self.reporter.identity.fields(), "hostname": NAME})

    def leave(self) -> None:
        self.reporter.goodbye(self.link)


def listed(broker: Broker) -> dict[str, str]:
    """Name on the list → the instance whose report stands there."""
    names: list[str] = broker.client.zrange(broker.keys.workers, 0, -1)
    return {name: broker.client.hget(broker.keys.worker(name), "instance") or "" for name in names}


@pytest.fixture
def first(broker: Broker) -> Process:
    return Process(broker)


@pytest.fixture
def second(broker: Broker) -> Process:
    return Process(broker)


def test_a_report_is_kept_for_a_day_so_that_a_silent_workers_tasks_are_still_known(broker: Broker, first: Process):
    first.report(active=1)
    assert KEPT_S - 5 < broker.client.ttl(broker.keys.worker(NAME)) <= KEPT_S
    assert broker.client.hget(broker.keys.worker(NAME), "active") == "1"


def test_two_processes_of_one_name_are_both_on_the_list_and_the_newest_has_the_name(
    broker: Broker, first: Process, second: Process
):
    first.report()
    second.report()
    first.report()
    second.report()
    assert listed(broker) == {NAME: second.instance, f"{NAME} #{first.instance}": first.instance}


def test_when_the_newest_leaves_the_other_takes_the_name_back(broker: Broker, first: Process, second: Process):
    first.report()
    second.report()
    first.report()
    second.leave()
    first.report()
    assert listed(broker) == {NAME: first.instance}
    assert not broker.client.exists(broker.keys.worker(f"{NAME} #{first.instance}"))


def test_when_the_older_one_leaves_the_newest_stays(broker: Broker, first: Process, second: Process):
    first.report()
    second.report()
    first.report()
    first.leave()
    second.report()
    assert listed(broker) == {NAME: second.instance}


def test_a_predecessor_that_may_live_on_and_ran_something_is_moved_aside_with_all_it_told(
    broker: Broker, first: Process, second: Process
):
    first.report(age_s=60, active=2)
    second.report()
    second.report()
    aside = f"{NAME} #{first.instance}"
    assert listed(broker) == {NAME: second.instance, aside: first.instance}
    assert broker.client.hget(broker.keys.worker(aside), "active") == "2"


def test_a_predecessor_that_said_goodbye_leaves_nothing_behind(broker: Broker, first: Process, second: Process):
    first.report(active=1)
    first.leave()
    assert listed(broker) == {}
    second.report()
    assert listed(broker) == {NAME: second.instance}


def test_a_predecessor_that_held_and_ran_nothing_and_is_silent_is_replaced(
    broker: Broker, first: Process, second: Process
):
    first.report(age_s=IDLE_SILENT_S + 1)
    second.report()
    assert listed(broker) == {NAME: second.instance}


def test_one_that_went_silent_just_now_is_moved_aside_first_and_forgotten_a_few_seconds_later(
    broker: Broker, first: Process, second: Process
):
    first.report(age_s=1)
    second.report()
    assert len(listed(broker)) == 2
    aside = broker.keys.worker(f"{NAME} #{first.instance}")
    broker.client.hset(aside, "time", str(time.time() - IDLE_SILENT_S - 1))
    second.report()
    assert listed(broker) == {NAME: second.instance}
    assert not broker.client.exists(aside)


@pytest.mark.parametrize(
    "gone",
    [{"pid": 2**22 + 1}, {"pid_started": "1"}],
    ids=["nobody has its process id", "a later process has its id"],
)
def test_a_predecessor_that_is_proven_dead_is_replaced_at_once_whatever_it_ran(broker: Broker, gone: dict[str, Any]):
    here = identify()
    if not here.machine:
        pytest.skip("this system does not say which processes live")
    parent = dataclasses.replace(here, pid=os.getppid())
    dead = Process(broker, dataclasses.replace(parent, instance="dead", **gone))
    dead.report(active=3)
    restarted = Process(broker, identify())
    restarted.report()
    assert listed(broker) == {NAME: restarted.instance}


def test_a_namesake_that_lives_on_this_machine_is_not_taken_for_dead(broker: Broker):
    here = identify()

    parent = os.getppid()
    alive = dataclasses.replace(here, instance="alive", pid=parent, pid_started=identity._started(parent) or "")
    Process(broker, alive).report(active=1)
    Process(broker, here).report()
    assert set(listed(broker).values()) == {"alive", here.instance}


def test_a_worker_of_an_older_opsdash_is_moved_aside_by_its_process_id(broker: Broker, second: Process):
    broker.client.hset(broker.keys.worker(NAME), mapping={"time": time.time(), "pid": "77", "active": "1"})
    broker.client.zadd(broker.keys.workers, {NAME: time.time()})
    second.report()
    assert set(listed(broker)) == {NAME, f"{NAME} #pid-77"}


def test_foreign_values_under_the_names_of_reports_are_put_right(broker: Broker, first: Process):
    broker.client.set(broker.keys.workers, "x")
    broker.client.set(broker.keys.worker(NAME), "x")
    first.report()
    assert listed(broker) == {NAME: first.instance}
    broker.client.delete(broker.keys.workers)
    broker.client.lpush(broker.keys.workers, "x")
    first.leave()
    assert listed(broker) == {}


@pytest.mark.parametrize("nonsense", ["", "NaN", "soon", "-1"])
def test_nonsense_in_a_predecessors_report_costs_no_report(
    broker: Broker, first: Process, second: Process, nonsense: str
):
    first.report(**dict.fromkeys(("time", "active", "reserved"), nonsense))
    second.report()
    assert listed(broker)[NAME] == second.instance


def test_reports_of_workers_that_are_silent_for_a_day_are_forgotten(broker: Broker, first: Process):
    broker.client.zadd(broker.keys.workers, {"old@host": time.time() - KEPT_S - 60, "recent@host": time.time() - 3_600})
    first.report()
    assert set(listed(broker)) == {NAME, "recent@host"}


def test_a_report_that_redis_refuses_is_an_error_of_the_link(broker: Broker, first: Process):
    def refuse(*_: object) -> None:
        raise redis.ResponseError("NOPERM")

    first.report()
    first.link = SimpleNamespace(redis=SimpleNamespace(eval=refuse), keys=broker.keys)
    with pytest.raises(redis.ResponseError):
        first.report()
