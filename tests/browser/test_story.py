"""The whole operator's story, clicking real buttons against a real broker, a real worker and a real database."""

from __future__ import annotations

import csv
import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from playwright.sync_api import Locator, Page, expect
from support import services
from support.dialogs import PROCESSING, act, button, confirm_button, message
from support.dialogs import confirm as confirm_open
from support.sample_app import make_app
from support.workers import Records, Worker, eventually, worker

from opsdash.keys import Keys
from opsdash.model.usernames import os_user
from opsdash.services.database.tables import tenant_config

KEYS = Keys()
API_KEY = "sk-live-0123456789abcdef"
USER = os_user()


class Producer:
    """Keeps a queue moving: short tasks, a few at a time, until stopped."""

    def __init__(self, url: str) -> None:
        self._app = make_app(url)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def send(self, number: int, queue: str = "celery", **options: Any) -> None:
        with self._app.connection_for_write() as connection:
            for i in range(number):
                self._app.send_task("sample.short", args=[i], queue=queue, connection=connection, **options)

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            self.send(2)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(10)
        self._app.close()


@pytest.fixture(scope="module")
def busy_worker(broker: services.Valkey) -> Iterator[Worker]:
    with worker(pool="threads", concurrency=4, env={"OPSDASH_REDIS_URL": broker.url}) as running:
        yield running


@pytest.fixture
def store(broker: services.Valkey) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(broker.url, decode_responses=True) as client:
        yield client


def dialog(page: Page, name: str) -> Locator:
    return page.get_by_role("dialog", name=name, exact=True)


def confirm(page: Page, name: str) -> None:
    """Clicks an operation, types YES and confirms."""
    button(page, name).click()
    confirm_open(page)


def tab_to(page: Page, field: Locator) -> None:
    """Goes on by the Tab key until a field has the focus."""
    for _ in range(10):
        if field.evaluate("field => field.getRootNode().activeElement === field"):
            return
        page.keyboard.press("Tab")
    expect(field).to_be_focused()


def log_rows(page: Page) -> list[list[str]]:
    """The log as it stands on the page: user, operation, status."""
    rows = page.get_by_role("region", name="Recent Operations").locator("tbody tr:not(.detail, .under)").all()
    return [[cell.inner_text() for cell in row.locator("td").all()][2:5] for row in rows]


