"""Dialogs: what they are called, what they ask first, what they offer, and what they leave out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from playwright.sync_api import Locator, Page, expect
from support.axe import check
from support.dialogs import button, confirm_button
from support.reports import report
from support.rows import choose, fill

PHONE = {"width": 390, "height": 844}


def dialog(page: Page, name: str) -> Locator:
    shown = page.get_by_role("dialog", name=name, exact=True)
    expect(shown).to_be_visible()
    return shown


@pytest.mark.long
def test_a_dialog_names_its_target_in_its_title_and_its_button_and_says_nothing_twice(
    served: Any, visit: Callable[..., Page], store: redis.Redis
) -> None:
    fill(store, "emails", 312)
    page = visit(served.url)
    choose(page, "emails", "Clear")
    shown = dialog(page, "Clear queue emails")
    expect(confirm_button(page)).to_have_text("Clear 312 tasks")
    expect(page.get_by_label("Reason")).to_be_focused()
    expect(shown.locator(".tile")).to_have_text(["312 taskswaiting"])  # nothing runs: no tile of nothing
    expect(shown.get_by_text("312 pending tasks of queue emails will be removed.")).to_have_count(0)
    expect(shown.get_by_text("By task:")).to_have_count(0)  # the bar says it
    page.keyboard.press("Escape")
    button(page, "Pause emails").click()
    dialog(page, "Pause queue emails")
    expect(confirm_button(page)).to_have_text("Pause queue emails")
    expect(page.get_by_label("Ends after")).to_be_focused()


@pytest.mark.long
def test_an_empty_queue_is_said_to_be_empty_though_there_is_no_tile_of_it(
    served: Any, visit: Callable[..., Page], store: redis.Redis
) -> None:
    page = visit(served.url)
    choose(page, "emails", "Clear")
    expect(dialog(page, "Clear queue emails").get_by_text("0 pending tasks of queue emails")).to_be_visible()


@pytest.mark.long
def test_a_duration_is_one_press_and_a_typed_one_is_taken_as_well(
    served: Any, visit: Callable[..., Page], store: redis.Redis
) -> None:
    page = visit(served.url)
    button(page, "Pause emails").click()
    shown, field = dialog(page, "Pause queue emails"), page.get_by_label("Ends after")
    expect(field).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(button(page, "30 min")).to_be_focused()
    page.keyboard.press("Enter")
    expect(field).to_have_value("30m")
    expect(shown.get_by_text("It ends after 30 minutes.")).to_be_visible()
    expect(button(page, "30 min")).to_contain_class("bk-active")
    field.fill("45m")
    expect(shown.get_by_text("It ends after 45 minutes.")).to_be_visible()
    expect(button(page, "30 min")).not_to_contain_class("bk-active")
    field.fill("")
    expect(shown.get_by_text("It ends after 24 hours, if nobody resumes it before.")).to_be_visible()
    page.get_by_label("Until I resume, without an end").check()
    expect(shown.get_by_text("It has no end: it stays until someone resumes.")).to_be_visible()


@pytest.mark.long
def test_the_names_of_waiting_tasks_are_offered_for_a_selective_clear(
    served: Any, visit: Callable[..., Page], store: redis.Redis
) -> None:
    fill(store, "emails", 3, "shop.mail")
    fill(store, "emails", 2, "shop.<b>charge")
    page = visit(served.url)
    choose(page, "emails", "Clear some")
    shown = dialog(page, "Clear tasks of emails")
    expect(shown.locator(".chips").get_by_role("button")).to_have_text(["shop.mail", "shop.<b>charge"])
    button(page, "shop.mail").click()
    expect(page.get_by_label("Name of the task")).to_have_value("shop.mail")
    expect(confirm_button(page)).to_have_text("Clear 3 tasks")


@pytest.mark.long
def test_a_yes_in_lower_case_says_why_it_is_not_taken(
    served: Any, visit: Callable[..., Page], store: redis.Redis
) -> None:
    page = visit(served.url)
    button(page, "Pause emails").click()
    page.get_by_label("Type YES to confirm").fill("yes")
    expect(page.get_by_role("alert").filter(has_text="Type YES in capital letters")).to_be_visible()
    expect(confirm_button(page)).to_be_disabled()
    page.get_by_label("Type YES to confirm").fill("YES")
    expect(page.get_by_text("Type YES in capital letters")).to_have_count(0)
    expect(confirm_button(page)).to_be_enabled()


GONE_THERE_AT_ONCE = """() => new Promise((done) => {
  const all = (node) => [...node.querySelectorAll('*')].flatMap((n) => (n.shadowRoot ? [n, ...all(n.shadowRoot)] : n))
  const look = () => {
    const shown = all(document)
    const label = shown.find((n) => n.matches('label') && n.textContent.startsWith('Type YES'))
    const field = label?.parentNode.querySelector('input')
    if (!field?.checkVisibility() || !shown.some((n) => n.matches('dialog[open]'))) return setTimeout(look, 1)
    field.focus()
    setTimeout(() => done(field.isConnected && field.getRootNode().activeElement === field), 500)
  }
  look()
})"""
"""Goes to the field for YES as soon as it can be seen, and says whether the focus is there half a second later."""


@pytest.mark.long
def test_who_goes_to_a_field_at_once_stays_there(served: Any, visit: Callable[..., Page]) -> None:
    for _ in range(4):
        page = visit(served.url)
        button(page, "Pause Processing").click()
        assert page.evaluate(GONE_THERE_AT_ONCE)
        page.close()


@pytest.mark.long
@pytest.mark.parametrize(("theme", "size"), [("light", None), ("dark", PHONE)], ids=["light", "dark phone"])
def test_a_dialog_is_whole_and_accessible_on_every_screen(
    served: Any, visit: Callable[..., Page], store: redis.Redis, theme: str, size: Any
) -> None:
    report(store, "w1@test", lasts_s=600, queues='["emails"]', held_by_queue='{"emails": 2}', running_by_queue="{}")
    fill(store, "emails", 3, "shop.a_task_with_quite_a_long_name.that_goes_on_and_on_and_on_for_a_while")
    page = visit(served.url, color_scheme=theme, reduced_motion="reduce")
    if size:
        page.set_viewport_size(size)
    for label, name in (("Clear some", "Clear tasks of emails"), ("Clear", "Clear queue emails")):
        choose(page, "emails", label)
        shown = dialog(page, name)
        if label == "Clear some":
            expect(shown.locator(".chips").get_by_role("button")).to_have_count(1)
        else:
            expect(shown.get_by_label("Also clear unstarted tasks")).to_be_visible()
        assert shown.evaluate("node => node.scrollWidth <= node.clientWidth"), "nothing sticks out"
        check(page)
        page.keyboard.press("Escape")
        expect(shown).to_have_count(0)
