"""What tests ask of the store of failed tasks."""

from __future__ import annotations

from typing import Any

import redis
from support.deployment import Deployment
from support.workers import eventually

from opsdash.model.failure import Failure, FailureGroup
from opsdash.services.failures.store import FailureFilter, FailureStore


def store_of(deployment: Deployment) -> FailureStore:
    return FailureStore(deployment.broker)


def wait_for(deployment: Deployment, number: int, *, timeout_s: float = 20.0, **where: Any) -> list[Failure]:
    """Waits until so many failures are kept; those that came last first."""
    store, meant = store_of(deployment), FailureFilter(**where)
    eventually(lambda: store.page(meant).total >= number, timeout_s=timeout_s, what=f"{number} failed tasks are kept")
    found = list(store.every(meant))
    assert len(found) == number
    return found


def groups(deployment: Deployment, kind: str = "") -> tuple[FailureGroup, ...]:
    found, unread = store_of(deployment).groups(FailureFilter(kind=kind))
    assert unread == ()
    return found


def counted(deployment: Deployment) -> int:
    """All failures, kept or not."""
    return sum(group.count for group in groups(deployment))


def raw_messages(deployment: Deployment, key: str = "celery") -> list[bytes]:
    """A list's messages as they are there, the next to run first."""
    with redis.Redis.from_url(deployment.server.url) as client:
        return list(reversed(client.lrange(key, 0, -1)))


def everything_readable(deployment: Deployment) -> str:
    """All that a person may read of the store: everything but the messages, whichever key it is in."""
    keys = deployment.keys
    texts: list[str] = []
    for key in deployment.redis.scan_iter(f"{keys.failed}*"):
        kind = deployment.redis.type(key)
        if kind == "hash":
            values = deployment.redis.hgetall(key)
            texts += [f"{name}: {value}" for name, value in values.items() if name != "message"]
        elif kind == "zset":
            texts += deployment.redis.zrange(key, 0, -1)
        else:
            texts.append(str(deployment.redis.get(key)))
    return "\n".join(texts)
