"""Every code block of the documentation is run, by its page's test here or by one that is named, or is parsed."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import click
import pytest
import redis
import sqlalchemy as sa
import yaml
from support.blocks import PAGES, Block, blocks
from support.products import PRODUCTS
from support.sample_app import make_app
from support.served import serving
from support.services import Valkey, free_port
from support.workers import producer, worker

import opsdash
from opsdash.bootstrap import assemble
from opsdash.cli import cli
from opsdash.config.settings import Settings

TOKEN = "a-token-of-the-documentation"
PASSWORD = "correct horse battery"
WHOLE = {"audit.md", "quickstart.md"}
"""Pages whose commands one test runs, all in their order: test_audit_docs.py, test_quickstart.py."""
OF_PRODUCTS = {product.page for product in PRODUCTS.values()}
"""Pages whose commands tests/integration/test_products.py runs, in the environment of the product."""
MARKS = {("security.md", 3): ("parsed", "needs an identity provider")}
"""What stands above a block elsewhere."""
SESSIONS = {
    block.page
    for page in PAGES
    for block in blocks(page)
    if block.language == "sh"
    and not block.mark
    and block.page not in {*WHOLE, *OF_PRODUCTS}
    and (block.page, block.number) not in MARKS
}
ALL = [block for page in PAGES for block in blocks(page)]


def mark_of(block: Block) -> tuple[str, str]:
    return MARKS.get((block.page, block.number), (block.mark, block.said))


def of_page(page: str, language: str, mark: str = "") -> list[Block]:
    return [b for b in ALL if b.page == page and b.language == language and mark_of(b)[0] == mark]


PARSED = [
    block
    for block in ALL
    if mark_of(block)[0] == "parsed"
    or block.page in OF_PRODUCTS
    or (block.language not in {"sh", "python"} and not block.mark)
]


@pytest.mark.parametrize("block", PARSED, ids=str)
def test_a_block_that_no_test_runs_is_what_its_language_wants(block: Block) -> None:
    PARSERS[block.language](block.text)


def parse_json(text: str) -> None:
    assert json.loads(text)


def parse_sql(text: str) -> None:
    with sa.create_engine("sqlite://").begin() as connection:
        connection.execute(sa.text(text))


def parse_yaml(text: str) -> None:
    parsed = yaml.safe_load(text)
    for job in parsed["scrape_configs"]:
        assert {"job_name", "static_configs"} <= job.keys()


def parse_shell(text: str) -> None:
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    known = {name.upper() for name in Settings.__dataclass_fields__}
    assert set(re.findall(r"\bOPSDASH_(?!TEST_|REQUIRE)([A-Z_]+)=", text)) <= known
    for line in re.findall(r"(?:^|&& |\w=\S+ )opsdash (.*)$", text, flags=re.MULTILINE):
        accepted(shlex.split(line, comments=True))


def parse_fish(text: str) -> None:
    command, pipe, source = text.strip().rpartition(" | ")
    assert (pipe, source) == (" | ", "source")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True)
    assert "complete --no-files --command opsdash" in done.stdout


def accepted(words: list[str]) -> None:
    """Runs nothing; fails for words that the command line does not know."""
    command: click.Command = cli
    context = click.Context(cli)
    while isinstance(command, click.Group) and words:
        name, *words = words
        found = command.get_command(context, name)
        assert found, f"there is no command {name}"
        command = found
    command.make_context(command.name, words, parent=context)


PARSERS: dict[str, Callable[[str], Any]] = {
    "json": parse_json,
    "toml": tomllib.loads,
    "sql": parse_sql,
    "yaml": parse_yaml,
    "python": ast.parse,
    "sh": parse_shell,
    "fish": parse_fish,
}


# Commands: one shell per page, as a reader has it


class Shell:
    """A shell in a folder of its own, with real servers behind the names that the docs use.

    Attributes:
        names: What stands in the docs → what it is here.
    """

    def __init__(self, folder: Path, valkey: Valkey, database_url: str) -> None:
        self.folder, self.valkey = folder, valkey
        self.names = {"redis://broker:6379/0": valkey.url, "10.0.0.20": "127.0.0.1"}
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(folder),
            "HOME": str(folder),
            "XDG_DATA_HOME": str(folder / "data"),
            "OPSDASH_REDIS_URL": valkey.url,
            "OPSDASH_DATABASE_URL": database_url,
            "OPSDASH_SECRET_KEY": "a-key-of-the-documentation",
            "OPSDASH_QUEUES": "celery,emails",
            "OPSDASH_AUTH": "dev",
        }

    def settings(self) -> Settings:
        return Settings.from_env({name: v for name, v in self.environment.items() if name.startswith("OPSDASH_")})

    def run(self, shown: list[Block]) -> str:
        """Types them; fails at the first that does not end with 0. ``opsdash serve`` is stopped once it serves."""
        script = [SERVED.replace("PORT", str(free_port()))]
        for block in shown:
            text = block.text
            for name, here in self.names.items():
                text = text.replace(name, here)
            script += [f"echo '--- {block}'", text]
        done = subprocess.run(
            ["bash", "-c", "\n".join(script)],
            cwd=self.folder,
            env=self.environment,
            input=f"{PASSWORD}\n" * 4,
            capture_output=True,
            text=True,
            timeout=110,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


SERVED = """
set -euo pipefail
opsdash() {
  [ "$1" = serve ] || { command opsdash "$@"; return; }
  rm -f serve.log
  command opsdash "$@" --port PORT > serve.log 2>&1 &
  until grep -qs '^Serving' serve.log; do kill -0 $! || { cat serve.log >&2; return 1; }; sleep 0.1; done
  kill $!
  wait $!
}
"""


@pytest.fixture
def shell(valkey: Valkey, sqlite_url: str, tmp_path: Path) -> Shell:
    return Shell(tmp_path, valkey, sqlite_url)


def a_worker(shell: Shell, request: pytest.FixtureRequest) -> None:
    """A deployment in which the doctor has nothing to complain of."""
    request.getfixturevalue("stack").enter_context(
        worker(queues=["celery"], env={"OPSDASH_REDIS_URL": shell.valkey.url})
    )


def an_app(shell: Shell, request: pytest.FixtureRequest) -> None:
    """The Celery app, the database and a worker with the plug-in, as the README has them: a pause is followed."""
    a_worker(shell, request)
    (shell.folder / "proj.py").write_text("from celery import Celery\n\napp = Celery('proj')\n")
    shell.names["postgresql://opsdash:…@db/opsdash"] = request.getfixturevalue("empty_postgres_url")
    shell.environment["OPSDASH_QUEUES"] = "emails"


def a_server(shell: Shell, request: pytest.FixtureRequest) -> None:
    """A console that the API's commands reach."""
    shell.environment |= {"OPSDASH_API_TOKENS": f"ci:operator:{TOKEN}", "TOKEN": TOKEN}
    stack = request.getfixturevalue("stack")
    console = stack.enter_context(closing(assemble(shell.settings())))
    shell.names["https://ops.example"] = stack.enter_context(serving(console)).url


