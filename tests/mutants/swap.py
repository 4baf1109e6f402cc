"""Puts a mutated function in place of the one that runs. Standard library only: every started program does this, too.

A mutant is a file with what ``marshal`` makes of (module, file, qualified name, first line, code). Its path is in the
environment, as ``OPSDASH_TEST_MUTANT``: a worker that a test starts is mutated like the test's own process.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import marshal
import os
import threading
import time
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MUTANT = "OPSDASH_TEST_MUTANT"
"""The path of the mutant."""
PACKAGE = f"{Path(__file__).parents[2] / 'opsdash'}{os.sep}"
EACH_S = 0.2
"""Between two notes of what a program has run."""
COVERED = "OPSDASH_TEST_COVERED"
"""A folder for what a program ran, and the test that started it."""


def apply(path: str) -> int:
    """Puts the mutant's code into each function that has the original's; gives their number.

    Decorators keep functions, classes with slots copy them: they are found wherever they are.
    """
    module, file, name, line, code = marshal.loads(Path(path).read_bytes())
    importlib.import_module(module)
    if not KNOWN:
        gc.unfreeze()  # what a fork server has frozen is in no list
    meant = {id(one): one for one in [*KNOWN.get((file, name, line), ()), *functions()]}
    found = [one for one in meant.values() if place_of(one) == (file, name, line)]
    for function in found:
        function.__code__ = code
    return len(found)


Place = tuple[str, str, int]
KNOWN: dict[Place, list[types.FunctionType]] = {}
"""Functions that are frozen: a process that forks for each mutant looks for them once."""


def functions() -> Iterable[types.FunctionType]:
    """All of the package that are not frozen."""
    return (found for found in gc.get_objects() if type(found) is types.FunctionType and PACKAGE in place_of(found)[0])


def place_of(function: types.FunctionType) -> Place:
    """Where a function was defined."""
    code = function.__code__
    return code.co_filename, code.co_qualname, code.co_firstlineno


def freeze() -> None:
    """Remembers all functions there are; collections of garbage in a fork then copy no memory for what is here."""
    for function in functions():
        KNOWN.setdefault(place_of(function), []).append(function)
    gc.collect()
    gc.freeze()


def begin() -> None:
    """What a program that a test has started does first: be the mutant, or write down what it runs."""
    if path := os.environ.get(MUTANT):
        apply(path)
    if folder := os.environ.get(COVERED):
        watch(*folder.split("|", 1))


def watcher() -> Any:
    """Coverage of the package, in memory."""
    import coverage

    return coverage.Coverage(data_file=None, config_file=False, include=[f"{PACKAGE}*"], messages=False)


def watch(folder: str, test: str) -> None:
    """Writes again and again which lines this process ran, and each of its children: a test may kill any of them."""
    mine = watcher()
    mine.start()
    said: dict[str, list[int]] = {}

    def tell() -> None:
        data = mine.get_data()
        lines = {file: sorted(data.lines(file) or ()) for file in data.measured_files()}
        if lines != said:
            said.clear()
            said.update(lines)
            path = Path(folder, f"{os.getpid()}.new")
            path.write_text(json.dumps([test, lines]))
            path.rename(path.with_suffix(".json"))

    def go_on() -> None:
        while True:
            time.sleep(EACH_S)  # a process that is killed tells nothing more: its lines go out this often
            with contextlib.suppress(Exception):  # the lines of a process that ends are none to fail for
                tell()

    def begin_here() -> None:
        threading.Thread(target=go_on, daemon=True, name="covered").start()

    begin_here()
    os.register_at_fork(after_in_child=begin_here)
    atexit.register(tell)
