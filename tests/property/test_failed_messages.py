"""Whatever a failed task's message looks like, it is kept byte for byte; no two are taken for one."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.deployment import Deployment, deploy
from support.failures import store_of
from support.services import Valkey
from support.workers import eventually, worker

TEXT = st.text(max_size=20) | st.sampled_from(["\u2026 \U0001f600", "\ud800", "a\0b", '"', "\\", "x" * 2_000])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
BODIES = st.binary(max_size=60) | st.builds(
    lambda args: json.dumps([args, {}, {}]).encode(), st.lists(VALUES, max_size=3)
)
TYPES = st.sampled_from(["application/json", "application/x-python-serialize", "application/data", "yaml", ""])

# No two are alike, in this example or another: what is no message goes by a hash of it.
GARBAGE = st.binary(max_size=40).map(lambda text: text + uuid4().bytes)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A message of Celery's second protocol, as other producers may write it."""
    task_id = str(uuid4())
    headers: dict[str, Any] = {
        **draw(st.dictionaries(st.text(min_size=1, max_size=8), VALUES, max_size=3)),
        "id": task_id,
        "task": draw(st.sampled_from(["sample.fails", "nobody.registered_this"])),
        "lang": "py",
        "retries": draw(st.integers(0, 3)),
    }
    message = {
        "body": base64.b64encode(draw(BODIES)).decode(),
        "content-encoding": draw(st.sampled_from(["utf-8", "binary", ""])),
        "content-type": draw(TYPES),
        "headers": headers,
        "properties": {
            "body_encoding": "base64",
            "correlation_id": task_id,
            "delivery_info": {"exchange": "", "routing_key": "celery"},
            "delivery_tag": draw(st.sampled_from([task_id, "always the same"])),
        },
    }
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,", " :  ")]))
    text = json.dumps(message, separators=separators, ensure_ascii=draw(st.booleans()))
    return text.encode(errors="backslashreplace")


@pytest.fixture(scope="module")
def failing(_valkey_server: Valkey) -> Iterator[Deployment]:
    """A worker that keeps each failure, however many come at once."""
    _valkey_server.restore()
    _valkey_server.flush()
    with deploy(_valkey_server) as made:
        env = {**made.env, "SAMPLE_BREAK": "generous-budget"}
        with worker(pool="threads", env=env, arguments=["-l", "CRITICAL"], wait=False):
            yield made


@pytest.mark.long
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(raws=st.lists(messages() | GARBAGE, min_size=10, max_size=30, unique=True))
def test_what_is_kept_is_the_message_byte_for_byte(failing: Deployment, raws: list[bytes]) -> None:
    store = store_of(failing)
    before = set(store.ids())
    with redis.Redis.from_url(failing.server.url) as client:
        client.lpush("celery", *raws)

    def kept() -> list[bytes]:
        new = [one for one in store.ids() if one not in before]
        return [one.message for one in store.messages(new)]

    eventually(lambda: len(kept()) == len(raws), timeout_s=20, what="all are kept")
    assert sorted(kept()) == sorted(raws)
    for failure in store.some([one for one in store.ids() if one not in before]):
        assert failure.list == "celery"
        assert failure.sendable
