"""The state can be read before any script has run, and the page takes its place without a jump."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect
from support.workers import eventually

import opsdash
from opsdash.model import Actor, Role

MARIA = Actor(name="maria", role=Role.OPERATOR)
DESKTOP, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
SCRIPT = "**/static/js/bokeh.min.js*"
MOST_SHIFT = 0.01
SHIFTS = """
window.shifts = []
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifts.push(entry.value)
}).observe({type: 'layout-shift', buffered: true})
"""


@pytest.fixture(scope="module")
def served(serve_page: Callable[..., Any]) -> Any:
    """A page whose poller has read something, as that of ``opsdash serve`` always has."""
    made = serve_page()
    made.console.poller.subscribe(lambda _snapshot: None)
    eventually(lambda: made.console.poller.latest is not None, what="the first reading")
    return made


@pytest.fixture
def slow(browser: Browser, watch: Any) -> Any:
    """Opens a page whose scripts wait until they are let go."""
    opened: list[Any] = []

    def open_page(url: str, **options: Any) -> tuple[Page, Callable[[], None]]:
        context = browser.new_context(**{"viewport": DESKTOP, "reduced_motion": "reduce", **options})
        opened.append(context)
        context.set_default_timeout(15_000)
        page, held = watch.follow(context.new_page()), list[Route]()
        page.add_init_script(SHIFTS)
        page.route(SCRIPT, lambda route: held.append(route))
        page.goto(url, wait_until="commit")

        def let_go() -> None:
            eventually(lambda: page.wait_for_timeout(20) or held, what="the script's request")
            held.pop().continue_()

        return page, let_go

    yield open_page
    for context in opened:
        context.close()


def top(page: Page, what: str) -> float:
    """Where it stands, in CSS pixels."""
    box = page.locator(what).first.bounding_box()
    assert box is not None
    return float(box["y"])


@pytest.mark.long
def test_the_words_are_there_before_the_scripts_and_go_without_a_jump(served: Any, slow: Any) -> None:
    for size in (DESKTOP, PHONE):
        page, let_go = slow(served.url, viewport=size)
        words = page.locator("#reading")
        expect(words.get_by_text("Processing Status: ")).to_be_visible()
        expect(words.get_by_text("As of")).to_be_visible()
        expect(words.get_by_role("row", name="emails")).to_be_visible()
        before = top(page, "#reading strong")
        let_go()
        expect(page.get_by_role("button", name="Pause Processing", exact=True)).to_be_enabled()
        expect(words).to_have_count(0)
        expect(page.get_by_text("Processing Status: ")).to_have_count(1)
        expect(page.get_by_role("main")).to_have_count(1)
        assert abs(top(page, ".state strong") - before) <= 2
        page.wait_for_timeout(1_200)  # readings come meanwhile
        assert sum(page.evaluate("window.shifts")) < MOST_SHIFT


@pytest.mark.long
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_whoever_has_no_javascript_reads_the_state_and_that_operating_needs_it(
    served: Any, browser: Browser, shoot: Callable[..., None], size: Any, theme: str
) -> None:
    context = browser.new_context(viewport=size, java_script_enabled=False, color_scheme=theme)
    page = context.new_page()
    page.goto(served.url)
    expect(page.get_by_text("Processing Status: ")).to_be_visible()
    expect(page.get_by_role("cell", name="emails")).to_be_visible()
    assert "JavaScript is off" in page.locator("#reading .note").inner_text()
    ground = page.locator("#reading").evaluate("node => getComputedStyle(node).backgroundColor")
    assert ground == ("rgb(10, 12, 16)" if theme == "dark" else "rgb(245, 247, 249)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shoot(page, f"words_{theme}_{size['width']}")
    context.close()


@pytest.mark.long
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_the_words_running_or_paused(served: Any, slow: Any, theme: str) -> None:
    def check(page: Page) -> None:
        expect(page.locator("#reading").get_by_text("As of")).to_be_visible()
        found = Axe().run(page, options={"resultTypes": ["violations", "passes"]})
        assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found.response["violations"]] == []
        assert any(rule["id"] == "color-contrast" and len(rule["nodes"]) > 10 for rule in found.response["passes"])

    check(slow(served.url, color_scheme=theme)[0])
    served.console.run(opsdash.PauseProcessing(reason="deploying 4.2"), actor=MARIA, confirm="YES")
    served.console.poller.refresh()
    try:
        page, let_go = slow(served.url, color_scheme=theme)
        expect(page.locator("#reading").get_by_text("Processing Status: PAUSED")).to_be_visible()
        expect(page.locator("#reading").get_by_text("deploying 4.2")).to_be_visible()
        check(page)
        before = top(page, "#reading strong")
        let_go()
        expect(page.locator("#reading")).to_have_count(0)
        assert abs(top(page, ".state strong") - before) <= 2
    finally:
        served.console.run(opsdash.ResumeProcessing(), actor=MARIA, confirm="YES")
        served.console.poller.refresh()


@pytest.mark.long
def test_where_scripts_never_come_the_words_stay_with_their_time(served: Any, browser: Browser) -> None:
    context = browser.new_context(viewport=DESKTOP)
    page = context.new_page()
    page.route("**/static/**", lambda route: route.abort())
    page.goto(served.url)
    page.wait_for_timeout(1_500)
    expect(page.locator("#reading").get_by_text("Processing Status: ")).to_be_visible()
    expect(page.locator("#reading").get_by_text("As of")).to_be_visible()
    context.close()


@pytest.mark.long
def test_a_closed_page_comes_without_words_and_is_not_held_back(
    serve_page: Callable[..., Any], visit: Callable[..., Page]
) -> None:
    closed = serve_page(auth=None)
    page = visit(closed.url, ready="opsdash is closed")
    expect(page.locator("#reading")).to_have_count(0)
    expect(page.get_by_text("As of")).to_have_count(0)


ADDED_WHILE_BUILT = """async (turns) => {
  const Column = Bokeh.Models.get('Column'), Div = Bokeh.Models.get('Div')
  const child = (text) => new Column({children: [new Div({text}), new Column({children: [new Div({text: 'more'})]})]})
  const layout = new Column({children: [child('first')]}), doc = new Bokeh.documents[0].constructor()
  const place = document.body.appendChild(document.createElement('div'))
  doc.add_root(layout)
  const made = Bokeh.embed.add_document_standalone(doc, place)
  for (let turn = 0; turn < turns; turn++) await Promise.resolve()
  layout.children = [...layout.children, child('second')]
  await made
  const texts = (node) => [...node.children].flatMap((one) =>
    [one.matches('.bk-clearfix') && one.textContent, ...(one.shadowRoot ? texts(one.shadowRoot) : []), ...texts(one)])
  for (let tries = 0; tries < 50 && !texts(place).includes('second'); tries++)
    await new Promise((done) => setTimeout(done, 20))
  return texts(place).filter((text) => text)
}"""


@pytest.mark.long
def test_a_card_that_comes_while_its_layout_is_being_built_is_there_once(
    served: Any, visit: Callable[..., Page]
) -> None:
    page = visit(served.url)
    for turns in range(0, 60, 4):
        assert page.evaluate(ADDED_WHILE_BUILT, turns) == ["first", "more", "second", "more"]


MODULES = """() => performance.getEntriesByType('resource')
  .filter(({name}) => name.includes('/_bundle_path/')).map(({initiatorType}) => initiatorType)"""


@pytest.mark.long
def test_the_browser_imports_the_scripts_of_components_itself(served: Any, visit: Callable[..., Page]) -> None:
    """By ``fetch`` it would be Panel's shim, which rewrites each of them: 0.1 s before the page can be used."""
    page, said = visit(served.url), list[str]()
    how = page.evaluate(MODULES)
    assert len(how) >= 8
    assert "fetch" not in how
    page.on("console", lambda message: said.append(message.text))
    page.reload()
    expect(page.get_by_role("button", name="Pause Processing").first).to_be_visible()
    assert not [one for one in said if "import map" in one], "nor does Panel's script miss it"


