"""``opsdash run``: real runs with a real worker, broken off at each step, continued and rolled back."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import programs
from support.deployment import Deployment, deploy
from support.services import Valkey
from support.workers import eventually, worker

import opsdash
from opsdash.runs.store import LEASE_S, RunStore
from opsdash.services.console import Console

PAUSED = "system:pause_processing"
LOOKS = f"""
import os, pathlib, redis, sys
paused = redis.Redis.from_url(os.environ["OPSDASH_REDIS_URL"]).exists({PAUSED!r})
pathlib.Path(sys.argv[1]).write_text(str(paused))
print("the new release")
"""
TRAPS = """
import pathlib, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
pathlib.Path(sys.argv[1]).touch()
time.sleep(60)
"""
PAUSES = """
import opsdash
opsdash.connect().run(opsdash.PauseProcessing(reason="stop"), actor="maria", confirm="YES")
"""
WAITS = """
import pathlib, sys, time
pathlib.Path(sys.argv[1]).touch()
while not pathlib.Path(sys.argv[2]).exists():
    time.sleep(0.05)
"""
ROOT = Path(__file__).parents[2]


@dataclass
class Typed:
    """One command line that was run."""

    code: int
    said: str


class Shell:
    """Types ``opsdash …`` in the environment of one deployment."""

    def __init__(self, folder: Path, console: Console, **more: str) -> None:
        self.console = console
        self.redis = console.broker.client
        self.keys = console.broker.keys
        self.folder = folder
        self.env = {
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
            "OPSDASH_REDIS_URL": console.settings.redis_url,
            "OPSDASH_DATABASE_URL": console.settings.database_url,
            "OPSDASH_SECRET_KEY": console.settings.secret_key or "",
            **more,
        }
        self._child = programs.Popen(
            [sys.executable, "-m", "support.doomed_run"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **self.env},
            cwd=folder,
            text=True,
        )

    def __call__(self, *args: str, doom: tuple[str, str, int] = ("", "", 0)) -> Typed:
        assert self._child.stdin
        assert self._child.stdout
        out = self.folder / "said"
        job = {"args": args, "out": str(out), "step": doom[0], "status": doom[1], "signal": int(doom[2])}
        print(json.dumps(job), file=self._child.stdin, flush=True)
        return Typed(int(self._child.stdout.readline()), out.read_text())

    def close(self) -> None:
        assert self._child.stdin
        self._child.stdin.close()
        self._child.wait(10)
        if self._child.stdout:
            self._child.stdout.close()

    def paused(self) -> bool:
        return bool(self.redis.exists(PAUSED))

    def forget_process(self) -> None:
        """As if the lease of a process that is gone had ended."""
        self.redis.delete(self.keys.run_lease("deploy"), self.keys.run_lease("incident"))

    def run_id(self) -> str:
        """The newest run's."""
        return RunStore(self.console.broker).newest()[0].id

    def entries(self, run_id: str) -> list[tuple[str, str]]:
        """Its audit entries, oldest first: operation and status."""
        found = [entry for entry in self.console.audit.recent(50) if entry.details.get("run") == run_id]
        return [(entry.operation, entry.status.value) for entry in reversed(found)]


@pytest.fixture
def shell(console_for: Callable[..., Console], tmp_path: Path) -> Iterator[Shell]:
    with contextlib.closing(Shell(tmp_path, console_for())) as made:
        yield made


@pytest.fixture
def busy(valkey: Valkey) -> Iterator[Deployment]:
    """A deployment with a worker that reports."""
    with deploy(valkey) as deployment, worker(pool="threads", env=deployment.env):
        yield deployment


def python(text: str, *arguments: object) -> tuple[str, ...]:
    return ("--", sys.executable, "-c", text, *map(str, arguments))


