"""Friction grows with risk: where more can be lost, more has to be typed. Real broker and databases."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import sqlalchemy as sa
from support.errors import fails
from support.previews import texts
from support.services import Valkey

import opsdash
from opsdash.errors import PhraseMissing, Refused, Unavailable
from opsdash.model import Actor, Role, Status
from opsdash.services.console import Console
from opsdash.services.database.tables import tenant_config

MARIA = Actor(name="maria", role=Role.OPERATOR, surface="page")
CLEARS = [opsdash.ClearQueue(queue="emails"), opsdash.ClearTasks(queue="emails", task="*")]


@pytest.fixture
def console_with(console_for: Callable[..., Console]) -> Callable[..., Console]:
    """Makes consoles with three tasks in the queue emails."""

    def make(**over: object) -> Console:
        console = console_for(queues=("celery", "emails"), **over)
        console.broker.client.rpush("emails", *(json.dumps({"headers": {"task": f"shop.t{i}"}}) for i in range(3)))
        return console

    return make


@pytest.mark.parametrize("clear", CLEARS, ids=lambda operation: operation.name)
@pytest.mark.parametrize(
    "over",
    [{"environment": "Production"}, {"name_queue_above": 2}],
    ids=["in production", "more than two wait"],
)
@pytest.mark.parametrize("typed", ["", "Emails", "emails "])
def test_a_risky_clear_without_the_queues_name_is_refused_and_audited(console_with, clear, over, typed: str) -> None:
    console = console_with(**over)
    assert console.preview(clear).phrase == "emails"
    with pytest.raises(PhraseMissing, match=rf"{clear.title} also needs 'emails' typed beside YES"):
        console.run(clear, actor=MARIA, confirm="YES", phrase=typed)
    assert console.get_queue_length("emails") == 3
    (entry,) = console.get_recent_operations()
    assert (entry.status, entry.operation, entry.user) == (Status.REFUSED, clear.name, "maria")
    assert "needs 'emails' typed" in entry.details["message"]


@pytest.mark.parametrize("clear", CLEARS, ids=lambda operation: operation.name)
def test_with_the_queues_name_a_risky_clear_is_done(console_with, clear) -> None:
    console = console_with(environment="production")
    assert console.run(clear, actor=MARIA, confirm="YES", phrase="emails").affected == 3


@pytest.mark.parametrize("clear", CLEARS, ids=lambda operation: operation.name)
@pytest.mark.parametrize("over", [{}, {"environment": "staging"}, {"name_queue_above": 3}], ids=str)
def test_where_little_can_be_lost_yes_is_enough(console_with, clear, over) -> None:
    console = console_with(**over)
    assert console.preview(clear).phrase == ""
    assert console.run(clear, actor=MARIA, confirm="YES").affected == 3


def test_tasks_that_came_after_the_preview_count_for_what_must_be_typed(console_with) -> None:
    console = console_with(name_queue_above=3)
    clear = opsdash.ClearQueue(queue="emails")
    preview = console.preview(clear)
    assert preview.phrase == ""
    console.broker.client.lpush("emails", "one more")
    with pytest.raises(PhraseMissing):
        console.run(clear, actor=MARIA, confirm="YES", reviewed=preview)
    assert console.run(clear, actor=MARIA, confirm="YES", phrase="emails", reviewed=preview).affected == 3


@pytest.mark.parametrize("operation", [opsdash.PauseProcessing(), opsdash.ResumeProcessing()])
def test_a_pause_in_production_asks_for_nothing_more_than_yes(console_with, operation) -> None:
    console = console_with(environment="production", name_queue_above=0)
    console.run(operation, actor=MARIA, confirm="YES")


def test_a_count_that_can_not_be_read_changes_nothing_and_is_audited(console_with, valkey: Valkey) -> None:
    console = console_with(name_queue_above=2)
    valkey.stop()
    with pytest.raises(Unavailable) as unread:
        console.run(opsdash.ClearQueue(queue="emails"), actor=MARIA, confirm="YES")
    assert unread.value.changed == "nothing"
    assert console.get_recent_operations()[0].status is Status.FAILURE


def gone(console: Console, number: int, of: int) -> None:
    """So many tenants are synced, and so many of them go from the database."""
    names = [f"t{i}" for i in range(of)]
    with console.engine.begin() as connection:
        connection.execute(sa.insert(tenant_config), [{"tenant_id": n, "name": n, "settings": {}} for n in names])
    console.run(opsdash.SyncTenantConfigs(), actor=MARIA, confirm="YES")
    with console.engine.begin() as connection:
        connection.execute(sa.delete(tenant_config).where(tenant_config.c.tenant_id.in_(names[:number])))


def test_removing_more_than_half_of_all_tenants_asks_for_their_number(console: Console) -> None:
    gone(console, 3, of=5)
    sync = opsdash.SyncTenantConfigs(remove_orphans=True)
    preview = console.preview(sync)
    assert preview.phrase == "3"
    assert "That is more than half of all 5. To remove them, also type 3." in texts(preview)
    for typed in ("", "2", "03"):
        with fails(PhraseMissing, expected="3"):
            console.run(sync, actor=MARIA, confirm="YES", phrase=typed, reviewed=preview)
    assert console.tenants.orphans() == (["t0", "t1", "t2"], 5)
    assert console.run(sync, actor=MARIA, confirm="YES", phrase="3", reviewed=preview).details["removed"] == 3


def test_up_to_half_of_all_tenants_are_removed_without_their_number(console: Console) -> None:
    gone(console, 2, of=4)
    sync = opsdash.SyncTenantConfigs(remove_orphans=True)
    assert console.preview(sync).phrase == ""
    assert console.preview(opsdash.SyncTenantConfigs()).phrase == ""
    assert console.run(sync, actor=MARIA, confirm="YES").details["removed"] == 2


def test_a_sync_that_removes_nobody_asks_for_no_number(console: Console) -> None:
    gone(console, 3, of=4)
    assert console.preview(opsdash.SyncTenantConfigs()).phrase == ""
    assert console.run(opsdash.SyncTenantConfigs(), actor=MARIA, confirm="YES").details["removed"] == 0


def test_a_number_that_is_true_no_more_where_they_are_removed_removes_nobody(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone(console, 3, of=5)
    sync = opsdash.SyncTenantConfigs(remove_orphans=True)
    phrase = sync.phrase(console.services)
    with console.engine.begin() as connection:
        connection.execute(sa.delete(tenant_config).where(tenant_config.c.tenant_id == "t3"))
    monkeypatch.setattr(opsdash.SyncTenantConfigs, "phrase", lambda self, console: phrase)
    with pytest.raises(Refused, match=r"4 of 5 tenants with a key are now orphans.* another number was typed"):
        console.run(sync, actor=MARIA, confirm="YES", phrase=phrase)
    assert len(console.tenants.orphans()[0]) == 4
