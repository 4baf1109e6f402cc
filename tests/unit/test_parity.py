"""One truth: whatever is declared as an operation is on every surface and in the docs."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime
from pathlib import Path

import click
import pytest

import opsdash
from opsdash.api.openapi import document
from opsdash.cli import commands
from opsdash.model import (
    Approval,
    HeldTasks,
    Hold,
    PauseInfo,
    Preview,
    QueueStats,
    Role,
    RunningTask,
    Schedule,
    SchedulePause,
    Snapshot,
    TenantsRead,
    TenantTasks,
    TrashEntry,
    WorkerStats,
)
from opsdash.operation import Operation, registry
from opsdash.state import SystemStatus
from opsdash.views import form, placement
from opsdash.views.readings import shown
from opsdash.views.schedules import schedule_rows
from opsdash.views.tenant_tasks import tenant_rows
from opsdash.views.worker_rows import running_rows

ROOT = Path(__file__).parents[2]
DECLARED = {name: kind for name, kind in registry().items() if kind.__module__.startswith("opsdash.operations.")}
GIVEN_BY_THE_PAGE = {"queue"}
"""Parameters that the page fills in from what was clicked; so are positional ones, which name the target."""


CARDS = {
    "pause_processing",
    "resume_processing",
    "clear_queue",
    "sync_tenant_configs",
    "prune_audit_log",
    "cancel_workflow",
    "remove_task",
    "revoke_task",
    "set_time_limit",
    "hold_tasks",
    "hold_tenant",
    "limit_concurrency",
    "remove_concurrency_limit",
    "set_rate_limit",
    "remove_rate_limit",
}
"""Buttons of cards; tests/browser clicks each of them."""


def offered() -> set[str]:
    """What the buttons of the page are for: those of its cards, and those of the rows when everything may be done."""
    now, pausing = datetime.now(UTC), PauseInfo(queue="emails")
    status = SystemStatus()
    status.update(
        Snapshot(
            taken_at=now,
            redis_age_s=0,
            queues=(QueueStats(name="celery", waiting=1), QueueStats(name="emails", waiting=1)),
            paused_queues={"emails": pausing},
            workers=tuple(
                WorkerStats(hostname=name, state=state, heartbeat_at=now, queues=queues)
                for name, state, queues in (
                    ("takes", "online", ("celery",)),
                    ("quiet", "online", ()),
                    ("gone", "silent", ("celery",)),
                )
            ),
            holds=(
                HeldTasks(hold=Hold(id="h", kind="task", name="shop.charge"), held=1),
                HeldTasks(hold=Hold(id="t", kind="tenant", name="acme"), held=1),
            ),
            trash=(TrashEntry(id="t", queue="celery", count=1),),
            approvals=(Approval(id="a", operation="x", title="X", params={}, by="maria", at=now, expires_at=now),),
        )
    )
    told = shown(status, (), Role.ADMIN)
    rows = [
        row
        for table in ("queue_rows", "worker_rows", "trash_rows", "approval_rows", "hold_rows")
        for row in told[table]
    ]
    rows += running_rows([RunningTask(task_id="1", name="x", queue="celery")], may=lambda _: True).values()
    entries = (Schedule(name="runs"), Schedule(name="paused", pause=SchedulePause()))
    rows += schedule_rows(entries, lambda _: True).values()
    rows += tenant_rows(TenantsRead(tenants=(TenantTasks(tenant="acme"),)), (), lambda _: True).values()
    acts = {act["name"] for row in rows for act in row.get("acts", ())}
    return CARDS | acts - {"peek"}


OFFERED = offered()

each = pytest.mark.parametrize("kind", DECLARED.values(), ids=DECLARED)


def parameters(kind: type[Operation]) -> dict[str, dataclasses.Field]:
    return {field.name: field for field in dataclasses.fields(kind)}


@each
def test_the_command_line_has_it_with_every_parameter(kind: type[Operation]):
    command = commands.load(kind.name.replace("_", "-"))
    taken = {parameter.name for parameter in command.params}
    assert parameters(kind).keys() | {"confirm", "dry_run", "as_json", "phrase"} <= taken
    assert kind.help in command.help
    assert kind.warning in command.help


@each
def test_the_api_has_it_with_every_parameter(kind: type[Operation]):
    described = document()
    act = described["paths"][f"/api/v1/operations/{kind.name}"]["post"]
    assert act["summary"] == kind.help
    named = act["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    request = described["components"]["schemas"][named]
    params = described["components"]["schemas"][re.sub("Request$", "Params", named)]
    assert request["properties"].keys() == {"params", "confirm", "phrase", "request_id"}
    assert params["properties"].keys() == parameters(kind).keys()


@each
def test_the_dialog_of_the_page_asks_for_every_parameter_that_the_page_does_not_know(kind: type[Operation]):
    preview = Preview(title=kind.title, warning=kind.warning, lines=(), choices=tuple(parameters(kind)))
    names = {field["name"] for field in form.fields(kind(), preview)}
    unknown = {name for name, field in parameters(kind).items() if not field.metadata["positional"]} - GIVEN_BY_THE_PAGE
    assert unknown <= names


@each
def test_the_page_has_a_button_for_it(kind: type[Operation]):
    assert (kind.name in placement.PLACED) == (kind.name in OFFERED), "PLACED says where the page has it, and is wrong"
    assert kind.name in OFFERED | {name for name, *_ in placement.others(Role.ADMIN)}


@each
def test_python_has_it_by_its_name(kind: type[Operation]):
    assert getattr(opsdash, kind.__name__) is kind
    assert kind.__name__ in opsdash.__all__


@each
def test_the_docs_name_its_command_its_address_and_its_role(kind: type[Operation]):
    rows = [line for line in (ROOT / "docs" / "operations.md").read_text().splitlines() if line.startswith("| ")]
    (row,) = [line for line in rows if line.startswith(f"| {kind.title} |")]
    assert f"`opsdash {kind.name.replace('_', '-')}" in row
    assert f"`POST /api/v1/operations/{kind.name}`" in row
    assert f"| {kind.minimum_role.name.lower()} |" in row
    assert kind.help in row


@each
def test_its_command_explains_every_parameter(kind: type[Operation]):
    command = commands.load(kind.name.replace("_", "-"))
    shown = command.get_help(click.Context(command, info_name="x", max_content_width=500, terminal_width=500))
    for name, field in parameters(kind).items():
        assert field.metadata["help"] in shown, name