@pytest.mark.long
def test_a_deploy_pauses_waits_runs_the_command_and_resumes_each_with_an_entry_of_the_run(
    shell: Shell, busy: Deployment, tmp_path: Path
) -> None:
    mark = tmp_path / "deployed"
    done = shell("run", "deploy", "--reason", "release 42", "--confirm", "YES", *python(LOOKS, mark))
    assert done.code == 0, done.said
    assert mark.read_text() == "1", "it was paused while the command ran"
    assert "the new release" in done.said
    assert not shell.paused()
    run_id = shell.run_id()
    # An entry is begun in this order; the run's own is around all others.
    assert shell.entries(run_id) == [
        ("run", "success"),
        ("pause_processing", "success"),
        ("run_wait", "success"),
        ("run_command", "success"),
        ("resume_processing", "success"),
    ]
    shown = shell("run", "--status")
    assert run_id in shown.said
    assert "done" in shown.said

    failed = shell("run", "deploy", "--confirm", "YES", *python("raise SystemExit(3)"))
    assert failed.code == 3, failed.said
    assert not shell.paused()
    assert ("run_command", "failure") in shell.entries(shell.run_id())

    # A pause of somebody else's stays, and the preview says so.
    shell.console.run(opsdash.PauseProcessing(without_end=True, reason="audit"), actor="maria", confirm="YES")
    preview = shell("run", "deploy", "--dry-run", *python("pass"))
    assert "paused already by maria (audit), without an end: that pause stays" in preview.said
    assert "Runbook deploy" in preview.said
    assert " of deploy" not in preview.said, "the id of a run that is never kept"
    assert shell("run", "deploy", "--confirm", "YES", *python("pass")).code == 0
    assert shell.paused()
    assert shell.console.pause.read(())[None].by == "maria"


@pytest.mark.long
def test_a_deploy_drains_one_build_while_the_other_goes_on_and_wakes_it_if_the_command_fails(
    shell: Shell, valkey: Valkey
) -> None:
    def takes(build: str) -> tuple[str, ...]:
        return next((one.queues for one in shell.console.workers.read() if one.build == build), ())

    with (
        deploy(valkey) as deployment,
        worker(pool="threads", env=deployment.env | {"OPSDASH_BUILD": "1.41"}),
        worker(pool="threads", env=deployment.env | {"OPSDASH_BUILD": "1.42"}),
    ):
        eventually(lambda: takes("1.41") and takes("1.42"), what="both report", timeout_s=30)
        unknown = shell("run", "deploy", "--drain", "1.4", "--confirm", "YES", *python("pass"))
        assert unknown.code == 3
        assert "Builds: 1.41, 1.42" in unknown.said
        preview = shell("run", "deploy", "--drain", "1.41", "--dry-run", *python("pass"))
        assert "1 worker of build 1.41 stop taking tasks" in preview.said
        assert "If it fails, this is taken back: drain." in preview.said
        assert "No other worker" not in preview.said

        failed = shell("run", "deploy", "--drain", "1.41", "--confirm", "YES", *python("raise SystemExit(3)"))
        assert failed.code == 3, failed.said
        eventually(lambda: takes("1.41"), what="the old build takes tasks again")
        done = shell("run", "deploy", "--drain", "1.41", "--confirm", "YES", *python(LOOKS, shell.folder / "mark"))
        assert done.code == 0, done.said
        assert (shell.folder / "mark").read_text() == "0", "nothing is paused"
        assert takes("1.41") == (), "it stays drained: it is to be stopped"
        assert takes("1.42")
        assert shell.entries(shell.run_id()) == [
            ("run", "success"),
            ("drain_build", "success"),
            ("run_wait", "success"),
            ("run_command", "success"),
        ]
        shell.console.run(opsdash.WakeBuild(build="1.41"), actor="maria", confirm="YES")
        eventually(lambda: takes("1.41"), what="it is woken by hand")


@pytest.mark.long
def test_a_shorter_pause_of_somebody_else_is_set_again_until_its_own_end(shell: Shell, busy: Deployment) -> None:
    shell.console.run(opsdash.PauseProcessing(duration_s=600, reason="look"), actor="maria", confirm="YES")
    ends = shell.console.pause.read(())[None].expires_at
    assert shell("run", "deploy", "--confirm", "YES", *python("import time; time.sleep(1.5)")).code == 0
    after = shell.console.pause.read(())[None]
    assert after.reason == "look"
    assert ends is not None
    assert after.expires_at is not None
    assert abs((after.expires_at - ends).total_seconds()) < 1.5


