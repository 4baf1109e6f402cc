"""Operations of other packages, as docs/extending.md tells; broken ones never stop the console."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

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


def test_the_operation_of_the_docs_is_on_every_surface(tmp_path: Path, sqlite_url, valkey):
    named = re.search(r'^\[project\.entry-points\."opsdash\.operations"\]\n(.*)$', TOML, re.MULTILINE)[1]
    environment = installed(tmp_path, {"closing": PYTHON}, named.replace('"', ""))
    environment |= {"OPSDASH_REDIS_URL": valkey.url, "OPSDASH_DATABASE_URL": sqlite_url}
    script = textwrap.dedent("""
        import json
        from click.testing import CliRunner
        import opsdash
        from opsdash.api.openapi import document
        from opsdash.cli import cli
        from opsdash.operation import registry
        from opsdash.views import form

        kind, cli_run = registry()["close_shop"], CliRunner().invoke
        ops = opsdash.connect()
        operation = kind(sign="Back at six")
        found = {
            "help": cli_run(cli, ["--help"]).output,
            "empty": cli_run(cli, ["close-shop", "", "--dry-run"]).output,
            "dry": cli_run(cli, ["close-shop", "Back at six", "--for", "2h", "--dry-run"]).output,
            "asked": [field["label"] for field in form.fields(operation, ops.preview(operation))],
            "path": document()["paths"]["/api/v1/operations/close_shop"]["post"]["summary"],
            "before": ops.broker.client.get("shop:closed"),
            "run": cli_run(cli, ["close-shop", "Back at six", "--for", "2h", "--confirm", "YES"]).output,
            "ttl": ops.broker.client.ttl("shop:closed"),
            "audit": [(e.operation, e.status, e.details["params"]) for e in ops.get_recent_operations()],
        }
        print(json.dumps(found))
    """)
    done = run(environment, "-c", script)
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert re.search(r"close-shop +Show customers a sign instead of the checkout", found["help"])
    assert found["empty"] == "opsdash: sign: enter the text that customers read. Nothing was changed.\n"
    assert "Customers read 'Back at six' for 2h 0m 0s." in found["dry"]
    assert found["asked"] == ["What customers read", "How long", "Reason"]
    assert found["path"] == "Show customers a sign instead of the checkout, for a limited time."
    assert found["before"] is None, "a preview changes nothing"
    assert found["run"].splitlines()[0] == "Closed for 2h 0m 0s: 'Back at six'."
    assert 7000 < found["ttl"] <= 7200
    assert found["audit"] == [["close_shop", "success", {"sign": "Back at six", "duration_s": 7200, "reason": ""}]]


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
    assert "One screen: is processing paused" in done.stdout, "status is still ours"
    lines = done.stderr.splitlines()
    said = dict(
        re.fullmatch(r"opsdash goes on without the operation (\w+) \([\w:]+\): (.*)", line).groups()
        for line in lines
        if line.startswith("opsdash goes on without")
    )
    assert said == {
        "raises": "RuntimeError: one line and  [31manother",
        "exits": "SystemExit: 1",
        "silent": "TypeError: Other declares no warning",
        "bare": "TypeError: Other.whom is not declared with argument()",
        "takes": "TypeError: Other.confirm: every operation has that already; expected another name",
        "role": "TypeError: Other.minimum_role is 'admin'; expected a Role",
        "stands": "TypeError: Other takes the name 'clear_queue', which ClearQueue has",
        "nothing": "TypeError: sound:argument is no class that derives from opsdash.operation.Operation",
        "missing": "ModuleNotFoundError: No module named 'not_there'",
    }
    (taken,) = [line for line in lines if not line.startswith("opsdash goes on without")]
    assert taken == "opsdash: an operation is called status, as a command is: the command stays"


@pytest.mark.parametrize("place", ["README.md", "docs/operations.md"])
def test_the_docs_lead_to_the_page_about_operations_of_your_own(place: str):
    assert "extending.md" in (ROOT / place).read_text()
