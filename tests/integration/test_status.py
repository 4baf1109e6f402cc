"""``opsdash status`` on a terminal, off one, and live."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import shlex
import signal
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from click.testing import CliRunner
from support import programs
from support.cli_reference import DOCS
from support.services import until

import opsdash
from opsdash.cli import cli
from opsdash.services.console import Console

COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7]|38;[\d;]+)m")


@pytest.fixture
def environment(valkey, sqlite_url) -> dict[str, str]:
    return {
        **{k: v for k, v in os.environ.items() if k not in {"NO_COLOR", "FORCE_COLOR"}},
        "OPSDASH_REDIS_URL": valkey.url,
        "OPSDASH_DATABASE_URL": sqlite_url,
        "OPSDASH_ENVIRONMENT": "staging",
        "TERM": "xterm-256color",
        "COLUMNS": "120",
        "LINES": "40",
    }


class Terminal:
    """``opsdash ARGS`` on a pseudo-terminal."""

    def __init__(self, environment: Mapping[str, str], *args: str) -> None:
        self._ours, theirs = pty.openpty()
        # A shell that runs the tests in the background ignores SIGINT, and so would every child.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.process = programs.Popen(
            [sys.executable, "-m", "opsdash", *args],
            stdin=theirs, stdout=theirs, stderr=theirs, env=dict(environment),
        )  # fmt: skip
        signal.signal(signal.SIGINT, before)
        os.close(theirs)
        os.set_blocking(self._ours, False)
        self._seen = b""

    def shown(self) -> str:
        with contextlib.suppress(BlockingIOError, OSError):  # nothing new, or the other end is closed
            self._seen += os.read(self._ours, 65_536)
        return self._seen.decode(errors="replace")

    def wait_for(self, text: str) -> None:
        assert until(lambda: text in self.shown(), timeout_s=30), self.shown()

    def ended(self) -> int:
        assert until(lambda: (self.shown(), self.process.poll())[1] is not None, timeout_s=30), self.shown()
        self.shown()
        return self.process.returncode

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._ours)


@contextlib.contextmanager
def terminal(environment: Mapping[str, str], *args: str) -> Iterator[Terminal]:
    with contextlib.closing(Terminal(environment, *args)) as made:
        yield made


@pytest.mark.slow
def test_watching_shows_a_pause_when_it_comes_and_leaves_the_last_picture_behind(environment, console_for: Any):
    console: Console = console_for(
        redis_url=environment["OPSDASH_REDIS_URL"], database_url=environment["OPSDASH_DATABASE_URL"]
    )
    with terminal(environment, "status", "--watch", "0.5") as screen:
        screen.wait_for("RUNNING")
        assert "every 0.5 s; Ctrl-C ends" in screen.shown()
        assert "staging" in screen.shown()
        console.run(opsdash.PauseProcessing(reason="fire"), actor="maria", confirm="YES")
        screen.wait_for("(fire)")
        screen.process.send_signal(signal.SIGINT)
        assert screen.ended() == 0
        left = screen.shown().rpartition("\x1b[?1049l")[2]
        assert "PAUSED" in left
        assert "Traceback" not in left


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_off_a_terminal_or_as_json_watching_is_refused_with_what_to_do(more: list[str]):
    done = CliRunner().invoke(cli, ["status", "--watch", *more])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "call status" in done.stderr
    assert "again" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("variable", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_a_terminal_has_colours_unless_no_color_is_set(environment, variable: dict[str, str], coloured: bool):
    with terminal({**environment, **variable}, "status") as screen:
        assert screen.ended() == 0
        assert "RUNNING" in screen.shown()
        assert bool(COLOUR.search(screen.shown())) is coloured


def test_off_a_terminal_there_is_no_escape_code_whatever_the_shell_says(environment):
    done = CliRunner().invoke(cli, ["status"], env={**environment, "FORCE_COLOR": "1"})
    assert "Processing Status: RUNNING" in done.stdout
    assert "\x1b" not in done.output


def test_the_commands_of_the_docs_do_what_they_say(environment, monkeypatch: pytest.MonkeyPatch):
    for name in ("OPSDASH_REDIS_URL", "OPSDASH_DATABASE_URL"):
        monkeypatch.setenv(name, environment[name])
    block = re.search(r"```sh\n(.*?)```", DOCS.read_text(), re.DOTALL)[1].splitlines()
    commands = [shlex.split(line)[1:] for line in block if "--watch" not in line]
    done = [CliRunner().invoke(cli, command) for command in commands]
    assert [one.exit_code for one in done] == [0, 0, 0, 0], [one.output for one in done]
    assert "Processing Status: RUNNING" in done[0].output
    assert "It ends after" in done[1].output
    assert done[2].output.startswith("The flag is set until ")
    assert "Pause Processing" in done[3].output


def test_the_keys_of_the_json_are_those_of_the_docs(environment):
    records = dict(re.findall(r"^\*\*(\w+)\*\*: .*\n(.*)$", DOCS.read_text(), re.MULTILINE))
    documented = {name: set(re.findall(r"`(\w+)`", keys)) for name, keys in records.items()}
    status = json.loads(CliRunner().invoke(cli, ["status", "--json"], env=environment).stdout)
    assert status.keys() == documented["Snapshot"] | {"processing", "verdict", "queue_verdicts"}
    assert status["queues"][0].keys() == documented["QueueStats"]
    preview = CliRunner().invoke(cli, ["pause-processing", "--dry-run", "--json"], env=environment)
    assert json.loads(preview.stdout).keys() == documented["Preview"]
    paused = CliRunner().invoke(cli, ["pause-processing", "--confirm", "YES", "--json"], env=environment)
    assert json.loads(paused.stdout).keys() == documented["Effect"] | {"operation", "status", "progress"}
    (entry,) = json.loads(CliRunner().invoke(cli, ["audit", "--json"], env=environment).stdout)
    assert entry.keys() == documented["AuditEntry"]
