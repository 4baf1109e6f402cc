"""A failed message that is retried is the original but for what the preview says, whatever the producer wrote."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opsdash.keys import SENT
from opsdash.services.failures.message_edit import Change, NotEditableError, arguments_of, edited

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
names = st.text(max_size=10).filter(
    lambda name: name not in {"task", "id", "root_id", "retries", "eta", "expires", "compression", "argsrepr"}
)
ids = st.text(min_size=1, max_size=12)


@st.composite
def messages(draw: Any) -> dict[str, Any]:
    """Of Celery's second protocol, with headers that nobody knows, in any order, and a body of any kind."""
    own = draw(ids)
    headers = {
        "task": draw(st.text(max_size=8)),
        "id": own,
        "root_id": draw(st.just(own) | ids | st.none()),
        "retries": draw(st.integers(0, 9) | st.none()),
        "eta": draw(st.none() | st.just("2026-01-01T00:00:00+00:00")),
        "expires": draw(st.none() | st.just("2026-01-01T00:00:00+00:00") | st.floats(0, 1e9)),
        **draw(st.dictionaries(names, json_values, max_size=4)),
    }
    body = draw(st.binary(max_size=60))
    found = {
        "body": base64.b64encode(body).decode(),
        "content-type": draw(st.sampled_from(["application/x-python-serialize", "application/x-yaml", "x/y"])),
        "content-encoding": "binary",
        "headers": dict(draw(st.permutations(list(headers.items())))),
        "properties": {
            "correlation_id": own,
            "delivery_tag": "tag",
            "body_encoding": "base64",
            "delivery_info": draw(json_values),
            **draw(st.dictionaries(st.text(max_size=6).filter(lambda n: n[:1] == "x"), json_values, max_size=2)),
        },
        **draw(st.dictionaries(st.text(max_size=6).filter(lambda n: n[:1] == "x"), json_values, max_size=2)),
    }
    return dict(draw(st.permutations(list(found.items()))))


spellings = st.sampled_from([{}, {"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}])


def encoded(value: Any, spelling: dict[str, Any]) -> bytes:
    return json.dumps(value, **spelling).encode(errors="surrogatepass")


def same(left: Any, right: Any) -> bool:
    """As text: NaN is NaN, and 1.0 is not 1."""
    return json.dumps(left) == json.dumps(right)


@pytest.mark.long
@given(message=messages(), spelling=spellings, retries=st.booleans(), times=st.booleans(), new=st.booleans())
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_only_what_is_said_changes_and_all_else_stays_byte_for_byte(
    message: dict[str, Any], spelling: dict[str, Any], retries: bool, times: bool, new: bool
) -> None:
    raw = encoded(message, spelling)
    change = Change(retries=retries, times=times, new_id="fresh" if new else "")
    try:
        raw.decode()
    except UnicodeDecodeError:  # half a surrogate pair: no producer's JSON
        with pytest.raises(NotEditableError):
            edited(raw, change)
        return
    found = json.loads(edited(raw, change))
    expected = json.loads(raw)
    headers, properties = expected["headers"], expected["properties"]
    if retries and headers["retries"] is not None:
        headers["retries"] = 0
    if times:
        headers["eta"] = headers["expires"] = None
    if new:
        if headers["root_id"] == headers["id"]:
            headers["root_id"] = "fresh"
        headers["id"] = properties["correlation_id"] = "fresh"
        assert found["properties"].pop("delivery_tag") != properties.pop("delivery_tag")
    assert same(found, expected)
    assert list(found["headers"]) == list(headers), "in the producer's order"
    if not (new or (retries and message["headers"]["retries"]) or (times and (headers_times(message)))):
        assert edited(raw, change) == raw, "what needs no change is not written anew"


def headers_times(message: dict[str, Any]) -> bool:
    return message["headers"]["eta"] is not None or message["headers"]["expires"] is not None


@pytest.mark.long
@given(
    args=st.lists(json_values, max_size=3),
    kwargs=st.dictionaries(st.text(max_size=6), json_values, max_size=3),
    embed=st.dictionaries(st.text(max_size=6), json_values, max_size=3),
    plain=st.booleans(),
)
def test_new_arguments_replace_the_old_ones_and_what_is_embedded_stays(
    args: list[Any], kwargs: dict[str, Any], embed: dict[str, Any], plain: bool
) -> None:
    body = json.dumps([args, kwargs, embed])
    raw = json.dumps(
        {
            "body": body if plain else base64.b64encode(body.encode()).decode(),
            "content-type": "application/json",
            "headers": {"task": "t", "id": "a", "argsrepr": "x", "kwargsrepr": "y"},
            "properties": {} if plain else {"body_encoding": "base64"},
        }
    ).encode()
    before = arguments_of(raw)
    assert same([json.loads(text) for text in before], [args, kwargs])
    after = edited(raw, Change(args="[1, 2]"))
    assert arguments_of(after) == ("[1, 2]", before[1])
    inner = json.loads(after)["body"]
    inner = inner if plain else base64.b64decode(inner).decode()
    assert inner == "[[1, 2]" + body[1 + len(json.dumps(args)) :], "not one byte of the rest"
    assert json.loads(after)["headers"] == {"task": "t", "id": "a", "argsrepr": "(1, 2)", "kwargsrepr": "y"}


@given(raw=st.binary(max_size=200) | st.text(alphabet='{}[]":,\\ ae0', max_size=80).map(str.encode))
@settings(max_examples=400)
def test_whatever_is_in_the_store_is_edited_or_refused_and_nothing_else(raw: bytes) -> None:
    for change in (Change(retries=True, times=True), Change(new_id="x"), Change(args="[]"), Change()):
        with contextlib.suppress(NotEditableError):
            edited(raw, change)


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 100_000,
        b'{"headers": ' + b'{"a": ' * 100_000,
        b'{"headers": {"task": "x", "id": ' + b"9" * 10_000 + b"}}",
        b'{"headers": {"task": "x", "id": "a"}, "body": "' + b"x" * 300_000,
        b"\xff" * 1_000,
        b"",
    ],
)
def test_hostile_messages_cost_no_traceback(raw: bytes) -> None:
    with pytest.raises(NotEditableError):
        edited(raw, Change(retries=True, new_id="x"))


@pytest.mark.long
@given(messages(), st.floats(1e9, 2e9))
def test_the_time_of_sending_is_that_of_the_retry_where_the_message_has_one(
    message: dict[str, Any], sent: float
) -> None:
    plain = json.dumps(message).encode()
    assert edited(plain, Change(sent_s=sent)) == plain
    stamped = {**message, "headers": {**message["headers"], SENT: 1.5}}
    after = json.loads(edited(json.dumps(stamped).encode(), Change(sent_s=sent)))
    assert after["headers"].pop(SENT) == pytest.approx(sent, abs=1e-5)
    assert repr(after) == repr(json.loads(plain))  # NaN is not equal to itself
