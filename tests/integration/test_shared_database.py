"""Several deployments on one database: each entry knows its broker, and nobody acts upon another one's."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from support.cli import Result, off_a_terminal
from support.errors import fails
from support.previews import texts
from support.services import Valkey
from support.workers import eventually

import opsdash
from opsdash.errors import NeedsApproval, Refused
from opsdash.model import Actor, AuditEntry, Role, Status
from opsdash.services.audit import reaper
from opsdash.services.audit.chain import ChainSigner
from opsdash.services.audit.idempotency import ElsewhereRequest
from opsdash.services.audit.log import AuditLog
from opsdash.services.audit.query import THIS, Filter
from opsdash.services.console import Console
from opsdash.services.database import engine as database
from opsdash.services.database import migrations
from opsdash.services.database.tables import audit_log
from opsdash.services.monitoring.metrics import MetricsReader

MARIA = Actor(name="maria", role=Role.ADMIN, surface="page")
BOB = Actor(name="bob", role=Role.ADMIN, surface="page")
PAUSE, RESUME = opsdash.PauseProcessing(), opsdash.ResumeProcessing()
OLD = Actor(name="old", role=Role.ADMIN)


@dataclass
class Two:
    """Consoles of two deployments: in two databases of one server, with one log. ``old``: a log of a version before."""

    a: Console
    b: Console
    old: AuditLog


@pytest.fixture
def two(console_for: Callable[..., Console], valkey: Valkey, database_url: str) -> Two:
    settings: dict[str, Any] = {"database_url": database_url, "queues": ("celery", "emails")}
    a, b = (console_for(redis_url=f"{valkey.url.rpartition('/')[0]}/{db}", **settings) for db in (0, 1))
    return Two(a, b, AuditLog(a.engine, a.audit.signer))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is not marked as running has died just now."""
    monkeypatch.setattr(reaper, "LOOK_S", 0.0)
    monkeypatch.setattr(reaper, "ALIVE_S", -5)


def settle(*consoles: Console) -> None:
    for console in (*consoles, *consoles):
        console.reaper.close_dead()


def told(console: Console, entry: AuditEntry) -> AuditEntry:
    (found,) = [one for one in console.get_recent_operations(100) if one.id == entry.id]
    return found


def died(console: Console) -> AuditEntry:
    """An act whose process was killed after it had begun."""
    entry = console.audit.begin(PAUSE, MARIA)
    with console.reaper.running(entry):
        left = console.broker.client.get(console.broker.keys.begun(str(entry.id)))
    console.broker.client.set(console.broker.keys.begun(str(entry.id)), left)
    return entry


def test_each_entry_knows_its_broker_and_the_log_of_both_is_whole(two: Two) -> None:
    for console in (two.a, two.b):
        console.run(PAUSE, actor=MARIA, confirm="YES")
    a, b = two.a.broker.identity, two.b.broker.identity
    assert (a.rpartition("/")[2], b.rpartition("/")[2]) == ("0", "1")
    assert [entry.broker for entry in two.a.get_recent_operations()] == [b, a]
    assert [entry.broker for entry in two.a.get_recent_operations(broker=THIS)] == [a]
    assert [entry.broker for entry in two.b.get_recent_operations(broker=THIS)] == [b]
    assert [entry.broker for entry in two.b.get_recent_operations(broker=a)] == [a]
    assert two.a.get_recent_operations(broker="elsewhere:6379/0") == ()
    assert [line.rpartition(",")[2].strip() for line in two.a.audit.export(Filter(broker=b))] == ["broker", b]
    assert list(two.a.audit.to_frame(Filter(broker=THIS))["broker"]) == [a]
    assert (two.a.audit.total(Filter(broker=THIS)), two.a.audit.total()) == (1, 2)
    for console in (two.a, two.b):
        found = console.audit.verify()
        assert (found.ok, found.checked) == (True, 2), found.problems


