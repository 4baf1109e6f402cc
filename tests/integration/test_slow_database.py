"""A database that hangs keeps nobody from pausing: asserted by what comes before what, not by the clock.

Each way of hanging is held until the test lets go of it: an act that ends before that has not waited for it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
import sqlalchemy as sa
from support import programs
from support.errors import fails
from support.proxy import proxy
from support.services import Postgres, until

import opsdash
from opsdash.api.operations import Run
from opsdash.errors import Unavailable
from opsdash.model import Actor, Effect, Progress, Role, Status
from opsdash.services.audit import query
from opsdash.services.audit.log import AuditLog
from opsdash.services.console import Console
from opsdash.services.monitoring import database_reads
from opsdash.services.monitoring.metrics import MetricsReader

MARIA = Actor(name="maria", role=Role.ADMIN)
pytestmark = pytest.mark.impatient
ConsoleFor = Callable[..., Console]


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield f"postgresql+psycopg2://postgres:pw@127.0.0.1:{listening.getsockname()[1]}/opsdash"


@contextlib.contextmanager
def locked_postgres(url: str) -> Iterator[None]:
    parsed = sa.make_url(url)
    with contextlib.closing(
        psycopg2.connect(
            host=parsed.host, port=parsed.port, user=parsed.username, password=parsed.password, dbname=parsed.database
        )
    ) as connection:
        connection.cursor().execute("LOCK TABLE audit_log IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


@contextlib.contextmanager
def locked_sqlite(url: str) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(Path(url.removeprefix("sqlite:///")), isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@pytest.fixture(params=["postgres", "sqlite"])
def locked(request: pytest.FixtureRequest) -> tuple[str, contextlib.AbstractContextManager[None]]:
    """A database, and a lock on it that is held as long as one is within it."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url, locked_postgres(url) if request.param == "postgres" else locked_sqlite(url)


def pause(console: Console, **more: Any) -> Effect:
    return console.run(opsdash.PauseProcessing(), actor=MARIA, confirm="YES", **more)


def test_a_black_hole_for_a_database_keeps_nobody_from_pausing(console_for: ConsoleFor):
    with black_hole() as url:
        console = console_for(database_url=url)
        effect = pause(console)
        assert console.is_processing_paused()
        assert effect.message.startswith("The flag is set"), "the outcome is the act's, not the database's"
        assert console.audit.writing.hangs, "it was answered while the database still said nothing"
        assert console.audit.outbox_length() == 2, "intent and outcome"
        steps = [fields["kind"] for _, fields in console.broker.client.xrange(console.broker.keys.outbox)]
        assert steps == ["begin", "finish"]


def test_the_intent_is_in_the_outbox_before_the_act_begins(console_for: ConsoleFor, monkeypatch: pytest.MonkeyPatch):
    with black_hole() as url:
        console, seen = console_for(database_url=url), list[list[str]]()
        execute = opsdash.PauseProcessing.execute

        def executing(*args: Any) -> Any:
            seen.append([f["kind"] for _, f in console.broker.client.xrange(console.broker.keys.outbox)])
            return execute(*args)

        monkeypatch.setattr(opsdash.PauseProcessing, "execute", executing)
        pause(console)
        assert seen == [["begin"]]


@pytest.mark.long
def test_a_lock_in_the_database_keeps_nobody_from_pausing_and_each_act_is_there_once_in_the_end(
    console_for: ConsoleFor, locked: tuple[str, contextlib.AbstractContextManager[None]]
):
    url, lock = locked
    console = console_for(database_url=url)
    with lock:
        done = [pause(console).audit_id for _ in range(3)]
        assert console.is_processing_paused()
        assert console.audit.writing.hangs, "the lock was held all the time"
    # What the database took late and what the spool brings are the same entries.
    assert until(lambda: console.snapshot().spooled == 0 and not console.audit.writing.hangs)
    assert until(lambda: len(console.get_recent_operations()) == 3)
    entries = console.get_recent_operations()
    assert {entry.id for entry in entries} == set(done)
    assert {entry.status for entry in entries} == {Status.SUCCESS}
    found = console.audit.verify()
    assert (found.ok, found.checked) == (True, 3)


@pytest.mark.long
def test_a_strict_log_refuses_soon_and_what_it_takes_too_late_is_closed(
    console_for: ConsoleFor, locked: tuple[str, contextlib.AbstractContextManager[None]]
):
    url, lock = locked
    console = console_for(database_url=url, audit="strict")
    with lock:
        with fails(Unavailable, silent=True):
            pause(console)
        assert console.audit.writing.hangs, "refused while the lock was held"
        assert not console.is_processing_paused()
    assert until(lambda: not console.audit.writing.hangs)
    assert until(lambda: [entry.status for entry in console.get_recent_operations()] == [Status.FAILURE])
    assert "it was not done" in console.get_recent_operations()[0].details["message"]
    pause(console)
    assert console.is_processing_paused(), "it answers again, so it is asked again"