def a_package(shell: Shell, _request: pytest.FixtureRequest) -> None:
    """The package of the page, as if it were installed."""
    (python,), (toml,) = of_page("extending.md", "python", "tested"), of_page("extending.md", "toml", "tested")
    (shell.folder / "closing").mkdir()
    (shell.folder / "closing" / "__init__.py").write_text(python.text)
    info = shell.folder / "closing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: closing\nVersion: 1.0\n")
    ((group, entries),) = tomllib.loads(toml.text)["project"]["entry-points"].items()
    lines = [f"{name} = {value}" for name, value in entries.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{group}]", *lines]))


def signed_in(shell: Shell, _request: pytest.FixtureRequest) -> None:
    """Who holds a shell acts with the role that the lists of the page give."""
    shell.environment["OPSDASH_USERS_FILE"] = str(shell.folder / "users")


PREPARED = {
    "doctor.md": a_worker,
    "README.md": an_app,
    "api.md": a_server,
    "extending.md": a_package,
    "security.md": signed_in,
}
SAID = {
    "README.md": ("Processing Status: RUNNING", "tasks of queue emails will be removed", "Cleared 3 tasks from emails"),
    "api.md": ('"figures":', "Cleared 3 tasks from emails"),
    "doctor.md": ("ok broker:", "checked: 0 errors"),
    "extending.md": ("Customers read 'Back at six'", "Closed for 2h 0m 0s"),
    "security.md": ("Added maria", "Removed maria"),
}
"""What they print, among other things."""


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """What a page's servers end with."""
    with ExitStack() as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted(SESSIONS))
def test_the_commands_of_a_page_run_as_they_stand(page: str, shell: Shell, request: pytest.FixtureRequest) -> None:
    with producer(shell.valkey.url) as celery:
        for _ in range(3):
            celery.send_task("sample.short", queue="emails")
    PREPARED.get(page, lambda *_: None)(shell, request)
    output = shell.run(of_page(page, "sh"))
    for text in SAID.get(page, ()):
        assert text in output


# Python: one namespace per page


def two_lines(space: dict[str, Any]) -> None:
    """The plug-in is installed, and the console of the second block has done what it was told."""
    assert any("opsdash.worker" in str(step) for step in space["app"].steps["consumer"])
    assert space["ops"].get_queue_length("emails") == 0
    assert space["ops"].get_recent_operations()[0].user == "maria"
    space["ops"].close()


def stamped(space: dict[str, Any]) -> None:
    """A task that is sent after the block says when it was sent."""
    app = make_app(os.environ["OPSDASH_REDIS_URL"])
    app.send_task("sample.short", queue="emails")
    app.close()
    with closing(opsdash.connect()) as console:
        (seen,) = [message for message in console.queues.peek("emails", 5, "x") if message.sent_at is not None]
        assert 0 <= seen.age_s < 60


def confirmed(space: dict[str, Any]) -> None:
    """The models of the page have come to its end."""
    assert (space["pending"].operation, space["status"].condition) == (None, "UNKNOWN")


NAMESPACES: dict[str, Callable[[dict[str, Any]], None]] = {
    "README.md": two_lines,
    "time-in-queue.md": stamped,
    "testing-with-param.md": confirmed,
}


@pytest.mark.parametrize("page", NAMESPACES)
def test_the_python_of_a_page_runs_as_it_stands(
    page: str, valkey: Valkey, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPSDASH_REDIS_URL", valkey.url)
    monkeypatch.setenv("OPSDASH_DATABASE_URL", sqlite_url)
    monkeypatch.setenv("OPSDASH_QUEUES", "celery,emails")
    with redis.Redis.from_url(valkey.url) as client:
        client.lpush("emails", "{}")
    app = make_app(valkey.url)
    space: dict[str, Any] = {"app": app, "__name__": "page"}
    for block in of_page(page, "python"):
        exec(compile(block.text, str(block), "exec"), space)
    NAMESPACES[page](space)
    app.close()
