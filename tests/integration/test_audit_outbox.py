"""The audit log while its database is away, and entries whose process died: nothing is lost, nothing is told twice."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import sqlalchemy as sa
from support import programs
from support.services import Postgres, Valkey

import opsdash
from opsdash.errors import Unavailable
from opsdash.model import Actor, AuditEntry, Role, Status
from opsdash.services.audit import outbox, reaper
from opsdash.services.console import Console
from opsdash.services.database.tables import audit_log

MARIA = Actor(name="maria", role=Role.ADMIN)


@pytest.fixture
def console(console_for: Callable[..., Console], postgres_url: str) -> Console:
    return console_for(database_url=postgres_url)


def pause(console: Console, **over: object) -> AuditEntry:
    effect = console.run(opsdash.PauseProcessing(), actor=MARIA, confirm="YES", **over)
    return AuditEntry(
        id=effect.audit_id,
        timestamp=datetime.now(UTC),
        user="maria",
        operation="pause_processing",
        status=Status.SUCCESS,
        details={},
        request_id=uuid4(),
    )


def test_what_waits_in_the_outbox_is_written_once_however_many_consoles_and_crashes(
    console: Console, console_for: Callable[..., Console], postgres: Postgres, postgres_url: str
) -> None:
    postgres.stop()
    done = pause(console)
    assert console.audit.outbox_length() == 2
    steps = console.broker.client.xrange(console.broker.keys.outbox)
    postgres.start()
    others = [console_for(database_url=postgres_url) for _ in range(3)]
    assert sum(other.audit.drain() for other in others) == 2
    # A console that died between the table and the stream leaves its steps there: they are drained again.
    for _, fields in steps:
        console.broker.client.xadd(console.broker.keys.outbox, fields)
    assert console.audit.drain() == 2
    (entry,) = console.get_recent_operations()
    assert (entry.id, entry.status, entry.seq) == (done.id, Status.SUCCESS, 1)
    assert console.audit.verify().ok


def test_a_step_that_opsdash_did_not_write_never_becomes_an_entry_and_is_kept_to_be_looked_at(
    console: Console, caplog: pytest.LogCaptureFixture
) -> None:
    console.broker.client.xadd(console.broker.keys.outbox, {"kind": "whole", "entry": "{}", "mac": "0" * 64})
    console.broker.client.xadd(console.broker.keys.outbox, {"foreign": "field"})
    assert console.audit.drain() == 0
    kept = console.audit.outbox
    assert kept is not None
    assert (console.audit.outbox_length(), kept.foreign()) == (0, 2)
    assert console.get_recent_operations() == ()
    console.broker.client.xadd(console.broker.keys.outbox, {"foreign": "again"})
    assert console.audit.drain() == 0
    assert caplog.text.count("were not written by opsdash") == 1, "a flood of them must not fill the log"


def test_a_flood_of_bogus_steps_delays_neither_a_pause_nor_what_waits_behind_it(
    console: Console, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, keys = console.broker.client, console.broker.keys
    with client.pipeline(transaction=False) as pipe:
        for _ in range(outbox.LOOKED_AT + 500):
            pipe.xadd(keys.outbox, {"kind": "whole", "entry": "{}", "mac": "\N{SNOWMAN}"})
        pipe.execute()
    client.xadd(keys.outbox, {"kind": "whole", "entry": "x" * (outbox.LARGE_STEP + 1), "mac": "0" * 64})
    client.xadd(keys.outbox, {str(n): "wide" for n in range(5_000)})
    monkeypatch.setattr(outbox, "LOOK_S", 60.0)
    postgres.stop()
    done = pause(console)
    assert console.audit.outbox_length() == 500 + 2 + 2, "one drain looks at so many"
    postgres.start()
    console.audit.drain()
    assert console.audit.outbox_length() == 0
    (entry,) = console.get_recent_operations()
    assert (entry.id, entry.status) == (done.id, Status.SUCCESS)


def test_what_a_console_with_another_key_has_set_aside_is_still_written_by_its_own(
    console: Console, console_for: Callable[..., Console], postgres: Postgres, postgres_url: str
) -> None:
    postgres.stop()
    pause(console)
    postgres.start()
    stranger = console_for(database_url=postgres_url, secret_key="another-key-altogether")
    assert (stranger.audit.drain(), stranger.audit.outbox_length()) == (0, 0)
    assert console.audit.drain() == 2
    assert [entry.status for entry in console.get_recent_operations()] == [Status.SUCCESS]


def test_with_database_and_redis_gone_nothing_is_done(console: Console, postgres: Postgres, valkey: Valkey) -> None:
    postgres.stop()
    valkey.stop()
    with pytest.raises(Unavailable, match="Redis did not store the audit entry"):
        pause(console)
    valkey.start()
    assert not console.is_processing_paused()
    postgres.start()
    assert console.snapshot().operations == ()


def test_a_result_that_redis_does_not_take_goes_to_a_database_that_is_left_alone(
    console: Console, valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may answer again; else the result would be in neither."""
    entry = console.audit.begin(opsdash.PauseProcessing(), MARIA)
    monkeypatch.setattr(type(console.audit.writing), "rests", True)
    valkey.stop()
    console.audit.finish(entry, Status.SUCCESS, {})
    valkey.start()
    assert [one.status for one in console.get_recent_operations()] == [Status.SUCCESS]


