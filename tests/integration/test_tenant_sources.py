"""Where tenants may come from: the host's own table or callable, as docs/tenants.md says it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.errors import fails
from support.tenants import execute, preview, stored, sync

from opsdash.bootstrap import connect
from opsdash.config.settings import Settings
from opsdash.errors import Invalid, Unavailable
from opsdash.services.console import Console

DOCS = (Path(__file__).parents[2] / "docs" / "tenants.md").read_text()


def blocks(heading: str, language: str) -> list[str]:
    """The examples under a heading of the docs."""
    section = DOCS.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", section, flags=re.DOTALL)


def exported(text: str) -> dict[str, str]:
    return dict(re.findall(r"^export (\w+)=(.*)$", text, flags=re.MULTILINE))


@pytest.fixture
def console_with(valkey_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A console from the environment, as a shell sets it."""
    made: list[Console] = []

    def make(database_url: str, variables: dict[str, str]) -> Console:
        monkeypatch.setenv("OPSDASH_SECRET_KEY", "a-key-for-tests-and-nothing-else")
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        made.append(connect(redis_url=valkey_url, database_url=database_url))
        return made[-1]

    yield make
    for console in made:
        console.close()


def test_the_documented_table_is_read_as_the_docs_say(console_with, database_url: str):
    (create,), (shell,) = blocks("Your own table", "sql"), blocks("Your own table", "sh")
    console = console_with(database_url, exported(shell))
    execute(console, create)
    insert = "INSERT INTO customers VALUES (:id, :title, :options, :at)"
    options = '{"plan": "gold", "password": "x"}'
    execute(console, insert, id=7, title="Acme", options=options, at="2026-01-02 03:04:05")
    execute(console, insert, id=8, title="Zen", options=None, at="2026-01-02 03:04:05")
    assert preview(console).startswith("2 tenants in the database: 2 will be added")
    assert sync(console).affected == 2
    written = stored(console, "7")
    assert written["settings"].pop("password").startswith("hmac-sha256:")
    assert written == {
        "tenant_id": "7",
        "name": "Acme",
        "enabled": True,
        "settings": {"plan": "gold"},
        "api_key_fingerprint": None,
        "updated_at": "2026-01-02T03:04:05+00:00",
    }
    assert not console.snapshot().tenant_drift.differs
    execute(
        console,
        "UPDATE customers SET title = 'Acme Ltd', changed_at = '2026-02-03 00:00:00' WHERE id = 7".replace(
            ":00", r"\:00"
        ),
    )
    assert f"{console.snapshot().tenant_drift.since:%F}" == "2026-02-03"
    execute(console, "DELETE FROM customers WHERE id = 8")
    assert sync(console, remove_orphans=True).details["removed"] == 1


