"""A program that comes by fork is what ``subprocess`` would have started: its words, its folder, its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import programs, services

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.environ.get("OPSDASH_TEST_FORK") == "no", reason="forks on Linux, unless told not to"
)

SHOWS = """
import os, sys
print(sys.argv, __name__, os.getcwd(), sorted(name for name in os.environ if name.startswith("SHOW")), input())
print(os.getsid(0) == os.getpid(), sys.path[0], "first" in sys.path[1], file=sys.stderr)
sys.exit(7)
"""
STARTS = """
import subprocess, sys, time
from support import programs
child = programs.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.long
@pytest.mark.parametrize("how", [subprocess.run, programs.run])
def test_words_folder_environment_session_and_exit_code_are_those_of_a_start(how, tmp_path: Path):
    done = how(
        [sys.executable, "-c", SHOWS, "a", "b c"],
        env={"SHOWN": "1", "PYTHONPATH": str(tmp_path / "first")},
        cwd=tmp_path,
        input="said",
        capture_output=True,
        text=True,
        start_new_session=True,
    )
    assert done.stdout == f"['-c', 'a', 'b c'] __main__ {tmp_path} ['SHOWN'] said\n"
    assert done.stderr == "True  True\n"
    assert done.returncode == 7


def test_what_is_read_at_the_start_is_read_where_it_differs():
    code = "import sys, tempfile; print(sys.flags.dev_mode, tempfile.gettempdir())"
    for more, dev in (({}, False), ({"PYTHONDEVMODE": "1"}, True)):
        environment = {**os.environ, "TMPDIR": "/", **more}
        done = programs.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert done.stdout.split() == [str(dev), "/"]


def test_another_build_of_opsdash_on_the_path_is_the_one_that_runs(tmp_path: Path):
    (tmp_path / "opsdash").mkdir()
    (tmp_path / "opsdash" / "__init__.py").write_text("BUILD = 'another'")
    code = "import opsdash; print(opsdash.BUILD)"
    path = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = programs.run([sys.executable, "-c", code], env=path, cwd="/", capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("another\n", 0), done.stderr


@pytest.mark.long
@pytest.mark.parametrize("module", ["opsdash", "celery"])
def test_a_module_runs_as_main(module):
    command = [sys.executable, "-m", module, "--version"]
    done = [how(command, capture_output=True, text=True) for how in (subprocess.run, programs.run)]
    assert done[0].stdout == done[1].stdout
    assert done[0].stdout
    assert done[1].returncode == 0


def test_a_signal_is_its_exit_code_and_an_error_its_traceback():
    with programs.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as process:
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait(20) == -signal.SIGKILL
    done = programs.run([sys.executable, "-c", "1 / 0"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


@pytest.mark.long
def test_a_program_dies_with_the_test_run_that_started_it():
    path = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(__file__).parents[2])])
    environment = os.environ | {"PYTHONPATH": path}
    with subprocess.Popen([sys.executable, "-c", STARTS], stdout=subprocess.PIPE, env=environment) as owner:
        assert owner.stdout
        try:
            pid = int(owner.stdout.readline())
            assert services.alive(pid)
        finally:
            owner.kill()
    assert services.until(lambda: not services.alive(pid))