def test_refused_attempts_and_what_happened_without_an_act_name_the_broker_too(two: Two) -> None:
    with pytest.raises(Refused):
        two.b.run(opsdash.ClearQueue(queue="emails"), actor=MARIA, confirm="no")
    two.b.run(PAUSE, actor=MARIA, confirm="YES")
    two.b.broker.client.delete(two.b.broker.keys.pause())
    two.b.snapshot()
    entries = two.b.get_recent_operations()
    assert [entry.user for entry in entries] == ["(outside opsdash)", "maria", "maria"]
    assert {entry.broker for entry in entries} == {two.b.broker.identity}


def test_a_prefix_is_another_broker(console_for: Callable[..., Console]) -> None:
    console = console_for(key_prefix="shop:")
    console.run(PAUSE, actor=MARIA, confirm="YES")
    (entry,) = console.get_recent_operations()
    assert str(entry.broker).endswith("/0?prefix=shop:")


def test_the_broker_can_not_be_changed_unseen(two: Two) -> None:
    two.a.run(PAUSE, actor=MARIA, confirm="YES")
    with pytest.raises(sa.exc.DBAPIError), two.a.engine.begin() as connection:
        connection.execute(sa.text("UPDATE audit_log SET broker = 'elsewhere:6379/0'"))
    (entry,) = two.a.get_recent_operations()
    with two.a.engine.begin() as connection:
        moved = {**entry.details, "broker": "elsewhere:6379/0"}
        connection.execute(sa.update(audit_log).values(details=moved))
    assert len(two.a.get_recent_operations(broker="elsewhere:6379/0")) == 1
    assert not two.a.audit.verify().ok


def test_an_outcome_can_not_say_another_broker_than_the_intent(two: Two) -> None:
    entry = two.a.audit.begin(PAUSE, MARIA)
    two.a.audit.finish(entry, Status.SUCCESS, {"broker": "elsewhere:6379/0", "message": "Done."})
    assert told(two.a, entry).broker == two.a.broker.identity


def test_entries_of_before_verify_as_they_were_through_up_down_and_up_again(
    console_for: Callable[..., Console], empty_database_url: str
) -> None:
    migrations.upgrade(empty_database_url, "0005")
    engine = database.connect(empty_database_url)
    signer = ChainSigner(lambda: b"a-key-for-tests-and-nothing-else")
    before = AuditLog(engine, signer)
    for number in range(3):
        before.finish(before.begin(PAUSE, OLD), Status.SUCCESS, {"message": f"{number}"})
    with engine.begin() as connection:  # what is no JSON of ours stands in nobody's way
        connection.execute(sa.text("UPDATE audit_log SET details = '[\"\\ud800\"]' WHERE seq = 3"))
    engine.dispose()
    migrations.upgrade(empty_database_url)
    console = console_for(database_url=empty_database_url)
    console.run(PAUSE, actor=MARIA, confirm="YES")
    here = console.broker.identity
    for _ in range(2):
        found = console.audit.verify()
        assert (found.checked, [problem[:16] for problem in found.problems]) == (4, ["Changed: entry 3"])
        assert [entry.broker for entry in console.get_recent_operations()] == [here, None, None, None]
        assert [entry.seq for entry in console.get_recent_operations(broker=THIS)] == [4]
        console.engine.dispose()
        migrations.downgrade(empty_database_url, "0005")
        migrations.upgrade(empty_database_url)
    assert migrations.check(empty_database_url) == []


@pytest.mark.usefixtures("impatient")
def test_a_console_closes_its_own_unfinished_acts_and_leaves_the_others_alone(two: Two) -> None:
    own, other = two.a.audit.begin(PAUSE, MARIA), two.b.audit.begin(PAUSE, MARIA)
    settle(two.a)
    assert [told(two.a, entry).status for entry in (own, other)] == [Status.UNKNOWN, Status.IN_PROGRESS]
    settle(two.b)
    assert told(two.b, other).status is Status.UNKNOWN
    assert "There is no such pause now." in told(two.b, other).details["message"]