@pytest.mark.long
def test_without_the_verdict_the_command_is_not_run_and_processing_goes_on(shell: Shell, tmp_path: Path) -> None:
    mark = tmp_path / "deployed"
    done = shell("run", "deploy", "--wait", "1s", "--confirm", "YES", *python(f"open({str(mark)!r}, 'w')"))
    assert done.code == 5, done.said
    assert "not reached" in done.said
    assert not mark.exists()
    assert not shell.paused()
    assert ("run_wait", "failure") in shell.entries(shell.run_id())


SIGTERMS = [
    (("pause", "begun"), False),
    (("pause", "done"), False),
    (("verdict", "begun"), False),
    (("verdict", "done"), False),
    (("command", "begun"), True),
    (("command", "done"), True),
]
"""Where the signal comes, and whether the command is run all the same (it gets the signal as soon as it runs)."""


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_any_step_ends_the_run_and_processing_goes_on(
    shell: Shell, busy: Deployment, number: signal.Signals
) -> None:
    for (step, status), runs in SIGTERMS:
        done = shell("run", "deploy", "--confirm", "YES", *python("pass"), doom=(step, status, number))
        ended_before = (step, status) == ("command", "done")
        assert done.code == (0 if ended_before else 128 + number), (step, status, done.said)
        assert not shell.paused(), (step, status)
        ran = "run_command" in {operation for operation, _ in shell.entries(shell.run_id())}
        assert ran == runs, (step, status)


@pytest.mark.long
def test_a_signal_is_passed_on_to_the_command_and_its_exit_code_is_the_run_s(
    shell: Shell, busy: Deployment, tmp_path: Path
) -> None:
    mark = tmp_path / "runs"
    command = [sys.executable, "-m", "opsdash", "run", "deploy", "--confirm", "YES", *python(TRAPS, mark)]
    with programs.Popen(command, env={**os.environ, **shell.env}, stdin=subprocess.DEVNULL) as running:
        eventually(mark.exists, timeout_s=30, what="the command runs")
        assert shell.paused()
        second = shell("run", "deploy", "--confirm", "YES", *python("pass"))
        assert second.code == 3
        assert "Runbook deploy is being run by" in second.said
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 7
    assert not shell.paused()


KILLS = [
    ("pause", "begun", False, False),
    ("pause", "done", True, False),
    ("verdict", "begun", True, False),
    ("verdict", "done", True, False),
    ("command", "begun", True, False),
    ("command", "done", True, True),
]
"""Step, what was about to be saved, whether the pause is then in force, and whether the command has run."""


def count(mark: Path) -> int:
    return len(mark.read_text()) if mark.exists() else 0


@pytest.mark.long
def test_a_killed_run_is_continued_from_where_it_was(shell: Shell, busy: Deployment, tmp_path: Path) -> None:
    mark = tmp_path / "times"
    deploys = python(f"open({str(mark)!r}, 'a').write('x')")
    for step, status, paused, ran in KILLS:
        mark.unlink(missing_ok=True)
        killed = shell("run", "deploy", "--confirm", "YES", *deploys, doom=(step, status, signal.SIGKILL))
        assert killed.code == -signal.SIGKILL, (step, status, killed.said)
        assert (shell.paused(), count(mark)) == (paused, int(ran)), (step, status)
        run_id = shell.run_id()
        assert shell("run", "--continue", run_id, "--confirm", "YES", *deploys).code == 3, "its lease still lasts"
        shell.forget_process()
        told = shell("run", "deploy", "--dry-run", *deploys)
        assert f"opsdash run --continue {run_id}" in told.said, (step, status)
        again = shell("run", "--continue", run_id, "--confirm", "YES", *deploys)
        assert again.code == 0, (step, status, again.said)
        # Nobody saw the command's end where the kill came before that was saved: said, and run again as it was asked.
        assert count(mark) == 1 + int(ran), (step, status)
        assert not shell.paused(), (step, status)


