"""docs/compatibility.md speaks of the versions that pyproject.toml asks for, and leaves no cell open."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "compatibility.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LINES = [*PROJECT["optional-dependencies"]["console"], *PROJECT["dependencies"]]
ASKED = {r.name: r.specifier for r in map(Requirement, LINES)}


def table(heading: str) -> dict[str, list[str]]:
    """First cell → the others, of the table under a heading."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*\|$", section, re.M)]
    return {row[0]: row[1:] for row in rows[2:]}


def test_every_cell_says_what_was_tried_and_when_or_that_nothing_was() -> None:
    for heading in ("Python", "Celery", "Redis and Valkey", "Databases", "Products"):
        assert table(heading), heading
        for name, cells in table(heading).items():
            assert all(cells), name
            tried = cells[0]
            assert re.match(r"tested: ", tried) or tried.startswith("untested"), (name, tried)
            if tried.startswith("tested"):
                assert re.search(r"\b2026-\d\d-\d\d\b|in CI", " ".join(cells)), name


def test_the_pythons_are_those_of_the_classifiers() -> None:
    named = re.findall(r"Python :: (3\.\d+)$", "\n".join(PROJECT["classifiers"]), re.MULTILINE)
    assert list(table("Python")) == named
    assert PROJECT["requires-python"] == f">={named[0]}"


def test_the_celerys_are_those_that_are_asked_for() -> None:
    told = list(table("Celery"))
    assert told == ["5.4", "5.5", "5.6", "5.7"]
    assert all(ASKED["celery"].contains(Version(f"{version}.0")) for version in told)
    assert not ASKED["celery"].contains(Version("5.8.0"))
    assert not ASKED["celery"].contains(Version("5.3.9"))


def test_the_ranges_that_are_asked_for_are_on_the_page() -> None:
    ranges = dict(re.findall(r"^\| `([\w-]+)` \| `([^`]+)` \|", PAGE, re.MULTILINE))
    assert {name: str(Requirement(f"x{wanted}").specifier) for name, wanted in ranges.items()} == {
        name: str(ASKED[name]) for name in ("celery", "kombu", "redis", "sqlalchemy", "psycopg2-binary")
    }


def test_servers_that_were_asked_for_are_named() -> None:
    assert {"Redis 6.2", "Redis 7.0", "Redis 8", "Valkey 7.2", "Valkey 8", "Valkey 9"} <= table(
        "Redis and Valkey"
    ).keys()
    assert "SQLite" in " ".join(table("Databases"))
    assert "PostgreSQL 18" in table("Databases")
