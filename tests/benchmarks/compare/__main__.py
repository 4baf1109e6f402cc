"""opsdash, its rivals and the physical limit at the same work in the same run, and the table of all of it.

    python -m tests.benchmarks.compare                          all rows; rewrites RESULTS.md's table and compare.json
    python -m tests.benchmarks.compare --list                   the rows
    python -m tests.benchmarks.compare --rows clear,find-task   these; the others stay in the table as they are
    python -m tests.benchmarks.compare --rows pages-open --rounds 3 --append    three more rounds of what is there
    python -m tests.benchmarks.compare --quick --output DIR     small amounts, two rounds, for a look; files in DIR

Each rival gets a virtual environment of its own, made once below ``--environments`` (a cache folder of the user's).
Rounds are interleaved, every other one in the opposite order. A row can be named by its work or by one of its figures.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parents[1]), str(HERE.parent)]

from . import rows  # noqa: E402, F401 - declares them
from .rivals import PACKAGES, Rivals, own_versions  # noqa: E402
from .runner import measured  # noqa: E402
from .table import Row, markdown  # noqa: E402
from .work import WORKS, Bench  # noqa: E402

BEGIN, END = "<!-- compare: begin -->\n", "<!-- compare: end -->\n"


def chosen(names: str) -> list[str]:
    """The works of these names, in the table's order; each may be given by one of its figures."""
    wanted = {name.strip() for name in names.split(",") if name.strip()}
    of = {figure.name: name for name, work in WORKS.items() for figure in work.figures} | {name: name for name in WORKS}
    if unknown := sorted(wanted - set(of)):
        raise SystemExit(f"no row {', '.join(unknown)}; there are {', '.join(of)}")
    return [name for name in WORKS if not wanted or name in {of[one] for one in wanted}]


def stored(path: Path) -> dict[str, Row]:
    """The rows of an earlier run."""
    if not path.exists():
        return {}
    return {name: Row.from_plain(name, plain) for name, plain in json.loads(path.read_text())["rows"].items()}


def write(folder: Path, found: dict[str, Row]) -> None:
    """The JSON file, and the table in RESULTS.md between its marks; a file without them gets both."""
    order = [figure.name for work in WORKS.values() for figure in work.figures]
    rows_ = [found[name] for name in order if name in found]
    plain = {"rows": {row.name: row.to_plain() for row in rows_}}
    (folder / "compare.json").write_text(json.dumps(plain, indent=1) + "\n")
    results = folder / "RESULTS.md"
    text = results.read_text() if results.exists() else ""
    before, begin, rest = text.partition(BEGIN)
    after = rest.partition(END)[2] if begin else ""
    results.write_text(f"{before}{BEGIN}\n{markdown(rows_)}\n{END}{after}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures the rows that were chosen."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.compare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", default="", help="names, separated by commas; all without it")
    parser.add_argument("--rounds", type=int, help="how many; without it 7, and fewer of what is dear")
    parser.add_argument("--append", action="store_true", help="add the rounds to those that are stored")
    parser.add_argument("--quick", action="store_true", help="small amounts and two rounds")
    parser.add_argument("--tasks", type=int, default=20_000, help="tasks that the consoles see, of the row memory-seen")
    parser.add_argument("--environments", type=Path, help="where the rivals' environments are")
    parser.add_argument("--output", type=Path, default=HERE.parent, help="the folder of RESULTS.md and compare.json")
    parser.add_argument("--list", action="store_true", help="print the rows")
    given = parser.parse_args(arguments)
    if given.list:
        for name, work in WORKS.items():
            print(name, *(f"    {figure.name:20} {figure.what}, {figure.unit}" for figure in work.figures), sep="\n")
        return 0
    given.output.mkdir(parents=True, exist_ok=True)
    rivals = Rivals(given.environments)
    today = datetime.now(UTC).date().isoformat()
    for name in chosen(given.rows):
        work, began = WORKS[name], time.monotonic()
        rounds = given.rounds or (2 if given.quick else work.rounds)
        rivals.used.clear()
        with contextlib.ExitStack() as stack:
            bench = Bench(stack, rivals, quick=given.quick, tasks=given.tasks)
            taken, load = measured(work, work.prepare(bench), rounds, load=os.getloadavg)
        versions = own_versions() | rivals.versions(*(one for one in PACKAGES if one in rivals.used))
        found = stored(given.output / "compare.json")  # now: other rows may have been measured meanwhile
        for figure in work.figures:
            what = figure.what.format(tasks=f"{given.tasks:,}") + (" (with --quick: of less)" if given.quick else "")
            row = Row(figure.name, what, figure.unit, figure.more, taken[figure.name], load, today, versions)
            found[figure.name] = found[figure.name].more_rounds(row) if given.append and figure.name in found else row
        write(given.output, found)
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        print(markdown(found[figure.name] for figure in work.figures), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
