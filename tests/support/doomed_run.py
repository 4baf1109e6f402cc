"""``opsdash`` as it is typed, many times: one process that has loaded everything, and a fork for each line of JSON.

``{"args": ["run", "deploy", …], "out": FILE, "step": "pause", "status": "done", "signal": 9}`` has the run send itself
that signal when it is about to save that this step has this status; with ``"signal": 0`` nothing happens. Answers the
exit code, negative for a signal.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import opsdash.operations  # noqa: F401 - so that each fork has it already
from opsdash.cli import main as opsdash_main
from opsdash.runs import plan, runner  # noqa: F401 - as above
from opsdash.runs.state import RunState
from opsdash.runs.store import RunStore
from opsdash.services import console  # noqa: F401 - as above


def doom(step: str, status: str, number: int) -> None:
    """From now on the signal comes, once, before it is saved that the step has this status."""
    save: Callable[..., None] = RunStore.save
    fired = []

    def saving(self: RunStore, run: RunState) -> None:
        if not fired and run.step(step).status == status:
            fired.append(step)
            os.kill(os.getpid(), number)
        save(self, run)

    RunStore.save = saving  # type: ignore[method-assign] # in a fork that ends soon


def live(job: dict[str, Any]) -> None:
    """One command's life."""
    out = os.open(job["out"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may ignore it (nohup)
    if job["signal"]:
        doom(job["step"], job["status"], job["signal"])
    sys.argv = ["opsdash", *job["args"]]
    opsdash_main()


def main() -> None:
    """Answers each line."""
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                live(json.loads(line))
            except SystemExit as ended:
                code = int(ended.code or 0)
            finally:
                sys.stdout.flush()
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
