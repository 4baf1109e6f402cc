"""Traps that nothing else catches: a folder that hides a library, a file that grows, an environment left behind."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_no_file_of_the_package_is_longer_than_400_lines():
    sources = list((ROOT / "opsdash").rglob("*.py"))
    assert sources
    assert [str(path) for path in sources if len(path.read_text().splitlines()) > 400] == []


@pytest.mark.parametrize("folder", ["alembic", "tests"])
def test_a_folder_that_would_shadow_a_library_is_no_package(folder):
    assert list((ROOT / folder).glob("__init__.py")) == []


def test_conda_users_get_the_same_names_and_versions_as_pip_users():
    *lines, by_pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    listed = {canonicalize_name(r.name): r.specifier for r in map(Requirement, [*lines, *by_pip["pip"]])}
    extras = PROJECT["optional-dependencies"]
    needed = map(Requirement, [*PROJECT["dependencies"], *extras["console"], *extras["test"]])
    expected = {requirement.name: requirement.specifier for requirement in needed if requirement.name != "opsdash"}
    python = Requirement(f"python{PROJECT['requires-python']}").specifier
    assert listed == {**expected, "python": python, "pip": Requirement("pip").specifier}


def test_ci_runs_the_very_command_the_readme_gives():
    shown = subprocess.check_output([ROOT / ".ci" / "run", "--show-test-command"], text=True)
    assert shown == 'python -m pip install -e ".[test]" && pytest\n'


def test_every_test_is_run_by_ci_or_slow():
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert "-m 'not slow and not long'" in options["addopts"]
    assert 'pytest -m "long and not slow"' in (ROOT / ".ci" / "run").read_text()


def test_the_two_commands_of_the_readme_need_nothing_but_python3() -> None:
    """Bare Debian has no ``python``, and its ``pip`` refuses outside a virtual environment."""
    block = re.search(r"<!-- tested: the demo -->\n```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert block
    lines = block[1].splitlines()
    assert len(lines) == 2
    programs = [command.split()[0] for line in lines for command in line.split(" && ")]
    assert programs == ["python3", ".venv/bin/pip", ".venv/bin/opsdash"]
