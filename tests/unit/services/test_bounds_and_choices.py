"""Rules at their bounds: what is just allowed, what is just not, and which of several is meant."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import fakeredis
import pytest
from support.errors import fails

from opsdash.errors import Invalid
from opsdash.model.key_layout import Layout
from opsdash.model.rate_limit import MOST_PER_S
from opsdash.operations import LimitConcurrency
from opsdash.services.broker.client import Broker
from opsdash.services.broker.key_layout import Layouts
from opsdash.services.broker.queue_expiry import ExpiryKeeper
from opsdash.services.queues.task_message import Wanted, meant_id
from opsdash.services.tenants.drift import DriftWatch
from opsdash.services.workers.rate_limits import is_none, rate_of
from opsdash.services.workers.remote_control import _names
from opsdash.services.workers.time_limits import LONGEST_S, checked


@pytest.mark.parametrize(
    ("text", "per_s"), [("1/h", 1 / 3_600), ("10000/s", 10_000.0), ("90/m", 1.5), ("0.9999/h", 0.9999 / 3_600)]
)
def test_a_rate_that_can_be_meant_is_taken(text: str, per_s: float) -> None:
    assert rate_of(text) == pytest.approx(per_s)


@pytest.mark.parametrize("text", ["0.99/h", "10001/s", "nonsense"])
def test_a_rate_that_can_not_be_meant_is_refused(text: str) -> None:
    with fails(Invalid, field="rate"):
        rate_of(text)
    assert MOST_PER_S == 10_000


def test_no_limit_is_written_as_in_celery() -> None:
    assert [is_none(text) for text in ("none", " None ", "0", "0/s", "1", "none of it")] == [
        *(True, True, True, True),
        *(False, False),
    ]


@pytest.mark.parametrize(("soft_s", "hard_s"), [(0, None), (LONGEST_S + 1, None), (None, 0), (5, 5), (6, 5)])
def test_time_limits_that_can_not_be_meant_are_refused_in_a_sentence(soft_s: int | None, hard_s: int | None) -> None:
    with pytest.raises(Invalid) as refused:
        checked(soft_s, hard_s, remove=False)
    assert "expected" in str(refused.value)


def test_time_limits_at_their_bounds_are_taken() -> None:
    assert checked(1, LONGEST_S, remove=False) == checked(1, LONGEST_S, remove=False)
    checked(4, 5, remove=False)
    with fails(Invalid, field="soft_s"):
        checked(1, None, remove=True)
    with fails(Invalid, field="soft_s"):
        checked(None, None, remove=False)


def test_broadcasts_are_no_queues_that_a_worker_takes_tasks_from() -> None:
    told = [
        {"name": "b", "exchange": {"type": "direct"}},
        {"name": "news", "exchange": {"type": "fanout"}},
        {"name": "a", "exchange": None},
    ]
    assert _names(told) == ["a", "b"]


def raw(task_id: str) -> bytes:
    return json.dumps({"headers": {"id": task_id, "task": "a"}}).encode()


def deep(task_id: str) -> bytes:
    """A message that is nested too deep to be read as a whole."""
    return b'{"headers": {"id": "%s"}, "body": %s1%s}' % (task_id.encode(), b"[" * 60, b"]" * 60)


@pytest.mark.parametrize("make", [raw, deep])
def test_a_message_is_meant_by_its_id_or_by_the_beginning_of_it(make: Any) -> None:
    whole, short = "a" * 36, "a" * 8
    assert meant_id(make(whole), Wanted(whole)) == whole
    assert meant_id(make(whole), Wanted(short)) == whole
    assert meant_id(make("b" + whole[1:]), Wanted(short)) == ""
    too_short = Wanted("aa")
    assert not too_short(whole)
    assert meant_id(make(whole), too_short) == ""


def test_a_pause_by_another_one_has_expiries_suspended_at_the_next_look() -> None:
    client = fakeredis.FakeRedis(decode_responses=True)
    broker = Broker(client, Layouts.fixed(client, Layout()), "test", ("celery", "emails"))
    keeper = ExpiryKeeper(broker)
    keeper.look(("celery", "emails"), needed=False)
    assert not keeper._something_is_suspended()
    for key in (broker.keys.pause(), broker.keys.pause("emails"), broker.keys.expires):
        client.set(key, "1")
        assert keeper._something_is_suspended(), key
        client.delete(key)
    client.set(broker.keys.pause("reports"), "1")
    assert not keeper._something_is_suspended(), "a queue that nobody asked about"


def test_drift_is_asked_of_the_database_since_the_last_sync() -> None:
    asked: list[Any] = []

    def version(after: Any = None) -> None:
        asked.append(after)

    index: Any = SimpleNamespace(
        stored=lambda: ({"rows": "1", "newest": "2026-11-01T00:00:00+00:00"}, 1),
        look=lambda cursor, altered: (cursor, []),
        notice=lambda at: None,
    )
    DriftWatch(SimpleNamespace(version=version), index).look()  # type: ignore[arg-type]
    (after,) = asked
    assert after is not None
    assert after.isoformat() == "2026-11-01T00:00:00+00:00"


def test_the_evidence_of_a_limit_is_the_one_that_holds_now() -> None:
    def find(kind: str, name: str) -> Any:
        return SimpleNamespace(most=1_200, by="maria") if (kind, name) == ("limit", "shop.*") else None

    services: Any = SimpleNamespace(holds=SimpleNamespace(find=find))
    entry: Any = None
    shop, other = (LimitConcurrency(task=task, most=3) for task in ("shop.*", "other"))
    assert shop.evidence(services, entry) == {
        "message": "The concurrency limit of shop.* now: 1,200 at once, set by maria."
    }
    assert other.evidence(services, entry) == {"message": "The concurrency limit of other now: none."}
