"""Benchmarks: opsdash beside what people use today, in one run, by turns.

    python tests/benchmarks/run.py            lists them
    python tests/benchmarks/run.py clear      runs one   [--quick] [--json]

Real servers from ``tests/support``. Figures are medians with minimum and maximum; ratios are medians of the rounds' own
ratios, so that a noisy minute hits both sides.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

BENCHMARKS = {
    "clear": "clearing one queue: opsdash, app.control.purge(), celery purge -f, DEL",
    "preview": "looking before a clear: opsdash's estimate, counting all",
    "restore": "a cleared queue back before 100,000 newer messages: opsdash, one script",
    "concurrency-limit": "a task at the gate, and tasks a second: no limit, of other names, not reached, one at once",
    "hold": "a task beside a hold, at the worker's gate; 200,000 held tasks back in their queue: opsdash, one script",
    "retry": "10,000 failed tasks to their queues: opsdash, three commands for each; discarded and restored",
    "find-task": "one task among 1,000,000 waiting: opsdash, LRANGE and a look at each; removing it; a search",
    "stalls": "the longest command and stall of every operation that goes through long lists",
    "cancel-workflow": "3,000 tasks scattered among 300,000: taken out, and put back",
    "pause-latency": "call to last task start, resume to first: opsdash, control.cancel_consumer()",
    "throughput": "tasks a second: plug-in, none, one EXISTS per task; each pool",
    "failures": "failing and successful tasks a second: failed ones kept, switched off, no plug-in; each pool",
    "storm": "50,000 failures at once: plug-in, none; Redis memory, what is kept, a console meanwhile",
    "memory": "resident memory of a worker: plug-in, none",
    "fleet": "200 simulated workers: one pause, one status read",
    "stopped-children": "prefork children that hold a job while they stand still",
    "soak": "20,000 tasks, 25 pauses, kills: lost, run twice, started too late",
    "time-in-queue": "a task accepted by the pool: plug-in, stock; a message stamped",
    "start": "a command from its start to its end: opsdash, celery; the plug-in's import; the demo; --control PATH",
    "metrics": "one scrape of /metrics with 500 workers: idle, busy, reading Redis at the scrape",
    "health": "reading worker health: pushed hashes, inspect().stats()",
    "first-paint": "a first look at the page: bytes, state readable, usable; --control PATH: another build beside it",
    "page-shape": "an open page's server: longest block, twenty pages, memory, click to dialog; --control PATH",
    "browser-sessions": "an open page, and twenty of them: opsdash, Flower",
    "page-soak": "twenty pages open for half an hour: memory of the server, of the pages' scripts",
    "tenants": "100,000 tenants, PostgreSQL to Redis: opsdash, SELECT all and one SET each",
    "logins": "one sign-in beside 100 guesses at once, from 100 addresses, ten, one",
    "snapshot": "everything the page shows: ops.snapshot(), LLEN per queue and inspect()",
    "volume": "500,000 stories, 50,000 reports, fields of 50 MB, messages of 20 MB: a look, a pause, memory",
    "hold-up": "a pause beside ten viewers that refresh and search, and with a silent database: to its flag",
    "frames": "100,003 audit entries as a pandas frame: opsdash, an object per entry, pandas.read_sql",
    "audit": "acts a second against a bare INSERT; verifying 1,000,000 entries; pages of 5,000,000",
}


def summary(
    figures: dict[str, list[float]], pairs: dict[str, tuple[str, str]], unit: str | dict[str, str], name: str
) -> dict[str, Any]:
    """Medians, spread and ratios of interleaved rounds.

    Args:
        figures: What was measured → one number per round.
        pairs: Ratio's name → (numerator, denominator), names of figures.
        unit: Of all figures, or of each by name.
    """
    ratios = {
        ratio: statistics.median(a / b for a, b in zip(figures[top], figures[bottom], strict=True))
        for ratio, (top, bottom) in pairs.items()
    }
    spread = {
        what: {"median": statistics.median(v), "min": min(v), "p99": percentile(v, 99), "max": max(v), "rounds": len(v)}
        for what, v in figures.items()
    }
    units = unit if isinstance(unit, dict) else dict.fromkeys(figures, unit)
    return {"name": name, "ratio": ratios, "figures": spread, "unit": units}


def percentile(values: list[float], share: int) -> float:
    """The smallest of them that so many in a hundred do not exceed."""
    return sorted(values)[max(0, -(-len(values) * share // 100) - 1)]


def main() -> int:
    """Runs the named benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", choices=BENCHMARKS)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller rounds")
    parser.add_argument("--control", type=Path, help="a checkout of another build, for what compares builds")
    chosen = parser.parse_args()
    if chosen.name is None:
        for name, what in BENCHMARKS.items():
            print(f"{name:18} {what}")
        return 0
    options = {"control": chosen.control} if chosen.control else {}
    measure = import_module("bench_" + chosen.name.replace("-", "_")).measure
    figures, pairs, unit = measure(quick=chosen.quick, **options)
    result = summary(figures, pairs, unit, chosen.name)
    if chosen.json:
        print(json.dumps(result, indent=2))
        return 0
    for what, numbers in result["figures"].items():
        low, middle, high = (f"{numbers[key]:,.2f}" for key in ("min", "median", "max"))
        print(
            f"{what:44} {middle:>12} {result['unit'][what]}"
            f"   ({low} to {high}, p99 {numbers['p99']:,.2f}, {numbers['rounds']} rounds)"
        )
    for what, ratio in result["ratio"].items():
        print(f"{what:44} {ratio:>12,.3f} times")
    return 0


if __name__ == "__main__":
    sys.exit(main())
