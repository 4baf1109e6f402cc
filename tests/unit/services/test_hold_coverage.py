"""Which workers a hold is about, which of them can't keep to it, and what that makes of the figures."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import fakeredis
import pytest

from opsdash.model import OtherWorker
from opsdash.model.hold import RELEASING, Hold, HoldsRead, hold_id
from opsdash.model.key_layout import Layout
from opsdash.services.broker.client import Broker
from opsdash.services.broker.key_layout import Layouts
from opsdash.services.pause import holds
from opsdash.services.pause.holds import Holds

TASKS = Hold(id="a", kind="task", name="shop.*")
EMAILS = Hold(id="b", kind="task", name="shop.*", queue="emails")
LIMIT = Hold(id="c", kind="limit", name="shop.*", most=3)


def worker(hostname: str = "w@x", **told: Any) -> Any:
    given = {"reports": True, "queues": ("celery",), "holding": "ready", "limited": None, "holds_applied": ("c",)}
    return SimpleNamespace(**{**given, "hostname": hostname, **told})


@pytest.mark.parametrize(
    ("told", "hold", "applies"),
    [
        ({}, TASKS, True),
        ({}, EMAILS, False),
        ({"queues": ("celery", "emails")}, EMAILS, True),
        ({"reports": False}, TASKS, False),
        ({"reports": False, "queues": ("emails",)}, EMAILS, False),
        ({"queues": ()}, TASKS, False),
    ],
)
def test_a_hold_is_about_workers_that_report_and_take_from_its_queue(
    told: dict[str, Any], hold: Hold, applies: bool
) -> None:
    assert holds.applies(worker(**told), hold) is applies


@pytest.mark.parametrize(
    ("told", "hold", "able"),
    [
        ({}, TASKS, True),
        ({"holding": ""}, TASKS, False),
        ({"holding": "Redis takes no more"}, TASKS, False),
        ({}, LIMIT, False),
        ({"limited": {}}, LIMIT, True),
        ({"limited": {}, "holding": ""}, LIMIT, False),
    ],
)
def test_an_older_plug_in_or_a_refusal_of_redis_keeps_a_worker_from_holding(
    told: dict[str, Any], hold: Hold, able: bool
) -> None:
    one = worker(**told)
    assert holds.can_not([one], hold) == ([] if able else [one])
    assert holds.can_not([worker(**{**told, "reports": False})], hold) == [], "it is not asked to"


@pytest.fixture
def broker() -> Broker:
    client = fakeredis.FakeRedis(decode_responses=True)
    return Broker(client, Layouts.fixed(client, Layout()), "test", ("celery",))


def test_a_limits_figures_are_of_the_workers_that_it_is_about(broker: Broker) -> None:
    workers = [
        worker("keeps@x", limited={"c": 2}),
        worker("none@x", limited={"c": 0, "other": 7}),
        worker("old@x"),
        worker("late@x", limited={}, holds_applied=()),
        worker("silent@x", reports=False, limited={"c": 9}),
        worker("other@x", queues=(), limited={}),
    ]
    others = [OtherWorker(hostname="plain@x", queues=("celery",))]
    read = HoldsRead(holds=(LIMIT,), now_s=0.0, unread=())
    (found,) = Holds(broker).look(workers, others, read).holds
    assert (found.workers, found.of) == (2, 4)
    assert found.without == ("old@x", "plain@x")
    assert found.shares == {"keeps@x": 2}
    assert (found.held, dict(found.by_queue), found.oldest_at) == (0, {}, None)


def test_who_releases_a_hold_is_known_while_it_is_released(broker: Broker) -> None:
    store = Holds(broker)
    assert store.who_releases("a") == ""
    broker.client.hset(broker.keys.hold, f"a{RELEASING}", json.dumps({"by": "maria"}))
    assert store.who_releases("a") == "maria"
    assert store.who_releases("b") == ""


def test_a_hold_is_found_by_its_kind_name_and_queue(broker: Broker) -> None:
    store = Holds(broker)
    for queue in ("", "emails"):
        told = {"kind": "task", "name": "shop.*", "queue": queue, "at": "2026-01-01T00:00:00+00:00"}
        broker.client.hset(broker.keys.hold, hold_id("task", "shop.*", queue), json.dumps(told))
    for queue in ("", "emails"):
        found = store.find("task", "shop.*", queue)
        assert found is not None
        assert found.queue == queue
    assert store.find("task", "shop.*", "reports") is None
    assert store.find("tenant", "shop.*") is None
