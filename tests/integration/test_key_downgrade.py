"""The empty key is no key: with a secret set, nothing that anybody could have sealed without one is taken."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from support.errors import fails

import opsdash
from opsdash.errors import Invalid, NeedsApproval, OpsdashError, Refused, Unavailable
from opsdash.model import Actor, AuditEntry, Role, Status, to_plain
from opsdash.services.audit import chain_head as audit_tail
from opsdash.services.audit.chain import UNKEYED, ChainSigner
from opsdash.services.audit.query import entry_of_row
from opsdash.services.console import Console
from opsdash.services.database.tables import audit_head, audit_log
from opsdash.services.doctor.database import chain
from opsdash.services.doctor.finding import Examined, Level
from opsdash.services.monitoring.metrics import MetricsReader

SECRET, OTHER = "the-secret-key-that-came-late", "the-key-that-follows-the-first"
MARIA = Actor(name="maria", role=Role.OPERATOR)


def no_secret() -> bytes:
    raise Invalid("there is none")


NOBODY = ChainSigner(no_secret)
"""What anybody with the source can seal and sign with."""


@pytest.fixture
def without(console_for: Callable[..., Console], postgres_url: str) -> Console:
    """A console without a secret."""
    return console_for(database_url=postgres_url, secret_key=None)


@pytest.fixture
def keyed(console_for: Callable[..., Console], without: Console) -> Console:
    """Another one on the same servers, with a secret."""
    return console_for(database_url=without.settings.database_url, secret_key=SECRET, queues=("emails",))


def act(console: Console, times: int = 1) -> None:
    for _ in range(times):
        console.run(opsdash.ResumeProcessing(), actor="maria", confirm="YES")


def sealed_again(console: Console, start: int, signer: ChainSigner = NOBODY) -> None:
    """Somebody writes every entry from ``start`` on anew, with whatever keys they have."""
    with console.engine.begin() as connection:
        rows = connection.execute(sa.select(audit_log).where(audit_log.c.seq >= start).order_by(audit_log.c.seq)).all()
        kept = dict(connection.execute(sa.select(audit_head)).one()._mapping)
        before = connection.scalar(sa.select(audit_log.c.seal).where(audit_log.c.seq == start - 1)) or ""
        clean: dict[str, Any] = dict.fromkeys(name for name in kept if name.startswith("unkeyed_"))
        connection.execute(sa.update(audit_head).values(clean | {"seq": start - 1, "seal": before}))
        connection.execute(sa.update(audit_log).where(audit_log.c.seq >= start).values(seq=None))
        for row in rows:
            entry = signer.next(connection, replace(entry_of_row(row), user="eve"))
            values = {"seq": entry.seq, "seal": entry.seal, "key_id": entry.key_id, "user": "eve"}
            connection.execute(sa.update(audit_log).where(audit_log.c.id == entry.id).values(values))
            connection.execute(sa.update(audit_head).values(seq=entry.seq, seal=entry.seal))
        connection.execute(sa.update(audit_head).values({name: kept[name] for name in clean}))


def problems(console: Console) -> list[str]:
    """As verify names them; the doctor and the metrics, which look at the newest, must agree that there are some."""
    found = console.audit.verify()
    tail = audit_tail.problems(console.engine, console.audit.signer, 500)[1]
    assert bool(found.problems) == bool(tail), (found.problems, tail)
    return found.problems


def test_an_entry_that_is_sealed_again_without_a_key_does_not_verify(keyed: Console) -> None:
    act(keyed, 3)
    assert problems(keyed) == []
    sealed_again(keyed, 3)
    (problem,) = problems(keyed)
    assert problem.endswith("written without a key, which is not accepted after number 0.")


def test_a_log_that_is_sealed_anew_from_its_beginning_does_not_verify(keyed: Console) -> None:
    act(keyed, 3)
    sealed_again(keyed, 1)
    assert len(problems(keyed)) == 3
    act(keyed)
    assert len(problems(keyed)) == 3, "the next act does not make it good"


def test_what_was_sealed_before_the_secret_came_verifies_up_to_there_and_is_told(
    without: Console, keyed: Console
) -> None:
    act(without, 2)
    assert problems(keyed) == []
    act(keyed, 2)
    found = keyed.audit.verify()
    assert (found.problems, found.checked, found.unkeyed, found.unkeyed_through) == ([], 4, 2, 2)
    assert audit_tail.unkeyed_through(keyed.engine, keyed.audit.signer) == 2
    measured = MetricsReader(keyed.audit, lambda *_: None)
    measured.take(keyed.snapshot())
    assert (measured.chain_ok, measured.unkeyed_through) == (True, 2)
    warned = [finding for finding in chain(Examined(keyed)) if finding.level is Level.WARNING]
    assert [finding.message.partition(":")[0] for finding in warned] == [
        "Entries up to 2 were written before there was a secret"
    ]


def test_where_there_was_a_secret_from_the_beginning_nothing_is_told(keyed: Console) -> None:
    act(keyed, 2)
    assert keyed.audit.verify().unkeyed_through == 0
    assert [finding.level for finding in chain(Examined(keyed))] == [Level.OK]


def test_an_entry_from_before_the_secret_can_not_be_changed_after_it(without: Console, keyed: Console) -> None:
    act(without, 2)
    act(keyed)
    sealed_again(keyed, 2, NOBODY)
    assert problems(keyed), "the first seal with a key covers what stood before it"


@pytest.mark.long
@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"unkeyed_through": 9}, "was changed"),
        ({"unkeyed_seal": "0" * 64}, "was changed"),
        ({"unkeyed_seal": "é"}, "was changed"),
        ({"unkeyed_key_id": UNKEYED}, "is signed with an unknown key"),
        ({"unkeyed_key_id": None}, "is signed with an unknown key"),
    ],
    ids=str,
)
def test_the_number_can_not_be_moved(without: Console, keyed: Console, values: dict[str, Any], named: str) -> None:
    act(without, 2)
    act(keyed, 1)
    with keyed.engine.begin() as connection:
        connection.execute(sa.update(audit_head).values(values))
    (problem,) = problems(keyed)
    assert problem.startswith("The number up to which entries need no key")
    assert named in problem
    act(keyed)
    assert len(problems(keyed)) == 1, "the next act does not make it good"


def test_a_log_of_an_earlier_release_takes_no_key_before_its_first_entry_with_one(
    without: Console, keyed: Console
) -> None:
    act(without, 1)
    act(keyed, 1)
    with keyed.engine.begin() as connection:  # as the upgrade leaves it
        connection.execute(sa.update(audit_head).values(unkeyed_through=None, unkeyed_key_id=None, unkeyed_seal=None))
    act(without, 1)  # nobody knows yet that there is a secret
    (problem,) = problems(keyed)
    assert problem.startswith("Entry 3 ")
    act(keyed)
    assert keyed.audit.verify().unkeyed_through == 1
    assert len(problems(keyed)) == 1


def test_a_rotated_key_seals_the_number_anew(console_for: Callable[..., Console], without: Console) -> None:
    url = without.settings.database_url
    act(without, 2)
    act(console_for(database_url=url, secret_key=SECRET))
    rotated = console_for(database_url=url, secret_key=OTHER, old_secret_keys=(SECRET,))
    act(rotated)
    found = rotated.audit.verify()
    assert (found.problems, found.unkeyed_through) == ([], 2)
    forgot = console_for(database_url=url, secret_key=OTHER).audit.verify()
    assert [problem.partition(" (")[0] for problem in forgot.problems] == ["Entry 3"], "the number itself is known"


def test_a_console_that_lost_its_secret_does_nothing_and_says_why(without: Console, keyed: Console) -> None:
    act(without)
    act(keyed)
    with pytest.raises(Invalid, match="not set here, and the audit log was written with one") as refused:
        without.run(opsdash.PauseProcessing(), actor="maria", confirm="YES")
    assert (refused.value.setting, refused.value.changed) == ("OPSDASH_SECRET_KEY", "nothing")
    assert not without.is_processing_paused()
    with fails(OpsdashError, setting="OPSDASH_SECRET_KEY"):
        without.run(opsdash.PauseProcessing(), actor="maria", confirm="no")
    assert problems(keyed) == []


def test_an_outcome_of_a_console_without_the_secret_is_not_sealed_once_there_is_one(
    without: Console, keyed: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = without.audit.begin(opsdash.PauseProcessing(), MARIA)
    act(keyed)
    monkeypatch.setattr(without.audit, "outbox", None)
    with fails(Unavailable, setting="OPSDASH_SECRET_KEY"):
        without.audit.finish(entry, Status.SUCCESS, {})
    assert problems(keyed) == []


@pytest.fixture
def asked(console_for: Callable[..., Console], keyed: Console) -> tuple[Console, str, str]:
    """A console where clearing needs two, a real request, and the text that Redis keeps of it."""
    console = console_for(
        database_url=keyed.settings.database_url, secret_key=SECRET, queues=("emails",), approval=("clear_queue",)
    )
    console.broker.client.rpush("emails", "a")
    with pytest.raises(NeedsApproval) as raised:
        console.run(opsdash.ClearQueue(queue="emails"), actor=MARIA, confirm="YES")
    approval_id = raised.value.approval_id
    return console, approval_id, str(console.broker.client.hget(console.broker.keys.approval(approval_id), "asked"))


def test_an_approval_signed_with_the_empty_key_is_not_taken(asked: tuple[Console, str, str], without: Console) -> None:
    console, real, text = asked
    forged = uuid4().hex
    client, keys = console.broker.client, console.broker.keys
    mac = NOBODY.mac(f"approval:{forged}:{text}")
    client.hset(keys.approval(forged), mapping={"asked": text, "mac": mac})
    client.zadd(keys.approvals, {forged: (datetime.now(UTC) + timedelta(hours=1)).timestamp()})
    assert [waits.id for waits in console.approvals()] == [real]
    for there in (console, without):  # without a secret nobody's word can be told from anybody's
        with pytest.raises(OpsdashError):
            there.run(opsdash.ApproveOperation(approval_id=forged), actor="bob", confirm="YES")
        assert forged not in {waits.id for waits in there.approvals()}
    with fails(Refused, field="approval_id"):
        console.pending_approvals.find(forged)
    with fails(Refused, field="approval_id"):
        without.pending_approvals.find(forged)
    assert console.get_queue_length("emails") == 1


def test_an_entry_of_the_outbox_signed_with_the_empty_key_is_not_taken(keyed: Console) -> None:
    now = datetime.now(UTC)
    entry = AuditEntry(
        id=uuid4(),
        timestamp=now,
        user="eve",
        operation="clear_queue",
        status=Status.SUCCESS,
        details={},
        request_id=uuid4(),
        finished_at=now,
    )
    text = json.dumps(to_plain(entry))
    step = {"kind": "whole", "entry": text, "mac": NOBODY.mac(f"whole:{text}")}
    keyed.broker.client.xadd(keyed.broker.keys.outbox, step)
    assert keyed.audit.drain() == 0
    assert keyed.get_recent_operations() == ()
