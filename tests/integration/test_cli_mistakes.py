"""What a tired operator types wrong: one line, the right exit code, and nothing done."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from support import programs
from support.cli import Result
from support.services import until
from support.workers import producer

from opsdash.cli import main
from opsdash.demo import producer as demo
from opsdash.demo.tasks import KINDS
from opsdash.model import Status, usernames
from opsdash.services.console import Console


@pytest.fixture
def console(console_for: Callable[..., Console]) -> Console:
    return console_for(queues=("celery", "emails"))


@pytest.mark.parametrize(
    "args",
    [
        ["pause-processing", "--reason", "x" * 5_000, "--confirm", "YES"],
        ["pause-processing", "x" * 5_000],
        ["pause-processing", "--for", "x" * 5_000],
        ["pause-processing", f"--for={'x' * 5_000}"],
        ["pause-processing", *(["why"] * 3_000)],
        ["clear-queue", "x" * 900, "--confirm", "YES"],
        ["clear-queue", "\x1b[31m" + "x" * 900, "--confirm", "YES"],
        ["audit", "--since", "x" * 5_000],
        ["x" * 5_000],
    ],
    ids=lambda args: " ".join(args)[:30],
)
def test_what_was_pasted_by_mistake_is_not_repeated_at_length(opsdash, args: list[str]):
    result = opsdash(*args)
    assert result.code in {2, 3}
    assert result.err.count("\n") == 1
    assert len(result.err) < 1_100
    assert "x" * 100 not in result.err


def test_a_refusal_that_is_cut_still_says_whether_anything_was_changed(opsdash):
    result = opsdash("clear-queue", "x" * 900, "--confirm", "YES")
    assert "is not known. Nothing was changed. Known queues: celery, emails." in result.err


@pytest.mark.parametrize("url", ["banana", "localhost:6379", "http://localhost", "redis://host:port/0"])
@pytest.mark.parametrize("command", [["status"], ["doctor"], ["pause-processing", "--confirm", "YES"], ["demo"]])
def test_a_broker_that_is_no_url_is_one_line_that_names_the_setting(
    opsdash, monkeypatch: pytest.MonkeyPatch, url: str, command: list[str]
):
    monkeypatch.setenv("OPSDASH_REDIS_URL", url)
    result = opsdash(*command)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert result.err.startswith("opsdash: OPSDASH_REDIS_URL: ")
    assert "redis://host:port/db" in result.err


def test_what_a_rule_of_the_operation_turns_down_is_refused_in_the_log_and_by_the_exit_code(opsdash, console: Console):
    for args in (["prune-audit-log", "5m"], ["clear-tasks", "emails"]):
        result = opsdash(*args, "--confirm", "YES")
        assert (result.code, result.err.count("\n")) == (3, 1)
        assert "Nothing was changed." in result.err
        assert console.get_recent_operations()[0].status is Status.REFUSED
        assert opsdash(*args, "--dry-run").code == 3


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-23:59", "9" * 5_000, "999999999d"])
@pytest.mark.parametrize(
    "args",
    [
        ["audit", "--since"],
        ["audit", "--until"],
        ["audit", "export", "--since"],
        ["pause-processing", "--confirm", "YES", "--for"],
        ["pause-processing", "--confirm", "YES", "--wait", "--timeout"],
        ["clear-tasks", "emails", "--older-than"],
        ["prune-audit-log"],
        ["audit", "--after"],
    ],
)
def test_a_time_that_no_calendar_has_is_a_wrong_option_on_every_command(opsdash, args: list[str], text: str):
    result = opsdash(*args, f"{text}~{uuid4()}" if "--after" in args else text)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert len(result.err) < 1_100


def test_what_the_demo_sends_says_when_so_that_older_than_finds_it(opsdash, console: Console, monkeypatch):
    kind = next(kind for kind in KINDS if kind.queue == "emails" and not kind.delay_s)
    with producer(console.settings.redis_url) as celery:
        monkeypatch.setattr(demo, "app", celery)
        for _ in range(2):
            demo.send(kind)
    older = ("clear-tasks", "emails", "--dry-run", "--older-than")
    assert "0 of 2 pending tasks" in opsdash(*older, "1h").out
    assert until(lambda: "2 of 2 pending tasks" in opsdash(*older, "1s").out)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["pause"], "No such command 'pause'. Did you mean pause-processing or pause-schedule?"),
        (["clear", "emails"], "No such command 'clear'. Did you mean clear-held or clear-queue or clear-tasks"),
        (["puase-processing"], "No such command 'puase-processing'. Did you mean pause-processing"),
        (["frobnicate"], "No such command 'frobnicate'. opsdash --help lists them."),
    ],
)
def test_an_unknown_command_is_told_what_could_be_meant(opsdash, typed: list[str], says: str):
    result = opsdash(*typed)
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert says in result.err


def test_looking_into_a_queue_that_is_not_there_says_nothing_of_changes(opsdash):
    result = opsdash("peek", "emials")
    assert (result.code, result.err) == (3, "opsdash: Queue 'emials' is not known. Known queues: celery, emails.\n")


@pytest.mark.parametrize("command", [["status"], ["doctor"], ["trash", "--json"]])
def test_a_terminal_that_can_show_little_is_shown_what_it_can(
    environment, monkeypatch: pytest.MonkeyPatch, command: list[str]
):
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "argv", ["opsdash", *command])
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii", write_through=True))
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in {0, 2}
    assert shown.getvalue().isascii()
    assert shown.getvalue()


def test_a_stream_that_a_service_manager_has_closed_is_no_bug(
    environment, console: Console, monkeypatch: pytest.MonkeyPatch
):
    for name in ("stdin", "stdout"):
        monkeypatch.setattr(sys, name, None)
    codes = []
    for command in (["status"], ["pause-processing"], ["pause-processing", "--confirm", "YES"]):
        monkeypatch.setattr(sys, "argv", ["opsdash", *command])
        with pytest.raises(SystemExit) as ended:
            main()
        codes.append(ended.value.code)
    sys.stdin.close()
    sys.stdout.close()
    assert codes == [0, 3, 0]
    assert console.is_processing_paused()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["status", "doctor", "pause-processing --confirm YES"])
def test_a_reader_that_has_gone_is_no_bug_whatever_was_printed(environment, command: str):
    ours, theirs = os.pipe()
    os.close(ours)
    typed = [sys.executable, "-m", "opsdash", *command.split()]
    with os.fdopen(theirs, "wb") as out:
        done = programs.run(typed, env={**os.environ, **environment}, stdout=out, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_slip_in_the_address_of_a_sqlite_file_makes_neither_file_nor_folder(
    environment, opsdash: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("OPSDASH_DATABASE_URL", f"sqlite:///{tmp_path}/typo/x.sqlite3")
    assert "There is no database file x.sqlite3. If OPSDASH_DATABASE_URL is right" in opsdash("audit").err
    assert not list(tmp_path.glob("typo*"))


@pytest.mark.parametrize(
    ("option", "args"),
    [
        ("--queue", ["pause-processing", "--queue", "emails", "--queue", "celery", "--confirm", "YES"]),
        ("--reason", ["clear-queue", "emails", "--reason=a", "--reason", "b", "--confirm", "YES"]),
        ("--task", ["clear-tasks", "emails", "--task", "a", "--task", "b", "--confirm", "YES"]),
        ("--user", ["audit", "--user", "a", "--user", "b"]),
        ("--status", ["audit", "export", "--status", "success", "--status", "refused"]),
    ],
)
def test_an_option_given_twice_is_refused_and_neither_value_is_used(opsdash, console, option, args):
    result = opsdash(*args)
    assert (result.code, result.out) == (2, "")
    assert f"{option} was given twice: run the command for each." in result.err
    assert not console.snapshot().paused_queues


@pytest.mark.parametrize("more", [["--dry-run"], ["--confirm=YES"], ["-h"], ["--for", "10m"]])
@pytest.mark.parametrize("option", ["--reason", "--queue"])
def test_an_option_is_never_taken_as_the_text_of_another_one(opsdash, console, option, more):
    result = opsdash("pause-processing", option, *more, "--confirm", "YES")
    assert (result.code, result.out) == (2, "")
    assert (
        f"{option} needs a text after it: {more[0].partition('=')[0]} is an option. Nothing was changed." in result.err
    )
    assert console.snapshot().pause is None
    assert not console.snapshot().paused_queues


def test_a_text_that_only_starts_with_a_dash_is_a_text(opsdash):
    assert opsdash("pause-processing", "--reason", "-- see INC-7", "--dry-run").code == 0


@pytest.mark.parametrize(
    "args",
    [
        ["pause-processing", "--for", "15", "--confirm", "YES"],
        ["clear-tasks", "emails", "--older-than", "15", "--confirm", "YES"],
        ["pause-processing", "--wait", "--timeout", "15", "--confirm", "YES"],
        ["prune-audit-log", "15", "--confirm", "YES"],
    ],
)
def test_a_duration_without_a_unit_is_asked_about_and_nothing_is_done(opsdash, console, args):
    result = opsdash(*args)
    assert (result.code, result.out) == (2, "")
    assert "15 of what? Write 15m or 15s" in result.err
    assert console.snapshot().pause is None


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["clear-queue", "--queue", "emails"], "Write: opsdash clear-queue QUEUE, without --queue."),
        (["pause-processing", "emails"], "For one queue write --queue emails."),
        (["resume-processing", "emails", "--confirm", "YES"], "For one queue write --queue emails."),
        (["clear-queue", "emails", "--yes"], "Did you mean --confirm YES?"),
    ],
)
def test_a_form_that_another_command_has_is_explained(opsdash, args, hint):
    result = opsdash(*args)
    assert (result.code, result.out) == (2, "")
    assert f"{hint} Nothing was changed." in " ".join(result.err.split())


def test_a_clear_that_finds_nothing_does_not_sound_like_a_clear(opsdash):
    result = opsdash("clear-tasks", "emails", "--task", "emails.newsleter", "--confirm", "YES")
    assert "No task named emails.newsleter was found in emails. Nothing was cleared." in result.out


def test_a_pause_says_how_long_it_is_and_when_it_ends(opsdash):
    assert " UTC (15 minutes)." in opsdash("pause-processing", "--for", "15m", "--confirm", "YES").out


def test_an_operation_that_is_not_known_is_named_and_never_taken_as_one_without_entries(opsdash):
    for args in (["audit"], ["audit", "export"], ["audit", "--csv"]):
        result = opsdash(*args, "--operation", "clear")
        assert (result.code, result.out) == (2, "")
        assert "there is no operation 'clear'" in result.err
        assert "clear_queue, clear_tasks" in result.err


def test_the_log_is_asked_for_a_command_as_it_is_typed(opsdash):
    assert opsdash("clear-queue", "emails", "--confirm", "YES").code == 0
    assert "Clear queue emails" in opsdash("audit", "--operation", "clear-queue").out


def test_entries_of_an_operation_that_is_no_longer_installed_are_still_found(opsdash, console):
    assert opsdash("clear-queue", "emails", "--confirm", "YES").code == 0
    with console.engine.begin() as connection:
        connection.execute(sa.text("UPDATE audit_log SET operation = 'burn_down'"))
    assert "Burn Down" in opsdash("audit", "--operation", "burn_down").out


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["hold-tasks", "*"], "TASK: expected a task's name."),
        (["hold-tasks", "x", "--queue", "emials"], "Queue 'emials' is not known."),
        (["hold-tasks", "x", "--for", "2h", "--without-end"], "--without-end: expected no duration beside it."),
        (["set-rate-limit", "x", "5x"], "RATE: '5x' is not a rate"),
        (["set-rate-limit", "x*", "5/s"], "TASK: expected a task's full name, without *."),
        (["retry-failed"], "For all: --task '*'."),
        (["restart-pool"], "HOSTNAME: name a worker, or all."),
        (["resize-pool", "nobody@h", "4"], "--size: expected a number from 1 to 1,000."),
        (["autoscale", "all", "--max", "2", "--min", "3"], "--min: expected at most 2"),
        (["shutdown-worker", "nobody@h"], "There is no worker"),
        (["clear-tasks", "emails"], "Nothing was changed."),
    ],
)
def test_what_is_wrong_with_the_arguments_comes_before_the_confirmation_and_is_named_as_it_is_typed(
    opsdash, console: Console, args: list[str], says: str
):
    result = opsdash(*args)
    assert (result.code, result.err.count("\n"), result.out) == (3, 1, "")
    assert says in result.err
    assert "confirm" not in result.err
    entry = console.get_recent_operations()[0]
    assert (entry.status, entry.operation) == (Status.REFUSED, args[0].replace("-", "_")), "the attempt is audited"


def test_a_user_without_the_role_is_not_told_to_confirm(opsdash, console: Console, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(usernames, "os_user", lambda: "eve")
    monkeypatch.setenv("OPSDASH_VIEWERS", "eve")
    result = opsdash("clear-queue", "nosuch")
    assert (result.code, "needs operator" in result.err, "--confirm" in result.err) == (3, True, False)


@pytest.mark.parametrize(
    ("args", "hint"),
    [
        (["retry-failed", "--all"], "write opsdash retry-failed --task '*'."),
        (["discard-failed", "--all"], "write opsdash discard-failed --task '*'."),
        (["restart-pool", "--all"], "write opsdash restart-pool all."),
        (["quiet-worker", "--all"], "No such option '--all'."),
        (["clear-tasks", "emails", "--all"], "No such option '--all'."),
    ],
)
def test_who_means_all_is_told_how_that_is_written(opsdash, args: list[str], hint: str):
    result = opsdash(*args)
    assert result.code == 2
    assert hint in result.err


def test_a_task_that_is_nowhere_is_not_exit_code_zero(opsdash, console: Console):
    for args in ((), ("--json",)):
        result = opsdash("find-task", "0123-nowhere", *args)
        assert result.code in (3, 5), "5: where not everything could be looked at"
        assert "0123-nowhere" in result.out
