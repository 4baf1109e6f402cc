"""Failed tasks for programs: groups, the tasks of one group, one task; and their metrics."""

from __future__ import annotations

import json

import pytest
from support.failed_tasks import CHARGE, SEND, failed, keep
from support.served import Client
from support.services import until

from opsdash.api import metrics
from opsdash.services.console import Console
from opsdash.worker.failures.batch import Group


@pytest.fixture
def filled(console: Console) -> None:
    more = {"traceback": "Traceback …", "arguments": "12", "worker": "w1@host"}
    keep(console.broker, [failed(f"a{n}", ago_s=n, **more) for n in range(5)])
    keep(console.broker, [failed("b", SEND, ago_s=7_200)])


@pytest.mark.usefixtures("filled")
def test_a_program_reads_what_failed_by_task_and_error(api: Client) -> None:
    found = api.get("/api/v1/failures").json
    assert (found["total"], found["not_kept"], found["entries"], found["problems"]) == (6, 0, None, [])
    assert [(one["task"], one["count"], one["queue"]) for one in found["groups"]] == [
        (CHARGE.task, 5, "celery"),
        (SEND.task, 1, "celery"),
    ]
    for query, tasks in (
        ("task=shop.s*", [SEND.task]),
        ("error=*Declined", [CHARGE.task]),
        ("kind=killed", []),
        ("queue=emails", []),
        ("since=2099-01-01T00:00:00Z", []),
        ("since=2999-06-01T00:00:00Z", []),
    ):
        assert [one["task"] for one in api.get(f"/api/v1/failures?{query}").json["groups"]] == tasks, query


@pytest.mark.usefixtures("filled")
def test_a_program_opens_a_group_and_a_task(api: Client) -> None:
    page = api.get(f"/api/v1/failures?group={CHARGE.fingerprint}&first=2&limit=2").json
    assert [one["id"] for one in page["entries"]] == ["a1", "a2"]
    assert page["total"] == 5
    one = api.get("/api/v1/failures/a3").json
    assert (one["task"], one["traceback"], one["arguments"], one["sendable"]) == (
        CHARGE.task,
        "Traceback …",
        "12",
        True,
    )
    assert not {"message", "version", "list"} & one.keys()
    assert api.get("/api/v1/failures/nobody").problem.startswith("no-failure: ")
    assert api.get("/api/v1/failures?group=0123").problem.startswith("no-group: ")
    for wrong in (
        "limit=0",
        "first=0",
        "since=yesterday",
        "since=3001-01-01T00:00:00Z",
        "since=0001-01-01T00:00:00Z",
        "nosuch=1",
    ):
        assert api.get(f"/api/v1/failures?{wrong}").status == 422, wrong
    retried = api.run("retry_failed", params={"ids": "a3"}, confirm="YES")
    assert retried.json["affected"] == 1
    assert api.get("/api/v1/failures/a3").status == 404


def test_the_task_that_a_program_finds_failed_comes_with_the_retry(api: Client, console: Console) -> None:
    keep(console.broker, [failed("failed-1")])
    found = api.get("/api/v1/tasks/failed-1").json
    assert (found["state"], found["places"][0]["error"]) == ("failed", CHARGE.error)
    assert (found["act"]["operation"], found["act"]["params"]["ids"]) == ("retry_failed", "failed-1")


def values(api: Client) -> dict[str, float]:
    text = api.get("/metrics").text
    return {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("opsdash_failures")
    }


@pytest.mark.usefixtures("filled")
def test_a_scrape_tells_failures_by_task_and_kind_and_what_is_kept(api: Client) -> None:
    api.get("/metrics")
    assert until(lambda: values(api).get("opsdash_failures_kept") == 6)
    found = values(api)
    assert found[f'opsdash_failures{{kind="failed",task="{CHARGE.task}"}}'] == 5
    assert found["opsdash_failures_not_kept"] == 0
    assert found["opsdash_failures_bytes"] > 1_000
    api.run("discard_failed", params={"task": "*"}, confirm="YES")
    assert until(lambda: values(api)["opsdash_failures_kept"] == 0), "what was discarded is not kept any more"


def test_however_many_tasks_fail_the_series_are_bounded(
    api: Client, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "MAX_FAILED", 2)
    keep(console.broker, [failed(f"t{n}", Group("failed", f"shop.t{n}", "E", ""), ago_s=n) for n in range(6)])
    api.get("/metrics")
    assert until(lambda: values(api).get("opsdash_failures_kept") == 6)
    series = [name for name in values(api) if name.startswith("opsdash_failures{")]
    assert len(series) == 3
    assert values(api)['opsdash_failures{kind="failed",task="other"}'] == 4


def test_what_looks_secret_is_in_no_answer(api: Client, console: Console) -> None:
    keep(console.broker, [failed("a", message=b'{"password": "hunter2-planted"}')])
    group = api.get("/api/v1/failures").json["groups"][0]["fingerprint"]
    for path in ("failures", f"failures?group={group}", "failures/a"):
        assert "hunter2" not in json.dumps(api.get(f"/api/v1/{path}").json)
