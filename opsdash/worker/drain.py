"""``python -m opsdash.worker.drain``: before a pod's worker is stopped, it takes no more tasks and ends those it runs.

For ``preStop``. It speaks to the worker beside it and to nobody else: no app, no broker, no settings. Ends with 0 when
the worker says that it holds and runs nothing, with 5 when that can't be said, with 2 for wrong usage, where nothing
was changed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

from opsdash.text import format_duration, parse_duration
from opsdash.worker import local_client

DONE, USAGE, UNCERTAIN = 0, 2, 5
"""The command line's own codes."""
EVERY_S = 0.2
HOLD_S = 300.0
"""After the last word of this command the worker holds its tasks so long, unless it is stopped; then it goes on."""
START_S = 10.0
"""How long a worker that has never reached its broker is waited for: it holds nothing that could be given back."""
LONGEST_S = 24 * 3_600
LABELS = {"active": "running", "reserved": "reserved", "scheduled": "scheduled", "unacked": "not acknowledged"}


class Drained:
    """One worker that is being drained, as it last answered.

    Attributes:
        over: Nothing is left to wait for. ``failed``: why not drained; empty until that is certain.
    """

    def __init__(self, worker: local_client.Found) -> None:
        self.place, self.name = worker.place, worker.name
        self.over, self.failed = False, ""
        self._status: dict[str, Any] = {}
        self._silence = ""
        self._began = time.monotonic()

    def refresh(self) -> None:
        """Tells it once more, and notes what it says. Takes up to ``local.ANSWER_S``."""
        if not self.place.listening:
            self._await_start()
            return
        try:
            self._status = local_client.send_command(self.place, f"drain {HOLD_S:g}")
        except local_client.Silent as silent:
            self._silence = str(silent)
            if local_client.gone(self.place):
                self._fail(f"has ended; {self._left() or 'it had no task'} when it last answered")
            return
        self._silence = ""
        self.name = str(self._status.get("hostname") or self.name)
        if self._status.get("pausing") != "ready":
            self._fail(f"can't be drained: {self._status.get('pausing')}")
        self.over = self.over or self._status.get("drained") is True

    def _await_start(self) -> None:
        now = [place for place in local_client.places() if place.name == self.place.name]
        if not now:
            self._fail("has ended before it was connected to its broker")
        elif now[0].listening:
            self.place = now[0]
        elif time.monotonic() - self._began > START_S:
            self._fail("is not connected to its broker yet: it has no task, and can't be drained now")

    def _fail(self, why: str) -> None:
        self.over, self.failed = True, why

    def why(self) -> str:
        """Why it is not drained, as it last answered."""
        if self.failed or self._silence:
            return self.failed or self._silence
        if not self._status.get("connected", True):
            return f"is not connected to its broker; {self._left() or 'its event loop has not confirmed'}"
        return f"has {self._left() or 'not confirmed that it fetches no more'}"

    def _left(self) -> str:
        parts = [f"{self._status.get(field)} {word}" for field, word in LABELS.items() if self._status.get(field)]
        return ", ".join(parts)


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m opsdash.worker.drain",
        description="Drain the worker of this container: it takes no more tasks, puts back unstarted tasks and finishes"
        " running ones. Exit code 0: done; 5: not, or not known; 2: wrong usage, nothing was changed.",
    )
    parser.add_argument("--timeout", default="5m", help="wait so long for running tasks (default: 5m)")
    parser.add_argument("--name", action="append", default=[], metavar="HOSTNAME", help="this worker, of several here")
    parser.add_argument("--all", action="store_true", help="every worker that runs here")
    parser.add_argument("--release", action="store_true", help="undo it: take tasks again")
    options = parser.parse_args(arguments)
    try:
        options.timeout_s = parse_duration(options.timeout, bare_seconds=True)
    except ValueError as error:
        parser.error(f"--timeout: {error}")
    if not 0 < options.timeout_s <= LONGEST_S:
        parser.error("--timeout: expected 1s to 24h")
    return options


def _print(text: str) -> None:
    local_client.print_line(text)


def _complain(text: str) -> None:
    local_client.print_line(f"opsdash: {text}", wrong=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Drains the workers that are meant; the exit code."""
    options = _arguments(arguments)
    try:
        chosen = local_client.choose(local_client.look(), options.name, everyone=options.all)
    except local_client.Silent as lost:
        _complain(str(lost))
        return UNCERTAIN
    except ValueError as unclear:
        _complain(f"{unclear}. Nothing was changed.")
        return USAGE
    if options.release:
        return _release(chosen)
    return _drain([Drained(worker) for worker in chosen], options.timeout_s)


def _drain(workers: list[Drained], timeout_s: float) -> int:
    began = time.monotonic()
    try:
        while True:
            for worker in workers:
                if not worker.over:
                    worker.refresh()
            waited_s = time.monotonic() - began
            if all(worker.over for worker in workers) or waited_s >= timeout_s:
                break
            # The worker answers and says nothing by itself: it is asked again.
            time.sleep(min(EVERY_S, max(0.0, timeout_s - waited_s)))
    except KeyboardInterrupt:
        waited_s = time.monotonic() - began
    left = [worker for worker in workers if worker.failed or not worker.over]
    for worker in workers:
        if worker not in left:
            _print(f"{worker.name} is drained: it takes no tasks, has none and runs none.")
    for worker in left:
        _complain(f"{worker.name} is not drained after {format_duration(waited_s)}: {worker.why()}")
    if any(not worker.failed for worker in left):
        duration = format_duration(HOLD_S)
        _complain(f"it takes no new task for {duration}; --release ends that; stopping it now ends its running tasks")
    return UNCERTAIN if left else DONE


def _release(chosen: list[local_client.Found]) -> int:
    code = DONE
    for worker in chosen:
        try:
            local_client.send_command(worker.place, "release")
        except local_client.Silent as silent:
            _complain(f"{worker.name}: {silent}")
            code = UNCERTAIN
        else:
            _print(f"{worker.name} takes tasks again.")
    return code


if __name__ == "__main__":
    sys.exit(main())
