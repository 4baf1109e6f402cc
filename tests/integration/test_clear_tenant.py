"""One tenant's tasks are cleared wherever they wait or are held, and come back; those of others stay in their order."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from support.cli import Result
from support.held import put_aside
from support.messages import message

from opsdash.errors import Invalid, PhraseMissing, Refused, Uncertain
from opsdash.operations import ClearTenant, HoldTenant, RestoreQueue
from opsdash.services.console import Console
from opsdash.services.queues.lock import locked

ACME = ClearTenant(tenant="acme")


@pytest.fixture
def console(console_for: Callable[..., Console], sqlite_url: str) -> Console:
    """Two queues with tasks of two tenants."""
    console = console_for(database_url=sqlite_url, queues=("celery", "emails"))
    fill(console)
    return console


def fill(console: Console) -> None:
    for queue in ("celery", "emails"):
        for at, tenant in enumerate(("acme", "other", "acme", "other")):
            console.broker.client.lpush(queue, message(f"{queue}-{at}", tenant_id=tenant))
    console.broker.client.lpush("celery", message("by-argument", kwargs={"tenant_id": "acme"}), message("nobody's"))


def held(console: Console, *ids: str) -> None:
    console.run(HoldTenant(tenant="acme"), actor="maria", confirm="YES")
    (hold,) = console.holds.read().holds
    put_aside(console.broker, hold, *(message(one, tenant_id="acme") for one in ids), queue="emails")


def waits(console: Console, queue: str) -> list[str]:
    texts = console.broker.client.lrange(queue, 0, -1)
    return [json.loads(text)["headers"]["id"] for text in reversed(texts)]


def test_a_tenants_tasks_go_to_the_trash_of_each_queue_and_come_back(console: Console) -> None:
    held(console, "h0", "h1")
    preview = console.preview(ACME)
    figures = {one.name: one.value for one in preview.figures}
    assert "Not removed: tasks that workers have" in " ".join(one.text for one in preview.lines)
    assert "They can be restored for 24 hours" in " ".join(one.text for one in preview.lines)
    assert (figures["matching"], figures["held"], preview.button) == (5, 2, "Clear 7 tasks")
    done = console.run(ACME, actor="maria", confirm="YES", reviewed=preview)
    assert (done.affected, dict(done.details["by_queue"])) == (7, {"celery": 3, "emails": 4})
    assert waits(console, "celery") == ["celery-1", "celery-3", "nobody's"]
    assert waits(console, "emails") == ["emails-1", "emails-3"]
    assert console.holds.look().holds[0].held == 0
    assert len(done.details["trash_ids"]) == 3
    for trash in done.details["trash_ids"]:
        assert f"opsdash restore-queue {trash}" in done.message
        console.run(RestoreQueue(trash_id=trash), actor="maria", confirm="YES")
    assert sorted(waits(console, "celery")) == sorted([*(f"celery-{n}" for n in range(4)), "by-argument", "nobody's"])
    assert set(waits(console, "emails")) == {*(f"emails-{n}" for n in range(4)), "h0", "h1"}


def test_of_one_queue_it_is_one_act_with_one_undo(console: Console) -> None:
    held(console, "h0")
    done = console.run(ClearTenant(tenant="acme", queue="celery"), actor="maria", confirm="YES")
    assert (done.affected, done.undo) == (3, RestoreQueue(trash_id=done.details["trash_ids"][0]))
    assert (len(waits(console, "emails")), console.holds.look().holds[0].held) == (4, 1)


def test_what_came_after_the_preview_stays(console: Console) -> None:
    console.broker.client.delete("emails")
    preview = console.preview(ACME)
    fill(console)
    done = console.run(ACME, actor="maria", confirm="YES", reviewed=preview)
    assert dict(done.details["by_queue"]) == {"celery": 3}
    assert len(waits(console, "emails")) == 4


def test_a_queue_that_is_worked_on_ends_it_and_it_is_said_how_far_it_came(console: Console) -> None:
    with locked(console.broker, "emails", by="otto", what="restore"):
        with pytest.raises(Uncertain, match="3 tasks cleared by then") as raised:
            console.run(ACME, actor="maria", confirm="YES")
        assert "worked on by otto" in raised.value.message
        with pytest.raises(Refused, match="worked on by otto"):
            console.run(ClearTenant(tenant="acme", queue="emails"), actor="maria", confirm="YES")
    assert console.run(ACME, actor="maria", confirm="YES").affected == 2
    assert "No task of tenant acme was found" in console.run(ACME, actor="maria", confirm="YES").message


def test_cancelled_it_ends_and_the_rest_stays(console: Console) -> None:
    done = console.run(ACME, actor="maria", confirm="YES", cancelled=lambda: True)
    assert (done.ok, done.affected) == (False, 0)
    assert done.message.startswith("Cancelled.")


def test_a_mistake_is_named(console: Console, console_for: Callable[..., Console], sqlite_url: str) -> None:
    with pytest.raises(Invalid, match="expected a tenant's id"):
        console.preview(ClearTenant(tenant=" "))
    with pytest.raises(Refused, match="Queue 'nope' is not known"):
        console.preview(ClearTenant(tenant="acme", queue="nope"))
    production = console_for(database_url=sqlite_url, queues=("celery", "emails"), environment="production")
    with pytest.raises(PhraseMissing):
        production.run(ACME, actor="maria", confirm="YES")
    assert production.run(ACME, actor="maria", confirm="YES", phrase="acme").affected == 5


def test_the_command_line_lists_the_tenants(console: Console, opsdash: Callable[..., Result]) -> None:
    held(console, "h0")
    table = opsdash("tenants").out
    assert "acme" in table
    assert "held by maria until " in table
    told = json.loads(opsdash("tenants", "--json").out)
    assert [(one["tenant"], one["waiting"], one["held"]) for one in told["tenants"]] == [
        ("acme", 5, 1),
        ("other", 4, 0),
    ]
    assert (told["others"]["waiting"], told["key"], told["waiting"]) == (1, "tenant_id", {"tasks": 10, "looked_at": 10})
