from __future__ import annotations

import base64
import json
import pickle
from datetime import UTC, datetime
from typing import Any

import pytest

from opsdash.services.broker.messages import Message
from opsdash.services.queues.peek import describe


def message(args: Any = (), kwargs: Any = None, **over: Any) -> bytes:
    body = base64.b64encode(json.dumps([list(args), kwargs or {}, {}]).encode()).decode()
    return json.dumps(
        {
            "body": over.pop("body", body),
            "content-type": over.pop("content_type", "application/json"),
            "headers": {"task": "shop.mail", "id": "7", "retries": 2, "eta": None, **over.pop("headers", {})},
            "properties": {"body_encoding": "base64", "delivery_tag": "t", **over.pop("properties", {})},
        }
    ).encode()


def seen(raw: bytes, redact: str = "") -> Message:
    return describe(raw, position=1, priority=0, redact=redact)


def test_a_message_tells_task_id_retries_eta_and_arguments():
    shown = seen(message([1, "to@shop"], {"fast": True}, headers={"eta": "2030-01-01T00:00:00+00:00"}))
    assert (shown.name, shown.id, shown.retries) == ("shop.mail", "7", 2)
    assert shown.eta == datetime(2030, 1, 1, tzinfo=UTC)
    assert shown.arguments == '1, "to@shop", fast=true'


def test_the_age_is_not_known_where_the_message_does_not_say_it():
    assert (seen(message()).sent_at, seen(message()).age_s) == (None, None)


@pytest.mark.parametrize(
    "over",
    [
        {"properties": {"timestamp": 1_700_000_000}},
        {"headers": {"sent_at": "2023-11-14T22:13:20"}},
        {"headers": {"timestamp": 1_700_000_000_000}},
        {"headers": {"id": "018bcfe5-6800-7000-8000-000000000000"}},
        {"headers": {"id": "3ac75400-833d-11ee-8000-000000000000"}},
    ],
    ids=["property", "header", "milliseconds", "uuid 7", "uuid 1"],
)
def test_the_age_is_known_where_the_message_carries_a_time(over: dict[str, Any]):
    shown = seen(message(**over))
    assert abs(shown.sent_at.timestamp() - 1_700_000_000) < 1_000
    assert shown.age_s > 1e6


@pytest.mark.parametrize(
    "arguments",
    [
        {"kwargs": {"password": "planted"}},
        {"kwargs": {"apiKey": "planted"}},
        {"args": [{"deep": [{"db_pwd": "planted"}]}]},
        {"kwargs": {"auth": {"client_secret": ["planted"]}}},
        {"args": ["Authorization: planted"]},
        {"args": ["eyJhbGciOiJIUzI1.planted"]},
    ],
)
def test_what_looks_secret_is_hidden_however_deep(arguments: dict[str, Any]):
    shown = seen(message(**arguments)).arguments
    assert "planted" not in shown
    assert "(hidden)" in shown


def test_the_rule_can_be_another():
    assert seen(message(kwargs={"customer": "ada", "n": 1}), redact="customer").arguments == "customer=(hidden), n=1"
    assert seen(message(["x", 1]), redact=".").arguments == "(hidden), (hidden)"


def test_long_values_are_cut_and_say_how_long_they_are():
    shown = seen(message(["x" * 5_000])).arguments
    assert len(shown) < 60
    assert "5,000 characters" in shown


class Bomb:
    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('unpickled')",)


def test_a_pickle_is_never_opened():
    body = base64.b64encode(pickle.dumps(Bomb())).decode()
    shown = seen(message(body=body, content_type="application/x-python-serialize"))
    assert (shown.name, shown.arguments) == ("shop.mail", "not shown (pickle)")


@pytest.mark.parametrize(
    "raw",
    [b"", b"\xff\xfe", b"{", b"[]", b"7", b"null", b"[" * 100_000],
    ids=["empty", "no text", "cut", "list", "number", "null", "deep"],
)
def test_a_bad_message_is_shown_as_unreadable(raw: bytes):
    assert seen(raw).unreadable.startswith("unreadable")


@pytest.mark.parametrize(
    "over",
    [
        {"body": "no base64 %%%"},
        {"body": None},
        {"body": base64.b64encode(b"[[1], 7]").decode()},
        {"headers": {"task": 7, "id": [], "retries": "x", "eta": "soon", "timestamp": 1e300}},
        {"properties": {"timestamp": "nonsense", "body_encoding": 4}},
    ],
)
def test_nonsense_in_a_message_is_no_traceback(over: dict[str, Any]):
    assert seen(message(**over)).unreadable == ""


@pytest.mark.parametrize("body", [b"5", b'"two words"', b"true", b"[[1]]", b"[]"])
def test_a_body_that_is_no_pair_of_arguments_shows_none(body: bytes):
    shown = seen(message(body=base64.b64encode(body).decode()))
    assert (shown.name, shown.unreadable) == ("shop.mail", "")
    assert shown.arguments.startswith("not shown")


def test_a_message_of_celerys_first_protocol_is_read_too():
    body = base64.b64encode(
        json.dumps({"task": "old.task", "id": "9", "args": [1], "kwargs": {"token": "planted"}}).encode()
    ).decode()
    shown = describe(
        json.dumps(
            {"body": body, "content-type": "application/json", "headers": {}, "properties": {"body_encoding": "base64"}}
        ).encode(),
        position=1,
        priority=0,
        redact="",
    )
    assert (shown.name, shown.id, shown.arguments) == ("old.task", "9", "1, token=(hidden)")