def test_after_a_failure_the_database_is_left_alone_for_a_while(
    console: Console, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgres.stop()
    pause(console)
    calls = []
    monkeypatch.setattr(console.engine.__class__, "connect", lambda *_: calls.append(1))
    entry = console.audit.begin(opsdash.ResumeProcessing(), MARIA)
    console.audit.finish(entry, Status.SUCCESS, {})
    assert calls == [], "an operator must not wait for its timeout at every step"
    monkeypatch.undo()
    postgres.start()


def test_a_database_that_was_restarted_between_two_steps_loses_and_doubles_nothing(
    console: Console, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause(console)
    execute = opsdash.PauseProcessing.execute

    def executing(*args: object) -> object:
        restart(postgres)
        return execute(*args)

    monkeypatch.setattr(opsdash.PauseProcessing, "execute", executing)
    restart(postgres)
    pause(console)
    console.snapshot()
    assert [entry.status for entry in console.get_recent_operations()] == [Status.SUCCESS] * 2
    assert console.audit.outbox_length() == 0
    found = console.audit.verify()
    assert (found.ok, found.checked) == (True, 2)


def restart(postgres: Postgres) -> None:
    postgres.stop()
    postgres.start()


KILLED = """
import os, signal, opsdash
from opsdash.services.pause.flags import PauseFlags
pause = PauseFlags.pause
def pause_and_die(*args, **kwargs):
    {before}
    pause(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
PauseFlags.pause = pause_and_die
opsdash.connect().run(opsdash.PauseProcessing(reason="fire"), actor="maria", confirm="YES")
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("before", "told"),
    [
        ("", "Its pause is in force."),
        ("os.kill(os.getpid(), signal.SIGKILL)", "There is no such pause now."),
    ],
    ids=["after the act", "before the act"],
)
def test_an_entry_whose_process_died_becomes_unknown_with_what_is_known(
    console: Console, monkeypatch: pytest.MonkeyPatch, before: str, told: str
) -> None:
    env = {
        **os.environ,
        "OPSDASH_REDIS_URL": console.settings.redis_url,
        "OPSDASH_DATABASE_URL": console.settings.database_url,
        "OPSDASH_SECRET_KEY": console.settings.secret_key or "",
    }
    done = programs.run([sys.executable, "-c", KILLED.format(before=before)], env=env, check=False)
    assert done.returncode == -signal.SIGKILL
    (entry,) = console.snapshot().operations
    assert entry.status is Status.IN_PROGRESS
    monkeypatch.setattr(reaper, "LOOK_S", 0.0)
    console.snapshot()
    assert console.snapshot().operations[0].status is Status.IN_PROGRESS, "it said a moment ago that it lives"
    forget(console, entry)
    console.snapshot()
    assert console.snapshot().operations[0].status is Status.IN_PROGRESS, "one look may be a flushed Redis"
    console.snapshot()
    (closed,) = console.get_recent_operations()
    assert (closed.status, closed.seq) == (Status.UNKNOWN, 1)
    assert closed.details["message"] == f"The process that did this ended before it could say how it went. {told}"
    assert console.audit.verify().ok


def forget(console: Console, entry: AuditEntry) -> None:
    """Half a minute goes by: the mark of the running act has ended, the entry is that old."""
    console.broker.client.delete(console.broker.keys.running(str(entry.id)))
    with console.engine.begin() as connection:
        old = entry.timestamp - timedelta(seconds=reaper.ALIVE_S)
        connection.execute(sa.update(audit_log).values(timestamp=old))


@pytest.mark.long
def test_a_long_act_whose_process_lives_is_never_taken_for_dead(
    console: Console, console_for: Callable[..., Console], postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaper, "LOOK_S", 0.0)
    monkeypatch.setattr(reaper, "ALIVE_S", 1)
    other = console_for(database_url=postgres_url)

    def long(*_: object) -> None:
        deadline = datetime.now(UTC) + timedelta(seconds=3)
        while datetime.now(UTC) < deadline:
            assert other.snapshot().operations[0].status is Status.IN_PROGRESS
        raise Unavailable("that was long")

    monkeypatch.setattr(opsdash.PauseProcessing, "execute", long)
    with pytest.raises(Unavailable, match="that was long"):
        pause(console)
    assert other.snapshot().operations[0].status is Status.FAILURE


def test_an_outcome_that_comes_after_the_entry_was_closed_is_told_in_the_log(
    console: Console, caplog: pytest.LogCaptureFixture
) -> None:
    entry = console.audit.begin(opsdash.PauseProcessing(), MARIA)
    console.audit.finish(entry, Status.UNKNOWN, {"message": "gone"})
    with caplog.at_level(logging.WARNING):
        console.audit.finish(entry, Status.SUCCESS, {"message": "not gone"})
    assert "came after the entry was closed" in caplog.text
    assert console.get_recent_operations()[0].status is Status.UNKNOWN
    assert console.audit.verify().ok


def test_tenants_that_can_not_be_read_do_not_keep_the_outbox_from_the_table(
    console: Console, console_for: Callable[..., Console], postgres: Postgres, postgres_url: str
) -> None:
    postgres.stop()
    done = pause(console)
    postgres.start()
    other = console_for(database_url=postgres_url, tenant_table="nowhere")
    snapshot = other.snapshot()
    assert "nowhere" in snapshot.tenants_error or "lacks a table" in snapshot.tenants_error
    assert snapshot.database_error == "", "the log is as new as it can be"
    assert (snapshot.operations[0].id, snapshot.operations[0].status, snapshot.spooled) == (done.id, Status.SUCCESS, 0)


def test_the_warning_that_the_outbox_waits_does_not_say_that_nothing_was_changed(
    console: Console, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object, **__: object) -> None:
        raise Unavailable("The database did not answer")

    monkeypatch.setattr(type(console.audit), "_write", gone)
    console.audit.begin(opsdash.PauseProcessing(), MARIA)
    caplog.clear()
    assert console.audit.drain() == 0
    assert "the audit outbox is not empty yet: The database did not answer" in caplog.text
    assert "nothing was changed" not in caplog.text