@pytest.mark.long
def test_a_killed_run_is_rolled_back_and_no_later_run_is_in_its_way(
    shell: Shell, busy: Deployment, tmp_path: Path
) -> None:
    mark = tmp_path / "times"
    deploys = python(f"open({str(mark)!r}, 'a').write('x')")
    for step, status, paused, ran in KILLS:
        mark.unlink(missing_ok=True)
        killed = shell(
            "run", "deploy", "--for", "20m", "--confirm", "YES", *deploys, doom=(step, status, signal.SIGKILL)
        )
        assert killed.code == -signal.SIGKILL, (step, status, killed.said)
        run_id = shell.run_id()
        shell.forget_process()
        if paused:
            assert 1_100_000 < shell.redis.pttl(PAUSED) <= 1_200_000, "the pause ends by itself"
            new = shell("run", "deploy", "--confirm", "YES", *deploys)
            assert new.code == 3, (step, status, new.said)
            assert f"--roll-back {run_id}" in new.said
        back = shell("run", "--roll-back", run_id, "--confirm", "YES")
        assert back.code == 0, (step, status, back.said)
        assert (shell.paused(), count(mark)) == (False, int(ran)), (step, status)
        assert shell("run", "--roll-back", run_id, "--confirm", "YES").code == 3, "it has ended"


@pytest.mark.long
def test_a_continued_run_pauses_again_where_its_pause_has_ended_and_takes_no_other_command(
    shell: Shell, busy: Deployment, tmp_path: Path
) -> None:
    mark = tmp_path / "paused"
    shell("run", "deploy", "--confirm", "YES", *python(LOOKS, mark), doom=("command", "begun", signal.SIGKILL))
    run_id = shell.run_id()
    shell.forget_process()
    shell.console.run(opsdash.ResumeProcessing(), actor="maria", confirm="YES")
    other = shell("run", "--continue", run_id, "--confirm", "YES", *python("pass"))
    assert other.code == 3
    assert "not the command" in other.said
    none = shell("run", "--continue", run_id, "--confirm", "YES")
    assert none.code == 3
    assert "-- COMMAND" in none.said
    assert shell("run", "--continue", run_id, "--confirm", "YES", *python(LOOKS, mark)).code == 0
    assert mark.read_text() == "1"
    assert not shell.paused()


@pytest.mark.long
def test_a_pause_that_somebody_else_has_set_meanwhile_is_not_lifted(shell: Shell, busy: Deployment) -> None:
    done = shell("run", "deploy", "--confirm", "YES", *python(PAUSES))
    assert done.code == 0, done.said
    assert "is maria's by now: it stays" in done.said
    assert shell.console.pause.read(())[None].by == "maria"


