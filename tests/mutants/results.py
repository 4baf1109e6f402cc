"""What came of each mutant, kept in a file that a later run goes on with, and the table of it."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from mutants.operators import Mutant

KILLED = {"killed", "timeout", "crash"}
SURVIVED = {"survived", "untested"}


@dataclass(frozen=True)
class Result:
    """One mutant's end.

    Attributes:
        state: ``killed``, ``timeout`` and ``crash`` are found; ``survived``; ``untested``: no test runs the line;
            ``same``: the change makes the same code, or none that Python takes.
        test: Which found it.
        tests: How many were to be run.
    """

    key: str
    file: str
    function: str
    line: int
    before: str
    after: str
    state: str
    test: str = ""
    why: str = ""
    tests: int = 0
    took_s: float = 0.0

    @classmethod
    def of(
        cls, mutant: Mutant, state: str, test: str = "", why: str = "", tests: int = 0, took_s: float = 0.0
    ) -> Result:
        place = (mutant.key, mutant.file, mutant.function, mutant.lines[0], mutant.before, mutant.after)
        return cls(*place, state, test, why, tests, took_s)


class Store:
    """Results by mutant: a line of JSON each. What was killed once stays so: later runs may have had fewer tests."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: dict[str, Result] = {}
        if path.exists():
            for line in path.read_text().splitlines():
                result = Result(**json.loads(line))
                self._keep(result)

    def add(self, result: Result) -> None:
        self._keep(result)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as out:
            out.write(json.dumps(asdict(result)) + "\n")

    def _keep(self, result: Result) -> None:
        before = self.found.get(result.key)
        if before is None or before.state not in KILLED:
            weaker = before is not None and before.state == "survived" and result.state == "untested"
            self.found[result.key] = before if weaker else result  # type: ignore[assignment]


def change(before: str, after: str, around: int = 30) -> str:
    """Where the two differ, with what stands around it."""
    start = 0
    while start < min(len(before), len(after)) and before[start] == after[start]:
        start += 1
    end = 0
    while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    first, tail = max(0, start - around), max(0, end - around)

    def part(text: str) -> str:
        last = len(text) - tail
        return f"{'…' if first else ''}{text[first:last]}{'…' if tail else ''}"

    return f"{part(before)} ⇒ {part(after)}"


def interval(killed: int, of: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share."""
    if not of:
        return 0.0, 1.0
    z, share = 1.96, killed / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return middle - half, middle + half


def table(results: Iterable[Result], equivalent: dict[str, str], pool: dict[str, int]) -> str:
    """Markdown: a row for each file, and one for all."""
    by_file: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        by_file[result.file].append(result)
    rows = [
        "| file | mutants | tried | killed | timeouts | survived | equivalent | killed, % |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    sums: Counter[str] = Counter()
    for file, found in sorted(by_file.items()):
        counts = Counter(r.state for r in found)
        same = sum(1 for r in found if r.state in SURVIVED and r.key in equivalent)
        row = Counter(
            mutants=pool.get(file, 0),
            tried=len(found) - counts["same"],
            killed=counts["killed"] + counts["crash"],
            timeouts=counts["timeout"],
            survived=counts["survived"] + counts["untested"] - same,
            equivalent=same,
        )
        sums.update(row)
        rows.append(_row(f"`{file.removeprefix('opsdash/')}`", row))
    low, high = interval(sums["killed"] + sums["timeouts"], sums["tried"] - sums["equivalent"])
    rows.append(_row("**all**", sums))
    return "\n".join([*rows, "", f"95 % interval of the share that is killed: {low:.1%} to {high:.1%}."])


def survivors(results: Iterable[Result], equivalent: dict[str, str]) -> str:
    """Markdown: a line for each, by file; those that are no other program last, with their reasons."""
    left = sorted((r for r in results if r.state in SURVIVED), key=lambda r: (r.key in equivalent, r.file, r.line))
    rows = ["| mutant | where | change | reason |", "|---|---|---|---|"]
    for one in left:
        text = change(one.before, one.after).replace("|", "\\|").replace("`", "'")
        reason = equivalent.get(one.key, f"{'no test runs it' if one.state == 'untested' else 'open'}")
        where = f"{one.file.removeprefix('opsdash/')}:{one.line}"
        rows.append(f"| {one.key} | {where} | `{text[:160]}` | {reason} |")
    return "\n".join(rows)


def _row(name: str, row: Counter[str]) -> str:
    count = row["tried"] - row["equivalent"]
    share = f"{100 * (row['killed'] + row['timeouts']) / count:.0f}" if count else ""
    figures = [str(row[part]) for part in ("mutants", "tried", "killed", "timeouts", "survived", "equivalent")]
    return f"| {name} | {' | '.join(figures)} | {share} |"
