"""Whatever an operation's command says tells whether anything was changed."""

from __future__ import annotations

import ast
import dataclasses
import io
import sys
from pathlib import Path

import pytest

from opsdash.cli import main
from opsdash.operation import Operation, registry

ROOT = Path(__file__).parents[2]
NOTHING = ("Nothing was changed", "nothing was changed")
DECLARED = {name: kind for name, kind in registry().items() if kind.__module__.startswith("opsdash.operations.")}
MORE = {"clear_tasks": ["--task", "x"]}
"""What a command needs beside its target."""
each = pytest.mark.parametrize("kind", DECLARED.values(), ids=DECLARED)


@pytest.fixture
def say(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], sqlite_url: str):
    """Runs an operation's command off a terminal; gives its exit code and what it said."""

    def run(kind: type[Operation], *options: str, redis_url: str) -> tuple[int, str]:
        monkeypatch.setenv("OPSDASH_REDIS_URL", redis_url)
        monkeypatch.setenv("OPSDASH_DATABASE_URL", sqlite_url)
        targets = ["400d" for field in dataclasses.fields(kind) if field.metadata["positional"]]
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
    assert any(words in said for words in NOTHING)


@each
@pytest.mark.parametrize("option", [("--confirm", "YES"), ("--dry-run",)], ids=["done", "previewed"])
def test_while_redis_is_away_it_says_that_nothing_was_changed(say, kind: type[Operation], option: tuple[str, ...]):
    if kind.name == "prune_audit_log" and option == ("--dry-run",):
        return  # asks the database alone
    code, said = say(kind, *option, redis_url="redis://127.0.0.1:1/0")
    assert code == 4
    assert any(words in said for words in NOTHING)


def test_every_refusal_that_an_operation_writes_says_that_nothing_was_changed():
    silent = []
    for path in (ROOT / "opsdash" / "operations").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            call = node.exc if isinstance(node, ast.Raise) else None
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") in {"Invalid", "Refused", "Unavailable"}:
                text = "".join(str(part.value) for part in ast.walk(call) if isinstance(part, ast.Constant))
                if not any(words in text for words in NOTHING):
                    silent.append(f"{path.name}:{node.lineno}: {text}")
    assert silent == []
