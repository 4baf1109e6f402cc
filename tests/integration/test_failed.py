"""What failed, as an operator looks at it: grouped, with counts; opened, with arguments, traceback and links."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from support.cli import Result, off_a_terminal
from support.deployment import Deployment
from support.failed_tasks import CHARGE, SEND, failed, keep
from support.workers import eventually, worker

import opsdash
from opsdash.errors import Invalid, Refused
from opsdash.services.console import Console
from opsdash.worker.failures import batch
from opsdash.worker.failures.batch import Group
from opsdash.worker.failures.settings import FailureSettings

FLOWER = "https://flower.example/task/{task_id}"
TRACEBACK = "Traceback (most recent call last):\n  File …\nshop.errors.Declined: card 12"


@pytest.fixture
def ops(console_for: Callable[..., Console]) -> Console:
    return console_for(queues=("celery", "emails"), task_url=(FLOWER,))


@pytest.fixture
def run(ops: Console, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    monkeypatch.setattr("opsdash.connect", lambda: ops)
    monkeypatch.setattr(ops, "close", lambda: None)
    return off_a_terminal(monkeypatch, capsys)


def fill(ops: Console) -> None:
    more = {"traceback": TRACEBACK, "arguments": "12, {'password': '[hidden]'}", "message_text": "card 12"}
    keep(ops.broker, [failed("b", ago_s=900, **more)])
    keep(ops.broker, [failed("a", ago_s=5, **more), failed("c", ago_s=3)])
    keep(ops.broker, [failed("d", SEND, queue="emails", ago_s=7_200)])


def test_failed_tasks_are_listed_by_task_and_error_with_count_first_and_last(ops: Console, run: Any) -> None:
    fill(ops)
    found = json.loads(run("failed", "--json").out)
    assert found["total"] == 4
    assert [(one["task"], one["error"], one["queue"], one["count"]) for one in found["groups"]] == [
        (CHARGE.task, CHARGE.error, "celery", 3),
        (SEND.task, SEND.error, "emails", 1),
    ]
    (charge, _) = found["groups"]
    assert charge["first_at"] < charge["last_at"]
    assert (charge["kept"], charge["not_kept"], charge["workers"]) == (3, 0, {"w1@host": 3})
    assert sum(charge["hours"].values()) == 3
    assert charge["per_hour"] > 0
    assert "4 failed tasks kept, the last one " in run("status").out
    text = run("failed").out
    assert CHARGE.task in text
    assert "4 failed tasks kept." in text
    assert f"opsdash failed --group {CHARGE.fingerprint}" in text


@pytest.mark.parametrize(
    ("options", "tasks", "total"),
    [
        (["--task", "shop.s*"], [SEND.task], 1),
        (["--error", "*Declined"], [CHARGE.task], 3),
        (["--queue", "emails"], [SEND.task], 1),
        (["--since", "1h"], [CHARGE.task], 3),
        (["--since", "10m"], [CHARGE.task], 2),
        (["--group", SEND.fingerprint], [SEND.task], 1),
        (["--task", "nobody"], [], 0),
    ],
)
def test_a_filter_chooses_groups_and_counts_what_it_means(
    ops: Console, run: Any, options: list[str], tasks: list[str], total: int
) -> None:
    fill(ops)
    found = json.loads(run("failed", *options, "--json").out)
    assert ([one["task"] for one in found["groups"]], found["total"]) == (tasks, total)


def test_an_opened_group_shows_each_task_with_arguments_traceback_and_links(ops: Console, run: Any) -> None:
    fill(ops)
    answer = run("failed", "--group", CHARGE.fingerprint, "--limit", "2")
    assert answer.code == 0
    for text in ("12, {'password': '[hidden]'}", "shop.errors.Declined: card 12", "https://flower.example/task/a"):
        assert text in answer.out
    assert "2 of 3 tasks" in answer.out
    assert f"opsdash retry-failed --group {CHARGE.fingerprint}" in answer.out
    found = json.loads(run("failed", "--group", CHARGE.fingerprint, "--json").out)
    assert {one["id"] for one in found["entries"]} == {"a", "b", "c"}
    (one,) = [one for one in found["entries"] if one["id"] == "a"]
    assert (one["traceback"], one["links"]) == (TRACEBACK, ["https://flower.example/task/a"])
    assert "message" not in one
    nobody = run("failed", "--group", "0123")
    assert (nobody.code, "There is no group '0123'" in nobody.err) == (3, True)


def test_what_was_counted_and_not_kept_is_said(ops: Console, run: Any) -> None:
    keep(ops.broker, [failed(f"t{n}", ago_s=9 - n) for n in range(5)], most=2)
    found = json.loads(run("failed", "--json").out)
    assert (found["total"], found["not_kept"], found["groups"][0]["count"]) == (2, 3, 5)
    assert "2 failed tasks kept; 3 more were counted and not kept." in run("failed").out


def test_a_group_whose_tasks_were_all_sent_again_is_not_listed_any_more(ops: Console, run: Any) -> None:
    fill(ops)
    ops.run(opsdash.RetryFailed(group=CHARGE.fingerprint), actor="maria", confirm="YES")
    found = json.loads(run("failed", "--json").out)
    assert ([one["task"] for one in found["groups"]], found["total"]) == ([SEND.task], 1)
    ops.run(opsdash.DiscardFailed(task="*"), actor="maria", confirm="YES")
    assert run("failed").out.strip() == "No failed task is kept."
    fill(ops)
    assert run("failed", "--task", "nope").out.strip() == "No failed task matches. All that are kept: opsdash failed"


def test_tasks_that_expired_are_listed_as_counted_with_nothing_to_open(ops: Console, run: Any) -> None:
    expired = Group("expired", "shop.late", "", "")
    count = batch.Count()
    count.times, count.last = 7, 0.0
    link: Any = type("Link", (), {"redis": ops.broker.client, "keys": ops.broker.keys})
    counts = {(expired, "celery"): count}
    batch.write(link, "w9", 1, counts, [], worker="w9@host", now=1.0, settings=FailureSettings())
    (group,) = json.loads(run("failed", "--json").out)["groups"]
    assert (group["kind"], group["error"], group["count"], group["kept"]) == ("expired", "", 7, 0)
    assert "expired" in run("failed").out


def test_python_reads_groups_tasks_and_one_task(ops: Console) -> None:
    fill(ops)
    (charge, _) = ops.failed.groups()
    assert (charge.task, charge.queue, charge.count) == (CHARGE.task, "celery", 3)
    assert ops.failed.groups(since="10m") == (charge,)
    assert ops.failed.entries(group=charge.fingerprint, first=2, number=5).total == 3
    assert ops.failed.one("a").traceback == TRACEBACK
    with pytest.raises(Refused, match="No failed task 'nobody' is kept"):
        ops.failed.one("nobody")
    with pytest.raises(Invalid, match="since"):
        ops.failed.groups(since="yesterday")


def test_failed_tasks_are_frames_with_the_same_types_on_a_quiet_day(ops: Console) -> None:
    quiet, quiet_entries = ops.failed.to_frame(), ops.failed.entries_to_frame()
    fill(ops)
    groups, entries = ops.failed.to_frame(), ops.failed.entries_to_frame(task="shop.charge")
    assert (len(quiet), len(quiet_entries), len(groups), len(entries)) == (0, 0, 2, 3)
    for busy, before in ((groups, quiet), (entries, quiet_entries)):
        assert busy.dtypes.astype(str).to_dict() == before.dtypes.astype(str).to_dict()
    assert list(groups["count"]) == [3, 1]
    assert str(groups["last_at"].dtype) == "datetime64[us, UTC]"
    assert list(entries["id"]) == ["c", "a", "b"]


@pytest.mark.long
def test_what_a_real_worker_failed_is_shown_with_its_error(deployment: Deployment, console_for: Any) -> None:
    console: Console = console_for(queues=("celery",))
    with worker(concurrency=1, env=deployment.env):
        deployment.send(1, name="sample.no_such_task")
        eventually(lambda: console.failed.overview().total == 1, what="the failed task is kept")
    (group,) = console.failed.groups()
    assert (group.kind, group.task, group.count) == ("unregistered", "sample.no_such_task", 1)


def test_failed_tasks_are_found_by_name_and_argument_among_all_tasks(ops: Console, run: Any) -> None:
    fill(ops)
    found = json.loads(run("tasks", "--name", "shop.s*", "--json").out)
    assert [(one["id"], one["state"], one["error"]) for one in found["tasks"]] == [("d", "failed", SEND.error)]
    assert (found["looked_at"], found["of"]) == (4, 4)
    assert "failed with shop.errors.Declined, at " in run("tasks", "--state", "failed").out
    assert "No task of 4 tasks matches." in run("tasks", "--text", "hunter2").out
