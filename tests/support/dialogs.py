"""The page as a browser test works it: buttons and dialogs by their accessible names."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

PROCESSING = re.compile(r"^Processing Status: (RUNNING|PARTLY PAUSED|DEGRADED)$")
"""Nothing pauses everything; without a worker that is DEGRADED."""


TASK_FIELD = "Task id, name or argument"
"""The field of *Find tasks*."""


def button(page: Page, name: str) -> Locator:
    """The button of exactly this name."""
    return page.get_by_role("button", name=name, exact=True)


def find_tasks(page: Page, text: str) -> None:
    """Searches for tasks by this text."""
    field = page.get_by_label(TASK_FIELD)
    field.fill(text)
    field.press("Enter")


def confirm_button(page: Page) -> Locator:
    """The button of the open dialog that does it: the last one, called as the dialog is."""
    return page.get_by_role("dialog").get_by_role("button").last


def confirm(page: Page) -> None:
    """Types YES into the open dialog, confirms, and waits until it is gone."""
    page.get_by_label("Type YES to confirm").fill("YES")
    confirm_button(page).click()
    expect(page.get_by_role("dialog")).to_have_count(0)


def message(page: Page, text: str = "") -> Locator:
    """The messages of results that hold this text."""
    return page.locator(".toast:not(.work)").filter(has_text=text)


def act(page: Page, row: str, name: str) -> None:
    """Chooses an act from the menu of a row, such as ``Clear`` of the queue ``emails``."""
    button(page, f"More for {row}").first.click()
    page.get_by_role("menuitem", name=re.compile(f"^{name} ?([A-Z]|$)")).first.click()


def waiting(page: Page, queue: str, number: str) -> Locator:
    """The cell that says how many tasks wait in a queue, if it says this number."""
    row = page.get_by_role("region", name="Queue Operations").locator("tbody tr", has_text=queue)
    return row.get_by_role("cell", name=number, exact=True)
