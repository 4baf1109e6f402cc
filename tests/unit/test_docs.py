"""What ``mkdocs build --strict`` does not see: pages that are read off the code, and links of the pages beside it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import reference

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
BESIDE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "apps").rglob("*.md")]


@pytest.mark.parametrize("page", BESIDE, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_has_an_end(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    ends = [link for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text) if "://" not in link]
    assert [link for link in ends if not (page.parent / link).exists()] == []


def test_the_page_of_settings_has_the_readmes_table() -> None:  # which is held to the settings themselves
    def rows(page: Path) -> list[str]:
        return re.findall(r"^\| `OPSDASH_.*$", page.read_text(), flags=re.MULTILINE)

    assert rows(DOCS / "settings.md") == rows(ROOT / "README.md")


@pytest.mark.parametrize("page", reference.PAGES)
def test_the_reference_says_what_the_code_does(page: str) -> None:
    assert (DOCS / page).read_text() == reference.PAGES[page](), "write it anew: see CONTRIBUTING.md"
