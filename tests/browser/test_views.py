"""What the page shows and offers beyond the story: each queue's own actions, tabs, charts, log, and every size."""

from __future__ import annotations

import csv
import json
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import redis
from playwright.sync_api import Page, expect
from support.dialogs import act, button, confirm, confirm_button, message, waiting
from support.reports import report_many
from support.tenants import add, remove, sync
from support.workers import eventually

import opsdash
from opsdash.keys import Keys
from opsdash.model import Actor, Role, Status
from opsdash.services.audit.log import AuditLog
from opsdash.views.queues import QueueTable

KEYS = Keys()
MARIA = Actor(name="maria", role=Role.OPERATOR)
TABS = ("Overview", "Queues", "Workers", "Tenants", "Operations", "Failures")


def fill(store: redis.Redis, queue: str, number: int, task: str = "shop.charge") -> None:
    for _ in range(number):
        message = {"headers": {"task": task, "id": str(uuid.uuid4())}, "properties": {}, "body": "[]"}
        store.lpush(queue, json.dumps(message))


def go(page: Page, tab: str) -> None:
    page.get_by_role("tab", name=tab, exact=True).click()
    expect(page.get_by_role("tab", name=tab, exact=True)).to_have_attribute("aria-selected", "true")


@pytest.mark.long
def test_a_queues_own_row_clears_what_matches_and_shows_what_waits(
    served: Any, visit: Callable[..., Page], store: redis.Redis, shoot: Callable[..., None]
) -> None:
    fill(store, "reports", 30)
    fill(store, "emails", 3, "shop.mail")
    fill(store, "emails", 2, "shop.charge")
    page = visit(served.url)
    expect(waiting(page, "emails", "5")).to_be_visible()
    page.set_viewport_size({"width": 1280, "height": 600})
    button(page, "Peek reports").click()
    long = page.get_by_role("dialog", name="Waiting tasks of reports")
    expect(long.get_by_role("heading").first).to_be_in_viewport(ratio=1)  # it opens at its beginning
    assert long.locator(".wrap").evaluate("wrap => wrap.scrollWidth <= wrap.clientWidth"), "nothing is cut"
    button(page, "Close").click()
    button(page, "Peek emails").click()
    seen = page.get_by_role("dialog", name="Waiting tasks of emails")
    expect(seen.locator("tbody tr:not(.detail, .under)")).to_have_count(5)
    expect(seen.locator("tbody tr").first).to_contain_text("shop.mail")
    shoot(page, "dialog_peek")
    button(page, "Close").click()
    act(page, "emails", "Clear some")
    expect(page.get_by_role("dialog", name="Clear Tasks")).to_be_visible()
    page.get_by_label("Type YES to confirm").fill("YES")
    expect(page.get_by_text("Say which tasks")).to_be_visible()
    expect(confirm_button(page)).to_be_disabled()  # nothing says yet which tasks
    page.get_by_label("Name of the task").fill("shop.ma*")
    page.get_by_label("Type YES to confirm").focus()
    expect(
        page.get_by_text("3 of 5 pending tasks of queue emails, those named shop.ma*, will be removed")
    ).to_be_visible()
    shoot(page, "dialog_clear_tasks")
    confirm_button(page).click()
    expect(message(page, "Cleared 3 tasks named shop.ma*")).to_be_visible()
    assert store.llen("emails") == 2


@pytest.mark.long
def test_where_more_can_be_lost_the_dialog_asks_for_the_queues_name_too(
    serve_page: Callable[..., Any], visit: Callable[..., Page], store: redis.Redis, shoot: Callable[..., None]
) -> None:
    fill(store, "emails", 2)
    page = visit(serve_page(environment="production").url)
    act(page, "emails", "Clear")
    page.get_by_label("Type YES to confirm").fill("YES")
    second = page.get_by_label("Type emails too")
    for typed in ("", "Emails", "emails "):
        second.fill(typed)
        expect(confirm_button(page)).to_be_disabled()
    second.fill("emails")
    expect(confirm_button(page)).to_be_enabled()
    shoot(page, "dialog_phrase")
    second.press("Enter")
    expect(message(page, "Cleared 2 tasks from emails.")).to_be_visible()


