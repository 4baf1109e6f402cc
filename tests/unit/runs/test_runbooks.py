"""Files of runbooks: what is taken, and one line for what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

import opsdash.operations  # noqa: F401 - runbooks name operations
from opsdash.errors import Invalid
from opsdash.runs.runbook import MAX_BYTES, load, operation, parse

DOTS = "a.b.c." * 5
STEP = '[[x.steps]]\nname = "a"\n'


def test_opsdash_has_runbooks_of_its_own_and_a_team_s_file_adds_and_replaces(tmp_path: Path) -> None:
    own = load(None)
    assert own.keys() == {"deploy", "incident"}
    assert own["deploy"].takes_command
    assert own["deploy"].values == {"queue", "for", "drain"}
    assert not own["incident"].takes_command
    assert own["incident"].values == {"queue", "for", "hold", "file", "note", "link"}
    file = tmp_path / "runbooks.toml"
    file.write_text(
        '[deploy]\n[[deploy.steps]]\nname = "a"\ncommand = ["make", "it"]\n[more]\n[[more.steps]]\nname = "a"\nlink = "https://x.example"\n'
    )
    found = load(str(file))
    assert found.keys() == {"deploy", "incident", "more"}
    assert found["deploy"].steps[0].command == ("make", "it")
    assert not found["deploy"].takes_command


def test_values_are_filled_in_and_a_parameter_without_one_is_left_out() -> None:
    params = {"queue": "{queue}", "duration_s": "{for}", "reason": "of {who}"}
    made = operation("pause_processing", params, {"for": "10m", "who": "me"})
    assert made.params() == {
        "queue": None,
        "duration_s": 600,
        "without_end": False,
        "cancel_consumer": False,
        "reason": "of me",
    }
    with pytest.raises(Invalid, match="duration_s: 10 of what"):
        operation("pause_processing", params, {"for": "10"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x", "is not TOML"),
        (f"x = {'9' * 5_000}\n", "is not TOML"),
        (f"{'a.' * 130_000}a = 1\n", "expected at most 10 dots in a key"),
        (f"[{'a . ' * 11}a]\n", "expected at most 10 dots in a key"),
        ("x = {" + '"b.c".' * 11 + "a = 1}\n", "expected at most 10 dots in a key"),
        ("[Deploy]\n", "expected a name of small letters"),
        ("x = 1\n", "x: expected help and"),
        ("[x]\n", "x: expected 1 to 50 steps"),
        ("[x]\nsteps = 5\n", "x: expected 1 to 50 steps"),
        ("[x]\nhelp = 5\n", "x: expected help to be a text"),
        ('[x]\nother = 1\n', "expected help and"),
        ("[[x.steps]]\n", "x: step 1: expected name"),
        ('[[x.steps]]\nname = "A b"\n', "x: step 1: expected name"),
        (STEP, "x: step 1 (a): expected one of operation, wait_for, command, snapshot, link"),
        (f'{STEP}link = "https://x.example"\ncommand = "given"\n', "step 1 (a): expected one of"),
        (f'{STEP}link = "javascript:x"\n', "expected link to be an address"),
        (f'{STEP}link = "https://x.example"\nextra = 1\n', "there is no 'extra'"),
        (f'{STEP}link = "https://x.example"\ngo_on = "yes"\n', "expected go_on to be true or false"),
        (f'{STEP}link = "https://x.example"\ntake_back = true\n', "take_back: not of a step with link"),
        (f'{STEP}link = "https://x.example"\ntake_back_if_failed = true\n', "take_back_if_failed: not of a step"),
        (f'{STEP}link = "https://x.example"\nonly_without = "A b"\n', "expected only_without to be the name"),
        (f'{STEP}command = "make deploy"\n', 'expected command to be "given", or a list of words'),
        (f"{STEP}command = []\n", "a list of words"),
        (f'{STEP}command = ["make", 5]\n', "a list of words"),
        (f'{STEP}operation = "hold_everything"\n', "there is no operation 'hold_everything'; expected one of"),
        (f'{STEP}operation = "pause_processing"\nparams = {{queues = "x"}}\n', "takes no 'queues'"),
        (f'{STEP}operation = "pause_processing"\nparams = {{queue = ["x"]}}\n', "expected queue to be a text"),
        (f'{STEP}operation = "pause_processing"\nparams = {{queue = 5}}\n', "pause_processing: queue"),
        (f'{STEP}operation = "pause_processing"\nparams = {{duration_s = "10"}}\n', "10 of what"),
        (f'{STEP}wait_for = "b"\n', "expected wait_for to name a step before it"),
        (f'{STEP}link = "https://x.io"\n[[x.steps]]\nname = "b"\nwait_for = "a"\n', "step 2 (b): expected wait_for"),
        (f'{STEP}link = "https://x.io"\n{STEP}link = "https://x.io"\n', "step 2 (a): expected a name that no"),
        (f'{STEP}command = "given"\n[[x.steps]]\nname = "b"\ncommand = "given"\n', "at most one step with a command"),
        (
            f'{STEP}operation = "pause_processing"\n[[x.steps]]\nname = "b"\nwait_for = "a"\ntimeout = "5"\n',
            "timeout: 5 of what",
        ),
        (
            f'{STEP}operation = "pause_processing"\n[[x.steps]]\nname = "b"\nwait_for = "a"\ntimeout = "3d"\n',
            "expected timeout to be 1s to 24h",
        ),
        (f'{STEP}snapshot = "{"x" * 2_000}"\n', "expected snapshot to be a text of 1 to 1,000"),
        ("".join(f'[x{n}]\n[[x{n}.steps]]\nname = "a"\ncommand = "given"\n' for n in range(101)), "at most 100"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_file_and_step_and_what_is_expected(text: str, expected: str) -> None:
    with pytest.raises(Invalid) as refused:
        parse(text, "team.toml")
    said = str(refused.value)
    assert said.startswith("OPSDASH_RUNBOOKS: team.toml")
    assert expected in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "text", [f'"{DOTS}"', f'"a\\"{DOTS}"', f"'{DOTS}'", f'"""\n{DOTS}"""', f"'''\n{DOTS}'''", f'"x" # {DOTS}']
)
def test_dots_in_texts_and_comments_are_not_those_of_a_key(text: str) -> None:
    found = parse(f'[x]\nhelp = {text}\n{STEP}link = "https://x.example"\n', "team.toml")
    assert found["x"].steps


@pytest.mark.parametrize("text", ['"\\"' * 80_000, '"""' + '\\"' * 120_000, "'" * 250_001, '"' * 250_001, '"""\\'])
def test_texts_without_an_end_are_looked_through_in_no_time(text: str) -> None:
    with pytest.raises(Invalid):
        parse(text, "team.toml")


def test_a_file_that_cannot_be_read_or_is_too_large_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="can't be read: No such file"):
        load(str(tmp_path / "none.toml"))
    (tmp_path / "large.toml").write_text("#" * (MAX_BYTES + 1))
    with pytest.raises(Invalid, match="has more than 262,144 bytes"):
        load(str(tmp_path / "large.toml"))
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(Invalid, match="is not UTF-8"):
        load(str(tmp_path / "bytes.toml"))
