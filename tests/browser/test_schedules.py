"""The card of beat's schedule."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis
from playwright.sync_api import Page, expect
from support.dialogs import confirm, message

from opsdash.keys import Keys

KEYS = Keys()


@pytest.mark.long
def test_an_entry_is_paused_from_its_row(
    served: Any, visit: Callable[..., Page], store: redis.Redis, shoot: Callable[..., None]
) -> None:
    page = visit(f"{served.url}?tab=queues")
    expect(page.get_by_role("region", name="Queue Operations")).to_be_visible()
    card = page.get_by_role("region", name="Schedules")
    expect(card).to_have_count(0)  # no beat reports
    entry = {
        "task": "shop.report",
        "schedule": "crontab 0 4 * * *",
        "next": "2026-11-29T04:00:00+00:00",
        "at": time.time(),
    }
    store.hset(KEYS.schedules, "nightly", json.dumps(entry))
    row = card.locator("tbody tr", has_text="nightly")
    expect(row).to_contain_text("crontab 0 4 * * *")
    row.get_by_role("button", name="Pause").click()
    dialog = page.get_by_role("dialog", name="Pause schedule nightly")
    expect(dialog).to_contain_text("shop.report is not sent any more")
    dialog.get_by_role("button", name="1 h").click()
    confirm(page)
    expect(message(page, "Paused schedule nightly until")).to_be_visible()
    expect(row).to_contain_text("paused")
    shoot(page, "schedules")
    expect(row.get_by_role("button", name="Resume")).to_be_visible()
