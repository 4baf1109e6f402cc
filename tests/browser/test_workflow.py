"""The workflow of a task on the page: its tree, and cancelling what is left of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from playwright.sync_api import Locator, Page, expect
from support.axe import check
from support.dialogs import button, find_tasks
from support.messages import fetched, message
from support.reports import report

PHONE = {"width": 390, "height": 844}


def child(task_id: str, parent: str, name: str = "shop.charge", **more: Any) -> str:
    return message(task_id, name, parent_id=parent, root_id="root-task-1", **more)


def chain(*ids: str) -> dict[str, Any]:
    signatures = [{"task": "shop.receipt", "options": {"task_id": one}, "args": [], "kwargs": {}} for one in ids]
    return {"chain": signatures[::-1]}


def fill(store: redis.Redis) -> None:
    store.lpush(
        "reports",
        message("other-task-1"),
        child("order-task-1", "root-task-1", "shop.order", args=["Order 4711", {"password": "hunter2-planted"}]),
        child("charge-task-1", "order-task-1", embed=chain("receipt-task-1", "mail-task-1")),
    )
    store.lpush("emails", child("mail-task-2", "gone-task-1", "shop.mail"))
    store.hset("unacked", "tag", fetched(child("fetched-task-1", "root-task-1"), "emails"))
    report(store, "w1@test", lasts_s=600)


def open_workflow(page: Page, task_id: str) -> Locator:
    find_tasks(page, task_id)
    button(page, f"Show details of shop.charge {task_id}").focus()
    page.keyboard.press("Enter")
    tree = page.get_by_role("region", name="Workflow")
    expect(tree).to_contain_text("Workflow of task root-task-1", timeout=15_000)
    return tree


@pytest.mark.long
def test_a_task_opens_to_its_workflow_which_is_cancelled_and_brought_back(
    served: Any, visit: Callable[..., Page], store: redis.Redis, shoot: Callable[..., None]
) -> None:
    fill(store)
    before = {name: store.lrange(name, 0, -1) for name in ("reports", "emails")}
    page = visit(f"{served.url}?tab=queues")
    tree = open_workflow(page, "charge-task-1")
    rows = tree.locator("tbody > tr:not(.under)")
    expect(rows).to_have_count(8)
    expect(rows.nth(0)).to_contain_text("? not known")
    expect(rows.nth(0)).to_contain_text("finished or never seen (3 children)")
    expect(tree).to_contain_text("3 waiting")
    expect(tree).to_contain_text("next of the chain")
    expect(tree).not_to_contain_text("hunter2")
    shoot(page, "workflow", all_forms=True)
    button(page, "Cancel workflow").click()
    dialog = page.get_by_role("dialog", name="Cancel workflow root-task-1", exact=True)
    expect(dialog).to_contain_text("3 waiting tasks taken out: 2 from reports, 1 from emails", timeout=15_000)
    expect(dialog).to_contain_text("1 task that workers have fetched and not started")
    check(page)
    dialog.get_by_label("Type YES to confirm").fill("YES")
    dialog.get_by_role("button", name="Cancel 4 tasks").click()
    expect(tree).to_contain_text("3 cleared", timeout=20_000)
    assert store.llen("reports") == 1
    button(page, "Restore shop.charge charge-task-1").click()
    dialog = page.get_by_role("dialog", name="Restore workflow root-task-1", exact=True)
    dialog.get_by_label("Type YES to confirm").fill("YES")
    dialog.get_by_role("button", name="Restore", exact=False).last.click()
    expect(tree).to_contain_text("3 waiting", timeout=20_000)
    assert {name: store.lrange(name, 0, -1) for name in before} == before


@pytest.mark.long
@pytest.mark.parametrize(("theme", "size"), [("light", None), ("dark", PHONE)], ids=["light", "dark phone"])
def test_the_tree_is_whole_and_accessible_on_every_screen(
    served: Any, visit: Callable[..., Page], store: redis.Redis, theme: str, size: Any
) -> None:
    fill(store)
    parent = "charge-task-1"
    for n in range(12):
        store.lpush("reports", child(f"deep-task-{n}", parent, "shop.a_task_with_quite_a_long_name", args=["x" * 50]))
        parent = f"deep-task-{n}"
    page = visit(f"{served.url}?tab=queues", color_scheme=theme, reduced_motion="reduce")
    if size:
        page.set_viewport_size(size)
    tree = open_workflow(page, "charge-task-1")
    expect(tree.locator("tbody > tr:not(.under)")).to_have_count(20)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
    expect(button(page, "Cancel workflow")).to_be_visible()
    check(page)
