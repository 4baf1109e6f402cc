"""Chaos for hours: ``python -m tests.chaos --hours 3 --seed 7``, from the root of the repository.

Steps are drawn from the seed alone. Each does some acts at once: tasks are sent, an operator pauses, holds, clears and
restores, workers start and die, broker, database and console go away and come back. Then everything settles, and what
must be true is checked: each task ran as often as it should or lies where the console says, nothing began while it was
paused or held, each act has one true audit entry, and every figure is the servers' own.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from chaos.storm import report, schedule
from chaos.storm.storm import Broken, Storm
from chaos.storm.world import world

PROGRESS_S = 30.0


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=0.0, help="how long it goes on")
    parser.add_argument("--minutes", type=float, default=0.0, help="added to the hours")
    parser.add_argument("--steps", type=int, help="how many steps at most")
    parser.add_argument("--seed", type=int, default=1, help="what the steps are drawn from (default: 1)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="the steps of this record in place of drawn ones")
    parser.add_argument("--until", type=int, metavar="K", help="stop after step K")
    parser.add_argument(
        "--record", type=Path, metavar="FILE", help="write each step as a line of JSON before it is done"
    )
    parser.add_argument("--flush", action="store_true", help="at the end, Redis loses everything: a scene of its own")
    parser.add_argument("--dry-run", action="store_true", help="print the steps, do nothing")
    parser.add_argument("--verbose", action="store_true", help="say what comes of each act")
    parser.add_argument("--json", action="store_true", help="the summary as JSON, alone on stdout")
    given = parser.parse_args(words)
    if not (given.hours or given.minutes or given.steps or given.replay or given.until):
        parser.error("say how long: --hours, --minutes, --steps or --until")
    return given


def main(words: list[str] | None = None) -> int:
    """0: all was true; 1: something was not; 2: the command line is wrong."""
    given = arguments(words)
    with given.replay.open() if given.replay else open("/dev/null") as lines:
        steps = list(schedule.from_lines(lines)) if given.replay else schedule.steps(given.seed)
        steps = itertools.takewhile(lambda step: given.until is None or step.number <= given.until, steps)
        steps = itertools.islice(steps, given.steps)
        if given.dry_run:
            for step in steps:
                print(step.line())
            return 0
        return run(given, steps)


def run(given: argparse.Namespace, steps: itertools.islice[schedule.Step]) -> int:
    """Does them until the time is over."""
    began = time.monotonic()
    limit_s = given.hours * 3600 + given.minutes * 60 or float("inf")
    told_s = began

    def over() -> bool:
        nonlocal told_s
        now = time.monotonic()
        if now - told_s > PROGRESS_S:
            told_s = now
            acts, sent = sum(storm.acts.counts.values()), len(storm.acts.ledger.sent)
            print(
                f"{now - began:.0f} s: {len(storm.done)} steps, {acts} acts, {sent} tasks", file=sys.stderr, flush=True
            )
        return now - began > limit_s

    def recorded() -> itertools.chain[schedule.Step]:
        for step in steps:
            if given.record:
                with given.record.open("a") as out:
                    out.write(f"{step.line()}\n")
            yield step

    def say(line: str) -> None:
        if given.verbose:
            print(line, file=sys.stderr, flush=True)

    code, end = 0, "all was true"
    with world() as servers:
        storm = Storm(servers, say)
        try:
            storm.run(recorded(), over)
            if given.flush:
                storm.flush()
            storm.finish()
        except KeyboardInterrupt:
            end = "ended by Ctrl-C"
        except Broken as broken:
            code, end = 1, f"step {storm.done[-1]['step'] if storm.done else 0}: {broken}"
            print(report.failure(storm, given.seed, broken), file=sys.stderr)
        found = report.summary(storm, given.seed, time.monotonic() - began, end)
        print(json.dumps(found) if given.json else report.text(found))
    return code


if __name__ == "__main__":
    sys.exit(main())
