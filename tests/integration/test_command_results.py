"""Whatever an operation's command says tells whether anything was changed."""

from __future__ import annotations

import dataclasses
import io
import sys

import pytest

from opsdash.cli import main
from opsdash.errors import NOTHING_CHANGED
from opsdash.operation import Operation, registry

DECLARED = {name: kind for name, kind in registry().items() if kind.__module__.startswith("opsdash.operations.")}
MORE = {"clear_tasks": ["--task", "x"]}
"""What a command needs beside its target."""
TYPED = {"most": "3"}
"""What is typed for an argument that takes no name and no duration."""
each = pytest.mark.parametrize("kind", DECLARED.values(), ids=DECLARED)


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sqlite_url: str):
    """Runs an operation's command off a terminal; gives its exit code and what it said."""

    def run(kind: type[Operation], *options: str, redis_url: str) -> tuple[int, str]:
        monkeypatch.setenv("OPSDASH_REDIS_URL", redis_url)
        monkeypatch.setenv("OPSDASH_DATABASE_URL", sqlite_url)
        positional = [field.name for field in dataclasses.fields(kind) if field.metadata["positional"]]
        targets = [TYPED.get(name, "400d") for name in positional]
        monkeypatch.setattr(
            sys, "argv", ["opsdash", kind.name.replace("_", "-"), *targets, *MORE.get(kind.name, []), *options]
        )
        monkeypatch.setattr(sys, "stdin", io.StringIO())
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        assert captured.out == ""
        assert len(captured.err.splitlines()) == 1
        return int(ended.value.code or 0), captured.err

    return run


@each
def test_without_yes_it_says_that_nothing_was_changed(say, valkey_url: str, kind: type[Operation]):
    code, said = say(kind, redis_url=valkey_url)
    assert code == 3
    assert NOTHING_CHANGED in said


@each
@pytest.mark.parametrize("option", [("--confirm", "YES"), ("--dry-run",)], ids=["done", "previewed"])
def test_while_redis_is_away_it_says_that_nothing_was_changed(say, kind: type[Operation], option: tuple[str, ...]):
    if kind.name in {"prune_audit_log", "add_note"} and option == ("--dry-run",):
        return  # the one asks the database alone, the other nobody
    code, said = say(kind, *option, redis_url="redis://127.0.0.1:1/0")
    assert code == 4
    assert NOTHING_CHANGED in said
