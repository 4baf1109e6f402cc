"""The project keeps its own promises: names, sizes, reasons, and a CI script that runs what the README says."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import opsdash

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {extra: [Requirement(line) for line in lines] for extra, lines in PYPROJECT["optional-dependencies"].items()}
CORE = [Requirement(line) for line in PYPROJECT["dependencies"]]
SOURCES = [
    path
    for folder in ("opsdash", "alembic", "apps", "tests")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".js", ".css", ".html", ".lua"} and "artifacts" not in path.parts
]


def test_no_source_file_is_longer_than_500_lines():
    assert SOURCES
    assert {str(path): lines for path in SOURCES if (lines := len(path.read_text().splitlines())) > 500} == {}


@pytest.mark.parametrize("folder", ["alembic", "tests"])
def test_a_folder_that_would_shadow_a_library_is_no_package(folder):
    assert list((ROOT / folder).glob("__init__.py")) == []


def test_every_dependency_has_its_reason_in_contributing():
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("## Dependencies")[2].partition("\n## ")[0]
    explained = set(re.findall(r"^\| `([^`]+)` \|", text, flags=re.MULTILINE))
    needed = {requirement.name for requirement in [*CORE, *chain(*EXTRAS.values())]} - {"opsdash"}
    assert explained == needed


def test_conda_users_get_the_same_names_and_versions_as_pip_users():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    lines = [line for line in environment["dependencies"] if isinstance(line, str)]
    by_pip = next(line["pip"] for line in environment["dependencies"] if isinstance(line, dict))
    for line in lines:  # name, blank, versions: how conda reads a line
        assert re.fullmatch(r"[a-z0-9_-]+( [<>=!,.0-9a-z]+)?", line), line
    listed = {canonicalize_name(r.name): r.specifier for r in map(Requirement, [*lines, *by_pip])}
    assert listed.pop("python") == Requirement(f"python{PYPROJECT['requires-python']}").specifier
    assert listed.pop("pip") == ""
    needed = [*CORE, *EXTRAS["console"], *EXTRAS["test"]]
    assert listed == {
        requirement.name: requirement.specifier for requirement in needed if requirement.name != "opsdash"
    }


def test_a_worker_gets_what_a_worker_needs_and_the_demo_and_the_tests_get_the_console():
    assert {str(requirement) for requirement in CORE} == {"celery<5.8,>=5.4", "packaging>=21", "redis<9,>=5.0"}
    for extra in ("demo", "test"):
        assert "opsdash[console]" in map(str, EXTRAS[extra])


def test_ci_runs_the_very_command_the_readme_gives():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    shown = subprocess.run([script, "--show-test-command"], capture_output=True, text=True, check=True)
    assert shown.stdout == 'python -m pip install -e ".[test]" && pytest\n'


def test_ci_and_pre_commit_run_the_same_checks_and_pre_commit_downloads_nothing():
    script = (ROOT / ".ci" / "run").read_text()
    hooks = [
        hook
        for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
        for hook in repo["hooks"]
    ]
    assert {hook["entry"].removesuffix(" --fix") for hook in hooks} == {
        "ruff check",
        "ruff format",
        "mypy",
        "lint-imports",
    }
    assert {hook["language"] for hook in hooks} == {"system"}
    for tool in ("ruff", "mypy", "lint-imports", "mkdocs"):
        assert f'bin/{tool}"' in script
    assert 'mkdocs" build --strict --site-dir' in script  # with --quiet it finds nothing
    assert "OPSDASH_REQUIRE=valkey,postgres,browser,nginx" in script


def test_the_licence_that_is_named_is_the_one_that_is_there():
    licence = (ROOT / "LICENSE").read_text()
    assert PYPROJECT["license"] == "BSD-3-Clause"
    assert licence.startswith("BSD 3-Clause License")
    assert "opsdash contributors" in licence


def test_the_changelog_has_dated_releases_the_newest_of_this_version_in_short_lines() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    releases = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert all(
        re.fullmatch(r"\d+\.\d+\.\d+ - 20\d\d-\d\d-\d\d", release) for release in releases if release != "Unreleased"
    )
    assert next(one for one in releases if one != "Unreleased").startswith(f"{opsdash.__version__} - ")
    dates = [release[-10:] for release in releases if release != "Unreleased"]
    assert dates == sorted(dates, reverse=True)
    entries = [" ".join(entry.split()) for entry in re.split(r"^- ", text, flags=re.MULTILINE)[1:]]
    assert max(len(entry.partition(" ## ")[0].partition(" ### ")[0]) for entry in entries) <= 320
    assert "### Upgrade from 0.1.0" in text
