"""Card, strip, dialog, tabs, messages and masthead in a real browser, each by itself in a page of its own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import panel as pn
import pytest
from playwright.sync_api import Page, expect
from support.dialogs import button
from support.stage import PAYLOADS, Stage, axe, dress, until_focused

from opsdash.views.components import Card, Dialog, KeyedTable, Masthead, Messages, Rows, StatusStrip, Tabs, sparkline

XSS = PAYLOADS[0]
DARK, LIGHT = "rgb(18, 21, 28)", "rgb(255, 255, 255)"
LABELS = {"waiting": "Pending Tasks", "rate": "Throughput", "failed": "Failures, 15 min", "online": "Workers online"}
FIELDS = (
    "button, input { background: var(--paper) !important; color: var(--ink) !important } :host { color: var(--ink) }"
)


def press(label: str, **more: Any) -> pn.widgets.Button:
    return pn.widgets.Button(label=label, margin=0, stylesheets=[FIELDS], **more)


def text(label: str) -> pn.widgets.TextInput:
    return pn.widgets.TextInput(label=label, margin=0, stylesheets=[FIELDS], sizing_mode="stretch_width")


class Parts:
    """One of each; ``undone`` is what Undo was pressed for."""

    def make(self) -> Any:
        self.undone: list[str] = []
        self.head = Masthead(environment="staging", risk="medium", where="redis://broker:6379/0", who="maria · admin")
        self.head.param.update(mode="development mode", read_at=time.time(), has_help=True)
        self.pause, self.resume, self.extend = press("Pause"), press("Resume", disabled=True), press("Extend")
        points = [[10 * i, i % 7] if not 20 < i < 30 else [10 * i] for i in range(90)]
        self.strip = StatusStrip(
            word="RUNNING", tone="ok", story="Workers pick up tasks from every queue", labels=LABELS,
            figures={"waiting": ["12,345", "in 3 queues"], "rate": ["3.2", "started/s"], "failed": ["4", "", "bad"]},
            sparks={"waiting": sparkline(points), "rate": sparkline(points)},
            actions=[self.pause, self.resume, self.extend], titled=True,
        )  # fmt: skip
        self.reason, self.typed = text("Reason"), text("Type YES to confirm")
        self.cancel, self.confirm = press("Cancel"), press("Clear 312 tasks")
        self.dialog = Dialog(
            self.reason, self.typed, title="Clear emails", warning="312 tasks are taken out of the queue.", danger=True,
            figures=[["312", "", "tasks"], ["≈ 1.5", "MB", "size"]],
            breakdown=[["shop.charge", 200, "200 · 64 %"], ["shop.mail", 112, "112 · 36 %"]],
            lines=[["will", "They can be restored for 24 h."], ["will_not", "Running tasks stay."], ["warning", "Hot"]],
            about=[["Queue", "emails"]], actions=[self.cancel, self.confirm],
        )  # fmt: skip
        self.cancel.on_click(lambda _: self.dialog.param.update(open=False))
        self.pause.on_click(lambda _: self.dialog.param.update(open=True))
        acts = [{"name": "clear_queue", "label": "Clear", "danger": True}]
        self.table = KeyedTable(
            title="Queues",
            columns=[{"field": "name", "title": "Queue"}, {"field": "acts", "title": "", "kind": "acts"}],
        )
        self.table.rows = Rows([{"key": name, "name": name, "acts": acts} for name in ("celery", "emails")])
        self.table.on_action(lambda _: self.dialog.param.update(open=True))
        self.messages = Messages(reloads=False)
        self.made: list[str] = []
        self.tabs = Tabs(
            ("Overview", lambda: self.table), ("Queues", self.queues), ("Log", self.log), badges={"Log": "3"}
        )
        self.card = Card(
            title="Tenants",
            note="of the database",
            actions=[press("Sync")],
            lines=[["big", "12 tenants"], ["ok", "As of the last sync"], ["mute", "quiet"]],
        )
        parts = (self.head, self.strip, self.tabs, self.card, self.dialog, self.messages)
        return pn.Column(*parts, sizing_mode="stretch_width")

    def queues(self) -> Any:
        self.made.append("Queues")
        return Card(text("A note"), title="Depth")

    def log(self) -> Any:
        self.made.append("Log")
        return Card(title="Recent Operations", lines=[["none", "nothing yet"]])


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
    opened = dress(visit(stage.url, apart=True, reduced_motion="reduce"))
    expect(button(opened, "Pause")).to_be_visible()
    return opened


@pytest.mark.long
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_nothing_in_any_component_or_state(
    page: Page, stage: Stage, parts: Parts, theme: str, width: int, shoot: Any
) -> None:
    page.set_viewport_size({"width": width, "height": 1000})
    dress(page, theme)
    axe(page, least=20)
    words = [("PAUSED", "warn"), ("PARTLY PAUSED", "warn"), ("DEGRADED", "bad"), ("UNKNOWN", "none")]
    for word, tone in words if width > 1000 else words[:1]:  # they differ in colours and words, not in what is narrow
        chips = [["warn", "emails paused", "by maria"], ["bad", "2 workers silent", "w1, w2"]]
        more = {"verdict": ["warn", "Wait: 3 of 5 workers have stopped"], "notices": ["Redis does not answer"]}
        stage.set(parts.strip, word=word, tone=tone, reason="the provider is down", chips=chips, **more)
        stage.set(parts.strip, until=time.time() + 700, of=5, stopped=3)
        expect(page.get_by_text(f"Processing Status: {word}", exact=True)).to_be_visible()
        axe(page, least=20)
        shoot(page, f"kit_strip_{word.lower()}_{theme}_{width}")
    stage.do(lambda: parts.messages.say("Cleared 312 tasks from emails", undo=lambda: None))
    stage.do(lambda: parts.messages.say("Redis did not answer; nothing was changed", "bad"))
    stage.set(parts.messages, work={"text": "Cleared 500 of 10,000", "at": 500, "of": 10_000})
    expect(button(page, "Undo")).to_be_visible()
    axe(page, least=20)
    shoot(page, f"kit_messages_{theme}_{width}")
    button(page, "Pause").click()
    expect(page.get_by_role("dialog", name="Clear emails")).to_be_visible()
    stage.set(parts.dialog, problem="Type YES in capitals.", stale=True)
    axe(page, least=10)
    shoot(page, f"kit_dialog_{theme}_{width}")


@pytest.mark.long
def test_a_pause_moves_no_button(page: Page, stage: Stage, parts: Parts) -> None:
    def at() -> list[Any]:
        return [button(page, name).bounding_box() for name in ("Pause", "Extend", "More for emails", "Sync")]

    before = at()
    more = {
        "chips": [["warn", "emails paused", ""]],
        "reason": "the provider is down",
        "story": "Paused by maria since 13:10.",
    }
    stage.set(parts.strip, word="PAUSED", tone="warn", until=time.time() + 600, of=5, verdict=["ok", "Go"], **more)
    expect(page.get_by_text("Processing Status: PAUSED")).to_be_visible()
    assert at() == before


@pytest.mark.long
def test_the_countdown_runs_in_the_browser_and_stands_still_with_old_figures(
    page: Page, stage: Stage, parts: Parts
) -> None:
    stage.set(parts.strip, word="PAUSED", tone="warn", until=time.time() + 3725)
    expect(page.get_by_text("Resumes in 1h 2m")).to_be_visible()
    assert "here" in (page.get_by_text("Resumes in 1h").get_attribute("title") or "")
    stage.set(parts.strip, stale=True)
    expect(page.get_by_text("Resumes at ")).to_be_visible()
    assert page.title() == "PAUSED · test"
    stage.set(parts.strip, word="RUNNING", tone="ok", until=0, stale=False)
    expect(page.get_by_text("Resumes")).to_be_hidden()
    assert page.title() == "test"


@pytest.mark.long
def test_a_change_of_state_is_said_once_and_sparks_say_least_and_most(page: Page, stage: Stage, parts: Parts) -> None:
    stage.set(parts.strip, word="PAUSED", heard="Workers are held now.", tone="warn")
    expect(page.get_by_text("Workers are held now.")).to_have_count(1)
    picture = page.get_by_role("img", name="14m 50s: least 0, most 6").first
    assert picture.locator("path.line").get_attribute("d").count("M") == 2
    expect(page.locator(".cell").filter(has_text="Workers online")).to_contain_text("–")


@pytest.mark.long
def test_a_button_that_is_disabled_hands_its_focus_on(page: Page, stage: Stage, parts: Parts) -> None:
    button(page, "Pause").focus()
    stage.do(lambda: (parts.pause.param.update(disabled=True), parts.resume.param.update(disabled=False)))
    until_focused(page, "Resume")


@pytest.mark.long
def test_a_dialog_takes_the_focus_keeps_it_and_gives_it_back(page: Page, stage: Stage, parts: Parts) -> None:
    opener = page.get_by_role("button", name="More for emails")
    opener.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Clear emails")
    expect(dialog).to_be_visible()
    expect(page.get_by_label("Reason")).to_be_focused()
    for expected in ("Type YES to confirm", "Cancel", "Clear 312 tasks", "Reason"):
        page.keyboard.press("Tab")
        until_focused(page, expected)
    page.keyboard.press("Shift+Tab")
    until_focused(page, "Clear 312 tasks")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    until_focused(page, "More for emails")
    page.wait_for_timeout(200)
    assert parts.dialog.open is False


@pytest.mark.long
def test_a_dialog_closes_by_a_click_beside_it_and_by_the_server(page: Page, stage: Stage, parts: Parts) -> None:
    button(page, "Pause").click()
    dialog = page.get_by_role("dialog", name="Clear emails")
    expect(page.get_by_label("Reason")).to_be_focused()
    page.get_by_label("Reason").fill("half")
    page.mouse.click(20, 500)
    expect(dialog).to_have_count(0)
    until_focused(page, "Pause")
    button(page, "Pause").click()
    # What is filled in already is not the first to fill.
    expect(page.get_by_label("Type YES to confirm")).to_be_focused()
    stage.set(parts.pause, disabled=True)
    button(page, "Cancel").click()
    expect(dialog).to_have_count(0)
    until_focused(page, "Extend")  # the nearest that can take it


@pytest.mark.long
def test_estimates_look_like_estimates_and_a_stale_preview_looks_stale(page: Page, stage: Stage, parts: Parts) -> None:
    button(page, "Pause").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("≈ 1.5 MB")).to_be_visible()
    expect(dialog.get_by_text("200 · 64 %")).to_be_visible()
    stage.set(parts.dialog, stale=True)
    expect(dialog.locator(".review")).to_have_attribute("aria-busy", "true")
    expect(page.get_by_label("Reason")).to_be_focused()
    stage.set(parts.dialog, stale=False, breakdown=[["shop.charge", 995, "≈ 995 · > 99 %"]])
    expect(dialog.get_by_text("≈ 995 · > 99 %")).to_be_visible()


@pytest.mark.long
def test_tabs_go_by_arrow_keys_are_made_once_and_keep_what_was_in_them(page: Page, stage: Stage, parts: Parts) -> None:
    tab = page.get_by_role("tab", name="Overview")
    tab.focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Queues")).to_have_attribute("aria-selected", "true")
    page.get_by_label("A note").fill("half a note")
    page.get_by_role("tab", name="Queues").focus()
    page.keyboard.press("End")
    expect(page.get_by_role("tabpanel", name="Log")).to_contain_text("nothing yet")
    expect(page.get_by_role("tab", name="Log")).to_contain_text("3")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_label("A note")).to_have_value("half a note")
    stage.set(parts.tabs, hidden=["Log", "Queues"], active=0)
    expect(page.get_by_role("tab")).to_have_count(1)
    assert parts.made == ["Queues", "Log"]


@pytest.mark.long
def test_a_message_goes_by_itself_stays_under_the_pointer_and_can_be_undone(
    page: Page, stage: Stage, parts: Parts
) -> None:
    stage.set(parts.messages, shown_ms=600)
    stage.do(lambda: parts.messages.say("Cleared 3 tasks"))
    kept = page.get_by_text("Cleared 3 tasks")
    kept.hover()
    page.wait_for_timeout(1200)
    expect(kept).to_be_visible()
    page.mouse.move(700, 10)
    expect(kept).to_have_count(0)
    stage.do(lambda: parts.messages.say("Cleared 4 tasks", undo=lambda: parts.undone.append("4")))
    stage.do(lambda: parts.messages.say("Failed", "bad"))
    expect(page.get_by_role("alert").filter(has_text="Failed")).to_be_visible()
    button(page, "Undo").click()
    expect(page.get_by_text("Cleared 4 tasks")).to_have_count(0)
    page.wait_for_timeout(200)
    assert parts.undone == ["4"]
    for forged in ({"undo": 1}, {"undo": []}, {"undo": None}, None):
        stage.do(lambda forged=forged: parts.messages._handle_msg(forged))
    assert parts.undone == ["4"]


@pytest.mark.long
@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_messages_cover_no_button(page: Page, stage: Stage, parts: Parts, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    stage.set(parts.messages, shown_ms=60_000)
    for number in range(2):
        stage.do(lambda number=number: parts.messages.say(f"Cleared {number} tasks from emails", undo=lambda: None))
    expect(button(page, "Undo").first).to_be_visible()
    button(page, "Pause").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    for name in ("Cancel", "Clear 312 tasks"):
        button(page, name).click(trial=True)
    button(page, "Cancel").click()
    for name in ("Pause", "More for emails", "Sync"):
        button(page, name).click(trial=True)


@pytest.mark.long
def test_long_work_shows_how_far_it_is_and_can_be_stopped_once(page: Page, stage: Stage, parts: Parts) -> None:
    stopped: list[Any] = []
    parts.messages.param.watch(stopped.append, "stopped")
    stage.set(parts.messages, work={"text": "Cleared 500 of 10,000", "at": 500, "of": 10_000})
    stop = page.locator(".work").get_by_role("button", name="Cancel")
    assert page.get_by_role("progressbar", name="Progress").evaluate("n => n.value / n.max") == 0.05
    stop.click()
    expect(stop).to_be_disabled()
    page.wait_for_timeout(200)
    assert len([event for event in stopped if event.new]) == 1
    stage.set(parts.messages, work={})
    expect(stop).to_be_hidden()


@pytest.mark.long
def test_a_page_without_a_server_says_so_and_ages_stand_still(page: Page, stage: Stage, parts: Parts) -> None:
    stage.set(parts.messages, limit_ms=1000, beat=time.time())
    expect(page.get_by_text("Not live: no word from the server")).to_be_visible(timeout=6000)
    assert page.evaluate("document.documentElement.dataset.notLive").startswith("Not live")
    stage.set(parts.messages, limit_ms=60_000, beat=time.time() + 1)
    expect(page.get_by_text("Not live: no word from the server")).to_be_hidden()
    assert page.evaluate("document.documentElement.dataset.notLive") is None


@pytest.mark.long
def test_a_page_is_loaded_again_once_its_server_is_back(page: Page, stage: Stage, parts: Parts, watch: Any) -> None:
    watch.tolerate = ("healthz", "404")
    page.evaluate("window.before = true")
    stage.set(parts.messages, reloads=True, limit_ms=1000, beat=time.time())
    page.wait_for_function("() => window.before === undefined", timeout=15_000)


@pytest.mark.long
def test_the_masthead_says_where_one_is_and_turns_the_page_dark(page: Page, stage: Stage, parts: Parts) -> None:
    assert "here" in page.get_by_text("Figures of ").get_attribute("title")
    button(page, "Toggle theme").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    expect(page.locator("section.box").filter(has_text="Tenants")).to_have_css("background-color", DARK)
    page.set_viewport_size({"width": 390, "height": 800})
    expect(page.get_by_text("maria · admin")).to_be_visible()
    helped: list[Any] = []
    parts.head.param.watch(helped.append, "help")
    button(page, "Keyboard shortcuts").click()
    page.wait_for_timeout(200)
    assert len([event for event in helped if event.new]) == 1


@pytest.mark.long
def test_text_of_others_is_text_in_every_component(page: Page, stage: Stage, parts: Parts) -> None:
    stage.set(parts.head, environment=XSS, where=XSS, who=XSS, mode=XSS)
    stage.set(parts.card, title=XSS, note=XSS, lines=[["ok", XSS], [XSS, XSS]])
    stage.set(parts.strip, story=XSS, reason=XSS, chips=[[XSS, XSS, XSS]], verdict=[XSS, XSS], notices=[XSS])
    stage.set(
        parts.strip,
        labels={XSS: XSS, "__proto__": "x"},
        figures={XSS: [XSS, XSS, XSS]},
        sparks={XSS: ["M0 0", "M0 0", XSS]},
    )
    stage.set(parts.dialog, title=XSS, warning=XSS, figures=[[XSS, XSS, XSS]], about=[[XSS, XSS]])
    stage.set(parts.dialog, breakdown=[[XSS, 3, XSS]], lines=[[XSS, XSS]], problem=XSS)
    stage.set(parts.tabs, badges={"Log": XSS})
    stage.set(parts.messages, work={"text": XSS})
    stage.do(lambda: parts.messages.say(XSS, XSS, undo=lambda: None))
    button(page, "Pause").click()
    expect(page.get_by_role("dialog", name=XSS)).to_be_visible()
    page.wait_for_timeout(300)
    assert page.title() == "test"
    assert page.locator("img").count() == 0


@pytest.mark.long
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_a_component_takes_the_theme_it_is_given_whatever_is_around_it(
    page: Page, stage: Stage, parts: Parts, theme: str
) -> None:
    dress(page, "light" if theme == "dark" else "dark")
    stage.set(parts.card, theme=theme)
    box = page.locator("section.box").filter(has_text="Tenants")
    expect(box).to_have_css("background-color", DARK if theme == "dark" else LIGHT)


@pytest.mark.long
def test_without_a_word_of_the_page_the_paint_behind_it_decides(page: Page) -> None:
    page.evaluate("() => { delete document.documentElement.dataset.theme; document.body.style.background = '#101010' }")
    box = page.locator("section.box").filter(has_text="Tenants")
    expect(box).to_have_css("background-color", DARK)
    page.evaluate("() => { document.body.dataset.jpThemeLight = 'true' }")
    expect(box).to_have_css("background-color", LIGHT)
