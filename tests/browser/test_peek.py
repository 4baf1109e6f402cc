"""A look into a queue: a panel beside the page, with pages, a search, ages, and what to do with a task."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis
from playwright.sync_api import Locator, Page, TimeoutError, expect
from support import services
from support.axe import check
from support.dialogs import act, button
from support.reports import report
from support.rows import fill, send
from support.workers import eventually

PHONE = {"width": 390, "height": 844}


def look(page: Page, queue: str) -> Locator:
    # A table that gets narrow hides the button that Playwright may have found a moment before, and shows another one.
    try:
        button(page, f"Peek {queue}").click(timeout=5_000)
    except TimeoutError:
        button(page, f"Peek {queue}").click()
    panel = page.get_by_role("dialog", name=f"Waiting tasks of {queue}", exact=True)
    expect(panel).to_be_visible()
    return panel


def _place(panel: Locator) -> tuple[float, float, float]:
    """Its top, its right edge and its height."""
    box = panel.bounding_box()
    assert box
    return box["y"], round(box["x"] + box["width"]), box["height"]


def rows(panel: Locator) -> Locator:
    return panel.locator("tbody > tr:not(.under)")


@pytest.mark.long
def test_a_queue_is_looked_through_page_by_page_and_what_is_left_out_is_marked(
    served: Any, visit: Callable[..., Page], store: redis.Redis, shoot: Callable[..., None]
) -> None:
    fill(store, "reports", 60)
    page = visit(served.url)
    panel = look(page, "reports")
    assert services.until(lambda: _place(panel) == (0, 1440, 900)), "it slides in at the side, from top to bottom"
    expect(panel).to_contain_text("1 to 20 of 60")
    expect(rows(panel)).to_have_count(26)
    expect(rows(panel).nth(20)).to_contain_text("… 35 tasks not shown")
    expect(button(page, "Previous")).to_be_disabled()
    button(page, "Next").click()
    expect(panel).to_contain_text("21 to 40 of 60")
    expect(rows(panel).first).to_contain_text("… 20 tasks not shown")
    button(page, "Next").click()
    expect(panel).to_contain_text("41 to 60 of 60")
    expect(button(page, "Next")).to_be_disabled()
    shoot(page, "peek", all_forms=True)
    button(page, "Previous").click()
    expect(panel).to_contain_text("21 to 40 of 60")
    page.keyboard.press("Escape")
    expect(panel).to_have_count(0)
    expect(button(page, "Peek reports")).to_be_focused()


@pytest.mark.long
def test_a_task_is_found_by_id_name_and_argument_far_behind_the_first_page(
    served: Any, visit: Callable[..., Page], store: redis.Redis
) -> None:
    fill(store, "reports", 40)
    wanted = send(store, "reports", "shop.refund", ["Order 4711", {"password": "hunter2-and-more"}], age_s=7_300)
    fill(store, "reports", 40)
    page = visit(served.url)
    panel = look(page, "reports")
    field = panel.get_by_placeholder("Id, name or argument")
    expect(field).to_be_focused()
    for text in (wanted, "refund", "order 4711"):
        field.fill(text)
        expect(rows(panel)).to_have_count(1)
        expect(rows(panel)).to_contain_text("shop.refund")
        expect(rows(panel)).to_contain_text("2 hours ago")
        expect(panel).to_contain_text("1 task found in 81 of 81")
    field.fill("hunter2")
    expect(panel).to_contain_text("Nothing in 81 of 81 matches this text.")  # hidden is not searched
    field.fill("")
    expect(rows(panel)).to_have_count(26)


@pytest.mark.long
def test_a_task_is_copied_as_json_and_revoked_from_the_panel(
    served: Any, visit: Callable[..., Page], store: redis.Redis
) -> None:
    (task_id,) = fill(store, "reports", 1, "shop.refund", ["Order 4711", {"password": "hunter2-and-more"}])
    page = visit(served.url, permissions=["clipboard-read", "clipboard-write"])
    panel = look(page, "reports")
    copy = button(page, f"Copy shop.refund {task_id}")
    copy.click()
    expect(copy).to_have_text("Copied")
    copied = json.loads(page.evaluate("navigator.clipboard.readText()"))
    assert (copied["id"], copied["name"], copied["position"]) == (task_id, "shop.refund", 1)
    assert "Order 4711" in copied["arguments"]
    assert "hunter2" not in json.dumps(copied)
    more = button(page, f"More for shop.refund {task_id}")
    act(page, f"shop.refund {task_id}", "Revoke")  # nobody knows how to ask the workers yet
    expect(panel.get_by_role("alert")).to_contain_text("separator is not known")
    report(store, "w1@test", lasts_s=600)
    act(page, f"shop.refund {task_id}", "Revoke")
    asked = page.get_by_role("dialog", name=f"Revoke task {task_id}", exact=True)
    expect(asked).to_be_visible(timeout=15_000)  # workers are asked first
    page.keyboard.press("Escape")
    expect(asked).to_have_count(0)
    expect(panel).to_be_visible()  # only the upper one is closed
    expect(more).to_be_focused()
    expect(panel.get_by_role("alert")).to_have_count(0)


@pytest.mark.long
@pytest.mark.parametrize(("theme", "size"), [("light", None), ("dark", PHONE)], ids=["light", "dark phone"])
def test_the_panel_is_whole_and_accessible_on_every_screen(
    served: Any, visit: Callable[..., Page], store: redis.Redis, theme: str, size: Any
) -> None:
    fill(store, "reports", 30, "shop.a_task_with_quite_a_long_name.that_goes_on_and_on", ["x" * 55, "y" * 55])
    page = visit(served.url, color_scheme=theme, reduced_motion="reduce")
    if size:
        page.set_viewport_size(size)
    panel = look(page, "reports")
    assert panel.evaluate("node => node.scrollWidth <= node.clientWidth"), "nothing sticks out"
    fits = "wrap => wrap.scrollWidth <= wrap.clientWidth"  # columns give way once its width is known
    eventually(lambda: panel.locator(".wrap").evaluate(fits), what="nothing sticks out in the table either")
    expect(button(page, "Close")).to_be_in_viewport(ratio=1)
    check(page)
