"""What the command line says of its database: the wrong one, one that is away, and a path that leads nowhere."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import programs
from support.cli import Result
from support.services import free_port


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Result]) -> Callable[[str], None]:
    """Names another database."""
    return lambda url: monkeypatch.setenv("OPSDASH_DATABASE_URL", url)


def test_the_first_lines_of_status_tell_of_another_programs_database(
    cli: Callable[..., Result], database: Callable[[str], None], tmp_path: Path
):
    with sqlite3.connect(tmp_path / "theirs.sqlite3") as theirs:
        theirs.execute("CREATE TABLE orders (id integer)")
    theirs.close()
    database(f"sqlite:///{tmp_path}/theirs.sqlite3")
    status = cli("status")
    assert status.out.splitlines()[1] == (
        "Database: The database at theirs.sqlite3 lacks a table or column of this opsdash. Run: opsdash db upgrade"
    )
    assert "lacks a table" not in status.err, "once is enough"


def test_the_first_line_of_status_tells_that_there_is_no_worker(cli: Callable[..., Result]):
    assert cli("status").out.splitlines()[0] == "Processing Status: RUNNING (no worker is online)"


@pytest.mark.long
@pytest.mark.parametrize("command", ["status", "audit", "trash", "pause-processing --confirm YES", "doctor"])
def test_nothing_but_its_own_sentences_is_on_the_terminal_while_the_database_is_away(
    cli: Callable[..., Result], database: Callable[[str], None], command: str
):
    database(f"postgresql://127.0.0.1:{free_port()}/ops")
    done = programs.run(
        [sys.executable, "-m", "opsdash", *command.split()], env=os.environ, capture_output=True, text=True, timeout=60
    )
    assert "WARNING" not in done.stderr
    assert all(line.startswith("opsdash: ") for line in done.stderr.splitlines()), done.stderr
    assert len(done.stderr.splitlines()) <= 2


def test_an_act_while_the_database_is_away_says_that_its_entry_waits(
    cli: Callable[..., Result], database: Callable[[str], None]
):
    database(f"postgresql://127.0.0.1:{free_port()}/ops")
    done = cli("pause-processing", "--confirm", "YES")
    assert done.code == 0
    assert done.err == "opsdash: 2 steps of the audit log wait in the outbox for the database\n"


@pytest.mark.parametrize("command", ["audit", "status", "doctor", "resume-processing --confirm YES"])
def test_a_path_that_leads_nowhere_is_said_and_nothing_is_made_there(
    cli: Callable[..., Result], database: Callable[[str], None], tmp_path: Path, command: str
):
    database(f"sqlite:///{tmp_path}/typo/deep/x.sqlite3")
    done = cli(*command.split())
    assert "There is no database file x.sqlite3" in done.out + done.err or command.startswith("resume")
    assert "did not answer" not in done.out + done.err
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("command", ["db upgrade", "db check", "serve --port 1"])
def test_what_makes_a_database_makes_no_folder_for_it(
    cli: Callable[..., Result], database: Callable[[str], None], tmp_path: Path, command: str
):
    database(f"sqlite:///{tmp_path}/typo/x.sqlite3")
    done = cli(*command.split())
    assert done.code == 2
    assert done.err.startswith(f"opsdash: OPSDASH_DATABASE_URL: there is no folder {tmp_path}/typo.")
    assert not (tmp_path / "typo").exists()
    (tmp_path / "typo").mkdir()
    assert cli("db", "upgrade").code == 0
