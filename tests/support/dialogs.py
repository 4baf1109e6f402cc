"""The page as a browser test works it: buttons and dialogs by their accessible names."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect


def button(page: Page, name: str) -> Locator:
    """The button of exactly this name."""
    return page.get_by_role("button", name=name, exact=True)


def confirm_button(page: Page) -> Locator:
    """The button of the open dialog that does it: the last one, called as the dialog is."""
    return page.get_by_role("dialog").get_by_role("button").last


def confirm(page: Page) -> None:
    """Types YES into the open dialog, confirms, and waits until it is gone."""
    page.get_by_label("Type YES to confirm").fill("YES")
    confirm_button(page).click()
    expect(page.get_by_role("dialog")).to_have_count(0)