@pytest.mark.usefixtures("impatient")
def test_however_many_another_broker_has_left_behind_its_own_are_closed(two: Two) -> None:
    two.b.audit.begin(PAUSE, MARIA)
    long_ago = datetime.now(UTC) - timedelta(days=2)
    with two.a.engine.begin() as connection:
        (row,) = connection.execute(sa.select(audit_log)).mappings()
        kept = {name: value for name, value in row.items() if name != "broker"}
        many = [kept | {"id": uuid4(), "request_id": uuid4(), "timestamp": long_ago} for _ in range(120)]
        connection.execute(audit_log.insert(), many)
    own = two.a.audit.begin(PAUSE, MARIA)
    settle(two.a)
    assert told(two.a, own).status is Status.UNKNOWN


@pytest.mark.usefixtures("impatient")
def test_an_act_that_came_by_another_address_of_the_same_broker_is_closed_too(
    two: Two, console_for: Callable[..., Console], valkey: Valkey, database_url: str
) -> None:
    forwarded = console_for(redis_url=valkey.url.replace("127.0.0.1", "localhost"), database_url=database_url)
    assert forwarded.broker.identity != two.a.broker.identity
    entry = died(forwarded)
    settle(two.b)
    assert told(two.a, entry).status is Status.IN_PROGRESS
    settle(two.a)
    assert told(two.a, entry).status is Status.UNKNOWN


@pytest.mark.usefixtures("impatient")
def test_an_entry_that_names_no_broker_is_closed_at_once_only_where_there_is_no_other_broker(two: Two) -> None:
    first = two.old.begin(PAUSE, OLD)
    settle(two.a)
    assert "There is no such pause now." in told(two.a, first).details["message"]
    two.b.run(PAUSE, actor=MARIA, confirm="YES")
    second = two.old.begin(PAUSE, OLD)
    settle(two.a)
    assert told(two.a, second).status is Status.IN_PROGRESS
    with two.a.engine.begin() as connection:
        long_ago = second.timestamp - timedelta(days=1, minutes=1)
        connection.execute(sa.update(audit_log).where(audit_log.c.id == second.id).values(timestamp=long_ago))
    settle(two.a)
    assert "It does not say on which broker." in told(two.a, second).details["message"]


def test_a_request_of_another_broker_is_refused_and_not_answered_with_its_success(two: Two) -> None:
    request_id = uuid4()
    two.a.run(PAUSE, actor=MARIA, confirm="YES", request_id=request_id)
    again = two.a.run(PAUSE, actor=MARIA, confirm="YES", request_id=request_id)
    assert "broker" not in again.details
    with pytest.raises(ElsewhereRequest, match=f"on another broker, {two.a.broker.identity}"):
        two.b.run(PAUSE, actor=MARIA, confirm="YES", request_id=request_id)
    assert not two.b.is_processing_paused()
    newest = two.b.get_recent_operations()[0]
    assert (newest.status, newest.broker) == (Status.REFUSED, two.b.broker.identity)


def test_a_request_whose_entry_names_no_broker_is_answered_only_where_there_is_no_other_broker(two: Two) -> None:
    request_id = uuid4()
    who = Actor(name="maria", role=Role.ADMIN)
    two.old.finish(two.old.begin(PAUSE, who, request_id), Status.SUCCESS, {"message": "Paused.", "affected": 1})
    assert two.a.run(PAUSE, actor=who, confirm="YES", request_id=request_id).message == "Paused."
    two.b.run(RESUME, actor=MARIA, confirm="YES")
    with pytest.raises(ElsewhereRequest, match="does not say on which broker"):
        two.a.run(PAUSE, actor=who, confirm="YES", request_id=request_id)


