"""Failed tasks as a worker would have kept them, with messages as Celery sends them."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterable
from itertools import count
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import redis

from opsdash.services.broker.client import Broker
from opsdash.worker.failures import batch
from opsdash.worker.failures.batch import Count, Entry, Group
from opsdash.worker.failures.settings import FailureSettings

CHARGE = Group("failed", "shop.charge", "shop.errors.Declined", "charge in shop/tasks.py")
SEND = Group("failed", "shop.send", "TimeoutError", "send in shop/mail.py")
_numbers = count(1)


def message(
    task_id: str, name: str = "shop.charge", args: Any = (), kwargs: Any = None, queue: str = "celery", **headers: Any
) -> bytes:
    """A message of Celery's second protocol, as kombu puts it into a Redis list."""
    body = json.dumps([list(args), kwargs or {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}])
    given = {
        "lang": "py", "task": name, "id": task_id, "shadow": None, "eta": None, "expires": None, "group": None,
        "group_index": None, "retries": 0, "timelimit": [None, None], "root_id": task_id, "parent_id": None,
        "argsrepr": repr(tuple(args)), "kwargsrepr": repr(kwargs or {}), "origin": "gen1@host",
    }  # fmt: skip
    properties = {
        "correlation_id": task_id, "reply_to": str(uuid4()), "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": queue}, "priority": 0, "body_encoding": "base64",
        "delivery_tag": str(uuid4()),
    }  # fmt: skip
    return json.dumps(
        {
            "body": base64.b64encode(body.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {**given, **headers},
            "properties": properties,
        }
    ).encode()


def failed(
    task_id: str, group: Group = CHARGE, *, ago_s: float = 10.0, queue: str = "celery", step: int = 0, **fields: Any
) -> dict[str, Any]:
    """One failure, for `keep`; ``message`` as given, or one of Celery's."""
    raw = fields.pop("message", None)
    if raw is None:
        raw = message(task_id, group.task, queue=queue)
    return {"id": task_id, "group": group, "ago_s": ago_s, "queue": queue, "step": step, "message": raw, **fields}


def keep(broker: Broker, failures: Iterable[dict[str, Any]], **settings: int) -> list[str]:
    """Writes them as a worker does; returns their ids."""
    entries, counts, now = [], {}, time.monotonic()
    for one in failures:
        given = dict(one)
        name, group, queue, step = given.pop("id"), given.pop("group"), given.pop("queue"), given.pop("step")
        at = now - given.pop("ago_s")
        fields = {
            "task_id": name, "task": group.task, "error": group.error, "kind": group.kind, "queue": queue,
            "list": broker.lists(queue).get(step, f"{queue}:{step}"), "priority": str(step), "sendable": "1", **given,
        }  # fmt: skip
        if fields.get("message") == b"":
            del fields["message"], fields["sendable"]
        entries.append(Entry(id=name, group=group, at=at, fields=fields))
        counted = counts.setdefault((group, queue), Count())
        counted.times, counted.last = counted.times + 1, at
    link: Any = SimpleNamespace(redis=broker.client, keys=broker.keys)
    for start in range(0, len(entries), 200):
        batch.write(
            link, f"w{next(_numbers)}", 1, counts if not start else {}, entries[start : start + 200],
            worker="w1@host", now=now, settings=FailureSettings(**settings),
        )  # fmt: skip
    return [entry.id for entry in entries]


def waiting(broker: Broker, queue: str = "celery", step: int = 0) -> list[bytes]:
    """What waits, byte for byte, the next one to run first."""
    pool = broker.client.connection_pool
    wanted = ("LRANGE",) if redis.VERSION < (5, 3) else ()  # an argument that is needed first, then warned of
    connection = pool.get_connection(*wanted)
    try:
        connection.send_command("LRANGE", broker.lists(queue)[step], 0, -1)
        return list(connection.read_response(disable_decoding=True))[::-1]
    finally:
        pool.release(connection)
