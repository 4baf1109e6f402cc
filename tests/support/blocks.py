"""The code blocks of the documentation, and what answers for each of them.

A block is run by the test of its page unless a comment right above it says otherwise:

    <!-- tested: NAME -->      another test runs it
    <!-- parsed: REASON -->    it can't be run here; it is parsed
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
FENCE = re.compile(r"^(?:<!-- (tested|parsed): ([^>]+?) -->\n)?```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        page: The page's file name.
        number: 1 is the page's first.
        mark: ``tested``, ``parsed``, or nothing; ``said`` is what stands behind it.
    """

    page: str
    number: int
    language: str
    text: str
    mark: str = ""
    said: str = ""

    def __str__(self) -> str:
        return f"{self.page} {self.number} ({self.language or 'no language'})"


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in their order."""
    return [
        Block(page.name, number, language, text, mark or "", said or "")
        for number, (mark, said, language, text) in enumerate(FENCE.findall(page.read_text()), start=1)
    ]
