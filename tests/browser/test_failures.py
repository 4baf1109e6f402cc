"""Failed tasks on the page: by task and error, opened to arguments and traceback; retried, discarded, edited."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from playwright.sync_api import Locator, Page, expect
from support import services
from support.axe import check
from support.dialogs import button, confirm
from support.failed_tasks import CHARGE, SEND, failed, keep, message

from opsdash.services.broker.client import Broker

PHONE = {"width": 390, "height": 844}
XSS = "<img src=x onerror=alert(1)>"
TRACEBACK = f"Traceback (most recent call last):\n  File …/tasks.py, in charge\nshop.errors.Declined: {XSS}"
FLOWER = "https://flower.example/task/{task_id}"


@pytest.fixture(scope="module")
def served(serve_page: Callable[..., Any]) -> Any:
    return serve_page(task_url=(FLOWER,), admins=("*",))


@pytest.fixture
def store(served: Any, broker: services.Valkey) -> Iterator[Broker]:
    yield served.console.broker
    with redis.Redis.from_url(broker.url) as client:
        client.flushall()


def fill(store: Broker, number: int = 3) -> None:
    more = {"traceback": TRACEBACK, "arguments": f"12, {XSS}", "message_text": f"card {XSS}", "worker": "w1@host"}
    keep(store, [failed(f"charge-{n}", ago_s=60 + n, **more) for n in range(number)])
    keep(store, [failed("send-1", SEND, queue="emails", ago_s=7_200, message=message("send-1", args=["x"]))])


def failures(page: Page) -> Locator:
    return page.get_by_role("region", name="Failures", exact=True)


def row(page: Page, text: str) -> Locator:
    return failures(page).locator("tbody > tr", has_text=text).first


def opened(page: Page) -> Locator:
    return page.get_by_role("region", name="Tasks, the last one first")


def details(page: Page, name: str) -> None:
    button(page, f"Show details of {name}").click()


@pytest.mark.long
def test_the_strip_leads_to_the_groups_and_a_group_opens_to_tracebacks(
    served: Any, visit: Callable[..., Page], store: Broker, shoot: Callable[..., None]
) -> None:
    page = visit(served.url)
    expect(button(page, "Failed tasks")).to_have_count(0)
    fill(store)
    button(page, "Failed tasks").click()
    expect(page.get_by_role("tab", name="Failures")).to_have_text(re.compile("Failures.*4"))
    expect(row(page, CHARGE.task)).to_contain_text(CHARGE.error)
    expect(row(page, CHARGE.task)).to_contain_text("3")
    expect(row(page, SEND.task)).to_contain_text("emails")
    expect(page).to_have_url(re.compile("tab=failures"))
    details(page, f"{CHARGE.task}: {CHARGE.error}")
    expect(opened(page)).to_contain_text(f"12, {XSS}")
    expect(failures(page)).to_contain_text("3 of 3 failures kept")
    details(page, f"{CHARGE.task} charge-0")
    expect(page.get_by_text("shop.errors.Declined: ")).to_be_visible()
    link = page.get_by_role("link", name="https://flower.example/task/charge-0")
    assert (link.get_attribute("href"), link.get_attribute("rel")) == (
        "https://flower.example/task/charge-0",
        "noopener noreferrer",
    )
    shoot(page, "failures", all_forms=True)
    page.reload()
    expect(opened(page)).to_contain_text("charge-0"), "the address says which group is open"


@pytest.mark.long
def test_one_task_is_retried_one_discarded_and_then_the_rest_of_the_group(
    served: Any, visit: Callable[..., Page], store: Broker
) -> None:
    fill(store)
    page = visit(f"{served.url}?tab=failures")
    details(page, f"{CHARGE.task}: {CHARGE.error}")
    button(page, f"Retry {CHARGE.task} charge-1").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("will be sent")
    expect(dialog.get_by_label("Name of the task")).to_have_count(0), "what was clicked is not asked"
    confirm(page)
    expect(opened(page)).not_to_contain_text("charge-1", timeout=15_000)
    assert store.client.llen("celery") == 1
    button(page, f"Discard {CHARGE.task} charge-2").click()
    confirm(page)
    expect(opened(page)).not_to_contain_text("charge-2", timeout=15_000)
    button(page, f"Retry {CHARGE.task}: {CHARGE.error}").click()
    expect(dialog).to_contain_text("1 failed task")
    confirm(page)
    expect(failures(page)).not_to_contain_text(CHARGE.error, timeout=15_000)
    expect(row(page, SEND.task)).to_be_visible()
    assert store.client.llen("celery") == 2


@pytest.mark.long
def test_an_admin_mends_the_arguments_of_a_task_and_sends_it_again(
    served: Any, visit: Callable[..., Page], store: Broker
) -> None:
    fill(store)
    page = visit(f"{served.url}?tab=failures&failure={SEND.fingerprint}")
    button(page, f"Edit {SEND.task} send-1").click()
    page.get_by_label("Positional arguments").fill('["y"]')
    expect(page.get_by_role("dialog")).to_contain_text('After: "y"', timeout=15_000)
    confirm(page)
    expect(failures(page)).not_to_contain_text(SEND.task, timeout=15_000)
    assert store.client.llen("emails") == 1


@pytest.mark.long
def test_many_tasks_of_a_group_are_paged_and_groups_are_filtered(
    served: Any, visit: Callable[..., Page], store: Broker
) -> None:
    fill(store, 30)
    page = visit(f"{served.url}?tab=failures&failure={CHARGE.fingerprint}")
    expect(opened(page)).to_contain_text("1 to 20 of 30")
    button(page, "Next").click()
    expect(opened(page)).to_contain_text("21 to 30 of 30")
    expect(button(page, "Next")).to_be_disabled()
    page.get_by_label("Filter failures").fill("timeout emails")
    expect(failures(page)).not_to_contain_text(CHARGE.error)
    expect(row(page, SEND.task)).to_be_visible()


@pytest.mark.long
def test_the_keyboard_gets_to_a_traceback_without_a_mouse(
    served: Any, visit: Callable[..., Page], store: Broker
) -> None:
    fill(store)
    page = visit(served.url)
    page.keyboard.press("6")
    expect(page.get_by_role("tab", name="Failures")).to_be_focused()
    expect(row(page, CHARGE.task)).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_label("Filter failures")).to_be_focused()
    page.keyboard.press("Escape")
    opener = button(page, f"Show details of {CHARGE.task}: {CHARGE.error}")
    opener.focus()
    page.keyboard.press("Enter")
    expect(opened(page)).to_contain_text("charge-0")
    button(page, f"Show details of {CHARGE.task} charge-0").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("shop.errors.Declined: ")).to_be_visible()


@pytest.mark.long
@pytest.mark.parametrize(("theme", "size"), [("light", None), ("dark", PHONE)], ids=["light", "dark phone"])
def test_failures_are_whole_and_accessible_on_every_screen(
    served: Any, visit: Callable[..., Page], store: Broker, theme: str, size: Any
) -> None:
    fill(store)
    address = f"{served.url}?tab=failures&failure={CHARGE.fingerprint}"
    page = visit(address, color_scheme=theme, reduced_motion="reduce")
    if size:
        page.set_viewport_size(size)
    expect(opened(page)).to_contain_text("charge-0" if not size else "12, ")
    page.get_by_role("button", name=f"Show details of {CHARGE.task} charge-0").click()
    expect(page.get_by_text("shop.errors.Declined: ")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out"
    check(page)
