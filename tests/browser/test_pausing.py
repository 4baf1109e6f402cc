"""Pausing from the page: how long, one queue, and the workers that opsdash can't hold by itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from playwright.sync_api import Page, expect
from support import services
from support.dialogs import PROCESSING, button, confirm, confirm_button, message
from support.workers import worker

import opsdash
from opsdash.keys import Keys
from opsdash.model import Actor, Role

KEYS = Keys()
MARIA = Actor(name="maria", role=Role.OPERATOR)


@pytest.fixture(autouse=True)
def running(served: Any, broker: services.Valkey) -> Iterator[None]:
    """Every test starts, and leaves the deployment, without a pause."""
    yield
    for queue in (None, "emails"):
        served.console.run(opsdash.ResumeProcessing(queue=queue), actor=MARIA, confirm="YES")


@pytest.mark.long
def test_a_pause_lasts_as_long_as_the_operator_says_and_the_dialog_says_it_first(
    served: Any, visit: Callable[..., Page], shoot: Callable[..., None]
) -> None:
    page = visit(served.url)
    button(page, "Pause Processing").click()
    expect(page.get_by_text("It ends after 24 hours, if nobody resumes it before.")).to_be_visible()
    field = page.get_by_label("Ends after")
    field.fill("2h")
    page.get_by_label("Reason").fill("payment provider is down")
    page.get_by_label("Type YES to confirm").focus()
    expect(page.get_by_text("It ends after 2 hours.")).to_be_visible()
    shoot(page, "dialog_pause")
    confirm(page)
    expect(page.get_by_text("Processing Status: PAUSED")).to_be_visible()
    pause = served.console.pause.read(())[None]
    assert pause.reason == "payment provider is down"
    assert timedelta(hours=1, minutes=59) < pause.expires_at - datetime.now(UTC) <= timedelta(hours=2)


@pytest.mark.long
def test_a_duration_that_is_none_is_told_in_the_dialog_and_nothing_is_paused(
    served: Any, visit: Callable[..., Page]
) -> None:
    page = visit(served.url)
    button(page, "Pause Processing").click()
    page.get_by_label("Ends after").fill("soon")
    page.get_by_label("Type YES to confirm").fill("YES")
    expect(page.get_by_text("'soon' is not a duration")).to_be_visible()
    expect(confirm_button(page)).to_be_disabled()
    assert not served.console.is_processing_paused()
    page.get_by_label("Ends after").fill("10m")
    page.get_by_label("Type YES to confirm").focus()
    expect(page.get_by_text("'soon' is not a duration")).to_have_count(0)
    confirm(page)
    expect(page.get_by_text("Processing Status: PAUSED")).to_be_visible()


AT_ONCE = """(field, text) => {
  // In one turn of the browser: no review can come between what is typed and Enter.
  field.value = text
  field.dispatchEvent(new Event('input', {bubbles: true, composed: true}))
  for (const kind of ['keydown', 'keyup'])
    field.dispatchEvent(new KeyboardEvent(kind, {key: 'Enter', bubbles: true, composed: true}))
}"""


@pytest.mark.long
def test_enter_confirms_however_soon_it_follows_yes_and_never_what_nobody_has_seen(
    served: Any, visit: Callable[..., Page]
) -> None:
    page = visit(served.url)
    yes, duration = page.get_by_label("Type YES to confirm"), page.get_by_label("Ends after")
    button(page, "Pause Processing").click()
    yes.click()  # the field is there before its dialog opens, and what is typed by then goes elsewhere
    yes.press_sequentially("YES, no")
    yes.press("Enter")
    expect(confirm_button(page)).to_be_disabled()
    yes.fill("YES")
    expect(confirm_button(page)).to_be_enabled()
    duration.evaluate(AT_ONCE, "2h")
    expect(page.get_by_text("It ends after 2 hours.")).to_be_visible()
    expect(confirm_button(page)).to_be_enabled()
    assert not served.console.is_processing_paused()  # the review said something new
    page.get_by_label("Reason").fill("deploying")
    page.get_by_label("Reason").press("Enter")
    expect(page.get_by_text("Processing Status: PAUSED")).to_be_visible()
    assert served.console.pause.read(())[None].reason == "deploying"
    button(page, "Resume Processing").click()
    expect(page.get_by_role("dialog", name="Resume Processing")).to_be_visible()
    yes.press_sequentially("YES")
    yes.press("Enter")
    expect(page.get_by_text(PROCESSING)).to_be_visible()


@pytest.mark.long
def test_one_queue_is_paused_and_resumed_by_itself(
    served: Any, visit: Callable[..., Page], broker: services.Valkey
) -> None:
    page = visit(served.url)
    expect(button(page, "Resume emails")).to_have_count(0)
    button(page, "Pause emails").click()
    expect(page.get_by_role("dialog", name="Pause Queue emails")).to_be_visible()
    confirm(page)
    expect(message(page, "The flag is set until")).to_be_visible()
    expect(button(page, "Pause emails")).to_have_count(0)
    expect(page.get_by_text(PROCESSING)).to_be_visible()
    with redis.Redis.from_url(broker.url, decode_responses=True) as store:
        assert (store.exists(KEYS.pause("emails")), store.exists(KEYS.pause())) == (1, 0)
    expect(button(page, "Pause reports")).to_be_enabled()
    button(page, "Resume emails").click()
    confirm(page)
    expect(message(page, "Resumed queue emails.")).to_be_visible()
    expect(button(page, "Pause emails")).to_be_enabled()


@pytest.mark.long
def test_every_button_of_a_paused_queue_stays_in_its_card_and_nothing_of_the_log_is_cut(
    served: Any, visit: Callable[..., Page]
) -> None:
    reason = "the payment provider is down since noon"
    for queue in (None, "emails"):
        served.console.run(opsdash.PauseProcessing(queue=queue, reason=reason), actor=MARIA, confirm="YES")
    with pytest.raises(opsdash.Refused):
        served.console.run(opsdash.ResumeProcessing(), actor=Actor(name="W" * 20, role=Role.VIEWER), confirm="YES")
    page = visit(served.url)
    card = page.get_by_role("region", name="Queue Operations")
    expect(button(page, "Resume emails")).to_be_visible()
    expect(card.get_by_text("all queues").first).to_be_visible()
    for width in (1280, 1440, 1024):
        page.set_viewport_size({"width": width, "height": 900})
        outside = card.evaluate("""card => {
            const right = card.getBoundingClientRect().right
            const hidden = (one) => one.getBoundingClientRect().right > right
            return [...card.querySelectorAll('td button')].filter(hidden).map((one) => one.getAttribute('aria-label'))
        }""")
        assert outside == [], width
        wrap = card.get_by_role("group", name="Queue Operations, table")
        assert wrap.evaluate("wrap => wrap.scrollWidth <= wrap.clientWidth"), f"scrolls sideways at {width}"
    expect(card.get_by_text(reason)).to_be_visible()
    log = page.get_by_role("region", name="Recent Operations")
    expect(log.locator("tbody tr", has_text="refused")).to_be_visible()
    cut = "log => [...log.querySelectorAll('td')].filter((c) => c.scrollWidth > c.clientWidth).map((c) => c.innerText)"
    assert log.evaluate(cut) == []


@pytest.mark.long
def test_a_worker_without_the_plug_in_is_shown_and_told_to_stop_only_when_asked(
    served: Any, visit: Callable[..., Page], broker: services.Valkey, shoot: Callable[..., None]
) -> None:
    with worker(pool="solo", env={"OPSDASH_REDIS_URL": broker.url, "SAMPLE_PLUGIN": "no"}) as free:
        served.console.unmanaged.look()
        page = visit(served.url)
        row = page.get_by_role("region", name="Worker Health").locator("tbody tr", has_text=free.hostname)
        expect(row).to_contain_text("no plug-in")
        button(page, "Pause Processing").click()
        expect(page.get_by_text(re.compile(f"Not managed by opsdash: {free.hostname}"))).to_be_visible()
        page.get_by_label("Also send cancel_consumer").check()
        expect(page.get_by_text("sent cancel_consumer.")).to_be_visible()
        shoot(page, "dialog_cancel_consumer")
        confirm(page)
        expect(message(page, "1 of 1 unmanaged worker")).to_be_visible()
        expect(row).to_contain_text("sent cancel_consumer", timeout=15_000)  # workers are asked anew every few seconds
        shoot(page, "paused_others", all_forms=True)
        assert served.console.unmanaged.look()[0].queues == ()
        button(page, "Resume Processing").click()
        confirm(page)
        expect(page.get_by_text(PROCESSING)).to_be_visible()
        assert set(served.console.unmanaged.look()[0].queues) == {"celery", "emails", "reports"}
