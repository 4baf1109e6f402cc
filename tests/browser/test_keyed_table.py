"""The keyed table in a real browser: rows keep their place, and keyboard, phone and screen reader reach all of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import panel as pn
import pytest
from playwright.sync_api import Locator, Page, expect
from support import services
from support.stage import PAYLOADS, Stage, axe, dress, until_focused

from opsdash.views.components import KeyedTable, RowAction, Rows, sparkline

NOW = time.time()
ACTS = [
    {"name": "pause", "label": "Pause", "help": "This queue only", "usual": True},
    {"name": "peek", "label": "Peek", "usual": True},
    {"name": "clear_tasks", "label": "Clear some", "help": "Those that match"},
    {"name": "clear_queue", "label": "Clear", "help": "All pending tasks", "danger": True},
]
COLUMNS = [
    {"field": "name", "title": "Queue", "priority": 1},
    {"field": "state", "title": "State", "kind": "state", "priority": 1},
    {"field": "waiting", "title": "Waiting", "kind": "number", "priority": 1},
    {"field": "oldest", "title": "Oldest", "kind": "since"},
    {"field": "rate", "title": "Started/s", "kind": "rate", "priority": 3},
    {"field": "spark", "title": "Last 15 min", "kind": "spark", "priority": 4},
    {"field": "acts", "title": "", "kind": "acts", "pin": True, "priority": 1},
]


FIELD = ":host { color: var(--ink) } input.bk-input { background: var(--paper); color: var(--ink) }"


def queue(name: str, waiting: int = 0, **over: Any) -> dict[str, Any]:
    spark = [[10 * i, (3 * i) % 7] if not 20 < i < 30 else [10 * i] for i in range(60)]
    row = {"key": name, "name": name, "state": ["ok", "running", ""], "waiting": waiting, "oldest": NOW - 300}
    return {**row, "rate": 3.2, "spark": sparkline(spark), "acts": ACTS, **over}


def worker(i: int, **over: Any) -> dict[str, Any]:
    return {
        "key": f"w{i}",
        "hostname": f"w{i:03d}@host",
        "state": ["ok", "online", ""],
        "active": i % 8,
        "slots": 8,
        **over,
    }


class Parts:
    def __init__(self) -> None:
        self.acted: list[RowAction] = []

    def make(self) -> Any:
        self.acted.clear()
        rows = Rows(
            [
                queue("celery", 5),
                queue(
                    "emails", 312, state=["warn", "paused", "by maria, until 14:00 UTC: the provider is down, we wait"]
                ),
                queue("reports", 7),
            ]
        )
        self.queues = KeyedTable(
            title="Queues", columns=COLUMNS, rows=rows, now=NOW, selectable=True, selected="celery"
        )
        self.queues.on_action(self.acted.append)
        self.workers = KeyedTable(
            title="Workers",
            columns=[
                {"field": "hostname", "title": "Worker", "priority": 1},
                {"field": "state", "title": "State", "kind": "state"},
                {"field": "active", "title": "Busy slots", "kind": "bar", "of": "slots", "priority": 3},
            ],
            rows=Rows([worker(i) for i in range(3)]),
            row_content=lambda key: pn.widgets.TextInput(
                label=f"Note of {key}", placeholder=f"of {key}", stylesheets=[FIELD]
            ),
        )
        return pn.Column(self.queues, self.workers, sizing_mode="stretch_width")


@pytest.fixture(scope="module")
def parts() -> Parts:
    return Parts()


@pytest.fixture(scope="module")
def stage(parts: Parts) -> Iterator[Stage]:
    served = Stage(parts.make)
    yield served
    served.close()


@pytest.fixture
def page(stage: Stage, visit: Callable[..., Page]) -> Page:
    opened = dress(visit(stage.url, ready="Queue", apart=True))
    expect(row(opened, "emails")).to_be_visible()
    expect(row(opened, "w001@host")).to_be_visible()
    return opened


def row(page: Page, name: str) -> Locator:
    return page.locator("tbody tr:not(.under, .detail)").filter(has_text=name)


@pytest.mark.long
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_in_a_table_its_menu_or_an_open_row(page: Page, theme: str, width: int, shoot: Any) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    dress(page, theme)
    row(page, "w001@host").click()
    expect(page.get_by_placeholder("of w1")).to_be_visible()
    page.get_by_role("button", name="More for emails").click()
    expect(page.get_by_role("menu")).to_be_visible()
    axe(page, least=10)
    shoot(page, f"kit_table_{theme}_{width}")


@pytest.mark.long
def test_only_changed_cells_touch_the_page_and_focus_and_choice_stay(page: Page, stage: Stage, parts: Parts) -> None:
    page.get_by_role("button", name="Peek emails").focus()
    page.get_by_role("table", name="Queues").evaluate(
        """(table) => {
          window.seen = 0
          const watch = new MutationObserver((all) => { window.seen += all.length })
          watch.observe(table, {subtree: true, childList: true, characterData: true})
        }"""
    )
    before = parts.queues.rows
    stage.set(parts.queues, rows=Rows([{**one, "waiting": 400} if one["key"] == "emails" else one for one in before]))
    expect(row(page, "emails")).to_contain_text("400")
    assert page.evaluate("window.seen") <= 8  # one cell, and ages that went on
    until_focused(page, "Peek emails")
    expect(page.get_by_role("radio", name="celery")).to_be_checked()


@pytest.mark.long
def test_rows_come_go_and_change_places(page: Page, stage: Stage, parts: Parts) -> None:
    stage.set(parts.queues, rows=Rows([queue("new", 1), queue("reports", 8), queue("celery", 5)]))
    expect(page.get_by_role("table", name="Queues").locator("tbody tr")).to_have_count(3)
    names = page.get_by_role("table", name="Queues").locator("tbody tr td:nth-child(2)").all_inner_texts()
    assert names == ["new", "reports", "celery"]
    stage.set(parts.queues, rows=[], empty="No queue is known yet.")
    expect(page.get_by_text("No queue is known yet.")).to_be_visible()


@pytest.mark.long
def test_changes_that_were_held_back_and_merged_still_arrive(page: Page, stage: Stage, parts: Parts) -> None:
    def burst() -> None:
        with pn.io.hold(pn.state.curdoc):
            for waiting in (1, 2, 3):
                parts.queues.rows = Rows([queue("celery", waiting), queue(f"q{waiting}")])

    stage.do(burst)
    expect(row(page, "celery")).to_contain_text("3")
    expect(row(page, "q3")).to_be_visible()
    expect(row(page, "q1")).to_have_count(0)


@pytest.mark.long
def test_a_column_sorts_by_keyboard_and_the_order_stays(page: Page, stage: Stage, parts: Parts) -> None:
    head = page.get_by_role("button", name="Waiting", exact=True)
    head.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    table = page.get_by_role("table", name="Queues")
    expect(table.get_by_role("columnheader", name="Waiting")).to_have_attribute("aria-sort", "descending")
    assert table.locator("tbody tr td:nth-child(2)").all_inner_texts() == ["emails", "reports", "celery"]
    until_focused(page, "Waiting")
    stage.set(parts.queues, rows=Rows([queue("celery", 999), queue("emails", 3), queue("reports", 7)]))
    expect(table.locator("tbody tr td:nth-child(2)").first).to_have_text("celery")


@pytest.mark.long
def test_the_menu_of_a_row_works_by_keyboard_and_gives_the_focus_back(page: Page, stage: Stage, parts: Parts) -> None:
    opener = page.get_by_role("button", name="More for emails")
    opener.focus()
    page.keyboard.press("Enter")
    expect(opener).to_have_attribute("aria-expanded", "true")
    until_focused(page, "Clear some")
    page.keyboard.press("ArrowDown")
    until_focused(page, "ClearAll")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    page.keyboard.press("Home")
    until_focused(page, "Clear some")
    page.keyboard.press("Escape")
    expect(page.get_by_role("menu")).to_be_hidden()
    until_focused(page, "More for emails")
    page.keyboard.press("Enter")
    # Drawn again while it is open: the way back leads to the new button.
    acts = [ACTS[0], *ACTS[2:]]
    stage.set(parts.queues, rows=Rows([queue("celery"), queue("emails", 3, acts=acts), queue("reports")]))
    expect(page.get_by_role("button", name="Peek emails")).to_have_count(0)
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    until_focused(page, "More for emails")
    page.wait_for_timeout(200)
    assert parts.acted == [RowAction("emails", "clear_queue")]


@pytest.mark.long
def test_the_menu_of_a_row_closes_by_the_button_that_opened_it_and_by_a_click_elsewhere(page: Page) -> None:
    opener, menu = page.get_by_role("button", name="More for emails"), page.get_by_role("menu", name="More for emails")
    for close in (opener.click, page.get_by_role("heading", name="Workers").click):
        opener.click()
        expect(menu).to_be_visible()
        close()
        expect(menu).to_be_hidden()
        expect(opener).to_have_attribute("aria-expanded", "false")


@pytest.mark.long
def test_an_act_that_no_row_offers_is_not_heard(page: Page, stage: Stage, parts: Parts) -> None:
    for message in ({"key": "emails", "name": "drop"}, {"key": "nobody", "name": "peek"}, ["peek"], None, {"key": 3}):
        stage.do(lambda message=message: parts.queues._handle_msg(message))
    assert parts.acted == []
    page.get_by_role("button", name="Peek reports").click()
    page.wait_for_timeout(200)
    assert parts.acted == [RowAction("reports", "peek")]


@pytest.mark.long
def test_a_row_is_chosen_by_a_click_and_by_arrow_keys(page: Page, parts: Parts) -> None:
    row(page, "emails").locator("td").nth(2).click()
    expect(page.get_by_role("radio", name="emails")).to_be_checked()
    page.get_by_role("radio", name="emails").focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="reports")).to_be_checked()
    assert services.until(lambda: parts.queues.selected == "reports")


@pytest.mark.long
def test_a_row_opens_anywhere_and_stays_open_while_rows_change(page: Page, stage: Stage, parts: Parts) -> None:
    row(page, "w001@host").click()
    field = page.get_by_placeholder("of w1")
    field.fill("half a note")
    stage.set(parts.workers, rows=Rows([worker(i, active=7) for i in (2, 1, 0)]))
    expect(row(page, "w001@host")).to_contain_text("7 of 8")
    expect(field).to_have_value("half a note")
    stage.set(parts.workers, expanded=["w1", "w0"])
    expect(page.get_by_placeholder("of w0")).to_be_visible()
    page.get_by_role("button", name="Hide details of w001@host").click()
    expect(field).to_have_count(0)
    expect(page.get_by_placeholder("of w0")).to_be_visible()
    assert row(page, "w000@host").locator("xpath=following-sibling::tr[1]").get_by_placeholder("of w0").is_visible()


LATE = """() => {
  const all = (view) => [view, ...[...(view.child_views || [])].flatMap(all)]
  for (const view of Object.values(Bokeh.index).flatMap(all).filter((one) => one.model.class_name === 'KeyedTable')) {
    const find = view.get_child_view.bind(view), until = performance.now() + 300
    view.get_child_view = (model) => (performance.now() < until ? undefined : find(model))
  }
  return true
}"""


@pytest.mark.long
def test_what_a_row_opens_to_is_shown_also_where_panel_draws_it_late(page: Page, stage: Stage, parts: Parts) -> None:
    """A busy browser: Panel tells of new children before their views are there, and tells it once."""
    assert page.evaluate(LATE)
    stage.set(parts.workers, expanded=["w1"])
    expect(page.get_by_role("button", name="Hide details of w001@host")).to_be_visible()
    expect(page.get_by_placeholder("of w1")).to_be_visible()


@pytest.mark.long
def test_five_hundred_rows_are_a_window_and_the_scroll_stays_while_they_change(
    page: Page, stage: Stage, parts: Parts
) -> None:
    stage.set(parts.workers, rows=Rows([worker(i) for i in range(500)]), expanded=["w3"])
    table, wrap = page.get_by_role("table", name="Workers"), page.get_by_role("group", name="Workers, table")
    expect(table).to_have_attribute("aria-rowcount", "501")
    assert table.locator("tbody tr").count() < 60
    wrap.evaluate("n => { n.scrollTop = 9000 }")
    expect(row(page, "w240@host")).to_have_attribute("aria-rowindex", "242")
    before = wrap.evaluate("n => n.scrollTop")
    for active in (1, 5):
        stage.set(parts.workers, rows=Rows([worker(i, active=active) for i in range(500)]))
        expect(row(page, "w240@host")).to_contain_text(f"{active} of 8")
        assert wrap.evaluate("n => n.scrollTop") == before
    wrap.evaluate("n => { n.scrollTop = n.scrollHeight }")
    expect(row(page, "w499@host")).to_be_visible()
    axe(page)
    stage.set(parts.workers, rows=Rows([worker(i) for i in range(3)]))
    expect(row(page, "w000@host")).to_be_visible()
    assert table.get_attribute("aria-rowcount") is None


@pytest.mark.long
@pytest.mark.parametrize("width", [1440, 1024, 768, 390])
def test_columns_give_way_and_no_text_is_cut(page: Page, width: int, shoot: Any) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_timeout(300)
    for name in ("Queues", "Workers"):
        wrap = page.get_by_role("group", name=f"{name}, table")
        assert wrap.evaluate("n => n.scrollWidth <= n.clientWidth"), name
        cut = "(c) => c.checkVisibility() && c.scrollWidth > c.clientWidth + 1"
        assert wrap.evaluate(f"n => [...n.querySelectorAll('td, th')].filter({cut}).map((c) => c.textContent)") == []
    for name in ("Pause emails", "Peek emails", "More for emails"):
        expect(page.get_by_role("button", name=name)).to_be_visible()
    if width == 390:  # what has gone is said below, in words
        expect(page.locator("tr.under").filter(has_text="by maria, until 14:00 UTC: the provider")).to_be_visible()
        expect(page.get_by_role("columnheader", name="Last 15 min")).to_have_count(0)
    shoot(page, f"kit_table_{width}")


@pytest.mark.long
def test_on_a_phone_what_there_is_no_room_for_is_below_and_a_button_is_there_once(page: Page) -> None:
    page.set_viewport_size({"width": 540, "height": 900})  # room for all but some columns
    expect(page.locator("tr.under").filter(has_text="by maria, until 14:00 UTC: the provider")).to_be_visible()
    there = page.locator("button[aria-label='Pause emails']")  # those that are hidden, too
    expect(there).to_have_count(1)
    page.set_viewport_size({"width": 1440, "height": 900})
    expect(page.locator("tr.under")).to_have_count(0)
    expect(row(page, "emails").get_by_role("button", name="Pause emails")).to_be_visible()
    expect(there).to_have_count(1)


@pytest.mark.long
def test_a_table_that_is_given_half_a_row_hides_columns_and_gets_them_back(page: Page) -> None:
    page.set_viewport_size({"width": 620, "height": 900})
    expect(page.get_by_role("columnheader", name="Last 15 min")).to_have_count(0)
    page.set_viewport_size({"width": 1440, "height": 900})
    expect(page.get_by_role("columnheader", name="Last 15 min")).to_be_visible()


@pytest.mark.long
def test_ages_go_on_by_themselves_and_stand_still_when_frozen(page: Page, stage: Stage, parts: Parts) -> None:
    cell = row(page, "celery").locator("td[data-kind=since]")
    said = cell.inner_text()
    expect(cell).not_to_have_text(said, timeout=3000)
    stage.set(parts.queues, frozen=True)
    expect(cell).to_have_text("5m 0s")
    page.wait_for_timeout(1500)
    expect(cell).to_have_text("5m 0s")


@pytest.mark.long
def test_a_sparkline_says_least_and_most_and_shows_gaps(page: Page) -> None:
    picture = row(page, "celery").get_by_role("img")
    assert picture.get_attribute("aria-label") == "9m 50s: least 0, most 6"
    assert picture.locator("path.line").get_attribute("d").count("M") == 2


@pytest.mark.long
def test_text_of_others_is_text(page: Page, stage: Stage, parts: Parts) -> None:
    rows = [
        queue(
            f"{text}{i}",
            state=["ok", text, text],
            acts=[[text, text, text], {"name": text, "label": text, "help": text}],
        )
        for i, text in enumerate(PAYLOADS)
    ]
    rows.append(queue("__proto__", state=["constructor", "toString", "__proto__"]))
    stage.set(parts.queues, rows=Rows(rows), title=PAYLOADS[0], note=PAYLOADS[0], selected=rows[0]["key"])
    expect(page.get_by_role("heading", name=PAYLOADS[0])).to_be_visible()
    expect(row(page, "__proto__")).to_be_visible()
    page.get_by_role("button", name=f"More for {PAYLOADS[0]}0").click()
    expect(page.get_by_role("menuitem")).to_be_visible()
    stage.set(parts.queues, empty=PAYLOADS[0], columns=[{"field": "name", "title": PAYLOADS[0], "help": PAYLOADS[0]}])
    expect(page.get_by_role("columnheader", name=PAYLOADS[0])).to_be_visible()
    stage.set(parts.queues, rows=[])
    expect(page.get_by_text(PAYLOADS[0]).last).to_be_visible()
    assert page.title() == "test"
