"""A second person: what one operator asks for waits for a different one's YES, runs once, or expires."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from support.errors import fails
from support.previews import texts
from support.services import Postgres, Valkey

import opsdash
from opsdash.errors import Invalid, NeedsApproval, PhraseMissing, Refused, Unavailable, Uncertain
from opsdash.model import Actor, AuditEntry, Role, Status
from opsdash.services.audit import approvals, reaper
from opsdash.services.console import Console

MARIA = Actor(name="maria", role=Role.OPERATOR, surface="page", client="10.1.2.3")
BOB = Actor(name="bob", role=Role.OPERATOR, surface="cli")
CLEAR = opsdash.ClearQueue(queue="emails")


@pytest.fixture
def console(console_for: Callable[..., Console], request: pytest.FixtureRequest) -> Console:
    """Clearing needs two; three tasks wait in emails. SQLite, unless the test asks for both."""
    url = request.getfixturevalue("database_url" if "database_url" in request.fixturenames else "sqlite_url")
    console = console_for(database_url=url, queues=("celery", "emails"), approval=("clear_queue",))
    console.broker.client.rpush("emails", "a", "b", "c")
    return console


def ask(console: Console, operation: Any = CLEAR, **over: Any) -> str:
    with pytest.raises(NeedsApproval) as raised:
        console.run(operation, actor=MARIA, confirm="YES", **over)
    return raised.value.approval_id


def approve(console: Console, approval_id: str, actor: Actor | str = BOB, **over: Any) -> Any:
    return console.run(opsdash.ApproveOperation(approval_id=approval_id), actor=actor, confirm="YES", **over)


def entry_of(console: Console, operation: str) -> AuditEntry:
    (entry,) = [entry for entry in console.get_recent_operations(100) if entry.operation == operation]
    return entry


def test_the_first_yes_changes_nothing_is_audited_and_says_what_it_waits_for(console: Console) -> None:
    with pytest.raises(NeedsApproval, match=r"waits for a different operator's YES .*: opsdash approve [0-9a-f]{32}$"):
        console.run(CLEAR, actor=MARIA, confirm="YES")
    assert console.get_queue_length("emails") == 3
    (entry,) = console.get_recent_operations()
    assert (entry.status, entry.user, entry.details["approval"]) == (Status.IN_PROGRESS, "maria", "needed")
    (waits,) = console.approvals()
    assert (waits.id, waits.title, waits.params, waits.by) == (
        entry.id.hex,
        "Clear Queue",
        CLEAR.params(),
        "maria",
    )
    assert timedelta(seconds=890) < waits.expires_at - waits.at < timedelta(seconds=910)
    assert console.snapshot().approvals == (waits,)


def test_a_different_operators_yes_does_it_and_both_acts_are_audited_and_linked(
    console: Console, database_url: str
) -> None:
    approval_id = ask(console)
    preview = console.preview(opsdash.ApproveOperation(approval_id=approval_id))
    assert texts(preview)[0].startswith("Clear Queue (queue: emails), requested by maria at ")
    assert "3 pending tasks of queue emails will be removed." in texts(preview)
    assert preview.title == "Approve: Clear queue emails", "what is approved stands on the dialog and on its button"
    effect = approve(console, approval_id, reviewed=preview)
    assert (effect.affected, effect.message) == (3, "Approved for maria: Cleared 3 tasks from emails.")
    assert console.get_queue_length("emails") == 0
    asked, approved = entry_of(console, "clear_queue"), entry_of(console, "approve")
    assert (asked.user, asked.status, asked.details["message"]) == (
        "maria",
        Status.SUCCESS,
        "Cleared 3 tasks from emails.",
    )
    assert (asked.details["approved_by"], asked.details["approved_in"]) == ("bob", str(approved.id))
    assert (approved.user, approved.status, approved.details["surface"]) == ("bob", Status.SUCCESS, "cli")
    assert (approved.details["asked_by"], approved.details["asked_in"]) == ("maria", str(asked.id))
    assert console.approvals() == ()
    assert console.audit.verify().ok
    undo = opsdash.RestoreQueue(trash_id=effect.details["trash_id"])
    assert console.run(undo, actor=BOB, confirm="YES").affected == 3


def test_an_operation_that_is_not_named_needs_one_person(console: Console) -> None:
    console.run(opsdash.PauseProcessing(), actor=MARIA, confirm="YES")
    assert console.is_processing_paused()


@pytest.mark.parametrize("name", ["maria", "Maria", " maria "])
def test_whoever_asked_can_not_approve(console: Console, name: str) -> None:
    approval_id = ask(console)
    with pytest.raises(Refused, match="maria made the request, so another user must approve it"):
        approve(console, approval_id, Actor(name=name, role=Role.ADMIN))
    assert console.get_queue_length("emails") == 3
    assert entry_of(console, "approve").status is Status.REFUSED
    assert approve(console, approval_id).affected == 3, "a refused approval does not use it up"


@pytest.mark.parametrize("role", [None, Role.VIEWER])
def test_who_may_not_do_it_can_not_approve_it(console: Console, role: Role | None) -> None:
    approval_id = ask(console)
    with pytest.raises(Refused, match="needs operator"):
        approve(console, approval_id, Actor(name="eve", role=role))
    assert console.get_queue_length("emails") == 3
    assert entry_of(console, "approve").status is Status.REFUSED


def test_what_needs_an_admin_is_approved_by_an_admin(console_for: Callable[..., Console]) -> None:
    console = console_for(approval=("prune_audit_log",))
    with pytest.raises(NeedsApproval) as raised:
        console.run(opsdash.PruneAuditLog(), actor=replace(MARIA, role=Role.ADMIN), confirm="YES")
    with pytest.raises(Refused, match="bob has the role operator; Prune Audit Log needs admin"):
        approve(console, raised.value.approval_id)
    assert approve(console, raised.value.approval_id, replace(BOB, role=Role.ADMIN)).ok


def test_who_has_lost_the_role_since_asking_gets_nothing_done(console_for: Callable[..., Console]) -> None:
    asking = console_for(queues=("emails",), approval=("clear_queue",), operators=("maria", "bob"))
    approval_id = ask(asking)
    later = console_for(queues=("emails",), approval=("clear_queue",), operators=("bob",), viewers=("maria",))
    with pytest.raises(Refused, match="maria has the role viewer; Clear Queue needs operator"):
        approve(later, approval_id)


@pytest.mark.parametrize("unknown", ["", "0123", "*", "../x"])
def test_an_approval_that_was_never_asked_for_is_refused_and_audited(console: Console, unknown: str) -> None:
    with pytest.raises(Refused, match="Nothing waits for approval under"):
        approve(console, unknown)
    assert entry_of(console, "approve").status is Status.REFUSED


def test_an_approval_is_used_once(console: Console) -> None:
    approval_id = ask(console)
    approve(console, approval_id)
    console.broker.client.rpush("emails", "d")
    with pytest.raises(Refused, match="Clear Queue asked for by maria was approved by bob already"):
        approve(console, approval_id, Actor(name="ann", role=Role.ADMIN))
    assert console.get_queue_length("emails") == 1


def test_of_twenty_who_approve_at_once_one_does(console: Console, database_url: str) -> None:
    approval_id = ask(console)
    ended: list[Any] = []

    def try_it(number: int) -> None:
        try:
            ended.append(approve(console, approval_id, Actor(name=f"op{number}", role=Role.OPERATOR)).affected)
        except Refused as error:
            ended.append(str(error))

    threads = [threading.Thread(target=try_it, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ended.count(3) == 1
    assert sum("was approved by op" in str(end) for end in ended) == 19, ended
    assert entry_of(console, "clear_queue").status is Status.SUCCESS
    assert console.audit.verify().ok


def test_what_came_after_the_first_ones_review_is_left_alone(console: Console) -> None:
    approval_id = ask(console, reviewed=console.preview(CLEAR))
    console.broker.client.lpush("emails", "new")
    assert approve(console, approval_id).affected == 3
    assert console.broker.client.lrange("emails", 0, -1) == ["new"]


def test_who_asks_without_a_preview_asks_for_what_is_there_now(console: Console) -> None:
    approval_id = ask(console)
    console.broker.client.lpush("emails", "new")
    assert approve(console, approval_id).affected == 3
    assert console.get_queue_length("emails") == 1


def test_what_can_not_be_done_does_not_wait_for_anybody(console: Console) -> None:
    with fails(Refused, field="queue"):
        console.run(opsdash.ClearQueue(queue="emials"), actor=MARIA, confirm="YES")
    assert console.approvals() == ()
    assert entry_of(console, "clear_queue").status is Status.REFUSED


def test_both_type_the_queues_name_where_it_is_asked_for(console_for: Callable[..., Console]) -> None:
    console = console_for(queues=("emails",), approval=("clear_queue",), environment="production")
    with pytest.raises(PhraseMissing):
        console.run(CLEAR, actor=MARIA, confirm="YES")
    approval_id = ask(console, phrase="emails")
    assert console.preview(opsdash.ApproveOperation(approval_id=approval_id)).phrase == "emails"
    with pytest.raises(PhraseMissing):
        approve(console, approval_id)
    assert approve(console, approval_id, phrase="emails").ok


def expire(console: Console, monkeypatch: pytest.MonkeyPatch, **later: Any) -> None:
    """Sixteen minutes go by for whoever looks at approvals."""

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(**later or {"minutes": 16})

    monkeypatch.setattr(approvals, "datetime", Later)


def test_what_nobody_approves_expires_and_that_is_audited_once_however_many_consoles_look(
    console: Console, console_for: Callable[..., Console], monkeypatch: pytest.MonkeyPatch, database_url: str
) -> None:
    approval_id = ask(console)
    others = [console_for(database_url=console.settings.database_url) for _ in range(2)]
    console.snapshot()
    assert entry_of(console, "clear_queue").status is Status.IN_PROGRESS
    expire(console, monkeypatch)
    with pytest.raises(Refused, match="Clear Queue asked for by maria expired at"):
        approve(console, approval_id)
    threads = [threading.Thread(target=other.snapshot) for other in (console, *others) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entry = entry_of(console, "clear_queue")
    assert (entry.status, entry.details["approved_by"]) == (Status.REFUSED, "(expiry)")
    assert entry.details["message"] == "It was not approved within 15m 0s. Nothing was changed."
    assert console.approvals() == ()
    found = console.audit.verify()
    assert (found.ok, found.checked) == (True, 2)
    with pytest.raises(Refused, match="expired at"):
        approve(console, approval_id)
    assert console.get_queue_length("emails") == 3


def test_what_waits_is_not_taken_for_an_act_whose_process_died(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    approval_id = ask(console)
    monkeypatch.setattr(reaper, "LOOK_S", 0.0)
    monkeypatch.setattr(reaper, "ALIVE_S", -1)
    for _ in range(4):
        console.snapshot()
    assert entry_of(console, "clear_queue").status is Status.IN_PROGRESS
    assert approve(console, approval_id).affected == 3


def test_what_waited_and_was_lost_with_redis_becomes_unknown(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    approval_id = ask(console)
    console.broker.client.flushall()
    monkeypatch.setattr(reaper, "LOOK_S", 0.0)
    monkeypatch.setattr(reaper, "ALIVE_S", -1)
    for _ in range(3):
        console.snapshot()
    entry = entry_of(console, "clear_queue")
    assert entry.status is Status.UNKNOWN
    assert entry.details["message"].startswith(
        "It needed a second person, and its result is not known. It has no trash"
    )
    with fails(Refused, field="approval_id"):
        approve(console, approval_id)


@pytest.mark.parametrize("change", ["asked", "mac"])
def test_a_request_that_opsdash_did_not_write_is_not_carried_out(console: Console, change: str) -> None:
    approval_id = ask(console)
    key = console.broker.keys.approval(approval_id)
    text = str(console.broker.client.hget(key, change))
    forged = text.replace('"queue": "emails"', '"queue": "celery"') if change == "asked" else "0" * 64
    assert forged != text
    console.broker.client.hset(key, change, forged)
    with fails(Refused, field="approval_id"):
        approve(console, approval_id)
    assert console.approvals() == ()
    assert console.get_queue_length("emails") == 3


def test_an_act_that_breaks_off_after_its_approval_says_so_in_both_entries(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    approval_id = ask(console)

    def broken(*_: object, **__: object) -> None:
        raise Uncertain("Half of it is done; look.")

    monkeypatch.setattr(opsdash.ClearQueue, "execute", broken)
    with pytest.raises(Uncertain, match="Half of it"):
        approve(console, approval_id)
    asked, approved = entry_of(console, "clear_queue"), entry_of(console, "approve")
    assert asked.status is approved.status is Status.UNKNOWN
    assert asked.details["approved_by"] == "bob"


def test_while_the_database_is_down_asking_and_approving_work_and_are_audited_later(
    console_for: Callable[..., Console], postgres: Postgres, postgres_url: str
) -> None:
    console = console_for(database_url=postgres_url, queues=("emails",), approval=("clear_queue",))
    console.broker.client.rpush("emails", "a")
    postgres.stop()
    assert approve(console, ask(console)).affected == 1
    postgres.start()
    console.snapshot()
    assert entry_of(console, "clear_queue").details["approved_by"] == "bob"
    assert entry_of(console, "approve").status is Status.SUCCESS
    assert console.audit.verify().ok


def test_while_redis_is_down_nobody_can_ask(console: Console, valkey: Valkey) -> None:
    valkey.stop()
    with pytest.raises(Unavailable):
        console.run(CLEAR, actor=MARIA, confirm="YES")
    assert entry_of(console, "clear_queue").status is Status.FAILURE


@pytest.mark.parametrize("name", ["clear_que", "approve", "Clear Queue"])
def test_a_wrong_name_in_the_setting_is_said_at_the_start(console_for: Callable[..., Console], name: str) -> None:
    with pytest.raises(
        Invalid, match=f"OPSDASH_APPROVAL: there is no operation '{name}'; expected some of .*clear_queue"
    ):
        console_for(approval=(name,))


def test_without_a_secret_key_nothing_can_wait(console_for: Callable[..., Console], postgres_url: str) -> None:
    with fails(Invalid, setting="OPSDASH_SECRET_KEY"):
        console_for(database_url=postgres_url, secret_key=None, approval=("clear_queue",))
