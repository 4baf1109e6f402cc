"""One contract, every implementation: each test here runs against fakeredis and against a real server."""

from __future__ import annotations

from collections.abc import Iterator

import fakeredis
import pytest
import redis

from opsdash.config.settings import Settings
from opsdash.model.key_layout import Layout
from opsdash.services.broker.client import Broker, connect
from opsdash.services.broker.key_layout import Layouts

QUEUES = ("celery", "emails")


@pytest.fixture(params=["fakeredis", "valkey"])
def client(request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    if request.param == "fakeredis":
        yield fakeredis.FakeRedis(decode_responses=True, encoding_errors="backslashreplace")
        return
    broker = connect(Settings.from_env({}, redis_url=request.getfixturevalue("valkey_url")))
    yield broker.client
    broker.client.close()


@pytest.fixture(params=["", "shop:"], ids=["no prefix", "prefix"])
def broker(request: pytest.FixtureRequest, client: redis.Redis) -> Broker:
    return Broker(client, Layouts.fixed(client, Layout(prefix=request.param)), "test", QUEUES)