def test_an_operator_pauses_clears_syncs_and_resumes_and_finds_every_act_in_the_log(
    served: Any,
    busy_worker: Worker,
    store: redis.Redis,
    visit: Callable[..., Page],
    shoot: Callable[..., None],
    tmp_path: Path,
) -> None:
    with served.console.engine.begin() as connection:
        connection.execute(
            tenant_config.insert(),
            [
                {
                    "tenant_id": f"t{i}",
                    "name": f"Tenant {i}",
                    "enabled": True,
                    "settings": {"tier": i},
                    "api_key": API_KEY,
                }
                for i in range(3)
            ],
        )
    producer, records = Producer(served.console.settings.redis_url), Records(served.console.settings.redis_url)
    try:
        page = visit(served.url)
        expect(page).to_have_title("System Operations")
        expect(page.get_by_text("Processing Status: RUNNING")).to_be_visible()
        expect(page.get_by_text("Caution: Manual operations can affect system behavior")).to_be_visible()
        for figure in ("Pending Tasks", "Throughput", "Failed, 15 min", "Workers online", "Busy slots"):
            expect(page.get_by_text(figure, exact=True).first).to_be_visible()
        expect(page.get_by_text("staging", exact=True)).to_be_visible()
        expect(page.get_by_text("No operations logged yet.")).to_be_visible()
        for heading in (
            "System Operations",
            "Worker Control",
            "Queue Operations",
            "Tenant Configuration",
            "Worker Health",
            "Recent Operations",
        ):
            expect(page.get_by_role("heading", name=heading, exact=True)).to_be_visible()
        expect(page.get_by_role("cell", name=busy_worker.hostname, exact=True)).to_be_visible()
        expect(button(page, "Resume Processing")).to_be_disabled()
        records.wait_for(20)
        shoot(page, "running", all_forms=True)

        # Pause: only the exact word arms the button.
        button(page, "Pause Processing").click()
        expect(dialog(page, "Pause Processing")).to_be_visible()
        field = page.get_by_label("Type YES to confirm")
        expect(page.get_by_label("Ends after")).to_be_focused()  # the first that can be filled in
        page.get_by_label("Reason").fill("deploying 4.2")
        for typed in ("yes", "YES ", "Yes", " YES", "YE", ""):
            field.fill(typed)
            expect(confirm_button(page)).to_be_disabled()
        field.fill("YES")
        expect(confirm_button(page)).to_be_enabled()
        shoot(page, "dialog")
        confirm_button(page).click()
        expect(message(page, "Paused everything")).to_be_visible()
        expect(page.get_by_text("Processing Status: PAUSED")).to_be_visible()
        expect(page.get_by_text(f"Paused by {USER} since")).to_be_visible()
        expect(page.get_by_text("deploying 4.2").first).to_be_visible()
        expect(button(page, "Pause Processing")).to_be_disabled()
        assert store.get(KEYS.pause()) == "true"
        applied = page.get_by_role("region", name="Worker Health").locator("tbody tr td").nth(-2)
        expect(applied).to_contain_text("yes")
        assert records.stay(1.0) == 0, "a task began after the worker had applied the pause"
        shoot(page, "paused", all_forms=True)

        # Clear: one queue, all of it, and the number is the one of the act.
        producer.close()
        eventually(lambda: served.console.get_queue_length("celery") > 10, what="a backlog")
        producer.send(5, queue="emails", priority=9)
        waiting = served.console.get_queue_length("celery")
        act(page, "celery", "Clear")
        confirm_open(page)
        expect(message(page, f"Cleared {waiting} tasks from celery.")).to_be_visible()
        shoot(page, "toast")
        assert served.console.get_queue_length("celery") == 0
        assert served.console.get_queue_length("emails") == 5

        confirm(page, "Sync Tenant Configs")
        expect(message(page, "Synced 3 tenant configs.")).to_be_visible()
        synced = store.get(KEYS.tenant_config("t1"))
        assert synced is not None
        assert json.loads(synced)["settings"] == {"tier": 1}
        assert API_KEY not in synced

        before = len(records)
        confirm(page, "Resume Processing")
        expect(page.get_by_text("Processing Status: RUNNING")).to_be_visible()
        assert not store.exists(KEYS.pause())
        eventually(lambda: len(records) >= before + 5, what="the tasks of the other queue")

        # Every act is in the log, newest first, under the operator's name.
        acts = ["Resume Processing", "Sync Tenant Configs", "Clear queue celery", "Pause Processing"]
        eventually(lambda: log_rows(page) == [[USER, act, "success"] for act in acts], what="the log on the page")
        page.get_by_role("region", name="Recent Operations").get_by_role("button", name="Show details").nth(2).click()
        expect(page.get_by_role("row", name=re.compile("^Trash id"))).to_be_visible()
        shoot(page, "log", all_forms=True)
        with page.expect_download() as download:
            button(page, "Export Logs").click()
        saved = tmp_path / "log.csv"
        download.value.save_as(saved)
        with saved.open(newline="") as file:
            exported = list(csv.DictReader(file))
        names = ["resume_processing", "sync_tenant_configs", "clear_queue", "pause_processing"]
        assert [row["operation"] for row in exported][:4] in (names, names[::-1])
        assert {row["user"] for row in exported} == {USER}
    finally:
        producer.close()
        records.close()


