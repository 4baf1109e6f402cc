"""``python -m opsdash.worker.alive``: whether this container's worker lives, for a liveness probe.

Ends with 0 while its event loop turns and its reports go out, with 5 when they don't or no worker answers. Without its
broker a worker counts as alive: restarting all workers does not repair the broker. So the broker is not asked, and what
is blocked only because the broker does not answer, or has not for long, does not fail.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from opsdash.text import format_duration, parse_duration
from opsdash.worker import local_client

LIVES, USAGE, DOES_NOT = 0, 2, 5
WITHIN_S, LEAST_S = 60, 30
"""Celery itself waits up to 30 s between two attempts to reach its broker again. The event loop is blocked while a
broker does not answer, and opsdash needs 20 s to notice that: a shorter time would restart all workers."""


def verdict(status: Mapping[str, Any], within_s: float) -> tuple[bool, str]:
    """Whether a worker lives, and the reason in words.

    Args:
        status: The worker's answer; see `opsdash.worker.drain_state.facts`.
    """
    stands_s, silent_s, failed_s = (_figure(status.get(name)) for name in ("tick_s", "turned_s", "failed_s"))
    if status.get("stopping") is True:
        return True, "is being stopped"
    if failed_s is not None and failed_s <= within_s:
        return True, "has no answer from its broker, or had none a moment ago; this does not fail the probe"
    if silent_s is None or silent_s > within_s:
        return False, f"has not reported for {_for(silent_s)}, though its broker did not fail"
    if stands_s is not None and stands_s <= within_s:
        return True, "turns its event loop and reports"
    if status.get("pool") == "solo" and status.get("active"):
        return True, "runs a task in its event loop"
    if status.get("connected") is False:
        return False, f"has not reconnected to its broker, which answers, for {_for(stands_s)}"
    return False, f"has an event loop that has been blocked for {_for(stands_s)}"


def _figure(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _for(seconds: float | None) -> str:
    return "an unknown time" if seconds is None else format_duration(seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Looks at every worker that runs here, or those named; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m opsdash.worker.alive",
        description="Whether the worker of this container lives: its event loop turns and it reports. Exit code 0: yes;"
        " 5: no; 2: wrong usage. The broker is not asked, and its outage does not fail.",
    )
    parser.add_argument("--within", default=f"{WITHIN_S}s", help=f"longest block allowed (default: {WITHIN_S}s)")
    parser.add_argument("--name", action="append", default=[], metavar="HOSTNAME", help="this worker, of several here")
    chosen = parser.parse_args(arguments)
    try:
        within_s = parse_duration(chosen.within, bare_seconds=True)
        if within_s < LEAST_S:
            raise ValueError(f"--within: expected {LEAST_S}s or more: an outage of the broker is not noted sooner")  # noqa: TRY301 - reported like parse_duration's own
        found = local_client.choose(local_client.look(), chosen.name, everyone=True)
    except local_client.Silent as lost:
        local_client.print_line(f"opsdash: {lost}", wrong=True)
        return DOES_NOT
    except ValueError as wrong:
        local_client.print_line(f"opsdash: {wrong}", wrong=True)
        return USAGE
    code = LIVES
    for worker in found:
        lives, text = _lives(worker, within_s)
        local_client.print_line(f"{worker.name} {text}", wrong=not lives)
        code = code if lives else DOES_NOT
    return code


def _lives(worker: local_client.Found, within_s: float) -> tuple[bool, str]:
    if not worker.place.listening:
        return True, "starts, and is not connected to its broker yet"
    if worker.status is not None:
        return verdict(worker.status, within_s)
    return False, "has ended" if local_client.gone(worker.place) else worker.silence


if __name__ == "__main__":
    sys.exit(main())