@pytest.mark.long
def test_what_needs_a_second_person_waits_in_a_row_and_is_approved_by_somebody_else(
    serve_page: Callable[..., Any], visit: Callable[..., Page], store: redis.Redis, shoot: Callable[..., None]
) -> None:
    fill(store, "emails", 4)
    served = serve_page(auth="header", operators=("maria", "bob"), approval=("clear_queue",))
    maria = visit(served.url, extra_http_headers={"X-Auth-Request-User": "maria"})
    bob = visit(served.url, extra_http_headers={"X-Auth-Request-User": "bob"})
    act(maria, "emails", "Clear")
    confirm(maria)
    expect(message(maria, "waits for a different operator's YES")).to_be_visible()
    waiting = maria.get_by_role("region", name="Pending approvals")
    expect(waiting).to_contain_text("Clear Queue (queue: emails)")
    expect(waiting.get_by_role("button", name="Approve")).to_have_count(0)
    assert store.llen("emails") == 4
    bob.get_by_role("button", name="Approve the request of maria").click()
    expect(bob.get_by_text("requested by maria")).to_be_visible()
    shoot(bob, "dialog_approve")
    confirm(bob)
    expect(message(bob, "Cleared 4 tasks from emails")).to_be_visible()
    expect(waiting).to_be_hidden()
    assert store.llen("emails") == 0


@pytest.mark.slow
def test_a_link_opens_what_it_names_and_survives_a_reload_and_the_dark_page_is_remembered(
    served: Any, visit: Callable[..., Page], store: redis.Redis
) -> None:
    page = visit(f"{served.url}?tab=queues&queue=emails", color_scheme="light")
    for _ in range(2):
        expect(page.get_by_role("tab", name="Queues")).to_have_attribute("aria-selected", "true")
        expect(page.get_by_role("radio", name="emails").last).to_be_checked()
        page.get_by_text("1 hour", exact=True).click()
        expect(page).to_have_url(re.compile("span=1h"))
        page.reload()
    go(page, "Workers")
    page.get_by_label("Filter workers").fill("w00")
    button(page, "Toggle theme").click()
    expect(page).to_have_url(re.compile("workers=w00"))
    page.reload()
    expect(page.get_by_label("Filter workers")).to_have_value("w00")
    assert address(page) == {"tab": "workers", "queue": "emails", "workers": "w00", "span": "1h"}
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.goto(f"{served.url}?tab=queues&queue=gone")
    expect(page).to_have_url(re.compile("queue=celery"))
    assert address(page) == {"tab": "queues", "queue": "celery"}
    page.goto(f"{served.url}?tab=nonsense&queue=gone")
    expect(page.get_by_role("tab", name="Overview")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("radio", name="celery")).to_be_checked()


