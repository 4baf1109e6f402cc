"""Clearing from the page, seeing what it means first, and taking it back."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest
import redis
from playwright.sync_api import Page, expect
from support.dialogs import act, button, confirm, message


def fill(store: redis.Redis, queue: str, number: int, task: str = "shop.charge") -> list[str]:
    messages = [
        json.dumps({"headers": {"task": task, "id": str(uuid.uuid4())}, "properties": {}, "body": "[]"})
        for _ in range(number)
    ]
    store.lpush(queue, *messages)
    return messages


@pytest.mark.long
def test_a_clear_shows_what_it_removes_and_is_taken_back_from_its_result(
    served: Any, visit: Callable[..., Page], store: redis.Redis, shoot: Callable[..., None]
) -> None:
    fill(store, "emails", 30)
    fill(store, "emails", 12, "shop.mail")
    before = store.lrange("emails", 0, -1)
    page = visit(served.url)
    act(page, "emails", "Clear")
    kinds = page.get_by_role("dialog").locator(".legend li")
    expect(kinds).to_have_text(["shop.charge30 · 71 %", "shop.mail12 · 29 %"])
    shoot(page, "dialog_clear")
    late = fill(store, "emails", 2, "shop.late")
    confirm(page)
    toast = message(page, "Cleared 42 tasks from emails. 2 tasks arrived after the preview")
    expect(toast).to_be_visible()
    assert store.lrange("emails", 0, -1) == late[::-1]
    toast.get_by_role("button", name="Undo").click()
    expect(page.get_by_role("dialog", name="Restore Queue")).to_be_visible()
    shoot(page, "dialog_restore")
    confirm(page)
    expect(message(page, "Restored 42 tasks to emails.")).to_be_visible()
    assert store.lrange("emails", 0, -1) == [*late[::-1], *before]
    expect(page.get_by_role("region", name="Cleared Tasks")).to_have_count(0)


@pytest.mark.long
def test_the_dialog_of_a_clear_asks_why_and_the_log_tells_it(
    served: Any, visit: Callable[..., Page], store: redis.Redis
) -> None:
    fill(store, "emails", 3)
    page = visit(served.url)
    act(page, "emails", "Clear")
    page.get_by_label("Reason").fill("INC-7: poisoned")
    confirm(page)
    expect(message(page, "Cleared 3 tasks from emails.")).to_be_visible()
    log = page.get_by_role("region", name="Recent Operations")
    log.locator("tbody tr", has_text="Cleared 3 tasks").get_by_role("button", name="Show details").click()
    expect(log.get_by_role("row", name="Reason INC-7: poisoned")).to_be_visible()


@pytest.mark.long
def test_what_was_cleared_is_listed_and_restored_or_deleted_from_the_list_and_the_log(
    served: Any, visit: Callable[..., Page], store: redis.Redis, shoot: Callable[..., None]
) -> None:
    page = visit(served.url)
    for queue in ("emails", "reports"):
        fill(store, queue, 7)
        act(page, queue, "Clear")
        confirm(page)
    cleared = page.get_by_role("region", name="Cleared Tasks")
    rows = cleared.locator("tbody tr:not(.under)")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("reports")
    expect(rows.first).to_contain_text("23h 59m")
    shoot(page, "cleared", all_forms=True)
    page.set_viewport_size({"width": 390, "height": 844})
    for name in ("Restore", "More for"):
        box = cleared.get_by_role("button", name=name).first.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 390, "in sight on a phone"
    page.set_viewport_size({"width": 1440, "height": 900})
    log = page.get_by_role("region", name="Recent Operations").locator("tbody tr", has_text="from reports")
    log.get_by_role("button", name="Undo").click()
    confirm(page)
    expect(rows).to_have_count(1)
    assert store.llen("reports") == 7
    expect(log.get_by_role("button", name="Undo")).to_have_count(0)
    rows.first.get_by_role("button", name="More for emails").click()
    page.get_by_role("menuitem", name="Delete").click()
    expect(page.get_by_role("dialog", name="Delete Trash")).to_be_visible()
    confirm(page)
    expect(message(page, "Deleted")).to_be_visible()
    expect(rows).to_have_count(0)
    assert store.llen("emails") == 0


@pytest.mark.long
def test_long_work_shows_how_far_it_is_and_ends_when_it_is_cancelled(
    served: Any,
    visit: Callable[..., Page],
    store: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    shoot: Callable[..., None],
) -> None:
    import time

    from opsdash.model import Effect, Progress
    from opsdash.operations import SyncTenantConfigs

    def work(self: Any, console: Any, act: Any) -> Effect:
        at = 0
        while not act.cancelled() and at < 1_000:
            at += 1
            act.on_progress(Progress(done=False, message=f"{at} of 1,000 tenants", at=at, of=1_000))
            time.sleep(0.02)
        return Effect(affected=at, message=f"Cancelled after {at} tenants.", ok=False)

    monkeypatch.setattr(SyncTenantConfigs, "execute", work)
    page = visit(served.url)
    button(page, "Sync Tenant Configs").click()
    confirm(page)
    expect(page.get_by_text("of 1,000 tenants")).to_be_visible()
    expect(page.get_by_role("progressbar", name="Progress")).to_be_visible()
    shoot(page, "progress")
    button(page, "Cancel").click()
    expect(message(page, "Cancelled after")).to_be_visible()
    expect(page.get_by_text("of 1,000 tenants")).to_have_count(0)
