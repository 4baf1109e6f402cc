"""The page for everyone: axe-core finds nothing, and the keyboard reaches everything."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import redis
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from support.dialogs import act, button
from support.reports import report_many

import opsdash
from opsdash.model import Actor, Role
from opsdash.services.workers.remote_control import Remote

MARIA = Actor(name="maria", role=Role.OPERATOR)
TABS = ("Overview", "Queues", "Workers", "Tenants", "Operations", "Failures")
WORKER_DIALOGS = ("Quiet w000@test", "Revoke shop.charge 1a2b", "Revoke Task")
DIALOGS = ("Pause Processing", "Sync Tenant Configs")


def check(page: Page) -> None:
    """No violation of any rule, and the rules did see the page: it lives in a shadow root."""
    found = Axe().run(page, options={"resultTypes": ["violations", "passes"]})
    # Not `generate_report`: it cannot print a node of a shadow root, whose target is a list.
    assert [
        (rule["id"], node["target"], node["html"], node["failureSummary"])
        for rule in found.response["violations"]
        for node in rule["nodes"]
    ] == []
    seen = {rule["id"]: len(rule["nodes"]) for rule in found.response["passes"]}
    assert seen.get("color-contrast", 0) > 10
    assert "aria-allowed-attr" in seen


def test_axe_finds_nothing_on_the_overview(served: Any, visit: Callable[..., Page]) -> None:
    # Without motion: axe reads colours at one moment, and halfway through a fade they are nobody's.
    check(visit(served.url, reduced_motion="reduce"))


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_on_any_tab_or_dialog(
    served: Any, visit: Callable[..., Page], broker: Any, theme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Remote, "consumed", lambda self, hostname: ["celery"])
    with redis.Redis.from_url(broker.url) as store:
        report_many(store, 2, lasts_s=600, running=json.dumps([["1a2b", "shop.charge", "emails", 65.0]]))
    page = visit(served.url, color_scheme=theme, reduced_motion="reduce")
    for tab in TABS:
        page.get_by_role("tab", name=tab, exact=True).click()
        if tab == "Workers":
            page.get_by_role("button", name="Show details").first.click()
            expect(button(page, WORKER_DIALOGS[1])).to_be_visible()
            check_dialogs(page, WORKER_DIALOGS)
        if tab == "Tenants":
            button(page, "Compare now").click()
            expect(page.get_by_text("Compared at")).to_be_visible()
        if tab == "Operations" and page.get_by_role("button", name="Show details").count():
            page.get_by_role("button", name="Show details").first.click()
        page.wait_for_timeout(500)
        check(page)
    page.get_by_role("tab", name="Operations", exact=True).click()
    check_dialogs(page, ("Prune Audit Log",))
    page.get_by_role("tab", name="Overview", exact=True).click()
    check_dialogs(page, (*DIALOGS, "Keyboard shortcuts"))
    opener = "More for emails"
    button(page, opener).click()
    expect(page.get_by_role("menu", name=opener)).to_be_visible()
    check(page)
    page.keyboard.press("Escape")
    expect(button(page, opener)).to_be_focused()
    for name in ("Clear", "Clear some"):
        check_dialog(page, lambda name=name: act(page, "emails", name), opener)


def check_dialogs(page: Page, openers: Iterable[str]) -> None:
    """Each dialog, as its button opens it; Esc gives the focus back."""
    for opener in openers:
        check_dialog(page, button(page, opener).click, opener)


def check_dialog(page: Page, open_it: Callable[[], None], opener: str) -> None:
    open_it()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.wait_for_timeout(200)
    check(page)
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(button(page, opener)).to_be_focused()


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_while_paused_or_stale_or_for_a_viewer(
    served: Any, serve_page: Callable[..., Any], visit: Callable[..., Page], broker: Any, theme: str
) -> None:
    served.console.run(opsdash.PauseProcessing(reason="deploying 4.2"), actor=MARIA, confirm="YES")
    try:
        page = visit(served.url, color_scheme=theme, reduced_motion="reduce")
        expect(page.get_by_text("Processing Status: PAUSED")).to_be_visible()
        expect(page).to_have_title("PAUSED · System Operations")
        check(page)
        viewer = visit(
            serve_page(auth="header", viewers=("paul",)).url,
            color_scheme=theme,
            reduced_motion="reduce",
            extra_http_headers={"X-Auth-Request-User": "paul"},
        )
        check(viewer)
        broker.stop()
        expect(page.get_by_text("Redis did not answer; figures are").first).to_be_visible()
        check(page)
    finally:
        broker.restore()
        served.console.run(opsdash.ResumeProcessing(), actor=MARIA, confirm="YES")
    closed = visit(serve_page(auth=None).url, ready="opsdash is closed", color_scheme=theme)
    found = Axe().run(closed).response["violations"]
    assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found] == []


@pytest.mark.long
def test_the_list_of_keys_comes_as_often_as_it_is_asked_for(served: Any, visit: Callable[..., Page]) -> None:
    page = visit(served.url)
    for _ in range(2):
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)


@pytest.mark.slow
def test_the_keyboard_reaches_everything_and_a_list_says_how(
    served: Any, visit: Callable[..., Page], shoot: Callable[..., None]
) -> None:
    page = visit(served.url)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keyboard shortcuts")).to_be_visible()
    shoot(page, "dialog_shortcuts")
    page.keyboard.press("Escape")
    for key, tab in zip("654321", reversed(TABS), strict=True):
        page.keyboard.press(key)
        expect(page.get_by_role("tab", name=tab, exact=True)).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Queues", exact=True)).to_be_focused()
    page.keyboard.press("Home")
    page.keyboard.press("/")
    expect(page.get_by_label("Task id, name or argument")).to_be_focused()
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Workers", exact=True).click()
    expect(page.get_by_label("Filter workers")).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_label("Filter workers")).to_be_focused()
    page.keyboard.type("p?1")  # in a field they are letters
    expect(page.get_by_label("Filter workers")).to_have_value("p?1")
    page.get_by_role("tab", name="Workers", exact=True).focus()
    page.keyboard.press("d")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.keyboard.press("d")
    page.keyboard.press("p")
    expect(page.get_by_role("dialog", name="Pause Processing")).to_be_visible()
    expect(page.get_by_label("Ends after")).to_be_focused()  # the first that can be filled in
    at = """dialog => {
        let node = dialog.getRootNode().activeElement
        if (!dialog.contains(node)) return 'outside'
        while (node.shadowRoot?.activeElement) node = node.shadowRoot.activeElement
        return node.textContent.trim() || 'field'
    }"""
    stops = []
    for _ in range(20):  # the focus stays in the dialog
        page.keyboard.press("Tab")
        stops.append(page.get_by_role("dialog").evaluate(at))
    assert "outside" not in stops
    assert "Cancel" in stops
    page.keyboard.press("Escape")
    button(page, "Keyboard shortcuts").click()
    page.get_by_label("Single keys work as shortcuts").uncheck()
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Workers", exact=True).focus()
    page.keyboard.press("p")
    page.wait_for_timeout(200)
    expect(page.get_by_role("dialog")).to_have_count(0)


@pytest.mark.slow
def test_the_keyboard_alone_opens_a_worker_and_reaches_the_acts_in_its_row(
    served: Any, visit: Callable[..., Page], broker: Any
) -> None:
    with redis.Redis.from_url(broker.url) as store:
        report_many(store, 1, lasts_s=600, running=json.dumps([["1a2b", "shop.charge", "emails", 65.0]]))
        page = visit(f"{served.url}?tab=workers")
        page.get_by_role("button", name="Show details").first.focus()
        page.keyboard.press("Enter")
        expect(button(page, "Revoke shop.charge 1a2b")).to_be_visible()
        page.keyboard.press("Tab")
        expect(button(page, "Quiet w000@test")).to_be_focused()
        for _ in range(20):
            page.keyboard.press("Tab")
            if button(page, "Revoke shop.charge 1a2b").evaluate("b => b.getRootNode().activeElement === b"):
                break
        expect(button(page, "Revoke shop.charge 1a2b")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_role("dialog", name="Revoke Task")).to_be_visible()
        page.keyboard.press("Escape")
        expect(button(page, "Revoke shop.charge 1a2b")).to_be_focused()
        store.flushall()


@pytest.mark.slow
def test_whoever_wants_no_motion_gets_none(served: Any, visit: Callable[..., Page]) -> None:
    page = visit(served.url, reduced_motion="reduce")
    moving = """root => [...root.getRootNode().querySelectorAll('*')].filter(node => {
        const style = getComputedStyle(node)
        return style.animationName !== 'none' || style.transitionDuration !== '0s'
    }).length"""
    button(page, "Pause Processing").click()
    assert page.get_by_role("dialog").evaluate(moving) == 0
