"""What a runbook is, and how a file of them is read: strictly, and one line for each mistake. Pure but for the read."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from opsdash.errors import Invalid
from opsdash.operation import Operation, parameters, registry
from opsdash.text import parse_duration

Kind = Literal["operation", "wait_for", "command", "snapshot", "link"]
KINDS: tuple[Kind, ...] = ("operation", "wait_for", "command", "snapshot", "link")
SETTING = "OPSDASH_RUNBOOKS"
OWN = "runbooks.toml"
GIVEN = "given"
"""In place of a command's words: those behind ``--``."""
DEFAULT_WAIT_S = 600
LONGEST_WAIT_S = 86_400
MAX_BYTES, MAX_RUNBOOKS, MAX_STEPS, MAX_TEXT = 256 * 1024, 100, 50, 1_000
MAX_DOTS = 10
"""In one key, such as ``a.b.c``: Python's parser takes memory by the square of them."""
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_VALUE = re.compile(r"\{([a-z][a-z0-9_]{0,39})\}")
_WEB = re.compile(r"https?://[^\s\"'<>\\]+")
_TOML = re.compile(
    r"""
    \"{3}(?:[^\\]|\\.)*?(?:\"{3}|\Z) | '{3}.*?(?:'{3}|\Z)  # texts of several lines
    | "(?:[^"\\\n]|\\[^\n])*+"? | '[^'\n]*+'?            # texts
    | \#[^\n]*+                                          # comments
    | [.=,\n{}\[\]]
    """,
    re.DOTALL | re.VERBOSE,
)
"""Texts and comments of a TOML file as a whole, and the marks between its keys."""
_OPTIONAL = {
    "name": str,
    "params": dict,
    "take_back": bool,
    "take_back_if_failed": bool,
    "go_on": bool,
    "only_with": str,
    "only_without": str,
    "timeout": str,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step as it is declared.

    Attributes:
        kind: What it does: an operation, waiting for one to have taken effect, a command, a file with everything, a
            web address that is printed.
        does: The operation's name, the awaited step, the file or the address. Of a command nothing.
        params: Of an operation. A text that is all ``{name}`` takes the value that is given for the run, and is left
            out where none is; within a text ``{name}`` is replaced.
        command: Words that are run without a shell; empty: those behind ``--``.
        timeout_s: How long is waited at most.
        take_back: It is taken back at the end, however the run ends. ``take_back_if_failed``: only if the run fails.
        go_on: The run goes on when it fails.
        only_with: It is left out unless a value of this name was given. ``only_without``: if one was given.
    """

    name: str
    kind: Kind
    does: str = ""
    params: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    command: tuple[str, ...] = ()
    timeout_s: int = DEFAULT_WAIT_S
    take_back: bool = False
    take_back_if_failed: bool = False
    go_on: bool = False
    only_with: str = ""
    only_without: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runbook:
    """A sequence of steps with a name."""

    name: str
    help: str
    steps: tuple[Step, ...]

    @property
    def takes_command(self) -> bool:
        """One of its steps runs the words behind ``--``."""
        return any(step.kind == "command" and not step.command for step in self.steps)

    @property
    def values(self) -> frozenset[str]:
        """Names of the values that may be given for a run."""
        named = {name for step in self.steps for name in (step.only_with, step.only_without)} - {""}
        texts = [text for step in self.steps for text in (step.does, *step.params.values()) if isinstance(text, str)]
        return frozenset(named.union(*(_VALUE.findall(text) for text in texts)) - {""})


def load(path: str | None) -> dict[str, Runbook]:
    """All runbooks by name: opsdash's own, and those of a team's file, which win.

    Raises:
        Invalid: The file can't be read, or something in it is not as expected: with file, step and what is expected.
    """
    found = parse(files(__package__).joinpath(OWN).read_text(encoding="utf-8"), OWN)
    if path is None:
        return found
    try:
        with Path(path).open("rb") as source:
            given = source.read(MAX_BYTES + 1)
        text = given.decode("utf-8")
    except OSError as error:
        raise Invalid(f"{path} can't be read: {error.strerror}", setting=SETTING) from error
    except UnicodeDecodeError as error:
        raise Invalid(f"{path} is not UTF-8 text", setting=SETTING) from error
    if len(given) > MAX_BYTES:
        raise Invalid(f"{path} has more than {MAX_BYTES:,} bytes", setting=SETTING)
    return found | parse(text, path)


def parse(text: str, where: str) -> dict[str, Runbook]:
    """The runbooks of a TOML text.

    Args:
        where: The file, for the complaint.

    Raises:
        Invalid: With file, runbook, step, and what is expected there.
    """
    if _deep(text):
        raise _wrong(where, f"expected at most {MAX_DOTS} dots in a key")
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also a number of more digits than Python converts
        raise Invalid(f"{where} is not TOML: {error}", setting=SETTING) from error
    if len(tables) > MAX_RUNBOOKS:
        raise _wrong(where, f"expected at most {MAX_RUNBOOKS} runbooks, got {len(tables):,}")
    return {name: _runbook(name, table, where) for name, table in tables.items()}


def _deep(text: str) -> bool:
    """Whether a key has more than ``MAX_DOTS`` dots. Cost: by the length of the text."""
    dots = 0
    for mark in _TOML.finditer(text):
        if mark[0] == ".":
            dots += 1
            if dots > MAX_DOTS:
                return True
        elif mark[0] in "=,\n{}[]":
            dots = 0
    return False


def _wrong(where: str, what: str) -> Invalid:
    return Invalid(f"{where}: {what}", setting=SETTING)


def _runbook(name: str, table: Any, where: str) -> Runbook:
    if not _NAME.fullmatch(name):
        raise _wrong(where, f"expected a name of small letters, digits and hyphens for a runbook, got {name[:80]!r}")
    where = f"{where}: {name}"
    if not isinstance(table, dict) or table.keys() - {"help", "steps"}:
        raise _wrong(where, f"expected help and [[{name}.steps]] and nothing else")
    about, steps = table.get("help", ""), table.get("steps")
    if not _is_text(about):
        raise _wrong(where, f"expected help to be a text of at most {MAX_TEXT:,} characters")
    if not isinstance(steps, list) or not 1 <= len(steps) <= MAX_STEPS or not all(isinstance(s, dict) for s in steps):
        raise _wrong(where, f"expected 1 to {MAX_STEPS} steps, each as [[{name}.steps]]")
    made: list[Step] = []
    for number, step in enumerate(steps, start=1):
        made.append(_step(step, made, f"{where}: step {number}"))
    commands = [step for step in made if step.kind == "command"]
    if len(commands) > 1:
        raise _wrong(where, f"expected at most one step with a command, got {len(commands)}")
    return Runbook(name=name, help=about, steps=tuple(made))


def _step(table: dict[str, Any], before: list[Step], where: str) -> Step:
    name = table.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _wrong(where, "expected name = a text of small letters, digits and hyphens")
    where = f"{where} ({name})"
    if name in {step.name for step in before}:
        raise _wrong(where, "expected a name that no step before it has")
    kinds = [kind for kind in KINDS if kind in table]
    if len(kinds) != 1:
        raise _wrong(where, f"expected one of {', '.join(KINDS)}")
    (kind,) = kinds
    for key in table.keys() - {kind}:
        if key not in _OPTIONAL:
            raise _wrong(where, f"there is no {key[:80]!r}; expected some of {', '.join((kind, *_OPTIONAL))}")
        if type(table[key]) is not _OPTIONAL[key]:
            raise _wrong(where, f"expected {key} to be {_KIND_WORDS[_OPTIONAL[key]]}")
    backs = {"take_back", "take_back_if_failed"}
    allowed = {"operation": {"params", *backs}, "wait_for": {"timeout"}}.get(kind, set())
    if misplaced := (table.keys() & {"params", *backs, "timeout"}) - allowed:
        raise _wrong(where, f"{', '.join(sorted(misplaced))}: not of a step with {kind}")
    for key in ("only_with", "only_without"):
        if key in table and not _VALUE.fullmatch(f"{{{table[key]}}}"):
            raise _wrong(where, f"expected {key} to be the name of a value, such as note")
    command = _command(table[kind], where) if kind == "command" else ()
    does = "" if kind == "command" else _text(table[kind], kind, where)
    params = table.get("params", {})
    if kind == "operation":
        _check_operation(does, params, where)
    if kind == "wait_for":
        _check_awaited(does, before, where)
    if kind == "link" and not (_VALUE.fullmatch(does) or _WEB.fullmatch(does)):
        raise _wrong(where, "expected link to be an address that begins with https:// or http://")
    return Step(
        name=name,
        kind=kind,
        does=does,
        params=MappingProxyType(dict(params)),
        command=command,
        timeout_s=_timeout(table.get("timeout"), where),
        take_back=table.get("take_back", False),
        take_back_if_failed=table.get("take_back_if_failed", False),
        go_on=table.get("go_on", False),
        only_with=table.get("only_with", ""),
        only_without=table.get("only_without", ""),
    )


_KIND_WORDS = {str: "a text", dict: "a table", bool: "true or false"}


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT and value.isprintable()


def _text(value: Any, key: str, where: str) -> str:
    if not _is_text(value) or not value:
        raise _wrong(where, f"expected {key} to be a text of 1 to {MAX_TEXT:,} characters")
    return str(value)


def _command(value: Any, where: str) -> tuple[str, ...]:
    if value == GIVEN:
        return ()
    if isinstance(value, list) and 0 < len(value) <= MAX_TEXT and all(_is_text(word) for word in value) and value[0]:
        return tuple(value)
    raise _wrong(where, f'expected command to be "{GIVEN}", or a list of words such as ["make", "deploy"]')


def _timeout(value: str | None, where: str) -> int:
    if value is None:
        return DEFAULT_WAIT_S
    try:
        seconds = parse_duration(value)
    except ValueError as error:
        raise _wrong(where, f"timeout: {error}") from None
    if not 1 <= seconds <= LONGEST_WAIT_S:
        raise _wrong(where, "expected timeout to be 1s to 24h")
    return seconds


def _check_operation(name: str, params: Mapping[str, Any], where: str) -> None:
    kind = registry().get(name)
    if kind is None:
        raise _wrong(where, f"there is no operation {name[:80]!r}; expected one of {', '.join(registry())}")
    known = {one.name for one in parameters(kind)}
    for key, value in params.items():
        if key not in known:
            raise _wrong(where, f"{name} takes no {key[:80]!r}; expected some of {', '.join(sorted(known))}")
        if not (isinstance(value, bool | int | float) or _is_text(value)):
            raise _wrong(where, f"expected {key} to be a text, a number, true or false")
    if not any(isinstance(value, str) and _VALUE.search(value) for value in params.values()):
        try:
            operation(name, params, {})
        except Invalid as error:
            raise _wrong(where, f"{name}: {error.fault}") from error


def _check_awaited(name: str, before: list[Step], where: str) -> None:
    awaited = next((step for step in before if step.name == name), None)
    if awaited is None or awaited.kind != "operation" or not registry()[awaited.does].settles:
        names = [kind.name for kind in registry().values() if kind.settles]
        raise _wrong(where, f"expected wait_for to name a step before it, with an operation of {', '.join(names)}")


def filled(text: str, values: Mapping[str, str]) -> str | None:
    """A text with the values in it; None where it is nothing but a value that was not given."""
    if (whole := _VALUE.fullmatch(text)) is not None:
        return values.get(whole[1])
    return _VALUE.sub(lambda found: values.get(found[1], ""), text)


def operation(name: str, params: Mapping[str, Any], values: Mapping[str, str]) -> Operation:
    """The operation of a step, with the values of a run.

    Raises:
        Invalid: A parameter is not as the operation declares it.
    """
    kind = registry()[name]
    declared = {one.name: one for one in fields(kind)}
    given: dict[str, Any] = {}
    for key, value in params.items():
        if not isinstance(value, str):
            given[key] = value
            continue
        if (text := filled(value, values)) is None:
            continue
        try:
            given[key] = declared[key].metadata["parse"](text)
        except ValueError as error:
            raise Invalid(str(error), field=key) from error
    missing = [key for key, one in declared.items() if one.default is MISSING and key not in given]
    if missing:
        raise Invalid(f"{name} needs {', '.join(missing)}.")
    return kind(**given)