def test_what_waited_for_the_database_comes_into_the_log_with_its_broker(two: Two) -> None:
    spool = two.b.audit.outbox
    assert spool is not None
    entry = AuditLog(two.b.engine, two.b.audit.signer, here=two.b.audit.here)._entry_of(
        PAUSE, MARIA, Status.IN_PROGRESS, {}, None
    )
    spool.put("begin", entry, two.b.audit.signer)
    assert (two.a.audit.drain(), two.b.audit.drain()) == (0, 1)
    assert told(two.a, entry).broker == two.b.broker.identity
    assert [one.id for one in two.b.get_recent_operations(broker=THIS)] == [entry.id]


@pytest.fixture
def asking(console_for: Callable[..., Console], two: Two) -> tuple[Console, Console]:
    """As ``two``, and a clear needs a second person."""
    settings = {
        "database_url": two.a.settings.database_url,
        "queues": ("celery", "emails"),
        "approval": ("clear_queue",),
    }
    a, b = (console_for(redis_url=console.settings.redis_url, **settings) for console in (two.a, two.b))
    return a, b


def test_what_waits_for_approval_waits_on_its_own_broker_alone(asking: tuple[Console, Console]) -> None:
    a, b = asking
    with pytest.raises(NeedsApproval) as asked:
        a.run(opsdash.ClearQueue(queue="emails"), actor=MARIA, confirm="YES")
    approve = opsdash.ApproveOperation(approval_id=asked.value.approval_id)
    assert b.approvals() == ()
    with fails(Refused, field="approval_id"):
        b.run(approve, actor=BOB, confirm="YES")
    assert texts(a.preview(approve))[0].startswith("Clear Queue (queue: emails), requested by maria")
    a.run(approve, actor=BOB, confirm="YES")


def test_who_approves_by_another_address_is_told_where_it_was_asked_for(
    asking: tuple[Console, Console], console_for: Callable[..., Console], valkey: Valkey
) -> None:
    a, _ = asking
    with pytest.raises(NeedsApproval) as asked:
        a.run(opsdash.ClearQueue(queue="emails"), actor=MARIA, confirm="YES")
    other = console_for(
        redis_url=valkey.url.replace("127.0.0.1", "localhost"),
        database_url=a.settings.database_url,
        queues=("celery", "emails"),
        approval=("clear_queue",),
    )
    preview = other.preview(opsdash.ApproveOperation(approval_id=asked.value.approval_id))
    assert (
        texts(preview)[0]
        == f"The request is for broker {a.broker.identity}; this console uses {other.broker.identity}."
    )


def test_a_prune_says_how_many_entries_of_others_go_with_it(two: Two) -> None:
    for console in (two.a, two.b, two.b):
        console.run(RESUME, actor=MARIA, confirm="YES")
    with two.a.engine.begin() as connection:
        connection.execute(sa.update(audit_log).values(timestamp=datetime.now(UTC) - timedelta(days=400)))
    preview = two.a.preview(opsdash.PruneAuditLog())
    assert (preview.values()["going"], preview.values()["others"]) == (3, 2)
    assert "2 of them belong to other brokers: their consoles share this database." in texts(preview)


def test_charts_and_counters_leave_out_what_others_have_done(two: Two) -> None:
    two.b.run(PAUSE, actor=MARIA, confirm="YES")
    two.a.run(RESUME, actor=MARIA, confirm="YES")
    two.old.finish(two.old.begin(PAUSE, OLD), Status.SUCCESS, {"message": "Done."})
    mine = two.a.audit.page(Filter(broker=THIS, or_no_broker=True)).entries
    assert [entry.broker for entry in mine] == [None, two.a.broker.identity]


@pytest.mark.long
def test_metrics_count_what_was_done_on_this_broker(two: Two) -> None:
    counted: list[str] = []
    measures = MetricsReader(two.a.audit, lambda operation, _status, _took_s: counted.append(operation))
    measures.take(two.a.snapshot())
    two.b.run(PAUSE, actor=MARIA, confirm="YES")
    two.a.run(RESUME, actor=MARIA, confirm="YES")
    measures.take(two.a.snapshot())
    assert counted == ["resume_processing"]


