"""Operations of other packages, as docs/extending.md tells; broken ones never stop the console."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.services import Valkey

from opsdash.services.database import migrations

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "extending.md").read_text()
PYTHON, TOML = (re.search(rf"```{kind}\n(.*?)```", DOCS, re.DOTALL)[1] for kind in ("python", "toml"))

DECLARATION = """
from typing import ClassVar
from opsdash.operation import Operation, argument

class Other(Operation):
    name: ClassVar[str] = "other"
    title: ClassVar[str] = "Other"
    help: ClassVar[str] = "Does other things."
    warning: ClassVar[str] = "Other things are done."
"""


def installed(folder: Path, modules: Mapping[str, str], entry_points: str) -> dict[str, str]:
    """Lays a package where Python finds it installed; returns the environment in which it does."""
    for name, text in modules.items():
        (folder / f"{name}.py").write_text(text)
    info = folder / "team-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: team\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[opsdash.operations]\n{entry_points}\n")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


def run(environment: Mapping[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )


SURFACES = """
import asyncio, json
from types import SimpleNamespace
from uuid import UUID
import msgspec
from click.testing import CliRunner
import opsdash
from opsdash.api.operations import Run
from opsdash.api.openapi import document
from opsdash.api.requests import operation_of, request_of
from opsdash.cli import cli
from opsdash.model import Actor, Role
from opsdash.operation import registry
from opsdash.views import form, placement, rows
from opsdash.views.dialog import ConfirmationDialog
from opsdash.views.session import Session

kind, cli_run = registry()["close_shop"], CliRunner().invoke
ops = opsdash.connect()
ops.broker.client.pfadd("shop:baskets", *range(1000))
operation, maria = kind(sign="Back at six"), Actor(name="maria", role=Role.ADMIN, surface="page")
sign = lambda: ops.broker.client.get("shop:closed")
told = []

async def clicks():
    session = Session(ops, maria)
    page = session.dialog = ConfirmationDialog(session)
    session.say = lambda text, tone, undo=None: told.append((text, undo))
    shown = lambda: {n: getattr(page._dialog, n) for n in ("title", "danger", "warning", "about", "figures", "lines")}
    await page.ask("close_shop", {"sign": "Back at six"})
    dialog, page.pending.typed = shown(), "YES"
    await page._confirm(None)
    text, takes_back = told[-1]
    closed = sign()
    await page.ask_for(takes_back)
    undo, page.pending.typed = shown(), "YES"
    await page._confirm(None)
    return {"dialog": dialog, "say": text, "closed": closed, "undo": undo, "open": sign() is None}

def post(name, **body):
    made = registry()[name]
    handler = SimpleNamespace(console=ops, actor=Actor(name="bot", role=Role.ADMIN, surface="api"))
    return msgspec.to_builtins(Run._run(handler, made, msgspec.convert(body, request_of(made))))

def preview(name, **body):
    kind = registry()[name]
    return msgspec.to_builtins(ops.preview(operation_of(kind, msgspec.convert(body, request_of(kind)))))

found = {
    "help": cli_run(cli, ["--help"]).output,
    "empty": cli_run(cli, ["close-shop", "", "--dry-run"]).output,
    "dry": cli_run(cli, ["close-shop", "Back at six", "--for", "2h", "--dry-run"]).output,
    "dry_json": json.loads(cli_run(cli, ["close-shop", "Back at six", "--dry-run", "--json"]).output),
    "asked": [field["label"] for field in form.fields(operation, ops.preview(operation))],
    "others": placement.others(Role.ADMIN),
    "path": document()["paths"]["/api/v1/operations/close_shop"]["post"]["summary"],
    "before": sign(),
    "run": cli_run(cli, ["close-shop", "Back at six", "--for", "2h", "--confirm", "YES"]).output,
    "ttl": ops.broker.client.ttl("shop:closed"),
    "closed_already": cli_run(cli, ["close-shop", "Gone fishing", "--dry-run"]).output,
    "api_dry": preview("close_shop", params={"sign": "Gone fishing"}),
}
pasted = found["run"].partition(": opsdash ")[2].split()
found["undone"] = cli_run(cli, [*pasted, "--confirm", "YES"]).output
found["open"] = sign() is None
request = str(UUID(int=7))
found["api"] = post("close_shop", params={"sign": "Back at six"}, confirm="YES", request_id=request)
found["api_again"] = post("close_shop", params={"sign": "Back at six"}, confirm="YES", request_id=request)
found["api_undo"] = post(found["api"]["undo"]["operation"], params=found["api"]["undo"]["params"], confirm="YES")
found["page"] = asyncio.run(clicks())
effect = ops.run(operation, actor="maria", confirm="YES")
found["notebook"] = ops.run(effect.undo, actor="maria", confirm="YES").message
entries = ops.get_recent_operations(50)
found["log"] = sorted({row["operation"] for row in rows.operation_rows(entries).values()})
found["audit"] = [(e.operation, e.status, e.details) for e in entries]
print(json.dumps(found, default=str))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, _valkey_server: Valkey) -> dict[str, Any]:
    """What every surface says and does with the one file of the docs, in a process that has it installed."""
    _valkey_server.restore()
    _valkey_server.flush()
    folder = tmp_path_factory.mktemp("team")
    entries = re.search(r'^\[project\.entry-points\."opsdash\.operations"\]\n((?:.+\n)+)', TOML, re.MULTILINE)[1]
    database = f"sqlite:///{folder / 'team.sqlite3'}"
    migrations.upgrade(database)
    environment = installed(folder, {"closing": PYTHON}, entries.replace('"', ""))
    environment |= {
        "OPSDASH_REDIS_URL": _valkey_server.url,
        "OPSDASH_DATABASE_URL": database,
        "OPSDASH_ADMINS": "*",
        "OPSDASH_SECRET_KEY": "k" * 32,
    }
    done = run(environment, "-c", SURFACES)
    assert done.stderr == ""
    return dict(json.loads(done.stdout))