def test_the_figures_from_redis_never_wait_for_the_database(
    console_for: ConsoleFor, postgres: Postgres, postgres_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(database_reads, "SOON_S", 0.0)
    with proxy(postgres.port) as cable:
        console = console_for(database_url=postgres_url.replace(f":{postgres.port}/", f":{cable.port}/"))
        pause(console)
        before = console.snapshot()
        assert (before.database_error, len(before.operations)) == ("", 1)
        cable.cut()
        console.broker.client.lpush("celery", "a", "b")
        taken = console.snapshot()
        assert taken.queues[0].waiting == 2
        assert "did not answer" in taken.database_error
        assert taken.operations == before.operations, "the last good list stays"
        assert (taken.database_age_s or 0) > (before.database_age_s or 0)
        calls = []
        monkeypatch.setattr(query, "page", lambda *_args, **_more: calls.append(1))
        for _ in range(5):
            console.snapshot()
        assert calls == [], "while an answer is missing nobody asks anew"
        monkeypatch.undo()
        cable.mend()
        assert until(lambda: console.snapshot().database_error == "", timeout_s=60)


@pytest.mark.long
def test_the_command_line_answers_while_the_database_is_a_black_hole(console_for: ConsoleFor, valkey_url: str):
    console = console_for()
    with black_hole() as url:
        # The process ends although its call to the database has not.
        env = {**os.environ, "OPSDASH_REDIS_URL": valkey_url, "OPSDASH_DATABASE_URL": url, "OPSDASH_AUTH": "dev"}
        env["OPSDASH_SECRET_KEY"] = console.settings.secret_key or ""
        typed = [sys.executable, "-m", "opsdash", "resume-processing", "--confirm", "YES"]
        done = programs.run(typed, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "There was no pause of all processing; nothing changed.")
    assert console.audit.outbox_length() == 2


def test_the_same_request_again_is_not_done_again_while_nobody_can_say_how_it_ended(console_for: ConsoleFor):
    request_id = uuid4()
    with black_hole() as url:
        console = console_for(database_url=url)
        pause(console, request_id=request_id)
        console.run(opsdash.ResumeProcessing(), actor=MARIA, confirm="YES")
        with fails(Unavailable, retry=True):
            pause(console, request_id=request_id)
        assert not console.is_processing_paused()


def test_what_comes_after_an_act_never_replaces_its_outcome(
    console_for: ConsoleFor, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    console = console_for()

    def broken(*_: object) -> Any:
        raise RuntimeError("broken beside the act")

    monkeypatch.setattr(AuditLog, "drain_soon", broken)
    monkeypatch.setattr(console.poller, "refresh", broken)
    monkeypatch.setattr(console.unmanaged, "close", broken)
    monkeypatch.setattr(
        opsdash.ResumeProcessing,
        "execute",
        lambda _self, _console, act: (
            act.on_progress(Progress(done=False, message="one")),
            act.on_progress(Progress(done=False, message="two")),
            Effect(affected=1, message=f"Done, cancelled: {act.cancelled()}."),
        )[-1],
    )
    effect = console.run(opsdash.ResumeProcessing(), actor=MARIA, confirm="YES", on_progress=broken, cancelled=broken)
    assert effect.message == "Done, cancelled: False."
    assert console.get_recent_operations()[0].status is Status.SUCCESS
    assert caplog.text.count("reporting the progress failed") == 1, "and it is not called again"

    class Sent:
        confirm, phrase, request_id, params = "YES", "", None, opsdash.ResumeProcessing()

    monkeypatch.setattr("opsdash.api.operations.operation_of", lambda _kind, sent: sent.params)
    route: Any = Run.__new__(Run)
    route.console, route.actor = console, MARIA
    assert route._run(opsdash.ResumeProcessing, Sent()).status == "success"
    console.close()


def test_a_database_that_is_being_closed_does_not_replace_what_was_done(
    console_for: ConsoleFor, monkeypatch: pytest.MonkeyPatch
):
    console = console_for()
    real = sa.Connection.execute

    def closed(self: sa.Connection, statement: Any, *args: Any, **more: Any) -> Any:
        if "UPDATE audit_log" in str(statement):
            raise sa.exc.ResourceClosedError("This Connection is closed")
        return real(self, statement, *args, **more)

    monkeypatch.setattr(sa.Connection, "execute", closed)
    assert pause(console).message.startswith("The flag is set")
    monkeypatch.undo()
    assert console.snapshot().operations[0].status is Status.SUCCESS, "the spool had it"


def test_a_wrong_tenant_table_makes_neither_the_log_old_nor_the_chain_unchecked(console_for: ConsoleFor):
    console = console_for(tenant_table="nowhere")
    pause(console)
    snapshot = console.snapshot()
    assert (snapshot.database_error, len(snapshot.operations)) == ("", 1)
    assert "nowhere" in snapshot.tenants_error
    measures = MetricsReader(console.audit, lambda *_: None)
    measures.take(snapshot)
    assert measures.chain_ok is True
