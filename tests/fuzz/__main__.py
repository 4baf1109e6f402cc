"""Tries all that is parsed from outside with inputs that nobody would send: ``python -m tests.fuzz --minutes 60``.

    python -m tests.fuzz --list                         the targets, and from whom their values come
    python -m tests.fuzz api-body setting --minutes 10  these, each so long

With Atheris (``pip install atheris``, Python 3.11 to 3.13) inputs follow the branches they reach, and what reached
a new one is kept in tests/artifacts/fuzz; without it Hypothesis draws them. An input that breaks a promise is
printed, and the exit code is 1: it becomes a test beside the code at fault.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

ROOT = Path(__file__).parents[2]
ARTIFACTS = ROOT / "tests" / "artifacts" / "fuzz"
MOST_MB = 700
"""Memory of the process, Hypothesis and the instrumented package included."""
ONE = "OPSDASH_TEST_FUZZ"
"""In the environment of a process that tries one target."""


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="all where none is named")
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target (default: 1)")
    parser.add_argument("--seed", type=int, default=1, help="of what is drawn (default: 1)")
    parser.add_argument("--random", action="store_true", help="Hypothesis alone, though Atheris is there")
    parser.add_argument("--list", action="store_true", help="print the targets")
    return parser.parse_args(words)


def main() -> int:
    """0: no promise was broken; 1: one was; 2: the command line is wrong."""
    given = arguments()
    guided = importlib.util.find_spec("atheris") is not None and not given.random
    if os.environ.get(ONE):
        return (guided_run if guided else drawn_run)(given.targets[0], given.minutes * 60, given.seed)
    from fuzz.targets import TARGETS

    if given.list:
        for target in TARGETS.values():
            print(f"{target.name:16} {target.comes}")
        return 0
    if wrong := set(given.targets) - TARGETS.keys():
        print(f"There is no target {', '.join(sorted(wrong))}; known are {', '.join(TARGETS)}.", file=sys.stderr)
        return 2
    broken = []
    for name in given.targets or TARGETS:
        began = time.monotonic()
        words = [name, "--minutes", str(given.minutes), "--seed", str(given.seed), *(["--random"] * given.random)]
        done = subprocess.run(
            [sys.executable, "-m", "tests.fuzz", *words],
            env={**os.environ, ONE: "yes"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            errors="replace",
        )
        text = done.stdout + done.stderr
        if done.returncode:
            broken.append(name)
            print(text[-6_000:], file=sys.stderr)
        took_s, how = time.monotonic() - began, "BROKEN" if done.returncode else "held"
        print(f"{name}: {how}, {inputs(text)} inputs in {took_s:.0f} s", flush=True)
    return 1 if broken else 0


def inputs(text: str) -> str:
    """How many a run has tried, from what it printed last."""
    counts = [line.split()[0].lstrip("#") for line in text.splitlines() if line.startswith("#")]
    done = [line.split()[1] for line in text.splitlines() if line.startswith("Done ")]
    return (done or counts or ["?"])[-1]


def drawn_run(name: str, seconds: float, seed: int) -> int:
    """Hypothesis, by rounds."""
    import hypothesis
    from fuzz.targets import TARGETS
    from hypothesis import HealthCheck

    target, began, tried = TARGETS[name], time.monotonic(), 0
    rng = random.Random(seed)

    def counted(value: object) -> None:
        nonlocal tried
        tried += 1
        target.run(value)

    options = hypothesis.settings(
        max_examples=500, database=None, deadline=None, suppress_health_check=list(HealthCheck)
    )
    while time.monotonic() - began < seconds:
        hypothesis.seed(rng.getrandbits(32))(options(hypothesis.given(target.values)(counted)))()
    print(f"#{tried} inputs")
    used_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    assert used_mb < MOST_MB, f"{used_mb:.0f} MB"
    return 0


def guided_run(name: str, seconds: float, seed: int) -> int:
    """Atheris; it ends the process."""
    import atheris

    with atheris.instrument_imports(include=["opsdash"], enable_loader_override=False):
        from fuzz.targets import TARGETS
    import hypothesis
    from hypothesis import HealthCheck

    target = TARGETS[name]
    options = hypothesis.settings(database=None, deadline=None, suppress_health_check=list(HealthCheck))
    one = options(hypothesis.given(target.values)(target.run)).hypothesis.fuzz_one_input
    corpus = ARTIFACTS / name
    corpus.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    for number in range(40):  # Hypothesis draws little from few bytes, and libFuzzer begins with none
        (corpus / f"seed-{number}").write_bytes(rng.randbytes(rng.randint(100, 4_000)))
    limits = [f"-max_total_time={seconds:.0f}", "-timeout=20", f"-rss_limit_mb={MOST_MB}", "-max_len=4096"]
    limits.append("-len_control=0")
    atheris.Setup(
        [sys.argv[0], *limits, f"-seed={seed}", f"-artifact_prefix={corpus}/", "-print_final_stats=1", str(corpus)], one
    )
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
