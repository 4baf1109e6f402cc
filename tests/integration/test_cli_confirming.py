"""How the command line has an operation confirmed: by YES, by a name, by a second person, by the right role."""

from __future__ import annotations

import dataclasses
import json
import os
import pwd
from collections.abc import Callable

import pytest
from support.cli import CTRL_C, CTRL_D, on_a_terminal

from opsdash.model import Status, usernames
from opsdash.operation import registry
from opsdash.services.console import Console


@pytest.fixture
def console(console_for: Callable[..., Console]) -> Console:
    return console_for(queues=("celery", "emails"))


@pytest.mark.long
@pytest.mark.parametrize(
    ("typed", "code", "left"),
    [
        (["YES\n"], 0, 0),
        (["yes\n", "YES\n"], 0, 0),
        (["y\n", "yes\n"], 3, 2),
        (["\n"], 3, 2),
        ([CTRL_C], 130, 2),
        ([CTRL_D], 3, 2),
    ],
)
def test_on_a_terminal_it_shows_the_preview_and_asks(
    console: Console, environment, typed: list[str], code: int, left: int
):
    console.broker.client.rpush("emails", "a", "b")
    ended, screen = on_a_terminal(environment, typed, "clear-queue", "emails")
    assert ("interrupted. Nothing was changed." in screen) is (code == 130)
    assert ("Type YES in capital letters" in screen) is (len(typed) == 2)
    assert "2 pending tasks of queue emails will be removed." in screen
    assert ended == code, screen
    assert "Traceback" not in screen
    assert console.get_queue_length("emails") == left


@pytest.fixture
def production(environment, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The same settings, in production."""
    monkeypatch.setenv("OPSDASH_ENVIRONMENT", "production")
    return environment | {"OPSDASH_ENVIRONMENT": "production"}


def test_without_a_terminal_a_risky_clear_says_what_to_add_and_then_runs(production, opsdash, console: Console):
    console.broker.client.rpush("emails", "a")
    shown = opsdash("clear-queue", "emails", "--dry-run")
    assert "Beside YES type 'emails': --phrase emails" in shown.out
    refused = opsdash("clear-queue", "emails", "--confirm", "YES")
    assert (refused.code, refused.err.count("\n")) == (3, 1)
    assert "needs 'emails' typed beside YES. Nothing was changed." in refused.err
    assert "add --phrase emails." in refused.err
    assert console.get_queue_length("emails") == 1
    wrong = opsdash("clear-queue", "emails", "--confirm", "YES", "--phrase", "celery")
    assert (wrong.code, console.get_queue_length("emails")) == (3, 1)
    assert opsdash("clear-queue", "emails", "--confirm", "YES", "--phrase", "emails").code == 0
    assert console.get_queue_length("emails") == 0


@pytest.mark.long
@pytest.mark.parametrize(
    ("answers", "args", "code", "left"),
    [
        (["YES\n", "emails\n"], [], 0, 0),
        (["YES\n", "celery\n"], [], 3, 1),
        (["YES\n", CTRL_D], [], 3, 1),
        (["no\n"], [], 3, 1),
        (["emails\n"], ["--confirm", "YES"], 0, 0),
    ],
)
def test_on_a_terminal_a_risky_clear_asks_for_the_name_too(
    production, console: Console, answers: list[str], args: list[str], code: int, left: int
):
    console.broker.client.rpush("emails", "a")
    ended, screen = on_a_terminal(production, answers, "clear-queue", "emails", *args)
    assert ended == code, screen
    assert ("Type emails as well" in screen) is (answers[0] != "no\n")
    assert "Traceback" not in screen
    assert console.get_queue_length("emails") == left


def test_what_needs_two_is_asked_for_listed_and_approved(
    opsdash, console: Console, monkeypatch: pytest.MonkeyPatch, tmp_path
):
    (tmp_path / "roles").write_text("operators: maria, bob\n")
    monkeypatch.setenv("OPSDASH_ROLES_FILE", str(tmp_path / "roles"))
    monkeypatch.setenv("OPSDASH_APPROVAL", "clear_queue")
    console.broker.client.rpush("emails", "a")
    monkeypatch.setattr(usernames, "os_user", lambda: "maria")
    asked = opsdash("clear-queue", "emails", "--confirm", "YES")
    assert (asked.code, asked.err.count("\n"), console.get_queue_length("emails")) == (3, 1, 1)
    (waits,) = json.loads(opsdash("approvals", "--json").out)
    assert f"opsdash approve {waits['id']}" in asked.err
    own = opsdash("approve", waits["id"], "--confirm", "YES")
    assert (own.code, "another user must approve it" in own.err) == (3, True)
    monkeypatch.setattr(usernames, "os_user", lambda: "bob")
    assert "Clear Queue (queue: emails)" in opsdash("approvals").out
    assert "requested by maria" in opsdash("approve", waits["id"], "--dry-run").out
    done = opsdash("approve", waits["id"], "--confirm", "YES")
    assert (done.code, done.out.splitlines()[0]) == (0, "Approved for maria: Cleared 1 task from emails.")
    assert opsdash("approvals").out == "There are no pending approvals.\n"


def test_the_command_line_acts_for_the_user_id_whatever_the_environment_says(
    opsdash, console: Console, monkeypatch: pytest.MonkeyPatch
):
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_USER"):
        monkeypatch.setenv(variable, "somebody-else")
    assert opsdash("resume-processing", "--confirm", "YES").code == 0
    (entry,) = console.get_recent_operations()
    assert entry.user == pwd.getpwuid(os.getuid()).pw_name


def test_a_wrong_name_among_those_that_need_two_is_one_line_and_exit_code_two(opsdash, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPSDASH_APPROVAL", "clear_que")
    result = opsdash("status")
    assert (result.code, result.err.count("\n")) == (2, 1)
    assert result.err.startswith("opsdash: OPSDASH_APPROVAL: there is no operation 'clear_que'; expected some of ")


@pytest.mark.parametrize("operation", registry().values(), ids=lambda operation: operation.name)
@pytest.mark.parametrize("role", ["VIEWERS", "ADMINS"], ids=["a viewer", "nobody"])
def test_whoever_lacks_the_role_is_refused_each_command_and_that_is_audited(
    opsdash, console: Console, monkeypatch: pytest.MonkeyPatch, operation, role: str
):
    monkeypatch.setattr(usernames, "os_user", lambda: "eve")
    monkeypatch.setenv(f"OPSDASH_{role}", "eve" if role == "VIEWERS" else "somebody-else")
    console.broker.client.rpush("emails", "a")
    before = set(console.broker.client.scan_iter())
    examples = {"queue": "emails", "older_than_s": "365d"}
    given = [examples.get(f.name, "0123") for f in dataclasses.fields(operation) if f.metadata["positional"]]
    result = opsdash(operation.name.replace("_", "-"), *given, "--confirm", "YES")
    assert (result.code, result.err.count("\n")) == (3, 1)
    assert f"{operation.title} needs {operation.minimum_role.name.lower()}. Nothing was changed." in result.err
    assert set(console.broker.client.scan_iter()) == before
    (entry,) = console.get_recent_operations()
    assert (entry.user, entry.operation, entry.status) == ("eve", operation.name, Status.REFUSED)
    assert entry.details["surface"] == "cli"
