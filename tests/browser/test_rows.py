"""Rows of queues and workers: their acts and menus, what stays in sight on a phone, and what a worker runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import redis
from playwright.sync_api import Page, expect
from support.axe import check
from support.dialogs import button
from support.reports import report
from support.rows import fill, row, send

from opsdash.model import Actor, Role
from opsdash.operations import PauseProcessing

PHONE = {"width": 390, "height": 844}
MARIA = Actor(name="maria", role=Role.OPERATOR)


@pytest.mark.long
@pytest.mark.parametrize(("theme", "size"), [("light", None), ("dark", PHONE)], ids=["light", "dark phone"])
def test_the_menu_of_a_row_works_with_keys_alone_and_is_announced_as_one(
    served: Any, visit: Callable[..., Page], store: redis.Redis, theme: str, size: Any
) -> None:
    page = visit(served.url, color_scheme=theme, reduced_motion="reduce")
    if size:
        page.set_viewport_size(size)
    expect(button(page, "Pause emails")).to_be_visible()
    expect(button(page, "Peek emails")).to_be_visible()
    more = button(page, "More for emails")
    more.focus()
    page.keyboard.press("Enter")
    menu = page.get_by_role("menu", name="More for emails")
    expect(menu.get_by_role("menuitem").first).to_be_focused()
    expect(more).to_have_attribute("aria-expanded", "true")
    check(page)
    page.keyboard.press("ArrowDown")
    expect(menu.get_by_role("menuitem").last).to_be_focused()
    page.keyboard.press("Escape")
    expect(menu).to_have_count(0)
    expect(more).to_be_focused()


@pytest.mark.long
def test_a_queue_is_cleared_from_its_row_and_there_is_no_clear_without_a_queue(
    served: Any, visit: Callable[..., Page], store: redis.Redis
) -> None:
    page = visit(served.url)
    expect(page.get_by_role("button", name="Clear")).to_have_count(0)
    button(page, "More for emails").click()
    expect(page.get_by_role("menuitem", name="All pending tasks of this queue")).to_have_count(1)


@pytest.mark.long
def test_on_a_phone_the_oldest_the_reason_and_the_end_of_a_pause_stay_in_sight(
    served: Any, visit: Callable[..., Page], store: redis.Redis
) -> None:
    send(store, "emails", age_s=7_300)
    served.console.run(
        PauseProcessing(queue="emails", duration_s=3_600, reason="the mail server moves"), actor=MARIA, confirm="YES"
    )
    page = visit(served.url, apart=True)
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    shown = page.get_by_role("region", name="Queue Operations")
    shown.scroll_into_view_if_needed()
    row(page, "Queue Operations", "emails").scroll_into_view_if_needed()
    for text in ("2h 1m", "the mail server moves", "until "):
        expect(shown.get_by_text(text).locator("visible=true").first).to_be_in_viewport()


@pytest.mark.long
def test_a_click_anywhere_opens_a_workers_row(served: Any, visit: Callable[..., Page], store: redis.Redis) -> None:
    report(store, "w1@test", lasts_s=600)
    page = visit(f"{served.url}?tab=workers")
    for cell in ("prefork", "just now"):
        row(page, "Worker Health", "w1@test").get_by_role("cell", name=cell).click()
        details = page.locator("tr.detail")
        expect(details).to_have_count(1 if cell == "prefork" else 0)


@pytest.mark.long
def test_a_quiet_worker_keeps_its_place_and_says_what_it_served(
    served: Any, visit: Callable[..., Page], store: redis.Redis
) -> None:
    for name in ("a@test", "b@test", "c@test"):
        report(store, name, lasts_s=600, queues='["celery", "emails"]')
    page = visit(f"{served.url}?tab=workers")
    second = page.get_by_role("region", name="Worker Health").locator("tbody > tr").nth(1)
    expect(second).to_contain_text("b@test")
    report(store, "b@test", lasts_s=600, queues="[]")
    expect(second).to_contain_text("takes no tasks; served celery, emails")
    expect(second).to_contain_text("b@test")
    expect(button(page, "Wake b@test")).to_be_visible()


@pytest.mark.long
def test_a_workers_row_shows_what_runs_with_its_arguments_start_and_duration(
    served: Any, visit: Callable[..., Page], store: redis.Redis
) -> None:
    running = json.dumps([["1a2b", "shop.charge", "emails", 65.0]])
    report(store, "w1@test", lasts_s=600, running=running, running_arguments=json.dumps(['"Order 4711", (hidden)']))
    page = visit(f"{served.url}?tab=workers", timezone_id="Asia/Tokyo")
    row(page, "Worker Health", "w1@test").click()
    task = row(page, "Running now", "shop.charge")
    expect(task).to_contain_text('"Order 4711", (hidden)')
    started = task.locator("td[data-kind=clock]")
    utc, here = (started.get_attribute("title") or "").split(", ")
    assert utc.endswith(f"{started.inner_text()} UTC")
    hours = (int(here.split()[1][:2]) - int(utc.split()[1][:2])) % 24
    assert (hours, here.split()[-1]) == (9, "here"), "the operator's own time"
    expect(task.locator("td[data-kind=since]")).to_have_text(re.compile(r"^\d+[ms]"))
    button(page, "Revoke shop.charge 1a2b").click()
    expect(page.get_by_role("dialog", name="Revoke task 1a2b")).to_be_visible()


@pytest.mark.long
@pytest.mark.parametrize("width", [1440, 1024, 768, 390])
def test_at_every_width_nothing_is_covered_and_focus_rings_are_whole(
    served: Any, visit: Callable[..., Page], store: redis.Redis, width: int
) -> None:
    report(store, *(f"celery-worker-{i}@a-host-with-a-long-name.example" for i in range(3)), lasts_s=600)
    fill(store, "emails", 3)
    served.console.run(PauseProcessing(queue="emails", reason="why " * 30), actor=MARIA, confirm="YES")
    page = visit(f"{served.url}?tab=workers")
    page.set_viewport_size({"width": width, "height": 900})
    for tab in ("Workers", "Queues"):
        page.get_by_role("tab", name=tab, exact=True).click()
        shown = page.locator(".wrap:visible:has(tbody tr)").first
        expect(shown).to_be_visible()
        page.wait_for_timeout(300)  # columns give way after the first paint
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page does not scroll sideways"
        assert shown.evaluate("wrap => wrap.scrollWidth <= wrap.clientWidth + 1"), "so its last column covers nothing"
    peek = button(page, "Peek emails").first
    peek.focus()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    ring = peek.evaluate(
        "node => { const s = getComputedStyle(node); return parseFloat(s.outlineOffset) + parseFloat(s.outlineWidth) }"
    )
    assert ring <= 0, "inside of the button: no edge of the table cuts it"
