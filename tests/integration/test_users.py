"""``opsdash user``, as somebody who sets up a console for a small team types it."""

from __future__ import annotations

import io
import json
import os
import pty
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import programs

from opsdash.cli import main
from opsdash.config.passwords import Users

PASSWORD = "correct horse battery"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "users"


@pytest.fixture
def user(file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``opsdash user ARGS`` off a terminal: exit code, output, errors."""
    monkeypatch.setenv("OPSDASH_USERS_FILE", str(file))

    def run(*args: str, stdin: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["opsdash", "user", *args])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), *capsys.readouterr()

    return run


def test_a_user_is_added_listed_with_their_role_and_removed(
    user: Run, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSDASH_AUTH", "basic")
    monkeypatch.setenv("OPSDASH_OPERATORS", "maria")
    assert user("list") == (0, "No users yet: opsdash user add NAME\n", "")
    assert user("add", "maria", stdin=f"{PASSWORD}\n") == (0, f"Added maria in {file}.\n", "")
    assert user("add", "maria", stdin=f"{PASSWORD}\n") == (0, f"New password for maria in {file}.\n", "")
    assert PASSWORD not in file.read_text()
    assert Users(file).check("maria", PASSWORD)
    assert json.loads(user("list", "--json")[1]) == [{"name": "maria", "role": "operator"}]
    assert user("remove", "maria") == (0, f"Removed maria from {file}.\n", "")
    assert Users(file).read() == {}


@pytest.mark.parametrize(
    ("args", "stdin", "code", "says"),
    [
        (["add", "maria"], "", 2, "password: expected on a terminal or as the first line of stdin"),
        (["add", "maria"], "short\n", 3, "at least 10 characters"),
        (["add", "a,b"], f"{PASSWORD}\n", 3, "A user name is printable"),
        (["add", "maria", PASSWORD], "", 2, "unexpected extra argument"),
        (["remove", "joe"], "", 3, "There is no user joe"),
    ],
)
def test_what_can_not_be_done_is_one_line_and_changes_nothing(
    user: Run, file: Path, args: list[str], stdin: str, code: int, says: str
) -> None:
    ended, _, errors = user(*args, stdin=stdin)
    assert (ended, errors.count("\n")) == (code, 1)
    assert says in errors
    assert Users(file).read() == {}


@pytest.mark.long
def test_on_a_terminal_the_password_is_asked_for_twice_and_never_shown(file: Path) -> None:
    master, terminal = pty.openpty()
    command = [sys.executable, "-m", "opsdash", "user", "add", "maria"]
    environment = {**os.environ, "OPSDASH_USERS_FILE": str(file)}
    process = programs.Popen(
        command, stdin=terminal, stdout=terminal, stderr=terminal, env=environment, start_new_session=True
    )
    os.close(terminal)
    seen = b""
    try:
        for prompt in (b"Password: ", b"Repeat for confirmation: "):
            while not seen.endswith(prompt):
                seen += os.read(master, 1_024)
            os.write(master, f"{PASSWORD}\n".encode())
        assert process.wait(30) == 0
        while b"Added maria" not in seen:
            seen += os.read(master, 1_024)
    finally:
        process.kill()
        process.wait()
        os.close(master)
    assert PASSWORD.encode() not in seen
    assert Users(file).check("maria", PASSWORD)