@pytest.mark.long
def test_the_command_line_has_it_with_its_preview(found: dict[str, Any]):
    assert re.search(r"close-shop +Show customers a sign instead of the checkout", found["help"])
    assert found["empty"] == "opsdash: SIGN: enter the text that customers read. Nothing was changed.\n"
    assert found["dry"].splitlines() == [
        "Close shop for 2h 0m 0s: Customers can't buy anything until the time is over.",
        "  Customers read 'Back at six' for 2h 0m 0s.",
        "  Orders that are paid for are sent.",
        "  The sign comes down by itself.",
        f"  open baskets: ≈ {figure(found['dry_json'], 'baskets'):,} · closed for: 7,200 s",
    ]
    assert found["before"] is None, "a preview changes nothing"


@pytest.mark.long
def test_a_program_reads_its_preview_field_by_field(found: dict[str, Any]):
    preview = found["dry_json"]
    assert [line["kind"] for line in preview["lines"]] == ["will", "will_not", "note"]
    baskets = next(one for one in preview["figures"] if one["name"] == "baskets")
    assert 950 < baskets["value"] < 1050
    assert (baskets["label"], baskets["unit"], baskets["exactness"]) == ("open baskets", "baskets", "estimated")
    assert found["path"] == "Show customers a sign instead of the checkout, for a limited time."


@pytest.mark.long
def test_a_shop_that_is_closed_already_is_a_warning_on_the_command_line_and_in_the_api(found: dict[str, Any]):
    warning = "The shop is already closed with 'Back at six'. This replaces that sign."
    assert found["closed_already"].count(f"\n  {warning}\n") == 1
    assert {"kind": "warning", "text": warning, "repeats": [], "choice": ""} in found["api_dry"]["lines"]
    assert [line["kind"] for line in found["api_dry"]["lines"]].count("warning") == 1
    assert figure(found["api_dry"], "closed") is True


@pytest.mark.long
def test_on_the_command_line_it_runs_and_the_undo_can_be_pasted(found: dict[str, Any]):
    assert found["run"].splitlines() == [
        "Closed for 2h 0m 0s: 'Back at six'.",
        "Undo within 2h 0m: opsdash open-shop",
    ]
    assert 7000 < found["ttl"] <= 7200
    assert found["undone"] == "The shop is open.\n"
    assert found["open"]


def test_the_api_runs_it_and_answers_with_the_request_that_undoes_it(found: dict[str, Any]):
    undo = {"operation": "open_shop", "params": {"reason": ""}, "href": "/api/v1/operations/open_shop"}
    assert (found["api"]["undo"], found["api"]["undo_s"]) == (undo, 600)
    assert found["api_again"]["undo"] == undo, "a request that is sent again is told of it too"
    assert found["api_undo"]["affected"] == 1