@pytest.mark.long
def test_a_result_message_goes_after_three_seconds(served: Any, visit: Callable[..., Page]) -> None:
    page = visit(served.url)
    confirm(page, "Sync Tenant Configs")
    expect(message(page)).to_be_visible()
    page.wait_for_timeout(2_000)
    expect(message(page)).to_be_visible()
    expect(message(page)).to_have_count(0, timeout=2_500)


@pytest.mark.long
def test_cancel_and_escape_do_nothing_but_close_and_give_the_focus_back(
    served: Any, visit: Callable[..., Page], store: redis.Redis
) -> None:
    page = visit(served.url)
    before = served.console.get_recent_operations()
    for leave in (lambda: button(page, "Cancel").click(), lambda: page.keyboard.press("Escape")):
        button(page, "Pause Processing").click()
        field = page.get_by_label("Type YES to confirm")
        expect(page.get_by_label("Ends after")).to_be_focused()
        expect(field).to_have_value("")
        expect(confirm_button(page)).to_be_disabled()
        field.fill("YES")
        expect(confirm_button(page)).to_be_enabled()
        leave()
        expect(dialog(page, "Pause Processing")).to_have_count(0)
        expect(button(page, "Pause Processing")).to_be_focused()
    assert not store.exists(KEYS.pause())
    assert served.console.get_recent_operations() == before


@pytest.mark.long
def test_the_keyboard_is_enough_and_a_double_click_runs_once(
    served: Any, visit: Callable[..., Page], store: redis.Redis
) -> None:
    page = visit(served.url)
    before = len(served.console.get_recent_operations(limit=1_000))
    button(page, "Sync Tenant Configs").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Reason")).to_be_focused()
    tab_to(page, page.get_by_label("Type YES to confirm"))
    page.keyboard.type("YES")
    expect(confirm_button(page)).to_be_enabled()
    page.keyboard.press("Enter")
    expect(message(page)).to_be_visible()
    expect(button(page, "Sync Tenant Configs")).to_be_focused()
    for opener, other in (("Pause Processing", "Resume Processing"), ("Resume Processing", "Pause Processing")):
        confirm(page, opener)
        expect(button(page, other)).to_be_focused()  # a disabled button can't hold the focus
    button(page, "Sync Tenant Configs").click()
    page.get_by_label("Type YES to confirm").fill("YES")
    expect(confirm_button(page)).to_be_enabled()
    confirm_button(page).dblclick()
    eventually(
        lambda: len(served.console.get_recent_operations(limit=1_000)) == before + 4, what="one entry for each act"
    )
    page.wait_for_timeout(300)
    assert len(served.console.get_recent_operations(limit=1_000)) == before + 4


@pytest.mark.long
def test_two_operators_never_share_a_pending_confirmation(
    served: Any, visit: Callable[..., Page], store: redis.Redis
) -> None:
    maria, eve = visit(served.url), visit(served.url, apart=True)
    button(maria, "Pause Processing").click()
    maria.get_by_label("Type YES to confirm").fill("YES")
    expect(confirm_button(maria)).to_be_enabled()
    expect(eve.get_by_role("dialog")).to_have_count(0)
    act(eve, "emails", "Clear")
    expect(dialog(eve, "Clear queue emails")).to_be_visible()
    expect(eve.get_by_text("of queue emails")).to_be_visible()
    expect(eve.get_by_label("Type YES to confirm")).to_have_value("")
    expect(confirm_button(eve)).to_be_disabled()
    button(eve, "Cancel").click()
    expect(confirm_button(maria)).to_be_enabled()
    confirm_button(maria).click()
    for page in (maria, eve):  # one act, and everybody sees it
        expect(page.get_by_text("Processing Status: PAUSED")).to_be_visible()
        expect(button(page, "Pause Processing")).to_be_disabled()
    newest = itertools.islice(served.console.get_recent_operations(), 1)
    assert [entry.operation for entry in newest] == ["pause_processing"]
    confirm(eve, "Resume Processing")
    expect(maria.get_by_text(PROCESSING)).to_be_visible()
