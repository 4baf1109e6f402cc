"""Queues declared with ``expires``: kombu 5.7 lets them vanish, and a pause must not."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import kombu
import pytest
from support.deployment import Deployment, deploy, each_exactly_once
from support.services import Valkey
from support.workers import eventually, worker

from opsdash.keys import Keys
from opsdash.services.console import Console

pytestmark = pytest.mark.skipif(
    tuple(kombu.VERSION[:2]) < (5, 7), reason="before kombu 5.7 no queue expires on Redis, so there is nothing to keep"
)
LONG = pytest.mark.slow
TIMES = [(2.0, 5), pytest.param((3.0, 8), marks=LONG)]
"""Seconds after which the queue ``emails`` expires, and for how long it is paused."""
RESUMED, OVER, BY_HAND = "resumed", "its time is over", "deleted by hand"


def slow(*values: object) -> object:
    return pytest.param(*values, marks=LONG)


@pytest.fixture(params=TIMES, ids=lambda times: f"expires {times[0]:g} s, paused {times[1]} s")
def times(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[float, int]:
    monkeypatch.setenv("SAMPLE_EXPIRES", str(request.param[0]))  # for workers and producers alike
    return request.param


@pytest.fixture
def deployment(times: tuple[float, int], valkey: Valkey) -> Iterator[Deployment]:
    with deploy(valkey) as made:
        yield made


def expiry_ms(deployment: Deployment) -> int:
    """What is left of the longest-lived list of the queue; below 0 when none expires."""
    return max(deployment.redis.pttl(key) for key in deployment.lists("emails"))


def send(deployment: Deployment, number: int) -> list[str]:
    return deployment.send(number, queue="emails", kwargs={"seconds": 0.2})


def pause_until(deployment: Deployment, paused_s: int, how: str) -> list[str]:
    """Pauses the queue for so long, with tasks published before and at its beginning, and lets the pause end."""
    ids = send(deployment, 3)
    deployment.flags.pause("emails", by="maria", reason="", ttl_s=paused_s if how == OVER else 600)
    ids += send(deployment, 5)
    assert deployment.records.stay(paused_s - 0.2) <= 3
    if how == RESUMED:
        deployment.resume("emails")
    elif how == BY_HAND:
        deployment.redis.delete(deployment.keys.pause("emails"))
    return ids


@pytest.mark.long
@pytest.mark.parametrize("how", [RESUMED, slow(OVER), BY_HAND])
def test_a_paused_queue_outlives_its_expiry_by_its_worker_alone(
    deployment: Deployment, times: tuple[float, int], how: str
) -> None:
    expires_s, paused_s = times
    with worker(pool="threads", queues=["emails"], concurrency=1, env=deployment.env) as running:
        eventually(lambda: deployment.health(running.hostname), what="its first report")
        declared = deployment.redis.hget(deployment.keys.expires_declared, "emails")
        assert declared == str(int(expires_s * 1000))
        ids = pause_until(deployment, paused_s, how)
        eventually(
            lambda: 0 < expiry_ms(deployment) <= expires_s * 1000 or not deployment.waiting("emails"),
            what="what still waits expires again",
        )
        deployment.records.wait_for(len(ids))
    assert deployment.records.times_run() == each_exactly_once(ids)
    assert not deployment.redis.exists(deployment.keys.expires)


@pytest.mark.long
@pytest.mark.parametrize(
    ("how", "poll_s"),
    [(OVER, 2), slow(RESUMED, 2), slow(BY_HAND, 2), slow(RESUMED, 10), slow(OVER, 10), slow(BY_HAND, 10)],
)
def test_a_paused_queue_outlives_its_expiry_by_a_console_alone(
    deployment: Deployment, times: tuple[float, int], how: str, poll_s: int, console_for: Callable[..., Console]
) -> None:
    _, paused_s = times
    console = console_for(queues=("celery", "emails"), poll_interval_s=poll_s)
    console.poller.subscribe(lambda _snapshot: None)
    eventually(lambda: console.poller.latest, what="it looks")
    ids = send(deployment, 2)
    console.pause.pause("emails", by="maria", reason="", ttl_s=paused_s if how == OVER else 600)
    console.poller.refresh()
    ids += send(deployment, 2)
    eventually(lambda: expiry_ms(deployment) == -1, what="its expiry stands still")
    deployment.records.stay(paused_s / 2)
    ids += send(deployment, 2)
    deployment.records.stay(paused_s / 2)
    assert deployment.waiting("emails") == len(ids)
    if how == RESUMED:
        console.pause.resume("emails")
    elif how == BY_HAND:
        deployment.redis.delete(Keys().pause("emails"))
    eventually(lambda: expiry_ms(deployment) > 0, timeout_s=poll_s + 5, what="it expires again")
    with worker(pool="threads", queues=["emails"], env=deployment.env):
        deployment.records.wait_for(len(ids))
    assert deployment.records.times_run() == each_exactly_once(ids)
    assert not deployment.redis.exists(deployment.keys.expires)


@pytest.mark.long
def test_a_worker_that_starts_after_the_pause_gives_back_what_nobody_else_has(
    deployment: Deployment, times: tuple[float, int]
) -> None:
    expires_s, _ = times
    ids = send(deployment, 4)
    deployment.flags.pause("emails", by="maria", reason="", ttl_s=1)
    assert expiry_ms(deployment) == -1
    eventually(lambda: not deployment.redis.exists(deployment.keys.pause("emails")), what="its time is over")
    deployment.records.stay(expires_s)
    with worker(pool="threads", queues=["emails"], env=deployment.env):
        deployment.records.wait_for(len(ids))
        eventually(lambda: not deployment.redis.exists(deployment.keys.expires), what="nothing is left behind")
    assert deployment.records.times_run() == each_exactly_once(ids)