def test_its_dialog_on_the_page_has_title_warning_danger_tiles_and_lines(found: dict[str, Any]):
    dialog = found["page"]["dialog"]
    assert (dialog["title"], dialog["danger"]) == ("Close shop for 10m 0s", True)
    assert dialog["warning"] == "Customers can't buy anything until the time is over."
    assert dialog["about"] == [["What customers read", "Back at six"]]
    (baskets, *what), closed = dialog["figures"]
    assert (baskets[:2], what) == ("≈ ", ["", "open baskets"])
    assert closed == ["600", "s", "closed for"]
    assert [kind for kind, _ in dialog["lines"]] == ["will", "will_not", "note"]
    assert found["asked"] == ["What customers read", "How long", "Reason"]
    assert ["close_shop", "Close Shop", "Show customers a sign instead of the checkout, for a limited time."] in found[
        "others"
    ]


def test_a_click_on_undo_opens_the_dialog_that_takes_it_back(found: dict[str, Any]):
    page = found["page"]
    assert page["say"] == "Closed for 10m 0s: 'Back at six'."
    assert page["closed"] == "Back at six"
    assert (page["undo"]["title"], page["undo"]["danger"]) == ("Open Shop", False)
    assert page["undo"]["lines"] == [["will", "The sign 'Back at six' goes."]]
    assert page["open"]


def test_a_notebook_runs_the_undo_of_an_effect(found: dict[str, Any]):
    assert found["notebook"] == "The shop is open."


def test_the_audit_log_has_what_was_shown_and_what_undoes_it(found: dict[str, Any]):
    assert found["log"] == ["Close shop for 10m 0s", "Close shop for 2h 0m 0s", "Open Shop"]
    operation, status, first = found["audit"][-1]
    assert (operation, status) == ("close_shop", "success")
    assert first["params"] == {"sign": "Back at six", "duration_s": 7200, "reason": ""}
    assert {**first["undo"], "until": ""} == {"operation": "open_shop", "params": {"reason": ""}, "until": ""}
    (reviewed,) = [details for name, _, details in found["audit"] if name == "close_shop" and "previewed" in details]
    assert reviewed["previewed"].keys() == {"baskets", "closed_s", "closed"}
    assert reviewed["surface"] == "page"


def figure(preview: Mapping[str, Any], name: str) -> Any:
    return next(one["value"] for one in preview["figures"] if one["name"] == name)


def test_a_broken_package_is_one_line_and_the_console_goes_on_without_it(tmp_path: Path):
    argument = '    {}: str = argument(default="", help="X.")\n'
    modules = {
        "raises": f"{DECLARATION.replace('other', 'halfway')}\nraise RuntimeError('one line\\nand \\x1b[31manother')",
        "exits": "raise SystemExit(1)",
        "silent": DECLARATION.replace("    warning", "    caution"),
        "bare": f"{DECLARATION}    whom: str = 'x'\n",
        "takes": DECLARATION + argument.format("confirm"),
        "role": f"{DECLARATION}    minimum_role: ClassVar[str] = 'admin'\n",
        "stands": DECLARATION.replace('"other"', '"clear_queue"'),
        "command": DECLARATION.replace('"other"', '"status"'),
        "sound": DECLARATION,
    }
    entries = [f"{name} = {name}:Other" for name in modules] + ["nothing = sound:argument", "missing = not_there:Other"]
    environment = installed(tmp_path, modules, "\n".join(entries))
    done = run(environment, "-m", "opsdash", "--help")
    assert done.returncode == 0
    assert "  other  " in done.stdout
    assert "halfway" not in done.stdout
    assert "One screen: pause, queues" in done.stdout, "status is still ours"
    lines = done.stderr.splitlines()
    said = dict(
        re.fullmatch(r"opsdash continues without the operation (\w+) \([\w:]+\): (.*)", line).groups()
        for line in lines
        if line.startswith("opsdash continues without")
    )
    assert said == {
        "raises": "RuntimeError: one line and  [31manother",
        "exits": "SystemExit: 1",
        "silent": "TypeError: Other declares no warning",
        "bare": "TypeError: Other.whom is not declared with argument()",
        "takes": "TypeError: Other.confirm: every operation has it; expected another name",
        "role": "TypeError: Other.minimum_role is 'admin'; expected a Role",
        "stands": "TypeError: Other uses the name 'clear_queue' of ClearQueue",
        "nothing": "TypeError: sound:argument is not a subclass of opsdash.operation.Operation",
        "missing": "ModuleNotFoundError: No module named 'not_there'",
    }
    (taken,) = [line for line in lines if not line.startswith("opsdash continues without")]
    assert taken == "opsdash: the operation status has the name of a command: the command is kept"


@pytest.mark.parametrize("place", ["README.md", "docs/operations.md"])
def test_the_docs_lead_to_the_page_about_operations_of_your_own(place: str):
    assert "extending.md" in (ROOT / place).read_text()
