"""Changes the product in small ways, and says which changes no test notices. From the root of the repository.

    python -m tests.mutants opsdash/worker/gate.py               all mutants of a file
    python -m tests.mutants opsdash/worker --sample 20 --seed 7  twenty of each file, drawn from the seed
    python -m tests.mutants --sample 20 --set long --survivors   what survived pytest, with the tests marked `long`
    python -m tests.mutants --report                             the table of all results so far

Which test runs which line is measured once for each set, and kept in tests/artifacts/mutants with the results, so that
a later run goes on; `--measure` measures it again, `--again` tries what has a result, `--tests` names the tests'
folders.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from mutants import operators, results, runner

ARTIFACTS = operators.ROOT / "tests" / "artifacts" / "mutants"
SETS = {"default": "not slow and not long", "long": "long and not slow"}
TESTS = ("unit", "api", "contract", "integration", "property", "security")
FILES = ("opsdash/worker", "opsdash/services", "opsdash/operations", "opsdash/operation.py", "opsdash/beat")
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
REASONS = Path(__file__).with_name("equivalent.txt")


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", default=FILES, help="files or folders of the product")
    parser.add_argument("--sample", type=int, help="how many of each file; all where not given")
    parser.add_argument("--seed", type=int, default=1, help="what the sample is drawn from (default: 1)")
    parser.add_argument("--set", choices=SETS, default="default", help="which tests (default: what pytest runs)")
    parser.add_argument("--budget", type=float, default=20.0, metavar="S", help="seconds of tests for each mutant")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="folders or files in tests/")
    parser.add_argument("--survivors", action="store_true", help="only what the default set did not find")
    parser.add_argument("--again", action="store_true", help="try what has a result, too")
    parser.add_argument("--only", nargs="+", metavar="KEY", help="these mutants")
    parser.add_argument("--measure", action="store_true", help="find out again which test runs which line")
    parser.add_argument("--known", action="store_true", help="only tests of which that is known already")
    parser.add_argument("--report", action="store_true", help="print the table of what is known, and the survivors")
    parser.add_argument("--write", action="store_true", help="with --report: into tests/mutants/RESULTS.md")
    return parser.parse_args(words)


def sources(names: list[str]) -> list[str]:
    """The files, as paths from the root."""
    found = []
    for name in names:
        path = operators.ROOT / name
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return [str(path.relative_to(operators.ROOT)) for path in found]


def equivalent() -> dict[str, str]:
    """Mutants that do the same as the original, or nothing that is promised, each with the reason."""
    lines = REASONS.read_text().splitlines() if REASONS.exists() else []
    pairs = ((line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in lines if line and not line.startswith("#"))
    return dict(pairs)


def drawn(given: argparse.Namespace, file: str) -> list[operators.Mutant]:
    """The mutants of a file that are to be tried."""
    made, _ = operators.mutants(file)
    if given.only:
        return [mutant for mutant in made if mutant.key in given.only]
    random.Random(f"{given.seed} {file}").shuffle(made)
    return made[: given.sample]


def report(store: results.Store, files: list[str]) -> str:
    """The table of the files that were tried, and the survivors with their reasons."""
    tried = {result.file for result in store.found.values()}
    keys = {file: {mutant.key for mutant in operators.mutants(file)[0]} for file in files if file in tried}
    found = [result for result in store.found.values() if result.key in keys.get(result.file, ())]
    known = equivalent()
    pool = {file: len(of) for file, of in keys.items()}
    return f"{results.table(found, known, pool)}\n\n{results.survivors(found, known)}\n"


def write(text: str) -> None:
    """Puts the report into RESULTS.md, between its marks."""
    path = Path(__file__).with_name("RESULTS.md")
    before, _, rest = path.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    path.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")


def main(words: list[str] | None = None) -> int:
    """0: done; 1: the tests could not be run."""
    given = arguments(words)
    files = sources(given.files)
    store = results.Store(ARTIFACTS / f"{given.set}.jsonl")
    if given.report:
        text = report(store, files)
        (write if given.write else print)(text)
        return 0
    covered = ARTIFACTS / f"covered-{given.set}.json"
    if given.measure:
        covered.unlink(missing_ok=True)
    first = results.Store(ARTIFACTS / "default.jsonl").found if given.survivors else {}

    if given.survivors:
        left = {result.file for result in first.values() if result.state in results.SURVIVED}
        files = [file for file in files if file in left]

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def mutants() -> Iterator[operators.Mutant]:
        for file in files:
            for mutant in drawn(given, file):
                if given.survivors and (mutant.key not in first or first[mutant.key].state not in results.SURVIVED):
                    continue
                if given.again or given.only or mutant.key not in store.found:
                    yield mutant

    def done(result: results.Result) -> None:
        store.add(result)
        if result.state in results.SURVIVED or given.only:
            text = results.change(result.before, result.after)
            took = f"{result.took_s} s, {result.tests} tests"
            say(f"{result.key} {result.file}:{result.line} {result.state} {took}: {text}")
            say(f"    {result.test} {result.why}" if result.test else "")

    tests = [str(operators.ROOT / "tests" / name) for name in given.tests]
    plugin = runner.Runner(mutants, covered, done, given.budget, not given.known, say)
    return runner.run(plugin, ["-m", SETS[given.set], *tests])


if __name__ == "__main__":
    sys.exit(main())
