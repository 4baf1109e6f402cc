"""Prose uses the words of Celery, Redis, Panel and SQL: tests/unit/words.txt has those it must not use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import prose

WORDS = Path(__file__).with_name("words.txt")


def rules() -> Iterator[tuple[re.Pattern[str], str]]:
    for line in WORDS.read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            pattern, _, instead = line.partition(" => ")
            assert instead, f"no replacement: {line}"
            words = pattern.replace(" ", r"\s+")
            yield re.compile(rf"\b(?:{words})\b", re.IGNORECASE), instead


RULES = list(rules())


def faults(path: Path, text: str) -> Iterator[str]:
    for first, piece in prose.sentences(path, text):
        for pattern, instead in RULES:
            for found in pattern.finditer(piece):
                line = first + piece.count("\n", 0, found.start())
                word = re.sub(r"\s+", " ", found[0])
                yield f"{path.relative_to(prose.ROOT)}:{line}: “{word}” → {instead}"


def test_messages_docs_and_comments_use_the_words_of_the_field() -> None:
    found = [fault for path in prose.files() for fault in faults(path, path.read_text())]
    assert not found, "words.txt says what to write instead:\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.py", '"""Told to the worker."""'),
        ("x.py", "x = 1  # the fleet"),
        ("x.py", 'say(f"{n} tasks of the fleet")'),
        ("x.js", "// the fleet\n"),
        ("x.js", 'say("All of the fleet")'),
        ("x.css", "/* the fleet */"),
        ("x.lua", "-- the fleet"),
        ("x.md", "The whole\nfleet."),
        ("x.yml", "  # the fleet"),
        ("x.ipynb", '{"cells": [{"cell_type": "markdown", "source": ["The fleet"]}]}'),
    ],
)
def test_an_old_word_is_found_with_its_line_and_a_better_one(name: str, text: str) -> None:
    (fault,) = faults(prose.ROOT / name, text)
    assert re.match(rf"{re.escape(name)}:[12]: “(fleet|Told)” → \w+", fault)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("x.py", "fleet = ops.fleet"),
        ("x.py", 'KEY = "opsdash:audit:spool"'),
        ("x.py", '"""The column ``seal``."""'),
        ("x.py", '"See opsdash:audit:spool and {fleet} or --fleet"'),
        ("x.md", "The key `opsdash:audit:spool` and [it](x.md#fleet)."),
        ("x.md", "```sh\nfleet --all the fleet\n```\n"),
        ("x.js", "const fleet = seal.told;"),
        ("x.py", '"""A dashboard, and the clipboard."""'),
    ],
)
def test_a_name_that_stays_is_no_fault(name: str, text: str) -> None:
    assert list(faults(prose.ROOT / name, text)) == []
