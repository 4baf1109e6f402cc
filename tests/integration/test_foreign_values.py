"""Somebody else's values under opsdash's keys, and under a queue's: one clear line, and the rest works on."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

import pytest

from opsdash.errors import Refused
from opsdash.model import to_plain
from opsdash.operations import ClearQueue, ClearTasks, PauseProcessing, ResumeProcessing
from opsdash.services.console import Console


@pytest.fixture
def console(console_for: Callable[..., Console], sqlite_url: str) -> Console:
    return console_for(database_url=sqlite_url, queues=("celery", "weird"))


@pytest.mark.parametrize("key", ["pause_info", "pause_epoch"])
@pytest.mark.parametrize("kind", ["text", "list"])
def test_a_foreign_value_beside_the_flag_keeps_nobody_from_pausing_and_resuming(console: Console, key: str, kind: str):
    name = getattr(console.broker.keys, key)
    console.pause.pause(None, by="joe", reason="", ttl_s=60)
    console.broker.client.delete(name)
    console.broker.client.set(name, "x") if kind == "text" else console.broker.client.lpush(name, "x")
    snapshot = console.snapshot()
    assert (snapshot.redis_error, snapshot.pause is not None) == ("", True), "the flag is the truth"
    assert console.run(ResumeProcessing(), actor="maria", confirm="YES").affected == 1
    console.run(PauseProcessing(reason="deploying"), actor="maria", confirm="YES")
    pause = console.snapshot().pause
    assert pause is not None
    assert (pause.by, pause.reason, (pause.epoch or 0) > 0) == ("maria", "deploying", True)


def test_a_foreign_value_in_place_of_a_workers_report_hides_no_other_worker(console: Console):
    client, keys = console.broker.client, console.broker.keys
    seconds, _ = client.time()
    for hostname in ("good@host", "bad@host"):
        client.hset(keys.worker(hostname), mapping={"time": seconds, "loop_tick": seconds, "pool": "solo"})
        client.zadd(keys.workers, {hostname: seconds})
    client.delete(keys.worker("bad@host"))
    client.set(keys.worker("bad@host"), "x")
    assert {worker.hostname: worker.state for worker in console.get_worker_stats()} == {
        "bad@host": "offline",
        "good@host": "online",
    }


@pytest.mark.parametrize("operation", [ClearQueue(queue="weird"), ClearTasks(queue="weird", task="*")])
def test_a_queue_that_is_no_list_is_refused_by_name_and_nothing_is_changed(console: Console, operation):
    console.broker.client.set("weird", "x")
    expected = "The key 'weird' of queue weird is a string, not a list. Nothing was changed."
    with pytest.raises(Refused, match=expected):
        console.preview(operation)
    with pytest.raises(Refused, match=expected):
        console.run(operation, actor="maria", confirm="YES")
    with pytest.raises(Refused, match=expected):
        console.queues.peek("weird", 5)
    assert console.broker.client.get("weird") == "x"


def test_the_same_request_sent_again_is_answered_as_the_first_time(console: Console):
    request = uuid4()
    first, again = (
        console.run(PauseProcessing(reason="x"), actor="maria", confirm="YES", request_id=request) for _ in range(2)
    )
    assert to_plain(again) == to_plain(first)
