"""Holding tasks of one name from the page, seeing how many are held, and releasing them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from playwright.sync_api import Page, expect
from support.dialogs import confirm, message
from support.messages import message as task


@pytest.mark.long
def test_tasks_are_held_shown_and_released_from_the_page(
    served: Any, visit: Callable[..., Page], store: redis.Redis, shoot: Callable[..., None]
) -> None:
    store.lpush("emails", *(task(f"w{n}", "shop.charge") for n in range(3)))
    page = visit(f"{served.url}?tab=queues")
    card = page.get_by_role("region", name="Holds")
    card.get_by_role("button", name="Hold Tasks").click()
    page.get_by_label("Name of the task").fill("shop.charge")
    page.get_by_label("Reason").fill("the bank is down")
    expect(page.get_by_role("dialog")).to_contain_text("3 of the tasks that wait now match")
    confirm(page)
    expect(message(page, "Tasks shop.charge are held until")).to_be_visible()
    row = card.locator("tbody tr:not(.under)")
    expect(row).to_contain_text("shop.charge")
    expect(row).not_to_contain_text("just now")  # nothing is held yet, so nothing has an age
    (hold,) = (name for name in store.hkeys("opsdash:hold"))
    hold = hold if isinstance(hold, str) else hold.decode()
    store.hset("opsdash:held", f"{hold}:0:emails", "emails")  # as a worker leaves them
    store.lpush(f"opsdash:held:emails:{hold}:0", *(task(f"h{n}", "shop.charge") for n in range(7)))
    expect(row).to_contain_text("7")
    shoot(page, "holds")
    row.get_by_role("button", name="Release").click()
    expect(page.get_by_role("dialog", name="Release tasks shop.charge")).to_contain_text("7 held tasks")
    confirm(page)
    expect(message(page, "7 tasks are next to run")).to_be_visible()
    expect(row).to_have_count(0)
    assert store.llen("emails") == 10
    card.get_by_role("button", name="Hold Tenant").click()
    page.get_by_label("The tenant's id").fill("acme")
    confirm(page)
    expect(row).to_contain_text("tenant acme")
