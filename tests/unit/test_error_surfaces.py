"""One error, said by each surface in its own way: command line, API and page, whoever acts and whoever only reads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import panel as pn
import pytest
from support.cli import Result, off_a_terminal

import opsdash
from opsdash.api.problems import problem_error
from opsdash.errors import Invalid, NeedsApproval, OpsdashError, PhraseMissing, Refused, Unavailable, Uncertain
from opsdash.model import Actor, Preview, Role
from opsdash.services.audit.log import DuplicateRequest
from opsdash.services.console import Console
from opsdash.state import PendingConfirmation
from opsdash.views.dialog import ConfirmationDialog
from opsdash.views.request_queue import Turns
from opsdash.views.session import Session

NOTHING = "Nothing was changed."
BOB = Actor(name="bob", role=Role.ADMIN, surface="api")
ERRORS: dict[str, Callable[[], OpsdashError]] = {
    "refused": lambda: Refused("Queue x is not known.", field="queue", hint="Known: a."),
    "half_done": lambda: Uncertain("It was away.", hint="Run it again.", retry=True),
    "phrase": lambda: PhraseMissing("Clear Queue", "emails"),
    "approval": lambda: NeedsApproval("Clear Queue", "a1", "12:00"),
    "duplicate": lambda: DuplicateRequest(cast(Any, "0-0")),
    "unavailable": lambda: Unavailable("Redis is full.", hint="Free memory."),
    "uncertain": lambda: Uncertain("It may be done in part.", hint="Look before trying again."),
    "argument": lambda: Invalid("expected 0 or more, got -1.", field="older_than_s"),
    "setting": lambda: Invalid("this is no URL", setting="OPSDASH_REDIS_URL"),
}
each = pytest.mark.parametrize("name", ERRORS)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[OpsdashError], None]:
    """Makes every preview and snapshot of a console end with this error."""
    monkeypatch.setenv("OPSDASH_DATABASE_URL", f"sqlite:///{tmp_path}/ops.sqlite3")

    def fail(error: OpsdashError) -> None:
        def raises(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(Console, "preview", raises)
        monkeypatch.setattr(Console, "snapshot", raises)

    return fail


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Runs ``opsdash ARGS`` off a terminal."""
    return off_a_terminal(monkeypatch, capsys)


@each
def test_a_command_that_acts_says_whether_anything_was_changed(failing, run, name: str) -> None:
    error = ERRORS[name]()
    failing(error)
    done = run("clear-tasks", "emails", "--task", "x", "--dry-run")
    expected = {"argument": f"--older-than: {error.message} {NOTHING}"}.get(name, str(error))
    assert done.err == f"opsdash: {expected}\n"
    assert (NOTHING in done.err) == (error.changed == "nothing" and not error.setting)
    assert done.code == (3 if name == "argument" else error.exit_code)


@each
def test_a_command_that_reads_does_not_say_that_nothing_was_changed(failing, run, name: str) -> None:
    error = ERRORS[name]()
    failing(error)
    done = run("queues")
    why = " To find out why: opsdash doctor." if isinstance(error, Unavailable) else ""
    assert done.err == f"opsdash: {error.explanation}{why}\n"
    assert done.code == error.exit_code


@each
def test_a_program_that_calls_a_command_is_given_the_fields(failing, run, name: str) -> None:
    error = ERRORS[name]()
    failing(error)
    told = json.loads(run("clear-queue", "emails", "--dry-run", "--json").out)["error"]
    assert {key: told[key] for key in error.facts} == error.facts
    assert told["message"] == str(error)
    assert told.keys() == {"type", "message", *error.facts}


@each
def test_a_problem_document_has_the_fields_and_of_an_act_the_sentence_says_that_nothing_was_changed(
    name: str,
) -> None:
    error = ERRORS[name]()
    act, read = problem_error(error, opsdash.ClearQueue, BOB).problem, problem_error(error).problem
    assert (act.detail, read.detail) == (str(error), error.explanation)
    assert (act.changed, read.changed) == (error.changed, "nothing")  # a read changes nothing, whatever the error
    for problem in (act, read):
        fields = (problem.field, problem.setting, problem.hint, problem.retry)
        assert fields == (error.field, error.setting, error.hint, error.retry)


@each
def test_the_page_names_what_is_filled_in_by_its_label_and_says_else_that_nothing_was_changed(name: str) -> None:
    error, said = ERRORS[name](), []

    async def preview(_operation: object) -> None:
        raise error

    session = SimpleNamespace(
        pending=PendingConfirmation(),
        preview=preview,
        say=lambda text, tone: said.append(text),
        turn=Turns().turn,
        console=SimpleNamespace(suggest=lambda _operation: {}),
        caller="",
    )
    dialog = ConfirmationDialog(cast(Session, session))
    asyncio.run(dialog.ask("clear_tasks", {}))
    if name == "argument":
        shown = f"Sent longer ago than: {error.message}"
        assert (said, dialog._dialog.problem, dialog.ready) == ([], "", False)  # nobody has typed anything yet
        dialog.pending.typed = "YES"
        assert (dialog._dialog.problem, dialog.ready) == (shown, False)
        asyncio.run(dialog.ask("clear_tasks", {}, {"older_than_s": "5m"}))  # filled in: it is wrong, not missing
        assert (dialog._dialog.problem, dialog.ready) == (shown, False)
        asyncio.run(dialog.ask("clear_tasks", {error.field: "5m"}))  # no field asks for it
        assert said == [str(error)]
    else:
        assert (said, dialog._dialog.open) == ([str(error)], False)


def test_what_was_filled_in_a_moment_ago_is_previewed_before_it_can_be_confirmed() -> None:
    previewed, ran = list[Any](), list[Any]()

    async def preview(operation: Any) -> Preview:
        previewed.append(operation.containing)
        return Preview(title=operation.title)

    async def run(operation: Any, *_: object) -> None:
        ran.append(operation.containing)

    session = SimpleNamespace(
        pending=PendingConfirmation(),
        preview=preview,
        run=run,
        turn=Turns().turn,
        console=SimpleNamespace(suggest=lambda _operation: {}),
        caller="",
    )
    dialog = ConfirmationDialog(cast(Session, session))

    async def confirm() -> None:
        await dialog.ask("clear_tasks", {"queue": "emails", "containing": "4711"})
        dialog._fields["containing"] = pn.widgets.TextInput(value_input="4712")  # and nobody has noticed yet
        dialog.pending.typed = "YES"
        await dialog._confirm(None)
        assert (previewed, ran, dialog.ready) == (["4711", "4712"], [], True)
        await dialog._confirm(None)
        assert ran == ["4712"]

    asyncio.run(confirm())
