"""How what opsdash does grows with what there is: curves over sizes, one thing at a time.

    python -m tests.benchmarks.scale                            all of it, about half an hour
    python -m tests.benchmarks.scale --only workers,tenants     these; the others stay as they are
    python -m tests.benchmarks.scale --quick --output DIR       tiny sizes, to see that it works
    python -m tests.benchmarks.scale --plot                     only draws again what was measured
    python -m tests.benchmarks.scale --together 2000,200,100    workers, queues and open pages at once

Figures go to ``scale.json``, pictures and tables to ``docs/scale*.svg`` and ``docs/scale.md``, between its marks.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(HERE.parent)]

from .curves import Curve, table, unit  # noqa: E402 - they need the path
from .dimensions import DIMENSIONS, watched  # noqa: E402
from .plot import picture  # noqa: E402

PACKAGES = ("celery", "kombu", "redis", "sqlalchemy", "panel", "bokeh")
SLUG = {"log entries": "log", "open pages": "pages"}


def stored(path: Path) -> dict[str, Curve]:
    """The curves of earlier runs."""
    if not path.exists():
        return {}
    return {name: Curve.from_plain(name, plain) for name, plain in json.loads(path.read_text()).items()}


def write(curves: dict[str, Curve], path: Path, docs: Path) -> None:
    """The JSON, a picture for each curve, and its table where the page has marks for it."""
    ordered = {name: curves[name] for name in (*DIMENSIONS, *curves) if name in curves}
    path.write_text(json.dumps({name: curve.to_plain() for name, curve in ordered.items()}, indent=1) + "\n")
    page = docs / "scale.md"
    text = page.read_text() if page.exists() else ""
    for name, curve in ordered.items():
        slug = SLUG.get(name, name)
        if len(curve.points) > 1 and any(unit(figure) == "ms" for figure in curve.figures):
            (docs / f"scale-{slug}.svg").write_text(picture(curve))
        before, begin, rest = text.partition(f"<!-- {slug}: begin -->\n")
        if begin:
            shown = f"\n{said(curve)}\n\n{table(curve)}\n\n"
            text = f"{before}{begin}{shown}<!-- {slug}: end -->{rest.partition('end -->')[2]}"
    if text:
        page.write_text(text)


def said(curve: Curve) -> str:
    """When and with what it was measured."""
    about = curve.about
    return f"Measured {about['date']} at a load of {about['load']} with {about['versions']}."


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures what was chosen."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default="", help="of workers, queues, messages, tenants, log, pages; all without it")
    parser.add_argument("--sizes", default="", help="these in place of the dimension's own, added to what is there")
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    parser.add_argument("--plot", action="store_true", help="measure nothing, draw what was measured")
    parser.add_argument(
        "--together", default="", help="workers, queues, open pages: measured at once, added to the rest"
    )
    parser.add_argument("--output", type=Path, help="a folder for all files, in place of those in the repository")
    given = parser.parse_args(arguments)
    path, docs = (
        (HERE.parent / "scale.json", ROOT / "docs")
        if given.output is None
        else (
            given.output / "scale.json",
            given.output,
        )
    )
    docs.mkdir(parents=True, exist_ok=True)
    names = {SLUG.get(name, name): name for name in DIMENSIONS}
    wanted = [one.strip() for one in given.only.split(",") if one.strip()]
    if unknown := sorted(set(wanted) - set(names)):
        parser.error(f"no dimension {', '.join(unknown)}; there are {', '.join(names)}")
    chosen = [] if given.plot or given.together else [names[one] for one in wanted or names]
    if given.together:
        number, queues, pages = map(int, given.together.split(","))
        runs = [("together", watched([pages], number, queues))]
    else:
        own = [int(one) for one in given.sizes.split(",") if one]
        sizes = {name: DIMENSIONS[name].quick if given.quick else DIMENSIONS[name].sizes for name in chosen}
        runs = [(name, DIMENSIONS[name].run(own or sizes[name])) for name in chosen]
    for name, run in runs:
        began, loads, points = time.monotonic(), [os.getloadavg()[0]], {}
        for size, figures in run:
            loads.append(os.getloadavg()[0])
            points[size] = figures
            print(f"{name} {size:,}: {json.dumps({k: round(v, 2) for k, v in figures.items()})}", flush=True)
            keep(name, points, loads, path, docs, adds=bool(given.sizes or given.together))
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    if given.plot:
        write(stored(path), path, docs)
    return 0


def keep(
    name: str, points: dict[int, dict[str, float]], loads: list[float], path: Path, docs: Path, *, adds: bool
) -> None:
    """Writes what was measured so far, so that a run that is ended loses nothing."""
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "load": f"{min(loads):.1f} to {max(loads):.1f} on {os.cpu_count()} cores",
        "versions": ", ".join(
            [f"Python {platform.python_version()}", *(f"{package} {version(package)}" for package in PACKAGES)]
        ),
    }
    curves = stored(path)  # now: another run may have written meanwhile
    before = curves[name].points if adds and name in curves else {}
    curves[name] = Curve(name, {**before, **points}, about)
    write(curves, path, docs)


if __name__ == "__main__":
    sys.exit(main())