def test_the_documented_callable_is_called_as_the_docs_say(
    console_with, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (code,), (shell,) = blocks("A callable", "python"), blocks("A callable", "sh")
    (tmp_path / "acme_tenants.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    console = console_with(sqlite_url, exported(shell))
    assert preview(console).startswith("2 tenants in the database: 2 will be added")
    assert sync(console).affected == 2
    assert stored(console, "acme-2")["settings"] == {"plan": "free"}
    assert stored(console, "acme-2")["enabled"] is True
    assert sync(console).affected == 0
    drift = console.snapshot().tenant_drift
    assert (drift.differs, drift.rows) == (False, None)
    assert "not compared" in drift.unseen
    console.broker.client.delete("tenant_config:acme-1")
    assert console.snapshot().tenant_drift.altered == ("acme-1",)


def test_the_documented_json_is_what_a_tenant_looks_like(console_with, sqlite_url: str):
    console = console_with(sqlite_url, {})
    execute(console, "INSERT INTO tenant_config (tenant_id, name, api_key) VALUES ('acme', 'Acme', 'k')")
    sync(console)
    (example,) = re.findall(r"```json\n(.*?)```", DOCS, flags=re.DOTALL)
    assert re.findall(r'"(\w+)":', example.replace('"plan": "gold"', "")) == list(stored(console, "acme"))


def test_a_schema_is_said_with_a_dot(console_with, postgres_url: str):
    console = console_with(
        postgres_url,
        {"OPSDASH_TENANT_TABLE": "crm.tenants", "OPSDASH_TENANT_COLUMNS": "api_key=,settings=,enabled=,updated_at="},
    )
    execute(console, "CREATE SCHEMA crm")
    execute(console, "CREATE TABLE crm.tenants (tenant_id UUID, name TEXT)")
    execute(console, "INSERT INTO crm.tenants VALUES ('0b5d3a4e-0000-4000-8000-000000000001', 'A')")
    assert sync(console).ok
    assert stored(console, "0b5d3a4e-0000-4000-8000-000000000001")["settings"] == {}


def test_a_table_that_is_not_there_is_one_line_and_the_rest_is_shown(console_with, database_url: str):
    console = console_with(database_url, {"OPSDASH_TENANT_TABLE": "nowhere"})
    with pytest.raises(Unavailable, match="nowhere, or a column of it, is not there"):
        sync(console)
    assert "OPSDASH_TENANT_TABLE" in console.snapshot().tenants_error
    assert console.snapshot().operations[0].operation == "sync_tenant_configs"


ROWS: dict[str, tuple[str, str]] = {
    "no mapping": ("[3]", "(empty)"),
    "no id": ("[{'name': 'x'}]", "(empty)"),
    "bytes": ("[{'tenant_id': 'a', 'settings': b'{}'}]", "a"),
    "a set": ("[{'tenant_id': 'a', 'settings': {'x': {1}}}]", "a"),
    "itself": ("(lambda d: [d.update(x=d) or {'tenant_id': 'a', 'settings': d}])({})", "a"),
    "odd keys": ("[{'tenant_id': 'a', 'settings': {(1, 2): 3}}]", "a"),
}


@pytest.mark.parametrize(("rows", "named"), ROWS.values(), ids=ROWS)
def test_a_row_that_only_a_callable_could_give_fails_alone(
    console_with, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: str, named: str
):
    module = f"odd_{abs(hash(rows))}"
    (tmp_path / f"{module}.py").write_text(f"def rows():\n    yield {{'tenant_id': 'good'}}\n    yield from {rows}\n")
    monkeypatch.syspath_prepend(tmp_path)
    console = console_with(sqlite_url, {"OPSDASH_TENANT_SOURCE": f"{module}:rows"})
    effect = sync(console)
    assert (effect.affected, list(effect.details["tenants"])) == (1, [named, "good"])


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("raise ImportError('no such thing')", "can't load 'broken_host:rows': ImportError"),
        ("rows = 3", "is not a callable"),
        ("other = 3", "AttributeError"),
    ],
)
def test_a_callable_that_can_not_be_loaded_is_one_line(
    console_with, sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, says: str
):
    (tmp_path / "broken_host.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "broken_host", raising=False)
    console = console_with(sqlite_url, {"OPSDASH_TENANT_SOURCE": "broken_host:rows"})
    with fails(Invalid, setting="OPSDASH_TENANT_SOURCE") as error:
        sync(console)
    assert says in str(error.value)
    assert console.snapshot().operations, "the page shows the rest"


def test_what_the_settings_do_not_allow_is_said_by_name(settings_for: Callable[..., Settings]):
    for name, value in (
        ("OPSDASH_TENANT_TABLE", "customers; DROP TABLE x"),
        ("OPSDASH_TENANT_COLUMNS", "tenant_id="),
        ("OPSDASH_TENANT_COLUMNS", "colour=x"),
        ("OPSDASH_TENANT_SOURCE", "no callable"),
    ):
        with pytest.raises(Invalid, match=name):
            Settings.from_env({name: value})
