"""What an operator sees when something is gone: the last figures, their age, and a page that comes back alone."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from support import services
from support.dialogs import PROCESSING, button, confirm_button, message
from support.workers import eventually, worker

from opsdash.model import Status
from opsdash.operations import PauseProcessing
from opsdash.views.components import Messages


@pytest.mark.long
def test_without_redis_the_page_says_how_old_its_figures_are_and_recovers_by_itself(
    served: Any, broker: services.Valkey, visit: Callable[..., Page], shoot: Callable[..., None]
) -> None:
    page = visit(served.url)
    expect(page.get_by_text(PROCESSING)).to_be_visible()
    button(page, "Sync Tenant Configs").click()  # its preview is read while Redis is there, its act when it is not
    page.get_by_label("Type YES to confirm").fill("YES")
    broker.stop()
    try:
        confirm_button(page).click()
        expect(message(page)).to_contain_text(re.compile("Redis .*did not answer.* nothing was changed", re.IGNORECASE))
        notice = page.get_by_text(re.compile(r"^Redis did not answer; figures are \d+ s old$"))
        expect(notice).to_be_visible()
        age = int(re.findall(r"\d+", notice.inner_text())[0])
        expect(page.get_by_text(f"Redis did not answer; figures are {age + 2} s old")).to_be_visible()  # it grows
        expect(page.get_by_text("Processing Status: UNKNOWN")).to_be_visible()
        expect(page.locator("[data-figure=waiting]")).to_contain_text(
            re.compile(r"0\s*in 3 queues")
        )  # stale beats blank
        expect(page.get_by_text("Last known: nothing paused")).to_be_visible()
        expect(page.get_by_role("list", name="Causes").get_by_text("Redis")).to_have_count(0)  # said once, above
        ink = "of => getComputedStyle(of).color"
        headline, label = page.get_by_text("Processing Status: UNKNOWN"), page.locator(".cell .label").first
        assert headline.evaluate(ink) == label.evaluate(ink), "it steps back with its figures"
        table = page.get_by_role("table", name="Queue Operations").locator(".dot").first
        faded = "dot => getComputedStyle(dot).filter === 'grayscale(1)'"
        assert table.evaluate(faded), "the tables below are as old as the strip"
        shoot(page, "redis_gone", all_forms=True)
        button(page, "Pause Processing").click()  # its preview needs Redis: a message, and no dialog
        expect(message(page, re.compile("Redis .*did not answer")).last).to_be_visible()
        expect(page.get_by_role("dialog")).to_have_count(0)
    finally:
        broker.restore()
    expect(notice).to_have_count(0)
    assert not table.evaluate(faded)
    expect(page.get_by_text(PROCESSING)).to_be_visible()
    attempt = page.get_by_role("region", name="Recent Operations").locator("tbody tr").first
    expect(attempt).to_contain_text("Sync Tenant Configs")
    expect(attempt).to_contain_text(Status.FAILURE.value)
    expect(attempt.locator(".dot")).to_have_attribute("data-tone", "bad")


@pytest.mark.long
def test_while_no_figures_come_nothing_ticks_on_and_nothing_is_called_safe(
    serve_page: Callable[..., Any], broker: services.Valkey, visit: Callable[..., Page]
) -> None:
    served = serve_page()
    with worker(pool="threads", env={"OPSDASH_REDIS_URL": broker.url}) as running:
        eventually(lambda: running.hostname in served.console.get_active_workers(), what="the worker reports")
        served.console.run(PauseProcessing(), actor="maria", confirm="YES")
        try:
            page = visit(served.url)
            expect(page.get_by_text("safe to deploy")).to_be_visible(timeout=20_000)
            uptime = page.get_by_role("table", name="Worker Health").locator("td[data-kind=since]").first
            moving = uptime.inner_text()
            expect(uptime).not_to_have_text(moving)
            broker.stop()
            expect(page.get_by_text("How far the pause has come is not known now.")).to_be_visible()
            expect(page.get_by_text("safe to deploy")).to_have_count(0)
            dot = page.get_by_role("table", name="Worker Health").locator(".dot").first
            expect(dot).to_have_css("filter", "grayscale(1)")  # the table has heard of it, too
            stands = uptime.inner_text()
            page.wait_for_timeout(2_500)
            assert uptime.inner_text() == stands, "an uptime that goes on counting claims a worker that lives"
            ink = "of => getComputedStyle(of).filter"
            acts = page.get_by_role("group", name="Processing", exact=True)
            assert acts.evaluate(ink) == "grayscale(1)", "they rest on those figures"
        finally:
            broker.restore()
            served.console.pause.resume(None)
        expect(uptime).not_to_have_text(stands)


@pytest.mark.long
def test_a_page_opened_while_redis_is_away_claims_nothing_and_fills_in_later(
    serve_page: Callable[..., Any], broker: services.Valkey, visit: Callable[..., Page]
) -> None:
    broker.flush()  # a worker of the test before may not have reconnected in time to leave
    served = serve_page()
    broker.stop()
    try:
        page = visit(served.url, ready="Redis did not answer; nothing is known yet")
        expect(page.get_by_text("Processing Status: UNKNOWN")).to_be_visible()
        expect(button(page, "Pause Processing")).to_be_disabled()
        expect(button(page, "Resume Processing")).to_be_disabled()
        expect(page.get_by_text("No active workers detected")).to_have_count(0)
    finally:
        broker.restore()
    expect(page.get_by_text(PROCESSING)).to_be_visible()
    expect(page.get_by_text("No active workers detected. Check Celery deployment.")).to_be_visible()


@pytest.mark.long
def test_without_the_database_reads_still_show_and_a_pause_works_and_is_in_the_log_once_it_is_back(
    serve_page: Callable[..., Any],
    postgres: services.Postgres,
    postgres_url: str,
    visit: Callable[..., Page],
    shoot: Callable[..., None],
) -> None:
    # A key and a prefix of its own: the module's other consoles write to another database. They must not take its steps
    # there, nor set them aside as another deployment's.
    served = serve_page(database_url=postgres_url, secret_key="the-key-of-this-deployment", key_prefix="outage:")
    page = visit(served.url)
    expect(page.get_by_text("No operations logged yet.")).to_be_visible()
    postgres.kill()
    try:
        expect(
            page.get_by_text(re.compile(r"^The database did not answer; log and tenants are \d+ s old$"))
        ).to_be_visible()
        expect(page.get_by_text(PROCESSING)).to_be_visible()
        button(page, "Pause Processing").click()
        page.get_by_label("Type YES to confirm").fill("YES")
        confirm_button(page).click()
        expect(message(page, "The flag is set until")).to_be_visible(timeout=10_000)
        expect(page.get_by_text("Processing Status: PAUSED")).to_be_visible()
        expect(page.get_by_text("2 steps of the log wait in Redis for the database")).to_be_visible()
        shoot(page, "database_gone")
    finally:
        postgres.restore()
        served.console.pause.resume(None)
    expect(page.get_by_text("The database did not answer")).to_have_count(0)
    expect(page.get_by_text("steps of the log wait")).to_have_count(0)
    row = page.get_by_role("region", name="Recent Operations").locator("tbody tr", has_text="Pause Processing")
    expect(row).to_contain_text("success")


@pytest.mark.long
def test_a_page_whose_server_went_away_says_so_and_comes_back_by_itself(
    serve_page: Callable[..., Any],
    visit: Callable[..., Page],
    watch: Any,
    shoot: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Messages.param.limit_ms, "default", 2_500)  # figures come every 0.5 s here
    # The last is bokeh's own: it reconnects, and the server is gone again before it has asked for the document.
    watch.tolerate = ("ERR_CONNECTION_REFUSED", "WebSocket", "404 (Not Found)", "not connected so cannot send")
    served = serve_page()
    page = visit(served.url)
    served.stop()
    expect(page.get_by_text("Not live: no word from the server for")).to_be_visible(timeout=9_000)
    expect(page.locator("html")).to_have_attribute("data-not-live", re.compile("Not live"))
    shoot(page, "server_gone")
    served.start()
    expect(page.get_by_text("Not live")).to_have_count(0, timeout=9_000)
    expect(page.get_by_text(PROCESSING)).to_be_visible()
