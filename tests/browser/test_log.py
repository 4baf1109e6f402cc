"""The log as an operator and a manager read it: columns, facts that can be copied, any time range, a flat file."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from support.dialogs import button
from support.stage import axe

import opsdash
from opsdash.model import Actor, Role

MIDDLES = """(button) => {
  const middle = ({top, bottom}) => (top + bottom) / 2, range = document.createRange()
  range.selectNodeContents(button.querySelector('a').lastChild)
  return [button.querySelector('a > div'), range].map((one) => middle(one.getBoundingClientRect()))
}"""
"""How far down the middle of a download's icon is, and that of its words."""
ZOE = Actor(name="zoe", role=Role.OPERATOR)


@pytest.mark.long
def test_the_log_has_columns_facts_a_time_range_a_flat_file_and_the_age_of_its_verification(
    served: Any, visit: Callable[..., Page], tmp_path: Path, shoot: Callable[..., None]
) -> None:
    served.console.run(opsdash.PauseProcessing(queue="emails", reason="provider down"), actor=ZOE, confirm="YES")
    served.console.run(opsdash.ResumeProcessing(queue="emails"), actor=ZOE, confirm="YES")
    page = visit(f"{served.url}?tab=operations&user=zoe")
    row = page.get_by_role("row").filter(has_text="provider down")
    expect(row.get_by_role("cell", name="emails", exact=True)).to_be_visible(timeout=30_000)
    row.get_by_role("button", name="Show details").click()
    expect(page.get_by_role("button", name="Copy Id", exact=True)).to_be_visible()
    expect(page.get_by_role("row", name="Reason provider down")).to_be_visible()
    button(page, "Verify").click()
    expect(page.get_by_text("The audit log is whole")).to_be_visible(timeout=15_000)
    expect(page.get_by_text("Verified just now")).to_be_visible()
    axe(page)
    shoot(page, "log", all_forms=True)
    middles = button(page, "Export Logs").evaluate(MIDDLES)
    assert abs(middles[0] - middles[1]) <= 1, "its icon is beside its words"
    with page.expect_download() as download:
        button(page, "For a spreadsheet").press("Enter")  # Panel's button hears only clicks on its words
    download.value.save_as(tmp_path / "flat.csv")
    with (tmp_path / "flat.csv").open(newline="") as file:
        told = [(line["Operation"], line["Target"], line["Reason"]) for line in csv.DictReader(file)]
    assert ("Pause Processing", "emails", "provider down") in told
    page.get_by_label("Any time").select_option("From … to …")
    to = page.get_by_label("To", exact=True)
    to.fill("2026-01-01")
    to.press("Enter")
    expect(page.get_by_text("No entry matches this filter.")).to_be_visible(timeout=15_000)
    expect(page).to_have_url(re.compile("until=2026-01-01"))


@pytest.mark.long
def test_a_filter_that_can_not_be_read_says_why_in_place_of_the_entries_of_the_one_before(
    served: Any, visit: Callable[..., Page]
) -> None:
    served.console.run(opsdash.PauseProcessing(queue="emails", reason="seen before"), actor=ZOE, confirm="YES")
    served.console.run(opsdash.ResumeProcessing(queue="emails"), actor=ZOE, confirm="YES")
    page = visit(f"{served.url}?tab=operations&user=zoe")
    log = page.get_by_role("region", name="Recent Operations")
    expect(log.get_by_text("seen before").first).to_be_visible(timeout=15_000)
    page.get_by_label("Any time").select_option("From … to …")
    since = page.get_by_label("From, as")
    since.fill("soon")
    since.press("Enter")
    expect(log.get_by_text("'soon' is not a time")).to_be_visible()
    expect(log.locator("tbody tr")).to_have_count(0)
    expect(page.get_by_role("button", name="Older")).to_be_disabled()
    since.fill("2h")
    since.press("Enter")
    expect(log.get_by_text("seen before").first).to_be_visible()
