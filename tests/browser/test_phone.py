"""The page at 390 pixels: nothing is wider than the window, acts are easy to hit, messages leave the page in sight."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis
from playwright.sync_api import Page, expect
from support.dialogs import PROCESSING, button, confirm, message
from support.reports import report_many

import opsdash
from opsdash.model import Actor, Role

PHONE = {"width": 390, "height": 844}
TABS = ("Overview", "Queues", "Workers", "Tenants", "Operations", "Failures")
MARIA = Actor(name="maria", role=Role.OPERATOR)
BEYOND = """width => {
  const all = (node) => [...node.querySelectorAll('*')].flatMap((n) => (n.shadowRoot ? [n, ...all(n.shadowRoot)] : n))
  const box = (node) => node.matches('section, .strip, input, select, .bk-btn, .bk-Row, .bk-Column')
  return all(document).filter((n) => box(n) && n.checkVisibility() && n.getBoundingClientRect().right > width + 1)
    .map((n) => `${n.localName}.${n.className} ${Math.round(n.getBoundingClientRect().right)}`)
}"""


@pytest.fixture
def phone(served: Any, visit: Callable[..., Page], store: redis.Redis) -> Page:
    report_many(store, 3, running=json.dumps([["1a2b", "shop.charge", "emails", 65.0]]))
    served.console.run(
        opsdash.PauseProcessing(queue="emails", reason="a reason of some words"), actor=MARIA, confirm="YES"
    )
    served.console.run(opsdash.ResumeProcessing(queue="emails"), actor=MARIA, confirm="YES")
    page = visit(served.url)
    page.set_viewport_size(PHONE)  # type: ignore[arg-type] # a plain dict
    return page


@pytest.mark.long
def test_no_tab_is_wider_than_the_window_of_a_phone(phone: Page, shoot: Callable[..., None]) -> None:
    for tab in TABS:
        phone.get_by_role("tab", name=tab, exact=True).click()
        expect(phone.get_by_role("tabpanel", name=tab).get_by_role("region").first).to_be_visible()
        phone.wait_for_timeout(300)  # its other cards come one by one
        assert phone.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], tab
        assert phone.evaluate(BEYOND, PHONE["width"]) == [], tab
        phone.evaluate("window.scrollTo(0, 0)")
        shoot(phone, f"phone_{tab.lower()}")


@pytest.mark.long
def test_pause_and_resume_take_the_whole_width_of_a_phone_and_stay_where_they_are(
    phone: Page, served: Any, shoot: Callable[..., None]
) -> None:
    expect(phone.get_by_text(PROCESSING)).to_be_visible()
    group = phone.get_by_role("group", name="Processing", exact=True).bounding_box()
    assert group is not None
    for name in ("Pause Processing", "Resume Processing"):
        box = button(phone, name).bounding_box()
        assert box is not None
        assert box["width"] >= group["width"] - 2, name
        assert box["height"] >= 40, name
    shoot(phone, "phone_strip")
    before = button(phone, "Pause Processing").bounding_box()
    served.console.run(opsdash.PauseProcessing(queue="emails"), actor=MARIA, confirm="YES")
    expect(phone.get_by_text("Processing Status: PARTLY PAUSED")).to_be_visible()
    assert button(phone, "Pause Processing").bounding_box() == before, "nothing moves under a finger"
    shoot(phone, "phone_partly_paused", all_forms=True)


@pytest.mark.long
def test_on_a_phone_one_message_is_open_and_counts_those_behind_it(phone: Page, shoot: Callable[..., None]) -> None:
    for number, name in enumerate(("emails", "reports", "celery"), 1):
        button(phone, f"Pause {name}").click()
        confirm(phone)
        expect(message(phone)).to_have_count(number)
        expect(message(phone).last).to_be_visible()
        message(phone).last.hover(force=True)
    expect(message(phone).filter(visible=True)).to_have_count(1)
    expect(message(phone).filter(visible=True)).to_contain_text("2 more")
    shoot(phone, "phone_messages")
    message(phone).filter(visible=True).get_by_role("button", name="Close the message").click()
    expect(message(phone).filter(visible=True)).to_contain_text("1 more")
