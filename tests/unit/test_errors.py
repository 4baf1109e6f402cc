"""An error carries its facts as fields, and each surface composes its own sentence from them."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path
from typing import Any

import pytest

import opsdash
from opsdash import errors
from opsdash.errors import Invalid, NeedsApproval, OpsdashError, PhraseMissing, Refused, Unavailable, Uncertain

PACKAGE = Path(opsdash.__file__).parent


@functools.cache
def modules() -> dict[str, list[ast.AST]]:
    """The nodes of each module of the product, by its path within it."""
    paths = sorted(PACKAGE.rglob("*.py"))
    return {str(path.relative_to(PACKAGE)): list(ast.walk(ast.parse(path.read_text()))) for path in paths}


def name_of(function: ast.expr) -> str:
    """``C`` of ``a.b.C``."""
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def error_names() -> set[str]:
    """The error classes of opsdash, with those that its rooms derive."""
    found = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, OpsdashError)}
    classes = [node for nodes in modules().values() for node in nodes if isinstance(node, ast.ClassDef)]
    while more := {c.name for c in classes if {name_of(base) for base in c.bases} & found} - found:
        found |= more
    return found


@functools.cache
def made() -> list[tuple[str, ast.Call]]:
    """Every place that makes an error, ``super().__init__`` of a derived class included."""
    names, found = error_names(), []
    for path, nodes in modules().items():
        within = [node for node in nodes if isinstance(node, ast.ClassDef) and node.name in names]
        supers = [
            call
            for kind in within
            for call in ast.walk(kind)
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "super().__init__"
        ]
        calls = [node for node in nodes if isinstance(node, ast.Call) and name_of(node.func) in names]
        found += [(f"{path}:{call.lineno}", call) for call in (*supers, *calls)]
    return found


def words(call: ast.Call) -> str:
    """All text within the call."""
    return " ".join(
        node.value for node in ast.walk(call) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def test_no_error_spells_out_that_nothing_was_changed() -> None:
    places = made()
    assert len(places) > 150
    assert [at for at, call in places if re.search(r"othing (was )?changed", words(call))] == []


def test_no_error_spells_out_its_setting_or_its_advice_in_its_message() -> None:
    spelled = re.compile(r"^\W*OPSDASH_\w+: |look again|try again|Run: ", re.IGNORECASE)
    wrong = [at for at, call in made() if call.args and spelled.search(words(ast.Call(call.func, call.args, [])))]
    assert wrong == []


OF_OTHERS = {
    "HALFDONE": "services/broker/writes.py",  # a mark that its own script puts before Redis's words
    "'unknown command'": "worker/requeue.py",
    "'WRONGTYPE'": "",
    "WRONG_TYPE": "",
}
"""What is looked for in an error's text that is Redis's: nothing else tells. Where, if in one place alone."""
READING = {"startswith", "endswith", "removesuffix", "removeprefix", "partition", "rpartition", "replace", "split"}
A_TEXT = re.compile(
    r"(str\(|.*\b)(error|gone|refused|failure|away|known|taken)(\)|\.(message|fault|explanation|hint)\b)"
)


def read_in(node: ast.AST) -> str:
    """The text that this expression looks into."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr in READING:
            return ast.unparse(node.func.value)
        return " ".join(map(ast.unparse, node.args)) if ast.unparse(node.func.value) == "re" else ""
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
        return ast.unparse(node.comparators[0])
    return ""


def test_nobody_reads_a_meaning_out_of_an_errors_text() -> None:
    """What an error means is in its fields. Text of Redis, a driver or a module of the user's is not ours."""
    found = []
    for at, nodes in modules().items():
        for node in nodes:
            text = ast.unparse(node) if A_TEXT.match(read_in(node)) else ""
            of_others = any(mark in text and at.startswith(where) for mark, where in OF_OTHERS.items())
            if text and not of_others:
                found.append(f"{at}:{node.lineno}: {text}")
    assert found == []


@pytest.mark.parametrize(
    ("error", "act", "read"),
    [
        (Refused("It runs."), "It runs. Nothing was changed.", "It runs."),
        (Refused("It runs.", hint="Stop it."), "It runs. Nothing was changed. Stop it.", "It runs. Stop it."),
        (Refused("No queue x.", field="queue"), "No queue x. Nothing was changed.", "No queue x."),
        (Uncertain("It was away.", hint="Look.", retry=True), "It was away. Look.", "It was away. Look."),
        (Unavailable("Redis is full"), "Redis is full. Nothing was changed.", "Redis is full"),
        (Invalid("at most 3", field="reason"), "reason: at most 3. Nothing was changed.", "reason: at most 3"),
        (Invalid("say which"), "say which. Nothing was changed.", "say which"),
        (Invalid("not a URL", setting="OPSDASH_X"), "OPSDASH_X: not a URL", "OPSDASH_X: not a URL"),
        (Unavailable("no key", setting="OPSDASH_X"), "OPSDASH_X: no key", "OPSDASH_X: no key"),
        (Uncertain("It was begun.", hint="Look."), "It was begun. Look.", "It was begun. Look."),
        (
            PhraseMissing("Clear Queue", "emails"),
            "Clear Queue also needs 'emails' typed beside YES. Nothing was changed.",
            "Clear Queue also needs 'emails' typed beside YES.",
        ),
        (
            NeedsApproval("Clear Queue", "a1", "12:00"),
            "Clear Queue waits for a different operator's YES until 12:00. Nothing was changed."
            " To approve it: opsdash approve a1",
            "Clear Queue waits for a different operator's YES until 12:00. To approve it: opsdash approve a1",
        ),
    ],
)
def test_whoever_acts_hears_whether_anything_was_changed_and_whoever_reads_does_not(
    error: OpsdashError, act: str, read: str
) -> None:
    assert str(error) == act
    assert error.explanation == read


@pytest.mark.parametrize(
    ("error", "facts"),
    [
        (Refused("No."), {"changed": "nothing"}),
        (Unavailable("No."), {"changed": "nothing", "retry": True}),
        (Unavailable("No.", retry=False, setting="OPSDASH_X"), {"changed": "nothing", "setting": "OPSDASH_X"}),
        (Uncertain("No.", hint="Look."), {"changed": "perhaps", "hint": "Look."}),
        (Invalid("no.", field="queue"), {"changed": "nothing", "field": "queue"}),
        (PhraseMissing("Clear Queue", "x"), {"changed": "nothing", "field": "phrase"}),
    ],
)
def test_a_program_is_given_the_fields(error: OpsdashError, facts: dict[str, Any]) -> None:
    assert error.facts == facts


def test_a_surface_names_the_field_in_its_own_words_and_a_setting_keeps_its_name() -> None:
    assert Invalid("at most 3", field="older_than_s").fault_of("--older-than") == "--older-than: at most 3"
    assert Invalid("not a URL", setting="OPSDASH_X").fault_of("--url") == "OPSDASH_X: not a URL"


def test_a_foreign_error_explains_itself_by_its_text_or_its_name() -> None:
    assert errors.explained(ValueError("too long")) == "too long"
    assert errors.explained(KeyError()) == "KeyError"
    assert errors.explained(Unavailable("Gone", hint="Wait.")) == "Gone. Wait."
