"""What a worker reports of the arguments of its running tasks: nothing that looks secret, and little of it."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from opsdash.worker.running_arguments import LONG, MOST_BYTES, RunningArguments


class Request:
    """As Celery's: it can be referred to weakly."""

    def __init__(self, body: Any, content_type: str = "application/json") -> None:
        text = body if isinstance(body, str | bytes) else json.dumps(body)
        self.message = SimpleNamespace(body=text, content_type=content_type)


def told(*requests: Request, redact: str = "") -> list[str]:
    found: list[str] = json.loads(RunningArguments(redact).as_json(requests))
    return found


def test_arguments_are_told_without_what_looks_secret() -> None:
    text = told(Request([["Order 4711"], {"password": "hunter2-and-more", "items": 3}, {}]))
    assert text == ['"Order 4711", password=(hidden), items=3']


def test_a_copy_of_what_has_a_secret_name_is_hidden_where_it_has_none() -> None:
    secret = "correct-horse-battery-" * 4
    text = told(Request([[secret, [f"x {secret}"], "Order 4711"], {"password": secret}, {}]))
    assert text == ['(hidden), [(hidden)], "Order 4711", password=(hidden)']


def test_what_opsdash_redact_finds_is_hidden_as_well() -> None:
    assert told(Request([["Order 4711"], {}, {}]), redact="Order") == ["(hidden)"]
    assert told(Request([["Order 4711"], {}, {}]), redact="(") == ["(hidden)"]  # no expression: everything is


@pytest.mark.parametrize("body", ["{", b"\x80\x04", "3", "[]", "[[1", "null"])
def test_a_body_that_is_no_celery_message_is_not_shown(body: Any) -> None:
    assert told(Request(body))[0].startswith("not shown")
    assert told(Request([["a"], {}, {}], "application/x-python-serialize"))[0].startswith("not shown")


def test_a_report_of_arguments_stays_small() -> None:
    arguments = RunningArguments("").as_json(Request([["é" * 55] * 50, {}, {}]) for _ in range(30))
    assert len(arguments) <= MOST_BYTES
    assert max(map(len, json.loads(arguments))) <= LONG + 1
