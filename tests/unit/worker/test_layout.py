"""What a worker tells of its broker's layout, whatever its connection is doing."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from opsdash.worker import layout


def test_a_worker_that_has_lost_its_connection_tells_no_layout_and_goes_on_reporting():
    closed = SimpleNamespace(channel=SimpleNamespace(connection=None), queues=[])
    assert layout.describe(SimpleNamespace(task_consumer=None)) == {}
    assert layout.describe(SimpleNamespace(task_consumer=closed)) == {}


def queue(name: str, exchange: str = "", kind: str = "direct", **more: Any) -> Any:
    bound = None if kind == "none" else SimpleNamespace(name=exchange, type=kind)
    return SimpleNamespace(
        **{"name": name, "exchange": bound, "bindings": (), "queue_arguments": None, "expires": None, **more}
    )


def describe(*queues: Any, channel: Any = None, url: Any = None) -> dict[str, Any]:
    transport = SimpleNamespace(
        driver_name="redis", client=url or SimpleNamespace(hostname="user:secret@db.example", port=6_380)
    )
    of = channel or SimpleNamespace()
    of.connection = transport
    consumer = SimpleNamespace(
        task_consumer=SimpleNamespace(channel=of, queues=list(queues)),
        app=SimpleNamespace(conf=SimpleNamespace(control_exchange="celery")),
    )
    return {name: json.loads(text) for name, text in layout.describe(consumer).items()}


def test_a_worker_tells_how_its_messages_lie_in_redis_without_a_password():
    channel = SimpleNamespace(
        global_keyprefix="shop:",
        sep=":",
        priority_steps=["0", "5"],
        unacked_key="unacked",
        unacked_index_key="unacked_index",
        visibility_timeout=60,
        pool=SimpleNamespace(connection_kwargs={"db": 3}),
    )
    assert describe(channel=channel)["layout"] == {
        "prefix": "shop:",
        "separator": ":",
        "steps": [0, 5],
        "unacked": "unacked",
        "unacked_index": "unacked_index",
        "visibility_timeout_s": 60,
        "transport": "redis",
        "db": 3,
        "control_exchange": "celery",
        "url_host": "db.example:6380",
    }
    socket = SimpleNamespace(hostname="redis+socket:///run/redis.sock", port=None)
    bare = {"prefix": "", "transport": "redis", "control_exchange": "celery", "url_host": "/run/redis.sock"}
    assert describe(url=socket)["layout"] == bare


def test_exchanges_are_told_once_without_broadcasts_and_queues_that_expire_with_their_time():
    more = SimpleNamespace(exchange=SimpleNamespace(name="more", type="topic"))
    news = SimpleNamespace(exchange=SimpleNamespace(name="news", type="fanout"))
    told = describe(
        queue("a", "orders", "topic", bindings=(more, news, SimpleNamespace(exchange=None))),
        queue("b", "orders", queue_arguments={"x-expires": 5_000}),
        queue("c", "news", "fanout", expires=1),
        queue("d", kind="none", expires=1.5),
        queue("e", ""),
    )
    assert told["exchanges"] == ["orders", "more"]
    assert told["expires_ms"] == {"b": 5_000, "d": 1_500}
