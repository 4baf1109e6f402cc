"""axe-core on a page of ours."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page


def check(page: Page) -> None:
    """No violation of any rule, and the rules did see the page: it lives in a shadow root."""
    found = Axe().run(page, options={"resultTypes": ["violations", "passes"]})
    # Not `generate_report`: it cannot print a node of a shadow root, whose target is a list.
    assert [
        (rule["id"], node["target"], node["html"], node["failureSummary"])
        for rule in found.response["violations"]
        for node in rule["nodes"]
    ] == []
    seen = {rule["id"]: len(rule["nodes"]) for rule in found.response["passes"]}
    assert seen.get("color-contrast", 0) > 5
    assert "aria-allowed-attr" in seen
