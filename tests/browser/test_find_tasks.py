"""Any task on the page: found by its id or a text, with what can be done where it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from playwright.sync_api import Page, expect
from support.axe import check
from support.dialogs import TASK_FIELD, button, find_tasks
from support.messages import message
from support.reports import report

PHONE = {"width": 390, "height": 844}


@pytest.mark.long
def test_a_task_is_found_removed_and_put_back(
    served: Any, visit: Callable[..., Page], store: redis.Redis, shoot: Callable[..., None]
) -> None:
    texts = [
        message("first-task-1"),
        message("wanted-task-1", "shop.mail", ["Order 4711", {"password": "hunter2-planted"}]),
        message("last-task-1"),
    ]
    store.lpush("reports", *texts)
    before = store.lrange("reports", 0, -1)
    report(store, "w1@test", lasts_s=600)
    page = visit(served.url)
    page.keyboard.press("/")
    expect(page.get_by_label(TASK_FIELD)).to_be_focused()
    table = page.get_by_role("region", name="Find tasks")
    rows = table.locator("tbody > tr:not(.under)")
    for text in ("wanted-task-1", "wanted-t", "order 4711", "shop.m*"):
        find_tasks(page, text)
        expect(rows).to_have_count(1)
        expect(rows).to_contain_text("waiting in queue reports, place 2 of 3")
    find_tasks(page, "hunter2")
    expect(table).to_contain_text("No task matches this.")
    find_tasks(page, "wanted-task-1")
    expect(table).to_contain_text("3 messages")
    shoot(page, "find_tasks", all_forms=True)
    button(page, "Remove shop.mail wanted-task-1").click()
    dialog = page.get_by_role("dialog", name="Remove task wanted-task-1", exact=True)
    expect(dialog).to_contain_text("shop.mail is taken out", timeout=15_000)
    dialog.get_by_label("Type YES to confirm").fill("YES")
    dialog.get_by_role("button", name="Remove Task").click()
    expect(rows).to_contain_text("cleared from queue reports", timeout=15_000)
    assert store.llen("reports") == 2
    button(page, "Restore shop.mail wanted-task-1").click()
    dialog = page.get_by_role("dialog", name="Put back task wanted-task-1", exact=True)
    dialog.get_by_label("Type YES to confirm").fill("YES")
    dialog.get_by_role("button", name="Put the task back").click()
    expect(rows).to_contain_text("place 2 of 3", timeout=15_000)
    assert store.lrange("reports", 0, -1) == before


@pytest.mark.long
@pytest.mark.parametrize(("theme", "size"), [("light", None), ("dark", PHONE)], ids=["light", "dark phone"])
def test_what_was_found_is_whole_and_accessible_on_every_screen(
    served: Any, visit: Callable[..., Page], store: redis.Redis, theme: str, size: Any
) -> None:
    store.lpush("reports", *(message(f"task-{n}", "shop.a_task_with_quite_a_long_name", ["x" * 50]) for n in range(30)))
    page = visit(f"{served.url}?tab=queues", color_scheme=theme, reduced_motion="reduce")
    if size:
        page.set_viewport_size(size)
    table = page.get_by_role("region", name="Find tasks")
    expect(table).to_contain_text("Enter a task's id")
    find_tasks(page, "shop.*")
    expect(table).to_contain_text("20 tasks found")
    button(page, "Next").click()
    expect(table).to_contain_text("10 tasks found")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
    check(page)
