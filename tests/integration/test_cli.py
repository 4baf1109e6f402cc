"""The command line, as a tired operator types it. Real broker; exit codes as in the contract."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from support import programs
from support.cli import Result
from support.services import Valkey

from opsdash.model import Status
from opsdash.operation import registry
from opsdash.services.console import Console
from opsdash.services.database import engine as database
from opsdash.services.database.tables import tenant_config


@pytest.fixture
def console(console_for: Callable[..., Console]) -> Console:
    return console_for(queues=("celery", "emails"))


def test_every_operation_is_a_command(opsdash):
    listed = opsdash("--help").out
    for name in registry():
        assert name.replace("_", "-") in listed
        assert "--confirm YES" in opsdash(name.replace("_", "-"), "--help").out


def test_status_says_on_one_screen_what_is_going_on(opsdash, console: Console):
    console.broker.client.rpush("emails", "a", "b")
    result = opsdash("status")
    assert result.code == 0
    assert "Processing Status: RUNNING" in result.out
    assert "No active workers detected. Check Celery deployment." in result.out
    assert any(line.split()[:2] == ["emails", "2"] for line in result.out.splitlines())
    assert "\x1b[" not in result.out, "no colour off a terminal"


def test_a_pause_is_seen_in_the_status_with_who_and_why(opsdash):
    done = opsdash("pause-processing", "--reason", "payment provider is down", "--for", "2h", "--confirm", "YES")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("The flag is set until ")
    assert "No worker is connected to this broker" in done.out
    shown = opsdash("status").out
    assert "Processing Status: PAUSED" in shown
    assert "(payment provider is down)" in shown
    resumed, undo = opsdash("resume-processing", "--confirm", "YES").out.splitlines()
    assert resumed == "Resumed all processing."
    again = r"Undo: opsdash pause-processing --for (2h|1h59m[0-9]+s) --reason 'payment provider is down'"
    assert re.fullmatch(again, undo)


def test_a_resume_says_which_pauses_hold_on(opsdash, console: Console):
    for queue in ("celery", "emails"):
        assert opsdash("pause-processing", "--queue", queue, "--confirm", "YES").code == 0
    shown = opsdash("resume-processing", "--confirm", "YES").out
    assert shown.startswith("There was no pause of all processing; nothing changed. Queues celery, emails stay paused:")
    opsdash("pause-processing", "--confirm", "YES")
    assert opsdash("resume-processing", "--queue", "celery", "--confirm", "YES").out.splitlines()[0] == (
        "Resumed queue celery. All processing is still paused."
    )
    assert opsdash("resume-processing", "--confirm", "YES").out.splitlines()[0] == (
        "Resumed all processing. Queue emails stays paused: opsdash resume-processing --queue emails lifts that."
    )


def test_a_dry_run_prints_the_preview_and_changes_nothing(opsdash, console: Console):
    console.broker.client.rpush("emails", "a", "b")
    result = opsdash("clear-queue", "emails", "--dry-run")
    assert result.code == 0
    assert "2 pending tasks of queue emails will be removed." in result.out
    assert console.get_queue_length("emails") == 2
    assert console.get_recent_operations() == ()


@pytest.mark.parametrize("confirm", [(), ("--confirm", "yes"), ("--confirm", "YES ")])
def test_without_yes_and_without_a_terminal_it_refuses(opsdash, console: Console, confirm: tuple[str, ...]):
    console.broker.client.rpush("emails", "a")
    result = opsdash("clear-queue", "emails", *confirm)
    assert (result.code, result.out) == (3, "")
    assert "was not confirmed with YES. Nothing was changed." in result.err
    assert console.get_queue_length("emails") == 1
    assert console.get_recent_operations()[0].status is Status.REFUSED


def test_clearing_names_its_queue_or_does_not_happen(opsdash):
    result = opsdash("clear-queue", "--confirm", "YES")
    assert (result.code, result.err) == (2, "opsdash: Missing argument 'QUEUE'. The queue to clear.\n")
    assert opsdash("restore-queue").err.endswith("Which clear to undo; opsdash trash lists them.\n")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["demo", "--port", "abc"], "'--port': 'abc' is not a valid"),
        (["serve", "--port", "70000"], "'--port'"),
        (["pause-processing", "--for", "soon"], "'soon' is not a duration; write for example 90s"),
        (["audit", "--limit", "0"], "'--limit'"),
        (["audit", "--csv", "--json"], "exclude each other"),
        (["purge"], "No such command 'purge'"),
        (["db"], "Usage:"),
    ],
)
def test_a_mistake_in_typing_is_one_line_and_exit_code_two(opsdash, args: list[str], says: str):
    result = opsdash(*args)
    assert result.code == 2
    assert says in result.err
    assert "Traceback" not in result.err
    if says != "Usage:":
        assert result.err.count("\n") == 1


def test_an_unknown_queue_is_refused_with_the_names_that_exist(opsdash):
    result = opsdash("clear-queue", "emials", "--confirm", "YES")
    assert result.code == 3
    assert "Queue 'emials' is not known. Nothing was changed. Known queues: celery, emails." in result.err


def test_a_wrong_setting_is_one_line_and_exit_code_two(opsdash, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPSDASH_POLL_INTERVAL_S", "often")
    result = opsdash("status")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert "OPSDASH_POLL_INTERVAL_S: expected a number, got 'often'" in result.err


@pytest.mark.parametrize("app", ["nowhere:app", "opsdash.keys:app", "opsdash.keys", "::"])
def test_an_app_that_cannot_be_loaded_is_one_line_and_exit_code_two(opsdash, monkeypatch: pytest.MonkeyPatch, app: str):
    monkeypatch.setenv("OPSDASH_CELERY_APP", app)
    result = opsdash("status")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert result.err.startswith("opsdash: OPSDASH_CELERY_APP: ")


@pytest.mark.parametrize(
    "command", [["status"], ["queues"], ["workers"], ["trash"], ["clear-queue", "emails", "--confirm", "YES"]]
)
def test_redis_gone_is_one_line_and_exit_code_four(opsdash, valkey: Valkey, command: list[str]):
    valkey.stop()
    result = opsdash(*command)
    assert (result.code, result.err.count("\n")) == (4, 1)
    says = "Nothing was changed." if "--confirm" in command else "To find out why: opsdash doctor."
    assert result.err.endswith(f"). {says}\n"), "that a read changed nothing goes without saying"


def test_the_database_gone_still_shows_the_status(opsdash, monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setenv("OPSDASH_DATABASE_URL", f"sqlite:///{tmp_path}/empty.sqlite3")
    result = opsdash("status")
    assert result.code == 0
    assert "Processing Status: RUNNING" in result.out
    assert "opsdash db upgrade" in result.out.splitlines()[1]
    assert "The flag is set" in opsdash("pause-processing", "--confirm", "YES").out, "although the database is away"
    monkeypatch.setenv("OPSDASH_AUDIT", "strict")
    assert opsdash("resume-processing", "--confirm", "YES").code == 4


@pytest.mark.parametrize("command", [["status"], ["queues"], ["workers"], ["audit"], ["db", "current"]])
def test_every_read_speaks_json(opsdash, command: list[str]):
    result = opsdash(*command, "--json")
    assert result.code == 0
    json.loads(result.out)


def test_an_operation_speaks_json_when_it_succeeds_and_when_it_does_not(opsdash, console: Console):
    console.broker.client.rpush("emails", "a")
    done = json.loads(opsdash("clear-queue", "emails", "--confirm", "YES", "--json").out)
    assert (done["operation"], done["status"], done["affected"]) == ("clear_queue", "success", 1)
    assert done["audit_id"] == str(console.get_recent_operations()[0].id)
    refused = json.loads(opsdash("clear-queue", "emails", "--confirm", "no", "--json").out)
    assert refused["error"]["type"] == "refused"


def test_text_from_outside_does_not_drive_the_terminal(opsdash):
    opsdash("pause-processing", "--reason", "\x1b[2J[bold]fire[/bold]", "--confirm", "YES")
    shown = opsdash("status").out
    assert "\x1b" not in shown
    assert r"\x1b[2J[bold]fire[/bold]" in shown


def test_upgrading_the_database_says_what_it_did(opsdash, monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setenv("OPSDASH_DATABASE_URL", f"sqlite:///{tmp_path}/new.sqlite3")
    check = opsdash("db", "check")
    assert check.code == 2
    assert "opsdash db upgrade" in check.err
    assert "from revision none to" in opsdash("db", "upgrade").out
    assert "nothing was changed" in opsdash("db", "upgrade").out
    assert opsdash("db", "check").code == 0


def test_a_message_with_text_from_outside_is_clean_on_stderr_too(opsdash, console: Console):
    with database.transaction(console.engine) as connection:
        connection.execute(sa.insert(tenant_config), {"tenant_id": "a\n\x1b[31mb", "name": "A", "settings": {}})
    result = opsdash("sync-tenant-configs", "--confirm", "YES")
    assert (result.code, result.err.count("\n")) == (5, 1)
    assert "\x1b" not in result.err
    assert r"a\n\x1b[31mb" in result.err


@pytest.mark.long
def test_a_reader_that_has_seen_enough_is_no_error(opsdash, environment):
    for _ in range(3):
        opsdash("pause-processing", "--confirm", "YES")
    ours, theirs = os.pipe()
    os.close(ours)
    command = [sys.executable, "-m", "opsdash", "audit", "--csv"]
    with os.fdopen(theirs, "wb") as out:
        done = programs.run(command, env={**os.environ, **environment}, stdout=out, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.long
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a device that is always full")
def test_an_answer_that_cannot_be_written_is_one_line_and_says_that_it_may_be_done(environment, console: Console):
    console.broker.client.rpush("emails", "a")
    with open("/dev/full", "w") as full:
        done = programs.run(
            [sys.executable, "-m", "opsdash", "clear-queue", "emails", "--confirm", "YES"],
            env={**os.environ, **environment},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert (done.returncode, done.stderr.count("\n")) == (5, 1)
    assert "may be done: see opsdash audit" in done.stderr
    assert console.get_queue_length("emails") == 0


def test_a_misspelled_setting_is_named_with_the_right_one(opsdash, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPSDASH_ADMIN", "alice")
    result = opsdash("status")
    assert (result.code, result.err) == (
        2,
        "opsdash: OPSDASH_ADMIN: there is no such setting; did you mean OPSDASH_ADMINS?\n",
    )


def test_a_queue_name_that_is_no_list_costs_its_row_and_not_the_screen(opsdash, console: Console):
    console.broker.client.set("emails", "junk")
    console.broker.client.rpush("celery", "a")
    result = opsdash("queues")
    assert result.code == 0
    assert "not a list: emails" in result.out
    assert any(line.split()[:2] == ["celery", "1"] for line in result.out.splitlines())


def test_ctrl_c_during_an_operation_says_that_it_may_be_done(opsdash, monkeypatch: pytest.MonkeyPatch):
    def ctrl_c(*_: object, **_named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("opsdash.services.console.Console.run", ctrl_c)
    done = opsdash("pause-processing", "--confirm", "YES")
    assert done.code == 130
    assert "interrupted. It may be done, in part or as a whole: see opsdash audit." in done.err


def test_ctrl_c_while_the_command_line_is_still_imported_is_one_line(tmp_path: Path):
    (tmp_path / "click.py").write_text("raise KeyboardInterrupt")
    done = subprocess.run(
        [sys.executable, "-m", "opsdash", "status"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (130, "opsdash: interrupted. Nothing was changed.\n")


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_ctrl_c_while_a_pause_waits_says_that_the_pause_stands(
    console: Console, opsdash: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, form: list[str]
):
    def ctrl_c(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("opsdash.cli.operations._wait", ctrl_c)
    done = opsdash("pause-processing", "--confirm", "YES", "--wait", *form)
    assert (done.code, done.out.startswith("The flag is set until ")) == (130, not form)
    assert re.match(r"opsdash: The flag is set until .* This was done. Only the wait was stopped\.", done.err)
    assert console.is_processing_paused()


def test_a_dry_run_repeats_the_reason(opsdash: Callable[..., Result]):
    assert "  Reason: INC-7\n" in opsdash("clear-queue", "emails", "--reason", "INC-7", "--dry-run").out
