"""What Celery keeps to itself and the plug-in looks at: the pool's kind, a fetch's time, names that are missing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from opsdash.worker import celery_private, prefork_guard
from opsdash.worker.celery_private import check, fetching, pools


def pool(module: str, **has: Any) -> Any:
    """A pool of Celery's, as far as its module's name tells."""
    return type("TaskPool", (), {"__module__": f"celery.concurrency.{module}", **has})()


@pytest.mark.parametrize(
    ("module", "name", "green"),
    [
        ("prefork", "prefork", False),
        ("thread", "threads", False),
        ("solo", "solo", False),
        ("gevent", "gevent", True),
        ("eventlet", "eventlet", True),
    ],
)
def test_a_pool_is_called_as_one_writes_it_after_the_option(module: str, name: str, green: bool) -> None:
    assert (pools.pool_name(pool(module)), pools.is_green(pool(module))) == (name, green)


@pytest.mark.parametrize(("told", "seconds"), [({}, 1.2), ({"brpop_timeout": None}, 1.2), ({"brpop_timeout": 5}, 5.2)])
def test_a_fetch_may_take_as_long_as_kombu_waits_and_a_little_more(told: dict[str, Any], seconds: float) -> None:
    assert fetching.fetch_s(SimpleNamespace(**told)) == pytest.approx(seconds)


def test_a_channel_that_does_not_tell_may_be_fetching() -> None:
    found = [fetching.is_fetching(SimpleNamespace(**told)) for told in ({}, {"_in_poll": True}, {"_in_poll": False})]
    assert found == [True, True, False]


def test_broadcasts_are_not_consumed_as_queues_are_and_before_a_connection_nothing_is() -> None:
    def queue(name: str, kind: str | None) -> Any:
        return SimpleNamespace(name=name, exchange=None if kind is None else SimpleNamespace(type=kind))

    queues = [queue("a", "direct"), queue("news", "fanout"), queue("b", None), queue("c", "topic")]
    consumer = SimpleNamespace(task_consumer=SimpleNamespace(queues=queues))
    assert fetching.consumed_queues(consumer) == ["a", "b", "c"]
    assert fetching.consumed_queues(SimpleNamespace(task_consumer=None)) == []


def consumer(kind: str, *, pool_has: dict[str, Any], controller: Any = None, without: str = "") -> Any:
    """One that has all that pausing leans on, but for one name."""
    own = {"call_soon": 1, "task_buckets": 1, "on_task_request": 1}
    own.pop(without, None)
    channel = SimpleNamespace(_update_queue_cycle=1, _queue_cycle=1, active_queues=1)
    return SimpleNamespace(
        **own,
        task_consumer=SimpleNamespace(channel=channel),
        pool=pool(kind, **pool_has),
        controller=controller or SimpleNamespace(),
    )


@pytest.fixture(autouse=True)
def _channel_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check.message_origin, "missing", lambda _channel: [])


@pytest.mark.parametrize("kind", ["thread", "solo", "gevent", "eventlet"])
def test_a_pool_without_processes_needs_its_way_to_apply(kind: str) -> None:
    assert check.missing(consumer(kind, pool_has={"on_apply": 1})) == ""
    assert check.missing(consumer(kind, pool_has={})) == "pool.on_apply"
    assert check.missing(consumer(kind, pool_has={}, without="call_soon")) == "consumer.call_soon, pool.on_apply"


def whole(names: tuple[str, ...]) -> dict[str, Any]:
    return dict.fromkeys(names, 1)


def test_prefork_needs_billiards_names_and_the_semaphore_where_there_is_one() -> None:
    inner = SimpleNamespace(
        **{
            **whole(prefork_guard.POOL),
            "Worker": SimpleNamespace(**whole(prefork_guard.WORKER)),
            "_result_handler": SimpleNamespace(**whole(prefork_guard.RESULTS)),
        }
    )
    semaphore = SimpleNamespace(semaphore=SimpleNamespace(_waiting=1))
    assert check.missing(consumer("prefork", pool_has={"_pool": inner})) == ""
    assert check.missing(consumer("prefork", pool_has={"_pool": inner}, controller=semaphore)) == "semaphore.release"
    lost = check.missing(consumer("prefork", pool_has={"_pool": SimpleNamespace()}))
    labels = {label for label, _, _ in (part.rpartition(".") for part in lost.split(", "))}
    assert labels == {"pool", "pool.Worker", "pool results"}


def test_only_a_pool_of_processes_is_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefork_guard, "PreforkGuard", lambda one: ("guards", one))
    processes = SimpleNamespace(pool=pool("prefork", Pool=1))
    assert celery_private.guard(processes) == ("guards", processes)
    assert celery_private.guard(SimpleNamespace(pool=pool("prefork"))) is None, "it can't fork"
    assert celery_private.guard(SimpleNamespace(pool=pool("thread", Pool=1))) is None
