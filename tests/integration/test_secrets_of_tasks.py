"""Secrets in arguments, errors and tracebacks of tasks that failed, wait or run: on no surface, in no store or log."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from celery import chain
from support.cli import Result
from support.deployment import Deployment
from support.failures import everything_readable, wait_for
from support.served import Client, serving
from support.services import until
from support.workers import eventually, worker

import opsdash
from opsdash.config.settings import Settings
from opsdash.model import Actor, Role, to_plain
from opsdash.services.console import Console
from opsdash.services.database.tables import audit_log
from opsdash.services.queues.search_tasks import TaskQuery
from opsdash.views.failures import Failures

SECRET = "hunter2-planted-17"
EDITED = "hunter2-edited-18"
ADMIN = Actor(name="maria", role=Role.ADMIN, surface="page")
TOKEN = "token-of-the-admin-0123456789"


@pytest.fixture
def console(
    deployment: Deployment, console_for: Callable[..., Console], sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> Console:
    monkeypatch.setenv("OPSDASH_QUEUES", "celery,emails")
    known = Settings.from_env({"OPSDASH_API_TOKENS": f"admin-bot:admin:{TOKEN}"}).api_tokens
    return console_for(database_url=sqlite_url, queues=("celery", "emails"), api_tokens=known, poll_interval_s=0.2)


@pytest.fixture
def ids(deployment: Deployment, console: Console) -> Iterator[tuple[str, str, str]]:
    """A task that failed in the middle of a workflow, one that runs and one that waits, each with a secret."""

    def task(name: str, *args: Any, **options: Any) -> Any:
        kwargs = {"password": SECRET} if name == "leaks" else {}
        return deployment.celery.signature(f"sample.{name}", args, kwargs, immutable=True, **options)

    held = {"password": SECRET, "url": f"postgres://me:{SECRET}@db/x"}
    env = {**deployment.env, "SAMPLE_RESULTS": "no"}
    with worker(pool="threads", queues=["celery"], env=env) as running, deployment.celery.connection_for_write() as to:
        chain(task("leaks", SECRET), task("short", held)).apply_async(connection=to)
        runs = task("short", held, 60).apply_async(connection=to).id
        waits = task("short", held, queue="emails").apply_async(connection=to).id
        (failure,) = wait_for(deployment, 1)
        eventually(lambda: runs in deployment.health(running.hostname).get("running", ""), what="it reports the task")
        eventually(lambda: deployment.unacked() == 0, what="all is acknowledged")
        yield failure.task_id, runs, waits


def surfaces_of_programs(api: Client, console: Console, ids: tuple[str, str, str]) -> Iterator[tuple[str, str]]:
    """Every answer of the API, the page as it is served, and the metrics."""
    (group,) = console.failed.groups()
    paths = ["status", "failures", f"failures?group={group.fingerprint}", f"failures/{ids[0]}", "tasks", "audit"]
    paths += [f"tasks?text={word}" for word in (SECRET, "password", "sample")]
    paths += [f"tasks/{one}" for one in ids] + [f"workflows/{one}" for one in ids] + ["queues/emails/tasks", "workers"]
    for path in paths:
        answer = api.get(f"/api/v1/{path}")
        assert answer.status in (200, 404), path
        yield path, answer.text.replace(SECRET, "", 1) if SECRET in path else answer.text
    api.get("/metrics")
    assert until(lambda: "opsdash_failures_kept 1" in api.get("/metrics").text)
    yield "metrics", api.get("/metrics").text
    yield "page", api.get("/operations").text


def surfaces_of_people(console: Console, ids: tuple[str, str, str]) -> Iterator[tuple[str, str]]:
    """What Python, a notebook and the page's cards have."""
    (group,) = console.failed.groups()
    yield "groups", repr((group, console.failed.entries(), console.failed.one(ids[0])))
    frames = (console.failed.to_frame(), console.failed.entries_to_frame(), console.audit.to_frame())
    for frame in (*frames, console.workers.to_frame()):
        yield "frame", frame.to_html() + frame.to_csv()
    for one in ids:
        yield "find-task", repr(console.find_task(one))
        yield "workflow", repr(console.workflow(one))
    for query in (TaskQuery(), TaskQuery(text="sample")):
        yield "tasks", repr(console.tasks.page(query))
    assert console.tasks.page(TaskQuery(text=SECRET)).tasks == (), "a search can't find out what is hidden"
    card = Failures(console, selection=[group.fingerprint])
    card.__panel__()
    assert card._table is not None
    (opened,) = card._contents.values()
    opened.table.expanded = [ids[0]]
    content = opened.table.contents[0]
    yield "card", repr((card._table.rows, opened.table.rows, content.lines))
    assert "LookupError" in repr(content.lines), "the traceback is there"
    yield "snapshot", str(to_plain(console.snapshot()))


def surfaces_of_terminals(
    cli: Callable[..., Result], console: Console, ids: tuple[str, str, str]
) -> Iterator[tuple[str, str]]:
    (group,) = console.failed.groups()
    reads = [("failed",), ("failed", "--group", group.fingerprint), ("tasks",), ("status",), ("workers",), ("audit",)]
    reads += [("tasks", "--text", "sample"), *((what, one) for what in ("find-task", "workflow") for one in ids)]
    reads += [(*one, "--json") for one in reads]
    reads += [("retry-failed", ids[0], "--dry-run"), ("discard-failed", ids[0], "--dry-run")]
    reads += [("remove-task", ids[2], "--dry-run"), ("edit-failed", ids[0], "--kwargs", "{}", "--dry-run")]
    for words in reads:
        said = cli(*words)
        yield " ".join(words), said.out + said.err


@pytest.mark.long
@pytest.mark.parametrize("acted", [False, True], ids=["before", "after"])
def test_no_secret_of_a_task_is_shown_stored_or_logged_before_or_after_it_is_edited_and_retried(
    deployment: Deployment,
    console: Console,
    cli: Callable[..., Result],
    ids: tuple[str, str, str],
    caplog: pytest.LogCaptureFixture,
    acted: bool,
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("opsdash", "tornado", "bokeh"):
        caplog.set_level(logging.DEBUG, name)
    if acted:
        edit = opsdash.EditFailed(failure_id=ids[0], args=json.dumps([EDITED]), kwargs=json.dumps({"password": EDITED}))
        assert console.run(edit, actor=ADMIN, confirm="YES", reviewed=console.preview(edit)).affected == 1
        wait_for(deployment, 1)  # it fails with its new arguments as well
        eventually(lambda: "edited" not in str(deployment.messages()), what="it has run")
        remove = opsdash.RemoveTask(task_id=ids[2])
        assert console.run(remove, actor=ADMIN, confirm="YES", reviewed=console.preview(remove)).affected == 1
    found = [*surfaces_of_people(console, ids), *surfaces_of_terminals(cli, console, ids)]
    with serving(console, token=TOKEN) as api:
        found += surfaces_of_programs(api, console, ids)
    with console.engine.connect() as connection:
        found.append(("audit table", str(connection.execute(sa.select(audit_log)).all())))
    found += [("export", line) for line in (*console.audit.export(form="jsonl"), *console.audit.export())]
    found.append(("store", everything_readable(deployment)))
    found.append(("log", caplog.text))
    leaks = [(where, text[max(0, at - 120) : at + 60]) for where, text in found if (at := text.find("hunter2")) >= 0]
    assert leaks == []
    shown = " ".join(text for _where, text in found)
    assert "(hidden)" in shown
    assert "sample.leaks" in dict(found)["metrics"]
