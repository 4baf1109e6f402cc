"""The tab Tenants: tasks of each tenant, held, released and cleared from its row, while somebody looks."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import redis
from playwright.sync_api import Page, expect
from support.dialogs import confirm, message
from support.messages import message as task

from opsdash.services.tenants.tasks import TenantLook

EVIL = "<img src=x onerror=alert(1)>"


@pytest.mark.long
def test_a_tenants_tasks_are_seen_and_it_is_held_cleared_and_released_from_its_row(
    served: Any,
    visit: Callable[..., Page],
    store: redis.Redis,
    shoot: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads = list[int]()
    read = TenantLook._read
    monkeypatch.setattr(TenantLook, "_read", lambda look, began: reads.append(1) or read(look, began))
    store.lpush("emails", *(task(f"w{n}", tenant_id="acme") for n in range(3)), task("evil", tenant_id=EVIL))
    page = visit(served.url)
    expect(page.get_by_role("tab", name="Tenants")).to_be_visible()
    assert reads == [], "nobody looks at the tab"
    page.get_by_role("tab", name="Tenants").click()
    card = page.get_by_role("region", name="Tasks by tenant")
    acme = card.locator("tbody tr:not(.under)").filter(has_text="acme")
    expect(acme).to_contain_text("3")
    expect(card).to_contain_text(re.compile(r"Read at \d\d:\d\d:\d\d UTC\."))
    expect(card).to_contain_text(EVIL)
    shoot(page, "tenant_tasks", all_forms=True)
    acme.get_by_role("button", name="Hold").click()
    expect(page.get_by_role("dialog", name="Hold tenant acme")).to_contain_text("3 of the tasks that wait now are")
    confirm(page)
    expect(message(page, "Tasks of tenant acme are held until")).to_be_visible()
    expect(acme).to_contain_text("held")
    acme.get_by_role("button", name="More").click()
    page.get_by_role("menuitem", name="Clear").click()
    expect(page.get_by_role("dialog", name="Clear tasks of tenant acme")).to_contain_text("3 of the tasks that wait")
    confirm(page)
    expect(message(page, "Cleared 3 tasks of tenant acme.")).to_be_visible()
    acme.get_by_role("button", name="Release").click()
    confirm(page)
    expect(acme).to_have_count(0)
    assert store.llen("emails") == 1
