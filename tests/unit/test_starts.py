"""What is imported when a program starts: most of the time of a short command is that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.services import Valkey

from opsdash.cli import commands

ROOT = Path(__file__).parents[2]
PAGE = {"panel", "param", "bokeh", "pandas", "numpy", "tornado"}
HEAVY = {*PAGE, "alembic", "celery", "kombu", "apprise", "msgspec", "prometheus_client", "psycopg2"}
DATA = {"redis", "sqlalchemy", "asyncio"}
OURS = {"opsdash.services", "opsdash.views", "opsdash.api", "opsdash.web", "opsdash.state", "opsdash.runs"}
OTHERS = {f"opsdash.services.{name}" for name in ("doctor", "peers", "push", "notify", "tenants.tasks")}
UNUSED = {
    f"opsdash.services.{name}"
    for name in (
        *("audit.log", "audit.query", "database.engine", "database.tables", "monitoring.poller", "queues.find_task"),
        *("queues.search_tasks", "workers.task_holders", "workers.remote_control", "workers.pools", "tenants.sync"),
        *("workflows.look", "queues.results", "threads"),
    )
}
"""Parts of a console that a look at it does without."""
RUN = """
import json, sys
from opsdash.__main__ import main
sys.argv = ["opsdash", *sys.argv[1:]]
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def imported(*arguments: str, environment: dict[str, str] | None = None) -> set[str]:
    """Every module that this command imports."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(json.loads(done.stderr.splitlines()[-1]))


def below(package: str, names: set[str]) -> set[str]:
    """The modules of this package."""
    return {name.removeprefix(package) for name in names if name.startswith(package)}


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_the_version_and_the_list_of_commands_import_no_command(option: str) -> None:
    found = imported(option)
    assert sorted(found & {*HEAVY, *DATA, *OURS, "rich", "sqlite3"}) == []
    assert below("opsdash.", found) <= {
        "__main__",
        "cli",
        "cli.commands",
        "cli.help",
        "cli.plain",
        "cli.strict",
        "errors",
        "installed",
    }


@pytest.mark.parametrize("command", ["status", "queues"])
def test_status_imports_no_page_no_celery_no_sqlalchemy_and_no_operation(
    command: str, sqlite_url: str, valkey: Valkey
) -> None:
    found = imported(command, environment={"OPSDASH_REDIS_URL": valkey.url, "OPSDASH_DATABASE_URL": sqlite_url})
    assert {"redis", "sqlite3"} <= found
    assert sorted(found & {*HEAVY, *(OURS - {"opsdash.services"}), *OTHERS, "rich.live", "http.client"}) == []
    assert sorted(found & {"sqlalchemy", *UNUSED}) == []
    assert below("opsdash.operations.", found) == {"plugins"}
    assert below("opsdash.cli.", found) == {"commands", "help", "output", "plain", "reads", "strict", "summary"}


def test_an_operation_imports_itself_and_no_page(valkey: Valkey, sqlite_url: str) -> None:
    found = imported(
        *("add-note", "It is Friday", "--dry-run"),
        environment={"OPSDASH_REDIS_URL": valkey.url, "OPSDASH_DATABASE_URL": sqlite_url},
    )
    assert sorted(found & {*PAGE, "alembic", "celery", "kombu"}) == []
    assert below("opsdash.operations.", found) == {"add_note", "plugins"}


def test_the_plug_in_imports_nothing_until_it_is_installed() -> None:
    code = "import sys, celery; before = {*sys.modules}; import opsdash.worker; print(*sorted({*sys.modules} - before))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) <= {"__future__", "opsdash", "opsdash.worker"}


def test_an_operation_has_the_name_of_its_file_and_a_command_that_of_its_function() -> None:
    for name in commands.names():
        command = commands.load(name)
        assert command is not None
        assert command.name == name
