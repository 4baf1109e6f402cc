"""The tasks of each tenant: counted or estimated, by the rule that workers go by, once for all who ask."""

from __future__ import annotations

import json
import random
from types import SimpleNamespace
from typing import Any

import pytest
from support.failed_tasks import failed, keep
from support.failed_tasks import message as sent
from support.held import put_aside
from support.messages import message
from support.reports import report

from opsdash.model import Hold, TenantsRead, TenantTasks
from opsdash.services.broker.client import Broker
from opsdash.services.failures.store import FailureStore
from opsdash.services.pause.holds import Holds
from opsdash.services.queues import sampling
from opsdash.services.queues.tenant_filter import tenant_of
from opsdash.services.tenants import tasks
from opsdash.services.tenants.tasks import TenantLook
from opsdash.services.workers.reports import Workers
from opsdash.worker import tenant_of as workers_rule

HOSTILE = ["<script>alert(1)</script>", "\u202egnirts", "a\x1b[31m\nb", "x" * 500, "\ud800", "*", " ", "'; DROP--"]


def look(broker: Broker, key: str = "tenant_id") -> TenantLook:
    return TenantLook(broker, Workers(broker), FailureStore(broker), lambda: ("celery", "emails"), key)


def hold(broker: Broker, kind: Any, name: str, *messages: str, queue: str = "celery") -> Hold:
    """As a worker's script leaves what it has set aside."""
    made = Holds(broker).set(kind, name, key="tenant_id", by="maria", reason="", ttl_s=600)
    put_aside(broker, made, *messages, queue=queue)
    return made


def by_tenant(read: TenantsRead) -> dict[str, tuple[int, int, int, int]]:
    return {one.tenant: (one.waiting, one.running, one.failed, one.held) for one in read.tenants}


def test_each_task_counts_for_its_tenant_wherever_it_is(broker: Broker) -> None:
    broker.client.lpush(broker.lists("celery")[0], message(tenant_id="acme"), message(kwargs={"tenant_id": 7}))
    broker.client.lpush(broker.lists("emails")[3], message(tenant_id="acme"), message(), "no JSON")
    keep(broker, [failed("f1", message=sent("f1", tenant_id="acme")), failed("f2"), failed("f3", message=b"")])
    hold(broker, "task", "shop.charge", message(tenant_id="umbrella"), message())
    own = hold(broker, "tenant", "acme", message(tenant_id="acme"), message(tenant_id="acme"), queue="emails")
    told = '["tenant_id", 4, {"acme": 2, "7": 1}]'
    report(broker.client, "a@host", keys=broker.keys, active="5", running_tenants=told)
    report(broker.client, "older@host", keys=broker.keys, active="3")
    report(broker.client, "other@host", keys=broker.keys, active="2", running_tenants='["customer", 2, {"acme": 2}]')
    read = look(broker).read()
    assert by_tenant(read) == {"acme": (2, 2, 1, 2), "7": (1, 1, 0, 0), "umbrella": (0, 0, 0, 1)}
    assert read.tenants[0].hold == own
    assert (read.others.waiting, read.others.running, read.others.failed, read.others.held) == (2, 1, 2, 1)
    assert (read.running_unknown, read.left_out) == (6, 0)
    assert read.sentences == ("Of 6 running tasks it is not known whose they are: their workers don't say.",)
    assert (read.waiting.tasks, read.failed.tasks, read.held.tasks) == (5, 3, 4)


def test_the_rule_is_that_of_the_workers(broker: Broker) -> None:
    for headers, kwargs in (
        ({"tenant_id": "acme"}, {"tenant_id": "other"}),
        ({}, {"tenant_id": "acme"}),
        ({"tenant_id": ""}, {"tenant_id": "acme"}),
        ({"tenant_id": 7}, {}),
        ({"tenant_id": True}, {"tenant_id": ["acme"]}),
        ({}, {}),
        *(({"tenant_id": number}, {}) for number in (-(10**18), 1 - 10**18, 10**19 - 1, 10**19, 10**30)),
        ({"tenant_id": "a\0b"}, {}),
        ({"tenant_id": "\ud800"}, {"tenant_id": "acme"}),
        ({"tenant_id": ["acme"]}, {"tenant_id": "\udc00"}),
        ({"tenant_id": "x" * 10**6}, {"tenant_id": "acme"}),
        ({"tenant_id": "\0" * 200}, {}),
    ):
        text = message(kwargs=kwargs, **headers)
        told = json.loads(text)
        received = SimpleNamespace(
            headers=told["headers"],
            content_type="application/json",
            body=json.dumps([[], kwargs, {}]),
        )
        assert tenant_of(text.encode(), "tenant_id") == workers_rule.tenant_of(received, "tenant_id"), (headers, kwargs)


