"""The workflow of a task: found by what messages, workers and failed tasks say; whatever else is there."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import redis
from support.failed_tasks import failed, keep
from support.holders import Nobody
from support.messages import fetched, hostile, message

from opsdash.config.settings import Settings
from opsdash.errors import Invalid
from opsdash.model import Workflow
from opsdash.services.broker.client import Broker, connect
from opsdash.services.failures.store import FailureStore
from opsdash.services.queues import scan
from opsdash.services.queues.trash import Trash
from opsdash.services.workers.task_holders import Answers, HeldTask
from opsdash.services.workflows import look
from opsdash.services.workflows.cancel import CancelPlan, by_state, plan_of
from opsdash.services.workflows.look import WorkflowReader
from opsdash.services.workflows.text import not_shown, state_of, summary


@pytest.fixture
def client(valkey_url: str) -> Iterator[redis.Redis]:
    """A real server alone: scripts with digests, and failed tasks."""
    made = connect(Settings.from_env({}, redis_url=valkey_url))
    yield made.client
    made.client.close()


def reader(broker: Broker, *tasks: HeldTask, silent: Sequence[str] = ()) -> WorkflowReader:
    holders: Any = Nobody(*tasks, silent=silent)
    return WorkflowReader(broker, holders, Trash(broker), FailureStore(broker), lambda: broker.queues)


def read(broker: Broker, task_id: str, *tasks: HeldTask) -> Workflow:
    return reader(broker, *tasks).read(task_id)


def plan(broker: Broker, root: str, *tasks: HeldTask) -> CancelPlan:
    return plan_of(reader(broker, *tasks).look(root))


def push(broker: Broker, *messages: str | bytes, queue: str = "celery", step: int = 0) -> None:
    broker.client.lpush(broker.lists(queue)[step], *messages)


def tree(found: Workflow) -> list[str]:
    """``..id state`` of each row; a question mark for a gap."""
    return ["." * row.depth + ("?" if row.gap else "") + f"{row.id or row.name} {row.state}" for row in found.tasks]


def signature(name: str, task_id: str = "") -> dict[str, Any]:
    options = {"task_id": task_id} if task_id else {}
    return {"task": name, "options": options, "kwargs": {}, "args": [], "subtask_type": None}


def child(task_id: str, parent: str, root: str, **more: Any) -> str:
    return message(task_id, parent_id=parent, root_id=root, **more)


def test_every_task_of_a_workflow_shows_the_whole_of_it(broker: Broker) -> None:
    chain = {"chain": [signature("shop.last", "last-1"), signature("shop.next", "next-1")]}
    push(broker, child("a-1", "root-1", "root-1", embed=chain), message(), step=3)
    push(broker, child("b-1", "root-1", "root-1", args=[{"password": "hunter2-planted"}, 7]), queue="emails")
    broker.client.hset(broker.unacked, "tag", fetched(child("c-1", "gone-1", "root-1"), "emails"))
    push(broker, message("other-1"), message(args=["root-1"]))
    whole = [
        "?root-1 unknown",
        ".a-1 waiting",
        "..next-1 not_sent",
        "...last-1 not_sent",
        ".b-1 waiting",
        ".?gone-1 unknown",
        "..c-1 reserved",
    ]
    for asked in ("root-1", "a-1", "b-1", "c-1", "gone-1", "next-1", "last-1"):
        found = read(broker, asked)
        assert (tree(found), found.root, found.complete) == (whole, "root-1", True), asked
    assert summary(found) == (
        "Workflow of task root-1: 7 tasks, 2 waiting, 2 not sent yet, 2 finished or never seen, 1 reserved."
    )
    assert set(found.gaps) == {"root-1", "gone-1"}
    rows = {row.id: row for row in found.tasks}
    assert (rows["root-1"].of_children, rows["root-1"].children) == (3, ("a-1", "b-1", "gone-1"))
    assert "hunter2" not in rows["b-1"].arguments
    assert rows["b-1"].arguments.endswith(", 7")
    assert state_of(rows["a-1"]) == "waiting in celery (1 child)"
    assert (
        read(broker, "nowhere-1") == Workflow(id="nowhere-1", looked_at=read(broker, "nowhere-1").looked_at)
        or summary(read(broker, "nowhere-1")) == "Nothing of a task or group with the whole id nowhere-1 was found."
    )


def test_a_group_that_no_task_has_sent_is_the_top_of_its_tasks_and_their_children(broker: Broker) -> None:
    body = {"chord": signature("shop.total", "body-1")}
    body["chord"]["options"]["group_id"] = "group-1"  # as Celery writes it
    push(broker, *(message(f"m-{n}", group="group-1", embed=body) for n in range(3)))
    push(broker, message("again-1", group="group-1", retries=1, embed=body), child("kid-1", "again-1", "again-1"))
    whole = [
        "group-1 unknown",
        ".m-0 waiting",
        ".m-1 waiting",
        ".m-2 waiting",
        ".again-1 waiting",
        "..kid-1 waiting",
        ".body-1 not_sent",
    ]
    for asked in ("group-1", "m-1", "kid-1", "body-1"):
        found = read(broker, asked)
        assert sorted(tree(found)) == sorted(whole), asked
        assert (found.root, found.group, found.total) == ("group-1", "group-1", 6)
    rows = {row.id: row for row in found.tasks}
    assert state_of(rows["group-1"]) == "group of 5"
    assert state_of(rows["body-1"]) == "not sent yet (the chord's body)"
    assert rows["m-0"].chord


def test_running_and_failed_tasks_are_part_of_it(broker: Broker) -> None:
    keep(broker, [failed("broken-1", root_id="root-1", parent_id="root-1")])
    push(broker, child("a-1", "run-1", "root-1"))
    running = HeldTask(
        id="run-1", worker="w1@test", state="active", name="shop.run", root="root-1", parent="broken-1", linked=True
    )
    for asked in ("root-1", "run-1", "broken-1"):
        assert tree(read(broker, asked, running)) == [
            "?root-1 unknown",
            ".broken-1 failed",
            "..run-1 active",
            "...a-1 waiting",
        ]
    bare = HeldTask(id="run-1", worker="w1@test", state="active", name="shop.run")
    found = read(broker, "root-1", bare)
    assert ".run-1 active" in tree(found), "what it has sent names it"
    alone = HeldTask(id="alone-1", worker="w1@test", state="active", name="shop.run")
    found = read(broker, "alone-1", alone)
    assert tree(found) == ["alone-1 active"]
    assert any("has not reported it" in text for text in found.problems)


def test_a_task_that_its_worker_does_not_have_any_more_has_ended_whatever_was_reported(broker: Broker) -> None:
    push(broker, child("a-1", "run-1", "root-1"))
    running = HeldTask(id="run-1", worker="w1@test", state="active", root="root-1", linked=True)
    holders: Any = Nobody(running)
    made = WorkflowReader(broker, holders, Trash(broker), FailureStore(broker), lambda: broker.queues)
    holders.have = lambda _ids: Answers(answered=1)
    assert tree(made.read("root-1")) == ["?root-1 unknown", ".?run-1 unknown", "..a-1 waiting"]
    holders.have = lambda _ids: Answers(silent=("w1@test",))
    assert tree(made.read("root-1")) == ["?root-1 unknown", ".run-1 active", "..a-1 waiting"]


def test_what_was_cleared_is_shown_as_cleared(broker: Broker) -> None:
    text = child("a-1", "root-1", "root-1")
    keys = broker.keys
    broker.client.rpush(keys.trash("t1", "0"), text)
    broker.client.hset(keys.trash("t1", "info"), mapping={"queue": "celery", "count": 1, "step:0": 1, "by": "maria"})
    broker.client.zadd(keys.trash_index, {"t1": 4e9})
    found = read(broker, "root-1")
    assert tree(found) == ["?root-1 unknown", ".a-1 cleared"]
    assert state_of(found.tasks[1]) == "cleared from celery, in trash t1"
    assert found.left == 0


@pytest.mark.long
def test_ten_thousand_children_are_counted_and_some_are_listed(broker: Broker) -> None:
    push(broker, *(child(f"c-{n}", "root-1", "root-1") for n in range(10_000)))
    push(broker, child("deep-1", "c-3", "root-1"))
    found = read(broker, "root-1")
    assert (found.total, found.counts["waiting"], found.tasks[0].of_children) == (10_002, 10_001, 10_000)
    assert len(found.tasks) <= 103
    assert "deep-1" in {row.id for row in found.tasks}
    assert not_shown(found) == f"{10_002 - len(found.tasks):,} tasks more: counted, and not listed."
    assert by_state(plan(broker, "root-1")) == {"waiting": 10_001}


@pytest.mark.parametrize("window", [1, 3])
def test_all_of_it_is_found_in_whatever_steps_a_queue_is_gone_through(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(scan, "FIRST", window)
    monkeypatch.setattr(scan, "LARGEST_WINDOW", window)
    for n in range(20):
        push(broker, message(), child(f"c-{n}", "root-1", "root-1"), queue="celery", step=[0, 3][n % 2])
    assert read(broker, "root-1").counts["waiting"] == 20


def test_hostile_messages_neither_break_nor_join_it(broker: Broker) -> None:
    task_id = str(uuid.uuid4())
    push(broker, *hostile(task_id))
    read(broker, task_id)
    push(
        broker,
        child("loop-a", "loop-b", "loop-c"),
        child("loop-b", "loop-a", "loop-c"),
        child("loop-c", "loop-a", "loop-b"),
        message("odd-1", root_id={"loop-a": 1}, parent_id=["loop-a"], group=7, chain="loop-a"),
        message("text-1", args=["loop-a"]),
        child("loop-a", "loop-a", "loop-a"),
    )
    found = read(broker, "loop-a")
    assert sorted(row.id for row in found.tasks) == ["loop-a", "loop-b", "loop-c"]
    push(broker, *(message(f"many-{number}", group="group-1", retries=1) for number in range(100)))
    found = read(broker, "group-1")
    assert not found.complete
    assert any("more than 50 roots" in text for text in found.problems)
    with pytest.raises(Invalid):
        read(broker, "x" * 300)


def test_only_what_the_task_itself_belongs_to_is_part_of_it(broker: Broker) -> None:
    push(broker, child("a-1", "root-1", "root-1"), child("odd-1", "root-1", "root-2"), child("b-1", "root-2", "root-2"))
    assert sorted(row.id for row in read(broker, "root-1").tasks) == ["a-1", "odd-1", "root-1"]
    assert len(plan(broker, "root-1").waiting) == 2
    push(broker, child("m-1", "a-1", "root-1", group="group-1"))
    found = read(broker, "group-1")
    assert (found.root, found.group) == ("root-1", ""), "a group that a task has sent is part of its workflow"


def test_a_message_too_large_to_be_read_is_still_part_of_it(broker: Broker) -> None:
    push(broker, child("huge-1", "root-1", "root-1", args=["x" * 2_000_000], argsrepr="..."))
    found = read(broker, "root-1")
    assert (tree(found), found.complete) == (["?root-1 unknown", ".huge-1 waiting"], True)
    assert "some messages are not looked into in full" in found.problems[0]
    assert plan(broker, "root-1").queues == {"celery": 1}
    push(broker, child("huge-2", "root-1", "root-1", args=["x" * 2_000_000]))
    found = read(broker, "root-1")
    assert not found.complete
    assert "too large to be looked into, and may be of it" in found.problems[0]


def test_what_is_cancelled_is_what_is_left_and_what_can_not_be_stopped_is_said(broker: Broker) -> None:
    chain = {"chain": [signature("shop.next", "next-1")], "callbacks": [signature("shop.tell")]}
    body = {"chord": signature("shop.total", "body-1")}
    push(broker, child("a-1", "root-1", "root-1", embed={"chain": [signature("shop.next", "next-2")]}))
    broker.client.hset(broker.unacked, "1", fetched(child("f-1", "root-1", "root-1", embed=chain)))
    broker.client.hset(broker.unacked, "2", fetched(child("m-1", "root-1", "root-1", embed=body, group="g-1")))
    push(broker, child("m-2", "root-1", "root-1", embed=body, group="g-1"), queue="emails")
    found = plan(broker, "root-1")
    assert found.queues == {"celery": 1, "emails": 1}
    assert sorted(found.revoked) == ["f-1", "m-1", "next-1"], "next-2 and body-1 are not sent without a-1 and m-2"
    assert (found.unnamed, found.behind) == (1, 2)
    running = HeldTask(id="f-1", worker="w1@test", state="active", name="shop.run")
    found = plan(broker, "root-1", running)
    assert [one.worker for one in found.active] == ["w1@test"]


def test_a_search_that_takes_too_long_says_so(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    push(broker, child("a-1", "root-1", "root-1"))
    monkeypatch.setattr(look, "LOOK_S", -1.0)
    found = read(broker, "root-1")
    assert not found.complete
