"""Runs tests with mutants: collected once, with servers that are started once; each mutant is a fork of that process.

A plug-in of pytest. In place of the tests it first runs all of them, once, in a fork: which test runs which line, and
how long it takes (``coverage``). Then each mutant is put in place in a fork of its own, and the tests that run its line
follow, the likeliest first, until one fails.
"""

from __future__ import annotations

import contextlib
import functools
import json
import marshal
import os
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mutants import operators, servers, swap
from mutants.results import Result
from support import programs, services

AT_ONCE = 100
"""So many tests are measured in one process; what they run is kept then."""
QUICK_S = 0.1
"""Tests that take less are all run before the others: one of each test function first."""
SURE_S = 0.3
"""A test that takes less and fails has found the mutant; a longer one runs again without it."""
LEAST_LIMIT_S = 30.0
"""A test with a mutant has this long, and five times as long as without."""


class Borrowed:
    """A server's process, in a fork of the process that started it: only that one could wait for it."""

    stdin = None

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        return None if services.alive(self.pid) else 0

    def wait(self, timeout: float | None = None) -> int:
        services.until(lambda: self.poll() is not None, timeout_s=timeout or 30)
        return 0

    def send_signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Runner:
    """The plug-in.

    Args:
        mutants: What is tried, in this order; asked for once the coverage is known.
        covered: The file with what each test runs; made where there is none.
        done: Called with each result.
        budget_s: How long the tests of a mutant take at most, as measured without one.
        measures: Tests of which it is not known what they run are run once before.
    """

    def __init__(
        self,
        mutants: Callable[[], Iterator[operators.Mutant]],
        covered: Path,
        done: Callable[[Result], None],
        budget_s: float,
        measures: bool,
        say: Callable[[str], None],
    ) -> None:
        self.mutants, self.covered, self.done, self.budget_s = mutants, covered, done, budget_s
        self.measures, self.say = measures, say
        self.failed: list[str] = []
        self.extra: dict[str, str] = {}
        self.items: dict[str, pytest.Item] = {}
        self.likely: dict[str, list[str]] = defaultdict(list)
        """Tests that found mutants of a file, the latest first."""
        self.lent: list[Any] = []

    def pytest_sessionstart(self) -> None:
        import hypothesis  # not before pytest: it rewrites its plug-ins' asserts

        hypothesis.settings.register_profile("mutants", deadline=None, database=None, derandomize=True)
        hypothesis.settings.load_profile("mutants")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            raise session.Failed(f"{session.testsfailed} errors while collecting")
        first, *rest = session.items
        self.items = {item.nodeid: item for item in rest}
        self._share_programs()
        self.last = first  # never torn down: what is the session's stays
        first.config.hook.pytest_runtest_protocol(item=first, nextitem=rest[0])
        self.shared: list[services.Server] = first.module.SHARED  # type: ignore[attr-defined]
        self.base = Path(session.config._tmp_path_factory.getbasetemp())
        self.kept = set(os.listdir(self.base))
        if self.failed:
            raise session.Failed(f"no servers: {self.failed}")
        self.coverage = {"tests": {}, "failed": {}}
        if self.covered.exists():
            self.coverage = json.loads(self.covered.read_text())
        if self.measures:
            known = self.coverage["tests"].keys() | self.coverage["failed"].keys()
            unknown = [item for item in rest if item.nodeid not in known]
            for start in range(0, len(unknown), AT_ONCE):
                self.say(f"which test runs which line: {start} of {len(unknown)} tests")
                self._cover(unknown[start : start + AT_ONCE])
        self.index = self._index()
        swap.freeze()
        for mutant in self.mutants():
            self.done(self._try(mutant))
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            lines = (crash.message if crash else str(report.longrepr)).split("\n")
            self.failed.append(f"{report.nodeid}: {' '.join(lines)[:300]}")

    # What every fork shares

    def _share_programs(self) -> None:
        """One fork server for all: it gives each program the mutant."""
        make = programs._Server
        start = make.start

        def with_more(server: Any, order: dict[str, Any], ends: list[int]) -> int:
            order["environment"].update(self.extra)
            return start(server, order, ends)

        make.start = with_more  # type: ignore[method-assign]
        one = functools.cache(make)
        programs._server = lambda modules, _owner: one(modules)
        self.servers = [one(modules).process.pid for modules in (programs.WORKER, programs.CONSOLE)]

    def _fork(self, work: Callable[[int], None]) -> tuple[int, int]:
        """A process that does this; gives its id, and where it can be heard."""
        heard, tells = os.pipe()
        sys.stdout.flush()
        if pid := os.fork():
            os.close(tells)
            return pid, heard
        code = 1
        try:
            os.setsid()
            os.close(heard)
            for server in self.shared:
                if server._process is not None:
                    self.lent.append(server._process)  # kept: it warns when it is forgotten while it runs
                    server._process = Borrowed(server._process.pid)  # type: ignore[assignment]
            work(tells)
            code = 0
        finally:
            if code:
                self.say(traceback.format_exc())
            os._exit(code)

    def _clean(self) -> None:
        """Ends what a mutant's process has left, and gives the next one whole servers."""
        for server in self.servers:
            with contextlib.suppress(OSError):
                for pid in Path(f"/proc/{server}/task/{server}/children").read_text().split():
                    with contextlib.suppress(OSError):
                        os.kill(int(pid), signal.SIGKILL)
        for shared in self.shared:
            if shared._process is not None and not shared.running and shared._process.stdin:
                shared._process.stdin.close()
            for _ in range(100):
                with contextlib.suppress(RuntimeError, OSError):
                    shared.restore()
                    break
                time.sleep(0.1)  # the port of the one that replaced it is free as soon as that one is gone
        for name in set(os.listdir(self.base)) - self.kept:
            shutil.rmtree(self.base / name, ignore_errors=True)

    # Which test runs which line

    def _cover(self, items: list[pytest.Item]) -> None:
        folder = Path(tempfile.mkdtemp(prefix="opsdash-covered-"))

        def work(tells: int) -> None:
            watcher = swap.watcher()
            watcher.start()
            times: dict[str, float] = {}
            failed: dict[str, str] = {}
            for item, following in zip(items, [*items[1:], self.last], strict=True):
                watcher.switch_context(item.nodeid)
                self.extra = {swap.COVERED: f"{folder}|{item.nodeid}"}
                start = time.monotonic()
                self.failed.clear()
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                times[item.nodeid] = round(time.monotonic() - start, 3)
                if self.failed:
                    failed[item.nodeid] = self.failed[0]
                    self.say(f"left out, it fails: {self.failed[0]}")
            watcher.stop()
            lines = _by_test(watcher.get_data())
            for path in folder.glob("*.json"):
                with contextlib.suppress(ValueError):  # a program that was killed while it wrote
                    test, found = json.loads(path.read_text())
                    for file, numbers in found.items():
                        mine = lines[test].setdefault(file, [])
                        mine.extend(set(numbers) - set(mine))
            (folder / "all").write_text(json.dumps([times, lines, failed]))

        pid, heard = self._fork(work)
        os.read(heard, 1)
        os.close(heard)
        _, status = os.waitpid(pid, 0)
        if status:
            raise RuntimeError(f"the tests could not be run: {status}")
        times, lines, failed = json.loads((folder / "all").read_text())
        shutil.rmtree(folder, ignore_errors=True)
        self._clean()
        passed = times.keys() - failed.keys()
        self.coverage["tests"].update({test: [times[test], lines.get(test, {})] for test in passed})
        self.coverage["failed"].update(failed)
        self.covered.parent.mkdir(parents=True, exist_ok=True)
        self.covered.with_suffix(".new").write_text(json.dumps(self.coverage))
        self.covered.with_suffix(".new").rename(self.covered)

    def _index(self) -> dict[str, dict[int, list[str]]]:
        """For each file and line: the tests that run it."""
        found: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
        for test, (_, files) in self.coverage["tests"].items():
            if test in self.items:
                for file, numbers in files.items():
                    for number in numbers:
                        found[file][number].append(test)
        return found

    def tests_of(self, mutant: operators.Mutant) -> list[str]:
        """Those that run its line, the likeliest and the quick ones first, within the budget."""
        lines = self.index.get(str(operators.ROOT / mutant.file), {})
        first, last = mutant.lines
        names = {test for number in range(first, last + 1) for test in lines.get(number, ())}
        took = {name: self.coverage["tests"][name][0] for name in names}
        ordered = sorted(names, key=took.__getitem__)
        one_each = {name.partition("[")[0]: name for name in reversed(ordered)}
        first_ones = sorted(one_each.values(), key=took.__getitem__)
        quick = [name for name in ordered if took[name] < QUICK_S]
        chosen = [name for name in self.likely[mutant.file] if name in names][:10]
        chosen += [name for name in first_ones if took[name] < QUICK_S] + quick + first_ones
        within, sum_s = [], 0.0
        for name in dict.fromkeys([*chosen, *ordered]):
            sum_s += took[name]
            if within and sum_s > self.budget_s:
                break
            within.append(name)
        return within

    # A mutant

    def _try(self, mutant: operators.Mutant) -> Result:
        began = time.monotonic()
        try:
            old, new = operators.compiled(mutant)
        except (SyntaxError, ValueError):
            return Result.of(mutant, "same")
        names = self.tests_of(mutant)
        if not names:
            return Result.of(mutant, "untested")
        module = mutant.file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        with tempfile.NamedTemporaryFile(prefix="opsdash-mutant-") as file:
            file.write(marshal.dumps((module, old.co_filename, old.co_qualname, old.co_firstlineno, new)))
            file.flush()
            left = names
            while True:
                state, test, why = self._in_fork(file.name, left)
                if not test or self._passes(test):
                    break
                self.say(f"{mutant.key}: no proof, it fails without the mutant too: {test} {why[:200]}")
                left = left[left.index(test) + 1 :]
                if not left:
                    state, test, why = "survived", "", ""
                    break
        if test:
            likely = self.likely[mutant.file]
            if test in likely:
                likely.remove(test)
            likely.insert(0, test)
        return Result.of(mutant, state, test, why, len(names), round(time.monotonic() - began, 2))

    def _in_fork(self, path: str, names: list[str]) -> tuple[str, str, str]:
        """Runs tests in a process of their own, until one fails; as ``_hear``."""
        pid, heard = self._fork(functools.partial(self._run, path, names))
        found = self._hear(heard, names)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        self._clean()
        return found

    def _passes(self, test: str) -> bool:
        """Without a mutant, now: asked of those that take long enough to fail by the load of the machine alone."""
        return self.coverage["tests"][test][0] < SURE_S or self._in_fork("", [test])[0] == "survived"

    def _run(self, path: str, names: list[str], tells: int) -> None:
        """In the fork. No path: no mutant."""
        self.extra = {swap.MUTANT: path} if path else {}
        if path:
            os.environ[swap.MUTANT] = path
        try:
            if path and not swap.apply(path):
                os.write(tells, b"nothing to replace\n")
                return
        except ValueError as error:  # other free variables
            os.write(tells, f"can't: {error}\n".encode())
            return
        items = [self.items[name] for name in names]
        for number, (item, following) in enumerate(zip(items, [*items[1:], self.last], strict=True)):
            os.write(tells, f"{number}\n".encode())
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.failed:
                os.write(tells, f"failed {self.failed[0]!r}\n".encode())
                return
        os.write(tells, b"passed\n")

    def _hear(self, heard: int, names: list[str]) -> tuple[str, str, str]:
        """How it went, the test that found it, and what that said."""
        now, limit_s = "", LEAST_LIMIT_S
        with os.fdopen(heard, "rb", buffering=0) as lines:
            buffered = b""
            while True:
                if not select.select([lines], [], [], limit_s)[0]:
                    return "timeout", now, f"more than {limit_s:.0f} s"
                read = lines.read(65_536)
                if not read:
                    return "crash", now, "the process ended"
                buffered += read
                *whole, buffered = buffered.split(b"\n")
                for line in whole:
                    word = line.decode()
                    if word.isdigit():
                        now = names[int(word)]
                        limit_s = LEAST_LIMIT_S + 5 * self.coverage["tests"][now][0]
                    elif word == "passed":
                        return "survived", "", ""
                    elif word.startswith("failed"):
                        return "killed", now, word.removeprefix("failed ")
                    else:
                        return "same", "", word


def _by_test(data: Any) -> dict[str, dict[str, list[int]]]:
    found: dict[str, dict[str, list[int]]] = defaultdict(dict)
    for file in data.measured_files():
        for number, contexts in data.contexts_by_lineno(file).items():
            for test in contexts:
                if test:
                    found[test].setdefault(file, []).append(number)
    return found


def run(runner: Runner, words: Iterable[str]) -> int:
    """Collects these tests and does it; what pytest prints goes nowhere."""
    shown = os.dup(1)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        try:
            first = str(Path(servers.__file__))
            options = ["-n", "0", "-q", "-p", "no:cacheprovider", "--capture=fd"]
            return int(pytest.main([*options, first, *words], plugins=[runner]))
        finally:
            os.dup2(shown, 1)
