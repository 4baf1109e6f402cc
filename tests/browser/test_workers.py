"""Workers on the page: what each runs, and the acts of its row."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import redis
from playwright.sync_api import Locator, Page, expect
from support.dialogs import button, confirm, confirm_button, message
from support.reports import report, report_many
from support.sample_app import make_app
from support.workers import Records, eventually, worker

from opsdash import operation
from opsdash.model import Effect, Line, Preview
from opsdash.operation import Operation, argument, registry
from opsdash.services.workers.reports import Workers

COLUMNS = (
    "Worker", "State", "Uptime", "Busy slots", "Processed", "Failed", "Load", "Memory", "Heartbeat", "Queues", "Pool",
    "Version",
)  # fmt: skip


def listed(page: Page) -> Locator:
    """The rows of the table of workers, without those that they open to."""
    return page.get_by_role("table", name="Worker Health", exact=True).locator(
        "> tbody > tr:not(.detail, .under, .space)"
    )


def running(*tasks: str) -> str:
    """A report of these tasks, the first the longest."""
    return json.dumps([[task, f"shop.{task}", "emails", 65.0 - i] for i, task in enumerate(tasks)])


@pytest.mark.long
def test_a_workers_row_opens_to_what_it_runs_and_nothing_held_is_lost_while_that_changes(
    served: Any, visit: Callable[..., Page], store: redis.Redis, shoot: Callable[..., None]
) -> None:
    report_many(store, 3, running=running("charge", "mail"))
    page = visit(f"{served.url}?tab=workers")
    for column in COLUMNS:
        expect(page.get_by_role("columnheader", name=column, exact=True)).to_be_visible()
    expect(listed(page).nth(1)).to_contain_text("0.50")
    listed(page).nth(1).get_by_role("button", name="Show details").click()
    tasks = page.get_by_role("table", name="Running now").locator("tbody tr")
    expect(tasks).to_have_count(2)
    expect(tasks.first).to_contain_text("shop.charge")
    expect(tasks.first.locator("td").nth(3)).to_contain_text("1m")
    shoot(page, "worker_open", all_forms=True)

    kept, focused = button(page, "Revoke shop.mail mail"), "button => button.getRootNode().activeElement === button"
    kept.focus()
    report_many(store, 3, running=running("sync", "mail"), active="2")
    expect(tasks.filter(has_text="shop.sync")).to_be_visible()
    expect(tasks.filter(has_text="shop.charge")).to_have_count(0)
    assert kept.evaluate(focused)
    report_many(store, 3, running=running("sync"))
    expect(tasks).to_have_count(1)
    assert page.get_by_role("group", name="Running now, table").evaluate(focused)

    page.get_by_label("Filter workers").fill("w002")
    expect(tasks).to_have_count(0)
    page.get_by_label("Filter workers").fill("")
    expect(tasks).to_have_count(1)
    expect(page).not_to_have_url(re.compile("workers="))  # it follows; what a reload shows is what it says
    report_many(store, 3, running=running("sync"))  # else they are silent by now on a busy machine
    page.reload()
    expect(tasks).to_have_count(1)  # the address says which are open
    report_many(store, 3, running="[]", active="0")
    expect(page.get_by_text("Nothing runs right now.")).to_be_visible()
    button(page, "Hide details of w001@test").click()
    expect(page.get_by_text("Running now")).to_have_count(0)


@pytest.mark.slow
def test_only_the_workers_that_are_open_are_asked_what_they_run(
    served: Any, visit: Callable[..., Page], store: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, asked = Workers.running, []
    monkeypatch.setattr(Workers, "running", lambda self, host: (asked.append(host), read(self, host))[1])
    for host in ("open@test", "shut@test"):
        report(store, host, running=running("charge"))
    page = visit(f"{served.url}?tab=workers")
    listed(page).filter(has_text="open@test").get_by_role("button", name="Show details").click()
    eventually(lambda: asked.count("open@test") >= 3, what="a second and a third reading")
    assert "shut@test" not in asked
    page.get_by_role("tab", name="Queues").click()
    page.wait_for_timeout(300)
    asked.clear()
    page.wait_for_timeout(700)
    assert "open@test" not in asked


@pytest.mark.slow
def test_a_worker_is_quieted_woken_and_relieved_of_a_task_from_its_row(
    served: Any, visit: Callable[..., Page], store: redis.Redis, shoot: Callable[..., None]
) -> None:
    url = served.console.settings.redis_url
    app, records = make_app(url), Records(url)
    with worker(concurrency=1, env={"OPSDASH_REDIS_URL": url}, queues=["celery", "emails"]) as real:
        page = visit(f"{served.url}?tab=workers")
        row = listed(page).filter(has_text=real.hostname)
        button(page, f"Quiet {real.hostname}").click()
        expect(page.get_by_role("dialog", name="Quiet Worker")).to_contain_text(
            "stops taking tasks from celery, emails"
        )
        expect(page.get_by_role("dialog").get_by_role("heading")).to_have_text(f"Quiet worker {real.hostname}")
        expect(page.get_by_role("dialog").locator(".about")).to_be_empty()  # the heading says which
        expect(page.get_by_role("dialog").get_by_label("Worker")).to_have_count(0)
        shoot(page, "dialog_quiet")
        confirm(page)
        expect(row).to_contain_text("quiet")
        wake = button(page, f"Wake {real.hostname}")
        expect(wake).to_be_visible()
        expect(wake).to_be_focused()
        app.send_task("sample.short", queue="emails", kwargs={"seconds": 60})
        assert records.stay(1.0) == 0
        undo = message(page).get_by_role("button", name="Undo")
        (undo if undo.is_visible() else wake).click()
        expect(page.get_by_role("dialog", name="Wake Worker")).to_contain_text("takes tasks from celery, emails again")
        confirm(page)
        expect(row).to_contain_text("online")
        records.wait_for(1)

        (task_id,) = {start.task_id for start in records.starts()}
        row.get_by_role("button", name="Show details").click()
        tasks = page.get_by_role("table", name="Running now").locator("tbody tr")
        expect(tasks.first).to_contain_text(task_id)
        expect(tasks.first).to_contain_text("emails")
        tasks.first.get_by_role("button", name="Revoke").click()
        dialog = page.get_by_role("dialog", name="Revoke Task")
        expect(dialog).to_contain_text("A running task is not ended.")
        page.get_by_label("Also end the process that runs it").check()
        expect(dialog).to_contain_text("Its process is ended in the middle of its work.")
        shoot(page, "dialog_revoke")
        confirm(page)
        expect(message(page, "Ended, or not started")).to_be_visible()
        expect(page.get_by_text("Nothing runs right now.")).to_be_visible()
    records.close()
    app.close()


@pytest.mark.slow
def test_a_task_is_revoked_by_its_id_alone(served: Any, visit: Callable[..., Page], store: redis.Redis) -> None:
    page = visit(f"{served.url}?tab=workers")
    button(page, "Revoke Task").click()
    dialog = page.get_by_role("dialog", name="Revoke Task")
    expect(dialog).to_contain_text("Task: expected one task's id.")
    expect(page.get_by_label("Task", exact=True)).to_be_focused()
    page.get_by_label("Type YES to confirm").fill("YES")
    expect(confirm_button(page)).to_be_disabled()
    page.get_by_label("Task", exact=True).fill("1a2b-3c")
    page.get_by_label("Type YES to confirm").focus()
    expect(dialog).to_contain_text("There is no task 1a2b-3c: no worker has it")
    expect(confirm_button(page)).to_be_disabled()
    store.lpush("celery", '{"headers": {"id": "1a2b-3c", "task": "shop.mail"}}')
    page.get_by_label("Task", exact=True).fill("1a2b-3c ")
    page.get_by_label("Type YES to confirm").focus()
    expect(dialog).to_contain_text("It waits in celery")
    confirm(page)
    expect(message(page, "No worker confirmed that 1a2b-3c is revoked")).to_be_visible()


@pytest.mark.slow
def test_a_pool_is_resized_from_its_row_and_a_time_limit_is_set_above_the_table(
    served: Any, visit: Callable[..., Page], shoot: Callable[..., None]
) -> None:
    with worker(env={"OPSDASH_REDIS_URL": served.console.settings.redis_url}, queues=["celery"]) as running:
        page = visit(f"{served.url}?tab=workers")
        row = listed(page).filter(has_text=running.hostname)
        expect(row).to_contain_text("online")
        row.get_by_role("button", name="More").click()
        page.get_by_role("menuitem", name="Resize pool").click()
        dialog = page.get_by_role("dialog", name=f"Resize the pool of {running.hostname}")
        expect(dialog).not_to_contain_text("expected")  # nothing is wrong before something was typed
        page.get_by_label("Slots", exact=True).fill("3")
        page.get_by_label("Type YES to confirm").focus()
        expect(dialog).to_contain_text(f"{running.hostname}: 2 → 3 slots (prefork).")
        shoot(page, "dialog_resize")
        confirm(page)
        expect(message(page, f"{running.hostname}: 2 → 3 slots.")).to_be_visible()
        button(page, "Set Time Limit").click()
        page.get_by_label("Name of the task").fill("sample.short")
        page.get_by_label("Hard limit").fill("45s")
        page.get_by_label("Type YES to confirm").focus()
        dialog = page.get_by_role("dialog", name="Set the time limit of sample.short")
        expect(dialog).to_contain_text("soft none, hard none → soft none, hard 45s")
        confirm(page)
        expect(message(page, "sample.short has the limits soft none, hard 45s")).to_be_visible()


@pytest.mark.slow
def test_a_rate_limit_is_set_shown_and_removed_below_the_workers(
    served: Any, visit: Callable[..., Page], shoot: Callable[..., None]
) -> None:
    page = visit(f"{served.url}?tab=workers")
    table = page.get_by_role("table", name="Rate limits", exact=True)
    expect(page.get_by_text("No task has a rate limit.")).to_be_visible()
    button(page, "Set Rate Limit").click()
    page.get_by_label("Name of the task").fill("shop.charge")
    page.get_by_label("Rate", exact=True).fill("10/s")
    page.get_by_label("Type YES to confirm").focus()
    dialog = page.get_by_role("dialog", name="Limit shop.charge to 10/s")
    expect(dialog).to_contain_text("shop.charge starts at most 10/s, in all workers together.")
    shoot(page, "dialog_rate_limit")
    confirm(page)
    expect(table).to_contain_text("shop.charge")
    expect(table).to_contain_text("none follows it")
    button(page, "Remove shop.charge").click()
    confirm(page)
    expect(page.get_by_text("No task has a rate limit.")).to_be_visible()


@pytest.mark.slow
def test_a_concurrency_limit_is_set_shown_and_removed_below_the_workers_and_the_strip_names_it(
    served: Any, visit: Callable[..., Page], shoot: Callable[..., None]
) -> None:
    page = visit(f"{served.url}?tab=workers")
    table = page.get_by_role("table", name="Concurrency limits", exact=True)
    expect(page.get_by_text("No task has a concurrency limit.")).to_be_visible()
    button(page, "Limit Concurrency").click()
    page.get_by_label("Name of the task").fill("shop.charge")
    page.get_by_label("Running at once").fill("3")
    page.get_by_label("Type YES to confirm").focus()
    dialog = page.get_by_role("dialog", name="Limit shop.charge to 3 at once")
    expect(dialog).to_contain_text("At most 3 tasks of shop.charge run at once, in all workers together.")
    shoot(page, "dialog_concurrency_limit")
    confirm(page)
    expect(table).to_contain_text("shop.charge")
    expect(page.get_by_text("Concurrency limits: shop.charge 3 at once")).to_be_visible()
    button(page, "Remove shop.charge").click()
    confirm(page)
    expect(page.get_by_text("No task has a concurrency limit.")).to_be_visible()


@pytest.mark.slow
def test_the_log_is_pruned_from_where_it_is_read_by_an_admin_only(
    serve_page: Callable[..., Any], visit: Callable[..., Page], shoot: Callable[..., None]
) -> None:
    served = serve_page(auth="header", admins=("ada",), operators=("maria",))
    maria = visit(f"{served.url}?tab=operations", extra_http_headers={"X-Auth-Request-User": "maria"})
    expect(button(maria, "Export Logs")).to_be_visible()
    expect(button(maria, "Prune Audit Log")).to_be_hidden()
    ada = visit(f"{served.url}?tab=operations", extra_http_headers={"X-Auth-Request-User": "ada"})
    button(ada, "Prune Audit Log").click()
    dialog = ada.get_by_role("dialog", name="Prune Audit Log")
    expect(dialog).to_be_visible()
    ada.get_by_label("Older than").fill("5m")
    ada.get_by_label("Type YES to confirm").fill("YES")
    expect(dialog).to_contain_text("entries are kept for at least one day")
    expect(confirm_button(ada)).to_be_disabled()
    ada.get_by_label("Older than").fill("90d")
    ada.get_by_label("Type YES to confirm").focus()
    expect(dialog).not_to_contain_text("at least one day")
    shoot(ada, "dialog_prune")
    confirm(ada)
    expect(message(ada, "There were no entries to delete.")).to_be_visible()


@pytest.mark.slow
def test_an_operation_of_another_package_has_a_button_too(
    served: Any, visit: Callable[..., Page], store: redis.Redis, shoot: Callable[..., None]
) -> None:
    before = tuple(registry())

    class CloseShop(Operation):
        name: ClassVar[str] = "close_shop"
        title: ClassVar[str] = "Close Shop"
        help: ClassVar[str] = "Show customers a sign instead of the till."
        warning: ClassVar[str] = "Nobody can buy anything."

        sign: str = argument(positional=True, default="", help="What customers read.", label="What customers read")

        def preview(self, console: Any) -> Preview:
            return Preview(title=self.title, warning=self.warning, lines=(Line("will", f"They read {self.sign!r}."),))

        def execute(self, console: Any, act: Any) -> Effect:
            return Effect(affected=1, message=f"Closed: {self.sign}")

    try:
        page = visit(f"{served.url}?tab=operations")
        others = page.get_by_role("region", name="Other Operations")
        expect(others).to_contain_text("Show customers a sign instead of the till.")
        others.get_by_role("button", name="Close Shop").click()
        page.get_by_label("What customers read").fill("Back at six")
        page.get_by_label("Type YES to confirm").focus()
        expect(page.get_by_text("They read 'Back at six'.")).to_be_visible()
        shoot(page, "other_operations")
        confirm(page)
        expect(message(page, "Closed: Back at six")).to_be_visible()
    finally:
        operation.retain(before)
    assert "Close Shop" not in visit(served.url).content()


@pytest.mark.slow
def test_five_hundred_workers_change_every_second_and_nothing_an_operator_holds_moves(
    served: Any, visit: Callable[..., Page], store: redis.Redis
) -> None:
    report_many(store, 500, lasts_s=600, running=json.dumps([["1a2b", "shop.charge", "emails", 65.0]]))
    page = visit(f"{served.url}?tab=workers")
    rows = listed(page)
    table = page.get_by_role("table", name="Worker Health", exact=True)
    expect(table).to_have_attribute("aria-rowcount", "501")  # those in sight are drawn
    page.get_by_role("button", name="Worker", exact=True).click()
    page.get_by_role("button", name="Worker", exact=True).click()
    expect(rows.first).to_contain_text("w499@test")
    rows.nth(3).get_by_role("button", name="Show details").click()
    expect(page.get_by_role("button", name="Revoke shop.charge 1a2b")).to_be_visible()
    table.evaluate("table => { table.parentNode.scrollTop = 6000 }")
    held = rows.filter(has_text="w350@test")
    expect(held).to_be_visible()
    expect(page.get_by_role("button", name="Revoke shop.charge 1a2b")).to_have_count(0)
    page.get_by_label("Filter workers").focus()
    held.evaluate("""row => {
        const range = document.createRange(), selection = getSelection()
        range.selectNodeContents(row.cells[1])
        selection.removeAllRanges()
        selection.addRange(range)
        Object.assign(window, {__row: row, __rows: 0})  // rows that come or go; texts may change
        const count = (list) => { for (const m of list) window.__rows += m.addedNodes.length + m.removedNodes.length }
        new MutationObserver(count).observe(row.closest('tbody'), {childList: true})
    }""")
    for tick in range(3):
        report_many(store, 500, lasts_s=600, active=str(tick), processed=str(7 + tick))
        expect(held).to_contain_text(f"{tick} of 4")
        expect(held.locator("td").nth(5)).to_have_text(str(7 + tick))
    scrolled = "table => [window.__rows, table.parentNode.scrollTop, window.__row.isConnected]"
    assert table.evaluate(scrolled) == [0, 6000, True]
    assert page.evaluate("getSelection().toString()") != ""
    assert page.get_by_label("Filter workers").evaluate("field => field.getRootNode().activeElement === field")
    table.evaluate("table => { table.parentNode.scrollTop = 0 }")
    expect(rows.first).to_contain_text("w499@test")
    expect(page.get_by_role("button", name="Revoke shop.charge 1a2b")).to_be_visible()
    page.get_by_label("Filter workers").fill("w01 online")
    expect(rows).to_have_count(10)
    page.get_by_label("Filter workers").fill("nobody of this name")
    expect(page.get_by_text("No worker matches this filter.")).to_be_visible()
