"""Lua scripts for Redis: each in its own file, in the folder ``lua`` beside the module that runs it.

They are sent by EVAL, not registered by their hash: EVALSHA would need rights that the Redis users of running
deployments were not given, and redis-py's pipelines ask for each registered script first, which is one more round trip.
Standard library only: workers load this file.
"""

from __future__ import annotations

import re
from pathlib import Path

_PACKAGE = Path(__file__).parent
_INCLUDE = re.compile(r"-- include (\S+)")


def load(module: str, name: str, **constants: int | str) -> str:
    """The script ``lua/{name}.lua`` beside a module, without its comments.

    A line ``-- include PATH`` is replaced by another script, by its path from this one.

    Args:
        module: ``__name__`` of the module that runs it.
        constants: Become local variables at the script's beginning: numbers, or text without a quote in it.

    Raises:
        FileNotFoundError: There is no such script.
    """
    given = [
        f"local {key} = '{value}'" if isinstance(value, str) else f"local {key} = {value}"
        for key, value in constants.items()
    ]
    return "\n".join([*given, *_lines(_PACKAGE.joinpath(*module.split(".")[1:-1], "lua", f"{name}.lua")), ""])


def _lines(path: Path) -> list[str]:
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if included := _INCLUDE.fullmatch(line):
            lines += _lines(path.parent / included[1])
        elif not line.lstrip().startswith("--"):
            lines.append(line)
    return lines
