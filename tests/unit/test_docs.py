"""The documentation leads somewhere: every page is on the map, every link has an end.

Links and anchors inside ``docs/`` are checked by ``mkdocs build --strict`` in CI; here are those that it does not see.
"""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

import pytest
import yaml
from support import reference

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(path.name for path in DOCS.glob("*.md"))
BESIDE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "apps").rglob("*.md")]
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


@pytest.mark.parametrize(
    "page", [*BESIDE, *(DOCS / name for name in PAGES)], ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_link_to_a_file_has_an_end(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    ends = [link for link in LINK.findall(text) if "://" not in link]
    assert [link for link in ends if not (page.parent / link).exists()] == []


def test_every_page_is_on_the_map_and_in_the_site() -> None:
    linked = {link for link in LINK.findall((DOCS / "index.md").read_text()) if link.endswith(".md")}
    assert linked == set(PAGES) - {"index.md"}
    config = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    parts = [part if isinstance(part, str) else chain.from_iterable(part.values()) for part in config["nav"]]
    listed = list(chain.from_iterable([part] if isinstance(part, str) else part for part in parts))
    assert sorted(listed) == PAGES
    assert config["strict"]


def test_the_page_of_settings_has_the_readmes_table() -> None:  # which is held to the settings themselves
    def rows(page: Path) -> list[str]:
        return re.findall(r"^\| `OPSDASH_.*$", page.read_text(), flags=re.MULTILINE)

    assert rows(DOCS / "settings.md") == rows(ROOT / "README.md")


@pytest.mark.parametrize("page", reference.PAGES)
def test_the_reference_says_what_the_code_does(page: str) -> None:
    assert (DOCS / page).read_text() == reference.PAGES[page](), "write it anew: see CONTRIBUTING.md"


def test_the_readme_has_a_picture_of_the_page_and_it_is_not_heavy() -> None:
    assert "](docs/page.png)" in (ROOT / "README.md").read_text()
    picture = (DOCS / "page.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) < 250_000


def test_every_folder_of_examples_is_in_the_page_about_deploying() -> None:
    named = set(re.findall(r"^\| `([\w-]+)/` \|", (DOCS / "deploying.md").read_text(), flags=re.MULTILINE))
    assert named == {path.name for path in (ROOT / "apps" / "deploy").iterdir() if path.is_dir()}