FAULT = "setTimeout(() => { throw new Error('planted') })"


@pytest.mark.long
def test_a_page_that_could_not_take_over_an_update_says_it_if_that_goes_on_and_is_loaded_again_else(
    served: Any, visit: Callable[..., Page], watch: Any
) -> None:
    watch.tolerate = ("planted",)
    page, said = visit(served.url), "This page could not take over an update: figures may be wrong."
    expect(page.get_by_text(said)).to_be_hidden()
    page.evaluate("window.before = sessionStorage.setItem('opsdash.faulty', Date.now()) ?? true")
    page.evaluate(FAULT)
    expect(page.get_by_text(said)).to_be_visible()
    page.evaluate("sessionStorage.setItem('opsdash.faulty', Date.now() - 61000)")
    page.evaluate(FAULT)
    page.wait_for_function("() => window.before === undefined", timeout=15_000)
    expect(page.get_by_text(said)).to_be_hidden()


@pytest.mark.long
def test_a_control_that_is_switched_off_before_it_is_drawn_breaks_nothing(
    served: Any, visit: Callable[..., Page]
) -> None:
    visit(served.url).evaluate("""() => {
        const model = new (Bokeh.Models.get('Button'))({label: 'late'})
        const view = new model.default_view({model, parent: null})
        view.initialize()
        view.connect_signals()
        model.disabled = true
    }""")