@pytest.mark.long
def test_redis_that_is_away_at_the_end_is_waited_for(
    shell: Shell, busy: Deployment, valkey: Valkey, tmp_path: Path
) -> None:
    mark, go = tmp_path / "runs", tmp_path / "go"
    command = [sys.executable, "-m", "opsdash", "run", "deploy", "--confirm", "YES", *python(WAITS, mark, go)]
    with programs.Popen(
        command, env={**os.environ, **shell.env}, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as running:
        eventually(mark.exists, timeout_s=30, what="the command runs")
        valkey.stop()
        go.touch()
        assert running.stderr
        for line in running.stderr:
            if "not taken back yet" in line:
                break
        valkey.start()
        running.stderr.read()
        assert running.wait(60) in {0, 4}
    assert not shell.paused()


@pytest.mark.long
def test_an_incident_pauses_writes_a_file_for_its_owner_alone_and_notes_without_secrets(
    shell: Shell, busy: Deployment, tmp_path: Path
) -> None:
    out = tmp_path / "incident.json"
    done = shell(
        *("run", "incident", "--note", "payments fail, password: hunter2hunter2", "--file", str(out)),
        *("--link", "https://ops.example.com/operations", "--confirm", "YES", "--json"),
    )
    assert done.code == 0, done.said
    assert shell.paused()
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    found = json.loads(out.read_text())
    assert {"snapshot", "failures", "audit", "verdicts", "problems"} <= found.keys()
    assert found["snapshot"]["pause"]["by"]
    assert found["snapshot"]["workers"]
    assert found["problems"] == []
    assert "https://ops.example.com/operations" in done.said
    assert "pause stays as the run has left it; undo: opsdash resume-processing" in done.said
    assert "hunter2" not in done.said
    run_id = shell.run_id()
    assert ("add_note", "success") in shell.entries(run_id)
    note = next(entry for entry in shell.console.audit.recent(10) if entry.operation == "add_note")
    assert "payments fail" in note.details["message"]
    assert "hunter2" not in json.dumps(dict(note.details))
    assert "is there already" in shell("run", "incident", "--file", str(out), "--confirm", "YES").said
    lacking = shell("run", "incident", "--file", str(tmp_path / "none" / "incident.json"), "--confirm", "YES")
    assert lacking.code == 5
    assert "Done, but failed: snapshot." in lacking.said
    assert "Done, but failed: snapshot." in shell("run", "--status").said


def test_an_incident_of_one_kind_of_task_holds_it_and_pauses_nothing(
    shell: Shell, busy: Deployment, tmp_path: Path
) -> None:
    out = tmp_path / "incident.json"
    done = shell("run", "incident", "--hold", "payments.*", "--for", "2h", "--file", str(out), "--confirm", "YES")
    assert done.code == 0, done.said
    assert not shell.paused()
    entries = shell.entries(shell.run_id())
    assert ("hold_tasks", "success") in entries
    assert "pause_processing" not in {operation for operation, _ in entries}
    (hold,) = json.loads(out.read_text())["snapshot"]["holds"]
    assert (hold["hold"]["name"], hold["hold"]["queue"]) == ("payments.*", "")


@pytest.mark.long
def test_a_team_s_runbook_has_steps_of_any_operation_and_nothing_secret_is_kept(
    shell: Shell, busy: Deployment, tmp_path: Path
) -> None:
    file = tmp_path / "team.toml"
    words = shlex.join(["--token", "correct-horse-battery-staple"])
    file.write_text(
        '[careful]\nhelp = "Quiet a worker."\n'
        '[[careful.steps]]\nname = "quiet"\noperation = "quiet_worker"\n'
        'params = {hostname = "{worker}"}\ntake_back = true\n'
        '[[careful.steps]]\nname = "command"\ncommand = "given"\n'
    )
    eventually(shell.console.get_active_workers, what="the worker reports")
    name = shell.console.get_active_workers()[0]
    with contextlib.closing(Shell(tmp_path, shell.console, OPSDASH_RUNBOOKS=str(file))) as typed:
        done = typed(
            "run", "careful", "--set", f"worker={name}", "--confirm", "YES", *python("pass"), *shlex.split(words)
        )
        assert done.code == 0, done.said
        assert typed.entries(typed.run_id())[1:] == [
            ("quiet_worker", "success"),
            ("run_command", "success"),
            ("wake_worker", "success"),
        ]
        kept = json.dumps(typed.redis.hgetall(typed.keys.run(typed.run_id())))
        told = json.dumps([dict(entry.details) for entry in typed.console.audit.recent(10)], default=str)
        assert "correct-horse" not in kept + told + done.said
        missing = typed("run", "careful", "--set", "worker=nobody@nowhere", "--confirm", "YES", *python("pass"))
        assert missing.code == 3
        file.write_text("[careful]\nsteps = 5\n")
        wrong = typed("run", "--list")
        assert wrong.code == 2
        assert wrong.said.count("\n") == 1
        assert "OPSDASH_RUNBOOKS" in wrong.said


@pytest.mark.long
def test_a_lease_that_is_not_renewed_ends_and_the_run_s_own_process_then_does_nothing_more(
    shell: Shell, busy: Deployment
) -> None:
    assert 10 <= LEASE_S <= 30

    def take_over() -> bool:
        run_id = next((run.id for run in RunStore(shell.console.broker).newest()), "")
        if not run_id:
            return False
        shell.forget_process()
        other = RunStore(shell.console.broker)
        other.begin(other.find(run_id))
        return True

    command = [
        sys.executable,
        "-m",
        "opsdash",
        "run",
        "deploy",
        "--confirm",
        "YES",
        *python("import time; time.sleep(3)"),
    ]
    with programs.Popen(
        command, env={**os.environ, **shell.env}, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as running:
        eventually(shell.paused, timeout_s=30, what="it pauses")
        eventually(take_over, what="it is taken over")
        said = running.stderr.read() if running.stderr else ""
        assert running.wait(60) == 3
    assert "was taken over by another process" in said
    assert shell.paused(), "who took it over decides"