@pytest.mark.long
def test_back_leads_to_the_tab_of_before_and_a_filter_is_no_step(
    served: Any, visit: Callable[..., Page], store: redis.Redis
) -> None:
    page = visit(served.url)
    opened = page.evaluate("history.length")
    go(page, "Workers")
    for text in ("w0", "w00"):
        page.get_by_label("Filter workers").fill(text)
        expect(page).to_have_url(re.compile(f"workers={text}$"))
    go(page, "Operations")
    expect(page).to_have_url(re.compile("tab=operations"))
    assert page.evaluate("history.length") == opened + 2
    for way, tab in ((page.go_back, "Workers"), (page.go_back, "Overview"), (page.go_forward, "Workers")):
        way()
        expect(page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
        expect(page).to_have_url(re.compile("workers=w00"))  # the filter is that of now
    assert page.evaluate("history.length") == opened + 2


def address(page: Page) -> dict[str, str]:
    """What the address holds beside what is as usual."""
    usual = {"tab": "overview", "span": "15m"}
    return {name: value for name, value in parse_qsl(urlsplit(page.url).query) if value != usual.get(name)}


@pytest.mark.slow
def test_charts_show_depth_and_throughput_and_come_only_when_they_are_looked_at(
    served: Any, visit: Callable[..., Page], store: redis.Redis, shoot: Callable[..., None]
) -> None:
    console = served.console
    fill(store, "emails", 9)
    console.run(opsdash.PauseProcessing(queue="emails", reason="charts"), actor=MARIA, confirm="YES")
    try:
        page = visit(served.url)
        expect(page.locator("canvas")).to_have_count(0)
        go(page, "Queues")
        expect(page.get_by_text("Nothing was recorded in this time")).to_be_visible()
        console.history.record(console.snapshot())
        page.get_by_text("1 hour", exact=True).click()
        expect(page.locator("canvas").nth(1)).to_be_visible()
        expect(page.get_by_text("Nothing was recorded in this time")).to_be_hidden()
        expect(page.get_by_text("Reading the history …")).to_be_hidden()
        for span in ("24 hours", "1 hour", "15 min"):
            page.get_by_text(span, exact=True).click()
            expect(page.get_by_role("radio", name=span)).to_be_checked()
            expect(page.locator("canvas").first).to_be_visible()
        page.get_by_role("radio", name="emails").check()
        legend = page.get_by_role("list", name="Legend")
        expect(legend.get_by_role("listitem")).to_have_text(["emails", "an operation", "paused"])
        above = legend.bounding_box()
        plot = page.locator("canvas").first.bounding_box()
        assert above["y"] + above["height"] <= plot["y"], "it lies on no line"
        shoot(page, "queues", all_forms=True)
        go(page, "Overview")
        expect(page.locator("canvas").first).to_be_hidden()
    finally:
        console.run(opsdash.ResumeProcessing(queue="emails"), actor=MARIA, confirm="YES")


@pytest.mark.slow
def test_the_log_is_filtered_paged_and_exported_as_it_is_filtered(
    served: Any, visit: Callable[..., Page], store: redis.Redis, tmp_path: Path, shoot: Callable[..., None]
) -> None:
    for i in range(60):
        served.console.run(opsdash.ResumeProcessing(), actor=Actor(name="zoe", role=Role.OPERATOR), confirm="YES")
        if i % 20 == 0:
            with pytest.raises(opsdash.Refused):
                served.console.run(opsdash.ResumeProcessing(), actor=Actor(name="zoe", role=Role.VIEWER), confirm="YES")
    page = visit(served.url)
    go(page, "Operations")
    log = page.get_by_role("region", name="Recent Operations")
    rows = log.locator("tbody tr:not(.detail, .under)")
    page.get_by_label("User", exact=True).fill("zoe")
    page.get_by_label("User", exact=True).press("Enter")
    expect(log.get_by_text("1 to 50 of 63")).to_be_visible()
    button(page, "Older").click()
    expect(log.get_by_text("51 to 63 of 63")).to_be_visible()
    expect(rows).to_have_count(13)
    button(page, "Newest").click()
    page.get_by_label("All statuses").select_option("refused")
    expect(rows).to_have_count(3)
    shoot(page, "operations", all_forms=True)
    with page.expect_download() as download:
        button(page, "Export Logs").click(position={"x": 2, "y": 17})  # beside its words
    saved = tmp_path / "log.csv"
    download.value.save_as(saved)
    with saved.open(newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["refused"] * 3
    expect(page).to_have_url(re.compile("refused"))
    page.reload()
    expect(rows).to_have_count(3, timeout=15_000)  # the filter is in the address
    page.get_by_label("Search in the details").fill("no such text")
    page.get_by_label("Search in the details").press("Enter")
    expect(page.get_by_text("No entry matches this filter.")).to_be_visible()


@pytest.mark.long
def test_what_was_done_on_another_broker_says_so_when_it_is_opened_and_can_be_left_out(
    served: Any, visit: Callable[..., Page], store: redis.Redis
) -> None:
    other = AuditLog(served.console.engine, served.console.audit.signer, here=lambda: "redis-b:6379/0")
    page = visit(f"{served.url}?tab=operations")
    log = page.get_by_role("region", name="Recent Operations")
    brokers = page.get_by_label("All brokers")
    expect(brokers).to_be_hidden()  # there is nothing to choose
    other.finish(other.begin(opsdash.ResumeProcessing(), Actor(name="pia", role=Role.OPERATOR)), Status.SUCCESS, {})
    row = log.get_by_role("row").filter(has_text="pia")
    row.get_by_role("button", name="Show details").click()
    expect(log.get_by_role("row", name="Broker redis-b:6379/0")).to_be_visible()
    brokers.select_option("This broker")
    expect(row).to_have_count(0)
    expect(brokers).to_be_visible()


@pytest.mark.long
def test_without_tenants_the_page_says_in_one_line_how_they_come_and_has_their_card_once_they_do(
    serve_page: Callable[..., Any], visit: Callable[..., Page], store: redis.Redis, shoot: Callable[..., None]
) -> None:
    served = serve_page(tenant_columns=())
    page = visit(served.url)
    card, tab = page.get_by_role("heading", name="Tenant Configuration"), page.get_by_role("tab", name="Tenants")
    line = page.get_by_text("Tenants are used once tenant_config has rows").filter(visible=True)
    expect(line).to_be_visible()
    expect(card).to_be_hidden()
    expect(tab).to_be_hidden()
    go(page, "Workers")
    page.get_by_role("tab", name="Workers").press("ArrowRight")
    expect(page.get_by_role("tab", name="Operations", exact=True)).to_be_focused()
    go(page, "Overview")
    shoot(page, "without_tenants", all_forms=True)
    add(served.console, "acme")
    expect(card).to_be_visible()
    expect(tab).to_be_visible()
    expect(line).to_be_hidden()
    go(page, "Tenants")
    remove(served.console, "acme")
    expect(line).to_be_visible()
    expect(tab).to_be_visible()  # whoever is there is not sent away


@pytest.mark.slow
def test_tenants_that_differ_are_named_before_anything_is_written(
    served: Any, visit: Callable[..., Page], store: redis.Redis, shoot: Callable[..., None]
) -> None:
    store.set(KEYS.tenant_config("gone"), "{}")
    page = visit(f"{served.url}?tab=tenants")
    button(page, "Compare now").click()
    compared = page.get_by_text("tenants in the database: 1 orphaned key.")
    expect(compared).to_be_visible()
    shoot(page, "tenants", all_forms=True)
    assert store.get(KEYS.tenant_config("gone")) == "{}"
    expect(page.get_by_text(re.compile(r"^Compared at \d\d:\d\d:\d\d UTC$"))).to_be_visible()
    sync(served.console)
    expect(compared).to_be_hidden()  # what it said is not so any more


@pytest.mark.slow
def test_times_are_in_utc_and_in_the_operators_own_zone(served: Any, visit: Callable[..., Page]) -> None:
    page = visit(served.url, timezone_id="Asia/Kolkata")
    note = page.get_by_text(re.compile(r"Figures of \d\d:\d\d:\d\d UTC"))
    expect(note).to_have_attribute("title", re.compile("here$"))
    told = f"{note.inner_text()} {note.get_attribute('title')}"
    there, *_, here = ((int(h), int(m)) for h, m in re.findall(r"(\d\d):(\d\d):\d\d", told))
    (utc_hour, utc_minute), (hour, minute) = there, here
    assert (hour * 60 + minute - utc_hour * 60 - utc_minute) % 1440 == 330


@pytest.mark.slow
@pytest.mark.parametrize("width", [390, 720, 1024, 1440, 2560])  # 720: a window of 1440 at 200 % zoom
def test_the_page_fits_every_width_without_scrolling_sideways(
    served: Any, visit: Callable[..., Page], store: redis.Redis, width: int, shoot: Callable[..., None]
) -> None:
    fill(store, "emails", 12_345 % 500)
    report_many(store, 12, running=json.dumps([["1a2b", "shop.charge", "emails", 65.0]]))
    page = visit(served.url, apart=True)
    page.set_viewport_size({"width": width, "height": 900})
    for tab in TABS:
        go(page, tab)
        if tab == "Workers":
            page.get_by_role("button", name="Show details").first.click()
            expect(page.get_by_role("cell", name="shop.charge").first).to_be_visible()
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{tab} at {width}"
        shoot(page, f"width_{width}_{tab.lower()}")
    go(page, "Overview")
    button(page, "Pause Processing").click()
    box = page.get_by_role("dialog").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= width
    shoot(page, f"width_{width}_dialog")


@pytest.mark.slow
def test_what_was_half_typed_is_there_again_after_the_server_has_restarted(
    serve_page: Callable[..., Any], visit: Callable[..., Page], watch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from opsdash.views.components import Messages

    monkeypatch.setattr(Messages.param.limit_ms, "default", 2_500)
    watch.tolerate = ("ERR_CONNECTION_REFUSED", "WebSocket", "404 (Not Found)", "not connected so cannot send")
    served = serve_page()
    page = visit(served.url)
    button(page, "Pause Processing").click()
    page.get_by_label("Reason").fill("a long explanation, half")
    page.get_by_label("Type YES to confirm").fill("YE")
    page.wait_for_function("sessionStorage['opsdash.half']?.includes('a long explanation, half')")
    served.stop()
    expect(page.get_by_text("Not live: no word from the server for")).to_be_visible(timeout=9_000)
    served.start()
    expect(page.get_by_text("Not live")).to_have_count(0, timeout=12_000)
    expect(page.get_by_role("dialog", name="Pause Processing")).to_be_visible()
    expect(page.get_by_label("Reason")).to_have_value("a long explanation, half")
    expect(page.get_by_label("Type YES to confirm")).to_have_value("")  # a confirmation is for what one sees
    expect(confirm_button(page)).to_be_disabled()


@pytest.mark.slow
def test_a_page_that_missed_an_update_asks_for_all_of_it(
    served: Any, visit: Callable[..., Page], store: redis.Redis
) -> None:
    page = visit(served.url)
    page.get_by_role("tablist").evaluate("""() => {
        window.__lost = 0
        for (const {data} of Bokeh.documents[0]._all_models.values()) {
            if (data?.title !== 'Queue Operations') continue
            // As a browser that went to sleep: what has changed last it has never heard of.
            const lose = () => {
                const told = JSON.parse(data.patch)
                const other = JSON.stringify({...told, from: -1, version: -2})
                if (window.__lost++ < 1) data.setv({patch: other}, {sync: false})
            }
            data.properties.patch.change.connect(lose)
        }
    }""")
    fill(store, "emails", 7)
    expect(waiting(page, "emails", "7")).to_be_visible()
    fill(store, "emails", 2)
    eventually(lambda: page.evaluate("window.__lost") >= 1, what="a lost update")
    expect(waiting(page, "emails", "9")).to_be_visible()


@pytest.mark.slow
def test_whatever_a_browser_sends_ends_in_a_sentence_and_the_page_goes_on(
    served: Any, visit: Callable[..., Page], store: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    page = visit(served.url)
    junk: list[Any] = [None, 7, "ask", [], {}, {"all": {}}, {"undo": {}}, {"undo": "x"}, {"undo": 10**30}, {"key": {}}]
    junk += [{"key": "__proto__", "name": "clear_queue"}, {"key": "celery", "name": ["peek"]}, {"key": [], "name": 3}]
    found: list[Any] = [{"name": 3, "args": {}, "values": {}}, {"name": "pause_processing", "args": [1], "values": 9}]
    found += [{"name": "pause_processing", "args": {"duration_s": "soon"}, "values": {"reason": 3}}]
    found += [{"name": "nonsense", "args": {}, "values": {}}]
    found += [{"name": "clear_queue", "args": {"queue": "no such queue"}, "values": {}}]
    page.get_by_role("tablist").evaluate(
        """(_, [junk, found]) => {
            const walk = (view) => {
                if (view.model_proxy) junk.forEach((msg) => view.model_proxy.send_msg(msg))
                for (const child of view._child_views?.values() || []) walk(child)
                if (view.model.data?.properties?.found) found.forEach((one) => { view.model.data.found = one })
            }
            for (const view of Object.values(Bokeh.index.roots || Bokeh.index)) walk(view)
        }""",
        [junk, found],
    )
    expect(message(page, "'no such queue' is not known").first).to_be_visible(timeout=15_000)
    fill(store, "emails", 6)
    expect(waiting(page, "emails", "6")).to_be_visible()
    assert not [record for record in caplog.records if record.levelname in {"ERROR", "CRITICAL"}]


@pytest.mark.long
def test_a_card_that_can_not_be_made_says_so_and_the_others_are_there(
    served: Any, visit: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_self: QueueTable) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(QueueTable, "_build", broken)
    page = visit(served.url)
    expect(page.get_by_text("This could not be made")).to_be_visible()
    expect(page.get_by_text("planted")).to_have_count(0)
    expect(page.get_by_role("region", name="Worker Health")).to_be_visible()
    expect(page.get_by_role("region", name="Recent Operations")).to_be_visible()
