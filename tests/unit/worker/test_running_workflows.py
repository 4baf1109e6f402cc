"""What a worker reports of the workflows of its running tasks: ids and names, and none of the arguments."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from opsdash.model.signatures import Unsent, unsent_as_told
from opsdash.worker.running_workflows import MOST_BYTES, MOST_TASKS, MOST_UNSENT, RunningWorkflows


class Request:
    """As Celery's: it can be referred to weakly."""

    def __init__(self, task_id: str, body: Any = None, content_type: str = "application/json", **headers: Any) -> None:
        text = body if isinstance(body, str | bytes) else json.dumps(body)
        self.id = task_id
        self.message = SimpleNamespace(body=text, content_type=content_type, headers=headers)


def reported(*requests: Request) -> dict[str, Any]:
    text = RunningWorkflows().as_json(requests)
    assert text.isascii()
    assert len(text) <= MOST_BYTES
    found: dict[str, Any] = json.loads(text)
    return found


def signature(name: str, task_id: str) -> dict[str, Any]:
    return {"task": name, "options": {"task_id": task_id}, "args": ["hunter2-planted"], "kwargs": {}}


def test_root_parent_group_and_what_is_sent_later_are_reported_without_arguments() -> None:
    embed = {"chain": [signature("shop.last", "l-1"), signature("shop.next", "n-1")], "chord": None}
    body = [["hunter2-planted"], {}, embed]
    found = reported(
        Request("t-1", body, root_id="r-1", parent_id="p-1", group="g-1"), Request("alone-1", [[], {}, {}])
    )
    assert found["alone-1"] == {"root": "alone-1"}
    assert {name: found["t-1"][name] for name in ("root", "parent", "group")} == {
        "root": "r-1",
        "parent": "p-1",
        "group": "g-1",
    }
    assert unsent_as_told(found["t-1"]["unsent"]) == (
        Unsent(id="n-1", name="shop.next", part="next"),
        Unsent(id="l-1", name="shop.last", part="next", after=0),
    )
    assert "hunter2" not in json.dumps(found)


@pytest.mark.parametrize("body", ["{", b"\x80\x04", "3", "[]", "[[1", "null", [1, 2, 3], {"chain": 7}])
def test_a_body_that_is_no_celery_message_has_nothing_behind_it(body: Any) -> None:
    assert reported(Request("t-1", body)) == {"t-1": {"root": "t-1"}}
    pickled = Request("t-1", [[], {}, {"chain": [signature("x", "n-1")]}], "application/x-python-serialize")
    assert reported(pickled) == {"t-1": {"root": "t-1"}}


def test_hostile_headers_are_no_ids_and_a_report_stays_small() -> None:
    assert reported(Request("t-1", [], root_id=7, parent_id=["x"], group="g" * 300)) == {"t-1": {"root": "t-1"}}
    long = [signature("é" * 500, f"n-{n}") for n in range(20)]
    found = reported(*(Request(f"t-{n}", [[], {}, {"chain": long}]) for n in range(MOST_TASKS + 10)))
    assert found["t-0"]["cut"]
    assert unsent_as_told(found["t-0"]["unsent"])[0].id == "n-19", "the next one is there"
    found = reported(*(Request(f"t-{n}", [[], {}, {"chain": [signature("x", "n")] * 100}]) for n in range(50)))
    assert 0 < len(found) <= MOST_TASKS
    assert all((len(one["unsent"]), one["cut"]) == (MOST_UNSENT, True) for one in found.values())


@pytest.mark.parametrize(
    "said",
    [7, "x", {}, [7], [["a"]], [["a", "b", "next", "", 0]], [["a", "b", "odd", "", -1]], [["a", 1, "next", "", -1]]],
)
def test_a_report_that_can_not_be_read_is_none(said: Any) -> None:
    assert unsent_as_told(said) == ()
