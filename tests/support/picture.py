"""Takes docs/page.png of a running demo: ``PYTHONPATH=tests python -m support.picture`` after each change of its look.

Start ``opsdash demo`` some minutes before, so that the small lines have something to show.
"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright
from support.services import chromium

PICTURE = Path(__file__).parents[2] / "docs" / "page.png"
WORKER = "worker-threads@demo"


def take(url: str) -> None:
    """The overview as a whole, with one worker's row open."""
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"]) as browser,
    ):
        page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme="light")
        page.goto(url)
        page.locator("#reading").wait_for(state="detached")
        page.get_by_role("button", name=f"Show details of {WORKER}").first.click()
        page.get_by_role("button", name="Revoke").first.wait_for()  # it says what it runs
        page.mouse.move(0, 0)
        page.screenshot(path=PICTURE, full_page=True, animations="disabled")


if __name__ == "__main__":
    take(sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:5006/operations")