@pytest.fixture
def shell(two: Two, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """``opsdash ARGS`` with the settings of deployment a."""
    for name, value in (("REDIS_URL", two.a.settings.redis_url), ("DATABASE_URL", two.a.settings.database_url)):
        monkeypatch.setenv(f"OPSDASH_{name}", value)
    return off_a_terminal(monkeypatch, capsys)


def test_the_command_line_names_brokers_where_there_is_another_one(two: Two, shell: Callable[..., Result]) -> None:
    two.a.run(PAUSE, actor=MARIA, confirm="YES")
    assert "Broker" not in shell("audit").out
    two.b.run(PAUSE, actor=BOB, confirm="YES")
    a, b = two.a.broker.identity, two.b.broker.identity
    both = json.loads(shell("audit", "--json").out)
    assert [(entry["user"], entry["broker"]) for entry in both] == [("bob", b), ("maria", a)]
    shown = shell("audit").out
    assert "Broker" in shown
    assert b in shown
    for asked, users in (("this", ["maria"]), (b, ["bob"]), ("elsewhere:6379/0", [])):
        found = json.loads(shell("audit", "--broker", asked, "--json").out)
        assert [entry["user"] for entry in found] == users
        exported = shell("audit", "export", "--format", "jsonl", "--broker", asked).out
        assert [json.loads(line)["user"] for line in exported.splitlines()] == users
    assert "No entry of the audit log matches." in shell("audit", "--broker", "elsewhere:6379/0").out


def test_a_database_of_a_newer_opsdash_is_no_reason_to_upgrade_with_this_one(
    two: Two, shell: Callable[..., Result]
) -> None:
    with two.a.engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {migrations.VERSION_TABLE} SET version_num = '9999'"))
    checked = shell("db", "check")
    assert checked.code == 2
    assert "at revision 9999, of a newer opsdash" in checked.err
    assert "db upgrade" not in checked.err
    two.a.run(PAUSE, actor=MARIA, confirm="YES")
    assert two.a.audit.verify().ok


def test_one_look_closes_what_has_long_been_dead_and_nothing_that_may_be_alive(
    console_for: Callable[..., Console], sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaper, "ALIVE_S", -5)
    monkeypatch.setattr(reaper, "SURE_S", 1)
    settings: dict[str, Any] = {"database_url": sqlite_url, "queues": ("celery",)}
    console = console_for(**settings)
    client, keys = console.broker.client, console.broker.keys

    def begun(renewed_s: int) -> AuditEntry:
        """An operation whose marks were renewed so long ago."""
        entry = console.audit.begin(PAUSE, MARIA)
        client.set(keys.begun(str(entry.id)), "1", px=(reaper.BEGUN_S - renewed_s) * 1000)
        return entry

    dead, recent, alive = begun(90), begun(-60), begun(90)
    client.set(keys.running(str(alive.id)), "1", ex=60)
    eventually(lambda: client.info("server")["uptime_in_seconds"] > 1, what="Redis is there for a while")
    console_for(**settings).reaper.close_dead()  # as a command does that looks once and ends
    statuses = [told(console, entry).status for entry in (dead, recent, alive)]
    assert statuses == [Status.UNKNOWN, Status.IN_PROGRESS, Status.IN_PROGRESS]


def test_a_running_operation_renews_both_of_its_marks(
    console_for: Callable[..., Console], sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaper, "ALIVE_S", 1)
    console = console_for(database_url=sqlite_url, queues=("celery",))
    client, keys = console.broker.client, console.broker.keys
    entry = console.audit.begin(PAUSE, MARIA)
    with console.reaper.running(entry):
        client.pexpire(keys.begun(str(entry.id)), 5_000)
        eventually(lambda: client.pttl(keys.begun(str(entry.id))) > 50_000, what="it was renewed")
