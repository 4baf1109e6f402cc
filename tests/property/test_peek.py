"""Whatever lies in a queue, looking at it runs nothing, shows no planted secret, and is bounded."""

from __future__ import annotations

import base64
import gzip
import json
import pickle
import zlib
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from opsdash.services.queues.peek import describe

SECRET = "hunter2-planted"
NAMES = ["password", "api_key", "apiKey", "API KEY", "client_secret", "auth_token", "db_pwd", "Authorization", "cookie"]
TEXT = st.text(max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
NAME = st.sampled_from(NAMES)


def named(name: str) -> list[Any]:
    """Ways in which a secret is told apart by its name, and some that show it is one by themselves."""
    return [
        {name: SECRET},
        {name: [SECRET]},
        {name: {"a": SECRET}},
        [name, SECRET],
        {"name": name, "value": SECRET},
        f"{name}={SECRET}",
        json.dumps({name: SECRET}),
        {f"{name}: {SECRET}": 1},
        f"redis://user:{SECRET}@host/0",
        f"Bearer {SECRET}",
        f"eyJhbGciOiJIUzI1NiJ9.{SECRET}",
    ]


PLANTED = NAME.flatmap(lambda name: st.sampled_from(named(name)))
BODIES = {
    "application/x-python-serialize": pickle.dumps,
    "application/x-yaml": lambda value: yaml.safe_dump(value).encode(),
    "application/x-msgpack": lambda value: json.dumps(value).encode(),
    "application/data": lambda value: b"\xff\xfe" + json.dumps(value).encode(),
}


def shown(message: dict[str, Any]) -> str:
    return repr(describe(json.dumps(message).encode(), position=1, priority=0, redact=""))


@pytest.mark.long
@given(
    planted=PLANTED,
    beside=JSON,
    path=st.lists(st.sampled_from(["smtp", "hooks", 0]), max_size=6),
    keyword=st.booleans(),
    encoded=st.booleans(),
    first_protocol=st.booleans(),
)
def test_a_planted_secret_is_never_shown_however_deep_it_lies(
    planted: Any, beside: Any, path: list[Any], keyword: bool, encoded: bool, first_protocol: bool
) -> None:
    for step in path:
        planted = [beside, planted, beside] if step == 0 else {"beside": beside, step: planted}
    args, kwargs = ([], {"given": planted, "beside": beside}) if keyword else ([beside, planted], {})
    body = json.dumps({"task": "t", "args": args, "kwargs": kwargs} if first_protocol else [args, kwargs, {}])
    message = {
        "headers": {"task": "t", "id": "1", "argsrepr": repr(args), "kwargsrepr": repr(kwargs)},
        "properties": {"body_encoding": "base64"} if encoded else {},
        "content-type": "application/json",
        "body": base64.b64encode(body.encode()).decode() if encoded else body,
    }
    assert SECRET not in shown(message)


@pytest.mark.long
@given(kind=st.sampled_from(sorted(BODIES)), planted=st.sampled_from(named("password")), first=JSON)
def test_what_is_not_json_is_never_opened(kind: str, planted: Any, first: Any) -> None:
    body = base64.b64encode(BODIES[kind]([[first, planted], {}, {}])).decode()
    message = {
        "headers": {"task": "t", "argsrepr": SECRET},
        "properties": {"body_encoding": "base64"},
        "content-type": kind,
        "body": body,
    }
    seen = shown(message)
    assert SECRET not in seen
    assert "not shown (" in seen


@given(planted=PLANTED, squeeze=st.sampled_from([gzip.compress, zlib.compress]))
def test_what_is_compressed_is_never_blown_up(planted: Any, squeeze: Any) -> None:
    body = base64.b64encode(squeeze(json.dumps([[planted], {}, {}]).encode())).decode()
    message = {
        "headers": {"task": "t", "compression": "application/x-gzip"},
        "properties": {"body_encoding": "base64"},
        "content-type": "application/json",
        "body": body,
    }
    seen = shown(message)
    assert SECRET not in seen
    assert "not shown (json, compressed)" in seen


FIELDS = ("headers", "properties", "content-type", "body")
INNER = ("task", "id", "eta", "retries", "timestamp", "compression", "body_encoding", "delivery_tag")


@pytest.mark.long
@settings(max_examples=200)
@given(
    message=st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, JSON))
    | st.fixed_dictionaries(
        {},
        optional={field: st.fixed_dictionaries({}, optional=dict.fromkeys(INNER, JSON)) for field in FIELDS[:2]}
        | {field: JSON | JSON.map(json.dumps) | st.just("application/json") for field in FIELDS[2:]},
    )
    | JSON,
    redact=st.sampled_from(["", ".", "x"]),
)
def test_no_message_is_a_traceback(message: Any, redact: str) -> None:
    describe(json.dumps(message).encode(), position=1, priority=0, redact=redact)


@given(raw=st.binary(max_size=200))
def test_no_bytes_are_a_traceback(raw: bytes) -> None:
    describe(raw, position=1, priority=0, redact="")


@pytest.mark.long
@given(
    args=st.sampled_from([["x" * 10_000] * 3, list(range(10_000)), [{str(n): "y" * 100 for n in range(1_000)}]]),
    name=st.integers(1, 5_000),
)
def test_what_is_shown_is_bounded(args: list[Any], name: int) -> None:
    body = json.dumps([args, {}, {}])
    message = {"headers": {"task": "t" * name, "id": "i" * name}, "content-type": "application/json", "body": body}
    assert len(shown(message)) < 1_500
