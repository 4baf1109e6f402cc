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
HELD = {"active": "running", "reserved": "reserved", "scheduled": "scheduled", "unacked": "not acknowledged"}


class Drained:
    """One worker that is being drained, as it last answered.

    Attributes:
        over: Nothing is left to wait for. ``failed``: why not drained; empty until that is certain.
    """

    def __init__(self, worker: local_client.Found) -> None:
        self.place, self.name = worker.place, worker.name
        self.over, self.failed = False, ""
        self._told: dict[str, Any] = {}
        self._silence = ""
        self._began = time.monotonic()

    def ask(self) -> None:
        """Tells it once more, and notes what it says. Takes up to ``local.ANSWER_S``."""
        if not self.place.listening:
            self._await_start()
            return
        try:
            self._told = local_client.ask(self.place, f"drain {HOLD_S:g}")
        except local_client.Silent as silent:
            self._silence = str(silent)
            if local_client.gone(self.place):
                self._fail(f"has ended; {self._left() or 'it had no task'} when it last answered")
            return
        self._silence = ""
        self.name = str(self._told.get("hostname") or self.name)
        if self._told.get("pausing") != "ready":
            self._fail(f"can't be drained: {self._told.get('pausing')}")
        self.over = self.over or self._told.get("drained") is True

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
        if not self._told.get("connected", True):
            return f"is not connected to its broker; {self._left() or 'its event loop has not confirmed'}"
        return f"has {self._left() or 'not confirmed that it fetches no more'}"

    def _left(self) -> str:
        told = [f"{self._told.get(field)} {word}" for field, word in HELD.items() if self._told.get(field)]
        return ", ".join(told)


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
    told = parser.parse_args(arguments)
    try:
        told.timeout_s = parse_duration(told.timeout)
    except ValueError as error:
        parser.error(f"--timeout: {error}")
    if not 0 < told.timeout_s <= LONGEST_S:
        parser.error("--timeout: expected 1s to 24h")
    return told


def _say(text: str) -> None:
    local_client.say(text)


def _complain(text: str) -> None:
    local_client.say(f"opsdash: {text}", wrong=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Drains the workers that are meant; the exit code."""
    told = _arguments(arguments)
    try:
        chosen = local_client.choose(local_client.look(), told.name, everyone=told.all)
    except local_client.Silent as lost:
        _complain(str(lost))
        return UNCERTAIN
    except ValueError as unclear:
        _complain(f"{unclear}. Nothing was changed.")
        return USAGE
    if told.release:
        return _release(chosen)
    return _drain([Drained(worker) for worker in chosen], told.timeout_s)


def _drain(workers: list[Drained], timeout_s: float) -> int:
    began = time.monotonic()
    try:
        while True:
            for worker in workers:
                if not worker.over:
                    worker.ask()
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
            _say(f"{worker.name} is drained: it takes no tasks, has none and runs none.")
    for worker in left:
        _complain(f"{worker.name} is not drained after {format_duration(waited_s)}: {worker.why()}")
    if any(not worker.failed for worker in left):
        held = format_duration(HOLD_S)
        _complain(f"it takes no new task for {held}; --release ends that; stopping it now ends its running tasks")
    return UNCERTAIN if left else DONE


def _release(chosen: list[local_client.Found]) -> int:
    code = DONE
    for worker in chosen:
        try:
            local_client.ask(worker.place, "release")
        except local_client.Silent as silent:
            _complain(f"{worker.name}: {silent}")
            code = UNCERTAIN
        else:
            _say(f"{worker.name} takes tasks again.")
    return code


if __name__ == "__main__":
    sys.exit(main())
