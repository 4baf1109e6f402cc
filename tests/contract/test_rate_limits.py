"""Rate limits as they are kept, and each worker's share of them."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from opsdash.errors import Refused
from opsdash.model.rate_limit import MOST_LIMITS, share
from opsdash.services.broker.client import Broker
from opsdash.services.workers.rate_limits import RateLimits
from opsdash.worker import celery_private
from opsdash.worker import rate_limits as followed


@pytest.fixture
def limits(broker: Broker) -> RateLimits:
    return RateLimits(broker)


def put(limits: RateLimits, task: str = "t", rate: str = "10/s", per_s: float = 10.0, ttl_s: int = 600) -> Any:
    return limits.set(task, rate, per_s, by="maria", reason="slow shop", ttl_s=ttl_s)


def test_a_limit_is_read_as_it_was_set_and_the_one_before_is_given_back(limits: RateLimits, broker: Broker) -> None:
    assert limits.read() == ()
    assert put(limits) is None
    (limit,) = limits.read()
    assert (limit.task, limit.rate, limit.per_s, limit.by, limit.reason) == ("t", "10/s", 10.0, "maria", "slow shop")
    assert limit.expires_at is not None
    assert limit.expires_at.timestamp() == pytest.approx(time.time() + 600, abs=5)
    assert limits.left_s(limit) == pytest.approx(600, abs=5)
    assert 0 < broker.client.ttl(broker.keys.rate_limits) <= 600
    before = put(limits, rate="5/s", per_s=5.0, ttl_s=60)
    assert before.rate == "10/s"
    assert limits.remove("t").rate == "5/s"
    assert limits.remove("t") is None
    assert limits.read() == ()
    assert not broker.client.exists(broker.keys.rate_limits)


def test_a_limit_that_has_ended_is_none_and_goes_with_the_next_change(limits: RateLimits, broker: Broker) -> None:
    put(limits)
    text = broker.client.hget(broker.keys.rate_limits, "t")
    broker.client.hset(broker.keys.rate_limits, "old", text[: text.index('"until"')] + '"until": 5}')
    broker.client.hset(broker.keys.rate_limits, "foreign", "x" * 10_000)
    assert [limit.task for limit in limits.read()] == ["t"]
    put(limits, "u")
    assert set(broker.client.hkeys(broker.keys.rate_limits)) == {"t", "u"}


@pytest.mark.parametrize(
    "foreign", ["{", "[]", '{"per_s": -1, "until": 9999999999}', '{"per_s": 5}', '{"per_s": "NaN"}']
)
def test_what_is_no_limit_limits_nothing(limits: RateLimits, broker: Broker, foreign: str) -> None:
    broker.client.hset(broker.keys.rate_limits, "t", foreign)
    assert limits.read() == ()


def test_there_are_so_many_limits_and_no_more(limits: RateLimits, broker: Broker) -> None:
    for number in range(MOST_LIMITS):
        put(limits, f"t{number}")
    with pytest.raises(Refused, match="There are 100 rate limits already"):
        put(limits, "one more")
    assert put(limits, "t0", rate="5/s", per_s=5.0) is not None, "one that is there may be changed"


@pytest.fixture
def follower(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a worker that reports, and follows limits; ``met`` says which tasks it has taken."""
    monkeypatch.setattr(celery_private, "follows_rate_limits", lambda _consumer: True)
    monkeypatch.setattr(celery_private, "accepted", lambda task: taken.get(task, 0))
    monkeypatch.setattr(celery_private, "waits_for_rate", lambda _consumer, _task: 0)
    taken: dict[str, int] = {}
    link: Any = SimpleNamespace(redis=broker.client, keys=broker.keys)

    def make(hostname: str, age_s: float = 0.0) -> Any:
        broker.client.zadd(broker.keys.workers, {hostname: time.time() - age_s})
        told: list[dict[str, float]] = []
        made = followed.RateLimits(None, hostname, lambda _apply, shares: told.append(shares))

        def turn(*met: str) -> dict[str, float]:
            for task in met:
                taken[task] = taken.get(task, 0) + 1
            made.follow(link)
            made.applied = told[-1] if told else {}
            return told[-1] if told else {}

        return turn

    return make


def test_workers_that_meet_a_task_share_its_limit_and_others_are_careful(
    limits: RateLimits, broker: Broker, follower: Any
) -> None:
    a, b, c = (follower(name) for name in ("a@h", "b@h", "c@h"))
    follower("silent@h", age_s=30)
    assert a() == {}
    put(limits, per_s=12.0)
    assert (a(), b(), c()) == ({"t": 4.0}, {"t": 4.0}, {"t": 4.0}), "three report, and nobody has met one yet"
    assert a("t") == {"t": 12.0}, "all of it for the one that meets them"
    assert b("t") == {"t": 6.0}
    assert a() == {"t": 6.0}
    broker.client.zrem(broker.keys.workers, "b@h")
    assert a() == {"t": 12.0}, "one that is gone counts no more"
    limits.remove("t")
    assert a() == {}


def test_somebody_elses_values_are_no_limit_and_stop_no_worker(broker: Broker, follower: Any) -> None:
    a = follower("a@h")
    broker.client.set(broker.keys.rate_limits, "foreign")
    assert a() == {}
    broker.client.delete(broker.keys.rate_limits)
    broker.client.hset(
        broker.keys.rate_limits, mapping={"t": "{", "u": "x" * 9_000, "v": '{"per_s": 1e99, "until": 9e9}'}
    )
    assert a() == {}
    broker.client.set(broker.keys.rate_limited("w"), "foreign")
    RateLimits(broker).set("w", "1/s", 1.0, by="", reason="", ttl_s=60)
    assert a() == {"w": 1.0}
    assert a("w") == {"w": 1.0}


@pytest.mark.parametrize(
    ("reporting", "counted", "mine", "expected"),
    [(4, 0, False, 2.5), (4, 2, True, 5.0), (4, 2, False, 2.5), (1, 3, False, 2.5), (0, 0, True, 10.0)],
)
def test_the_share_of_one_worker(reporting: int, counted: int, mine: bool, expected: float) -> None:
    assert share(10.0, reporting=reporting, counted=counted, mine=mine) == expected
