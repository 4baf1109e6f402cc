"""Whatever happens while an entry is finished leaves nobody waiting, and the chain whole; a page is one message."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

import opsdash
from opsdash.errors import Unavailable
from opsdash.model import Actor, AuditEntry, Role, Status
from opsdash.services.audit.chain import ChainSigner
from opsdash.services.console import Console
from opsdash.services.database.tables import audit_head, audit_log

MARIA = Actor(name="maria", role=Role.ADMIN, surface="page")


@pytest.fixture
def console(console_for: Callable[..., Console], postgres_url: str) -> Console:
    return console_for(database_url=postgres_url)


def begun(console: Console) -> AuditEntry:
    return console.audit.begin(opsdash.AddNote(text="hello"), MARIA)


def finish(console: Console, entry: AuditEntry) -> AuditEntry:
    return console.audit.finish(entry, Status.SUCCESS, {"message": "done ' \" \\ : :x %s %% é"})


def head(console: Console) -> int:
    return int(console.audit.head().partition(":")[0] or 0)


def test_an_entry_that_was_closed_meanwhile_stays_as_it_is(console: Console) -> None:
    entry = begun(console)
    console.audit.finish(entry, Status.UNKNOWN, {"message": "taken for dead"})
    finish(console, entry)
    assert console.audit.recent(1)[0].details["message"] == "taken for dead"
    assert (head(console), console.audit.verify().ok) == (1, True)


def test_an_entry_that_is_not_there_is_written_as_a_whole(console: Console) -> None:
    entry = begun(console)
    with console.engine.begin() as connection:
        connection.execute(sa.delete(audit_log))
    finish(console, entry)
    assert (head(console), console.audit.verify().ok) == (1, True)


def test_a_head_that_was_removed_is_made_again(console: Console) -> None:
    finish(console, begun(console))
    entry = begun(console)
    with console.engine.begin() as connection:
        connection.execute(sa.delete(audit_head))
    finish(console, entry)
    assert (head(console), console.audit.verify().ok) == (2, True)


@pytest.mark.parametrize("raised", [KeyboardInterrupt, ValueError])
def test_an_error_between_the_two_messages_leaves_nothing_locked(
    console: Console, monkeypatch: pytest.MonkeyPatch, raised: type[BaseException]
) -> None:
    signs = ChainSigner.next
    entry = begun(console)

    def fails(self: ChainSigner, *args: Any, **more: Any) -> AuditEntry:
        signs(self, *args, **more)
        raise raised

    monkeypatch.setattr(ChainSigner, "next", fails)
    with pytest.raises(raised):
        console.audit._write("finish", entry)
    monkeypatch.undo()
    with console.engine.connect() as connection:
        left = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
        assert connection.scalar(sa.text(left)) == 0
    finish(console, entry)
    assert (head(console), console.audit.verify().ok) == (1, True)


def test_a_connection_that_is_lost_before_the_commit_changes_nothing(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    signs = ChainSigner.next
    entry = begun(console)

    def cut(self: ChainSigner, connection: sa.Connection, *args: Any, **more: Any) -> AuditEntry:
        done = signs(self, connection, *args, **more)
        pid = connection.connection.driver_connection.get_backend_pid()
        with console.engine.connect() as other:
            other.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        return done

    monkeypatch.setattr(ChainSigner, "next", cut)
    with pytest.raises(Unavailable, match="Nothing was changed"):
        console.audit._write("finish", entry)
    monkeypatch.undo()
    finish(console, entry)
    assert (head(console), console.audit.verify().ok) == (1, True)


def test_many_at_once_make_one_chain(console: Console) -> None:
    entries = [begun(console) for _ in range(24)]
    threads = [threading.Thread(target=finish, args=(console, entry)) for entry in entries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (head(console), console.audit.verify().ok, console.audit.outbox_length()) == (24, True, 0)


def test_a_page_is_one_message(console: Console) -> None:
    finish(console, begun(console))
    driver: Any = None
    with console.engine.connect() as connection:
        driver = connection.connection.driver_connection
    assert len(console.audit.page().entries) == 1
    assert driver.get_transaction_status() == 0  # nothing was begun that had to be ended
    assert driver.autocommit is False  # as others expect it
