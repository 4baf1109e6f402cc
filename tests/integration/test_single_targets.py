"""One task revoked, one worker quieted: with real workers, confirmed and audited as every operation is."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from support.deployment import Deployment
from support.workers import eventually, worker

from opsdash.errors import Invalid, Refused, Uncertain
from opsdash.operations import QuietWorker, RevokeTask, WakeWorker
from opsdash.services.console import Console

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_a_worker_that_is_quieted_takes_nothing_until_it_is_woken(deployment: Deployment, console_for):
    console: Console = console_for(queues=("celery", "emails"))
    with (
        worker(pool="threads", env=deployment.env, queues=["celery", "emails"]) as quiet,
        worker(pool="threads", env=deployment.env, queues=["celery"]) as other,
    ):
        eventually(lambda: len(console.get_active_workers()) == 2, what="both report")
        preview = console.preview(QuietWorker(hostname=quiet.hostname))
        assert preview.figures["alone"] == ["emails"]
        assert "No other worker with the plug-in takes tasks from emails: they will wait." in preview.lines
        with pytest.raises(Refused, match="was not confirmed"):
            console.run(QuietWorker(hostname=quiet.hostname), actor="maria", confirm="yes")
        effect = console.run(QuietWorker(hostname=quiet.hostname), actor="maria", confirm="YES")
        assert effect.message == f"{quiet.hostname} takes no more tasks from celery, emails."
        assert effect.details["undo"] == f"opsdash wake-worker {quiet.hostname}"
        eventually(lambda: deployment.health(quiet.hostname)["queues"] == "[]", what="the worker reports no queue")
        deployment.send(10, queue="celery")
        deployment.send(3, queue="emails")
        deployment.records.wait_for(10)
        assert {start.worker for start in deployment.records.starts()} == {other.hostname}
        assert deployment.waiting("emails") == 3
        woken = console.run(WakeWorker(hostname=quiet.hostname), actor="maria", confirm="YES")
        assert woken.details["queues"] == ["celery", "emails"]
        deployment.records.wait_for(13)
        with pytest.raises(Refused, match="was not quieted by opsdash"):
            console.run(WakeWorker(hostname=quiet.hostname), actor="maria", confirm="YES")
    assert [entry.status for entry in console.get_recent_operations()] == ["refused", "success", "success", "refused"]


@pytest.mark.slow
def test_a_task_that_is_revoked_does_not_run_and_one_that_runs_is_terminated(deployment: Deployment, console_for):
    console: Console = console_for()
    with worker(pool="prefork", concurrency=1, env=deployment.env) as running:
        with deployment.celery.connection_for_write() as connection:
            long = deployment.celery.send_task("sample.short", [1, 60], connection=connection).id
            deployment.records.wait_for(1)
            next_one = deployment.celery.send_task("sample.short", [2], connection=connection).id
            last = deployment.celery.send_task("sample.short", [3], connection=connection).id
        preview = console.preview(RevokeTask(task_id=long))
        assert preview.lines[:2] == (
            f"{running.hostname} holds it (active): sample.short.",
            "It runs, and will finish.",
        )
        assert console.preview(RevokeTask(task_id=long, terminate=True)).lines[1] == "It runs: its process is killed."
        done = console.run(RevokeTask(task_id=next_one), actor="maria", confirm="YES")
        assert done.message == f"Revoked {next_one}: 1 worker confirmed."
        console.run(RevokeTask(task_id=long, terminate=True), actor="maria", confirm="YES")
        deployment.records.wait_for(2)
        assert deployment.records.times_run() == {long: 1, last: 1}
    assert [entry.status for entry in console.get_recent_operations()] == ["success", "success"]


def test_what_nobody_confirms_is_uncertain_and_what_is_no_target_is_refused(console_for):
    console: Console = console_for()
    assert console.preview(RevokeTask(task_id="an-id")).lines[0].startswith("No worker says that it holds it")
    with pytest.raises(Uncertain, match="No worker confirmed that an-id is revoked"):
        console.run(RevokeTask(task_id="an-id"), actor="maria", confirm="YES")
    with pytest.raises(Invalid, match="expected one task's id"):
        console.run(RevokeTask(task_id="two ids"), actor="maria", confirm="YES")
    with pytest.raises(Refused, match="takes tasks from no queue, is no worker, or does not answer"):
        console.run(QuietWorker(hostname="w1@nowhere"), actor="maria", confirm="YES")
    assert [entry.status for entry in console.get_recent_operations()] == ["refused", "refused", "unknown"]


GREETING = '''
from typing import ClassVar
from opsdash.model import Effect, Preview
from opsdash.operation import Operation, argument

class GreetTeam(Operation):
    """Greets."""

    name: ClassVar[str] = "greet_team"
    title: ClassVar[str] = "Greet Team"
    help: ClassVar[str] = "Greet the team."
    warning: ClassVar[str] = "The team feels greeted."
    whom: str = argument(positional=True, default="", help="Whom.")

    def preview(self, console):
        return Preview(title=self.title, warning=self.warning, lines=(f"{self.whom} will be greeted.",))

    def execute(self, console, act):
        return Effect(affected=1, message=f"Greeted {self.whom}.")
'''


def test_another_packages_operation_is_on_every_surface_and_a_broken_one_is_one_line(
    tmp_path: Path, sqlite_url, valkey
):
    (tmp_path / "greeting.py").write_text(GREETING)
    (tmp_path / "broken.py").write_text("raise RuntimeError('one line\\nand another')")
    info = tmp_path / "greeting-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
    points = "[opsdash.operations]\nbroken = broken\ngreeting = greeting:GreetTeam\nmissing = not_there\n"
    (info / "entry_points.txt").write_text(points)
    script = textwrap.dedent("""
        import sys, opsdash
        from click.testing import CliRunner
        from opsdash.api.openapi import document
        from opsdash.cli import cli
        from opsdash.operation import registry
        ops = opsdash.connect()
        effect = ops.run(registry()["greet_team"](whom="ops"), actor="maria", confirm="YES")
        print(effect.message, ops.get_recent_operations()[0].operation)
        print("/api/v1/operations/greet_team" in document()["paths"])
        print("ops will be greeted." in CliRunner().invoke(cli, ["greet-team", "ops", "--dry-run"]).output)
    """)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
        "OPSDASH_REDIS_URL": valkey.url,
        "OPSDASH_DATABASE_URL": sqlite_url,
    }
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == ["Greeted ops. greet_team", "True", "True"], done.stderr
    broken, missing = done.stderr.splitlines()
    assert broken == (
        "the operation broken (broken) can't be loaded and is left out: RuntimeError: one line and another"
    )
    assert "the operation missing (not_there) can't be loaded and is left out: ModuleNotFoundError" in missing