def test_above_ten_thousand_the_numbers_are_estimates_and_say_so(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "COUNTED", 1_000)
    monkeypatch.setattr(sampling, "LOOK_S", 60.0)
    monkeypatch.setattr(tasks, "FAILED_LOOKED_AT", 40)
    names = random.Random(3).choices(["acme", "umbrella"], [80, 20], k=2_000)
    broker.client.lpush(broker.lists("celery")[0], *(message(tenant_id=name) for name in names))
    keep(broker, [failed(f"f{n}", message=sent(f"f{n}", tenant_id="acme")) for n in range(60)])
    read = look(broker).read()
    acme, umbrella = read.tenants
    assert abs(acme.waiting - names.count("acme")) <= acme.waiting_error < 400
    assert abs(umbrella.waiting - names.count("umbrella")) <= umbrella.waiting_error
    assert (acme.failed, acme.failed_error > 0, umbrella.failed) == (60, True, 0)
    assert read.waiting.sampled
    assert read.failed.sampled
    assert read.sentences[0] == "~ is estimated from 1,000 of 2,000 waiting tasks."
    assert read.sentences[1] == "~ is estimated from 40 of 60 failed tasks."


def test_those_who_ask_at_about_the_same_time_share_one_read(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = list[int]()
    sample = tasks.sample_lists
    monkeypatch.setattr(tasks, "sample_lists", lambda *given: reads.append(1) or sample(*given))
    one = look(broker)
    assert one.latest(3_600) is None
    first = one.read(60)
    assert one.read(60) is first
    assert one.latest(60) is first
    assert (len(reads), one.read() is first, len(reads)) == (1, False, 2)


def test_ids_that_anybody_may_choose_are_kept_as_they_are_and_only_the_largest_are_named(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "MOST_TENANTS", 4)
    own = hold(broker, "tenant", "quiet", message(tenant_id="quiet"))
    broker.client.lpush(broker.lists("celery")[0], *(message(tenant_id=one) for one in HOSTILE))
    broker.client.lpush(broker.lists("celery")[0], message(tenant_id="x" * 501), *[message(tenant_id="acme")] * 2)
    read = look(broker).read()
    assert len(read.tenants) == 4
    assert read.tenants[0] == TenantTasks(tenant="quiet", held=1, hold=own)
    assert read.tenants[1] == TenantTasks(tenant="acme", waiting=2)
    assert (read.left_out, read.others.waiting) == (len(HOSTILE) + 2 - 4, 1)
    assert "more tenants have fewer tasks" in read.sentences[-1]


def test_it_is_said_which_tenants_have_a_configuration_once_some_have(broker: Broker) -> None:
    broker.client.lpush(broker.lists("celery")[0], message(tenant_id="acme"), message(tenant_id="stray"))
    assert {one.synced for one in look(broker).read().tenants} == {None}
    broker.client.hset(broker.keys.tenants, "acme", "digest")
    assert {one.tenant: one.synced for one in look(broker).read().tenants} == {"acme": True, "stray": False}
    broker.client.set(broker.keys.tenants, "another one's")
    assert {one.synced for one in look(broker).read().tenants} == {None}


@pytest.mark.parametrize("told", ["", "no JSON", "[]", '["tenant_id", -1, {"acme": "x"}]', '["tenant_id", 1, [1]]'])
def test_a_report_that_can_not_be_read_says_nothing(broker: Broker, told: str) -> None:
    report(broker.client, "a@host", keys=broker.keys, active="3", running_tenants=told)
    read = look(broker).read()
    assert read.tenants == ()
    assert read.running_unknown + read.others.running == 3
