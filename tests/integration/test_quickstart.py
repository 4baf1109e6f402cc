"""The quickstart, typed as it stands: every command of it, against the demo that it starts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from itertools import takewhile
from pathlib import Path

import pytest
from support.services import free_port

PAGE = Path(__file__).parents[2] / "docs" / "quickstart.md"
INSTALL, START, *SECOND_TERMINAL = re.findall(r"^```sh\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_every_command_of_the_quickstart_does_what_the_page_says(tmp_path: Path) -> None:
    made, install = INSTALL.splitlines()
    assert made == "python3 -m venv .venv && . .venv/bin/activate"
    assert install == 'python -m pip install ".[demo]"'  # what .ci/run and test_package.py install from
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    port = str(free_port())
    with subprocess.Popen(
        [*START.split(), "--no-browser", "--port", port],
        env=environment,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    ) as demo:
        try:
            assert demo.stdout
            lines = list(takewhile(lambda line: line != "ready\n", demo.stdout))
            assert lines[-1] == f"http://127.0.0.1:{port}/operations\n"
            script = "set -e\n" + "\n".join(SECOND_TERMINAL)
            done = subprocess.run(["bash", "-c", script], env=environment, cwd=tmp_path, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
        finally:
            demo.send_signal(signal.SIGTERM)
            demo.wait(30)
    assert "trying it out" in done.stdout  # in the status, while it is paused
    assert re.search(r"Cleared \d+ tasks? from emails", done.stdout)
    assert "payments.capture" in done.stdout  # among the failed ones, and then in the preview of the retry
    assert "The audit log is whole" in done.stdout
