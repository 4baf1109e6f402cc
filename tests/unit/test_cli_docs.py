"""docs/cli.md is what the commands say of themselves."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest
from click.shell_completion import ShellComplete
from support.cli_reference import DOCS, HELP, START, help_module, of, reference

from opsdash.cli import cli


def commands(group: click.Group, *path: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in of(group):
        yield " ".join([*path, name]), command
        if isinstance(command, click.Group):
            yield from commands(command, *path, name)


def test_the_reference_is_what_the_commands_say_of_themselves():
    parts = DOCS.read_text().partition(START)
    assert parts[1] + parts[2] == reference(), "write it anew: python tests/support/cli_reference.py"


def test_the_list_of_commands_says_of_each_what_it_says_of_itself():
    assert HELP.read_text() == help_module(), "write it anew: python tests/support/cli_reference.py"


def test_every_command_and_every_option_has_a_sentence():
    for path, command in commands(cli):
        assert (command.help or "").split("\n")[0].rstrip().endswith("."), path
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{path} {parameter.opts}"


def test_the_help_and_completion_load_no_database_no_page_and_no_celery():
    heavy = {"sqlalchemy", "alembic", "panel", "param", "bokeh", "pandas", "celery", "msgspec"}
    code = f"import sys, opsdash.cli; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["cle"], {"clear-held", "clear-queue", "clear-tasks", "clear-tenant"}),
        (["pause-processing", "--rea"], {"--reason"}),
        (["audit", "--status", "suc"], {"success"}),
        (["audit", "ver"], {"verify"}),
    ],
)
def test_the_shell_completes_commands_options_and_fixed_values(typed: list[str], offered: set[str]):
    complete = ShellComplete(cli, {}, "opsdash", "_OPSDASH_COMPLETE")
    assert {found.value for found in complete.get_completions(typed[:-1], typed[-1])} == offered


@pytest.mark.slow
def test_a_real_bash_completes_what_is_typed(tmp_path):
    program = tmp_path / "opsdash"
    program.write_text(f"#!{sys.executable}\nfrom opsdash.cli import main\n\nmain()\n")
    program.chmod(0o755)
    (setup,) = re.findall(r"^eval .*bash_source.*$", DOCS.read_text(), re.MULTILINE)
    script = f"""
        {setup}
        complete -p opsdash
        COMP_WORDS=(opsdash resu) COMP_CWORD=1
        _opsdash_completion opsdash
        echo "${{COMPREPLY[@]}}"
    """
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "--norc", "-c", script], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == "resume-processing", done
