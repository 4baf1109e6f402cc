"""A notebook that was run yesterday: its widgets say how old they are, age no further, and their buttons are off."""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from playwright.sync_api import Page, expect
from support import services
from support.lab import notebook
from support.stage import axe
from support.workers import producer

AS_OF = re.compile(r"Not live: as of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\.")
CELLS = (
    "import panel as pn\nimport opsdash\npn.extension(inline=True)\nops = opsdash.connect()",
    "queues = opsdash.QueueTable(ops)\nimport asyncio\nawait asyncio.sleep(3)\nqueues",
    "opsdash.OperationControls(ops, queue='emails')",
    "pn.Tabs(('workers', opsdash.WorkerHealth(ops)), ('log', opsdash.RecentOperations(ops, detailed=True)))",
    "opsdash.Console(ops)",
    "pn.Row(pn.widgets.Select(options=['celery']), pn.widgets.DatePicker(), pn.widgets.MultiChoice(options=['a']))",
)
FORMS = {"light": ("light", 1440), "dark": ("dark", 1440), "phone": ("light", 390)}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_args: Any) -> None: ...


@pytest.fixture(scope="module")
def saved(broker: services.Valkey, database_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The HTML that nbconvert makes of a notebook, in its light and dark themes, at an address of this machine."""
    folder = tmp_path_factory.mktemp("saved")
    settings = {
        "OPSDASH_REDIS_URL": broker.url,
        "OPSDASH_DATABASE_URL": f"sqlite:///{database_file}",
        "OPSDASH_QUEUES": "celery,emails",
        "OPSDASH_AUTH": "dev",
        "IPYTHONDIR": str(folder / "ipython"),
    }
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        with producer(broker.url) as app:
            app.send_task("sample.short", [1], queue="emails")
        run = notebook(*CELLS)
        NotebookClient(run, timeout=120, kernel_name="python3").execute()
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
    for theme in ("light", "dark"):
        # Without what nbconvert itself takes from elsewhere.
        exporter = HTMLExporter(theme=theme, mathjax_url="", require_js_url="", jquery_url="", embed_images=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # Panel's output for what callbacks print is empty
            text, _ = exporter.from_notebook_node(run)
        (folder / f"{theme}.html").write_text(text, encoding="utf-8")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, name="saved", daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(params=list(FORMS))
def page(request: pytest.FixtureRequest, saved: str, visit: Callable[..., Page], watch: Any) -> Page:
    theme, width = FORMS[request.param]
    watch.tolerate = ("404",)  # of the addresses that are left out above
    opened = visit(f"{saved}/{theme}.html", ready="Queue Operations", apart=True)
    opened.set_viewport_size({"width": width, "height": 1000})
    opened.form = request.param  # type: ignore[attr-defined]
    return opened


@pytest.mark.long
def test_a_saved_notebook_says_at_once_as_of_when_it_is_and_nothing_ages_on(page: Page, shoot: Any) -> None:
    expect(page.get_by_text(AS_OF)).to_have_count(5, timeout=8_000)  # the log's is in a tab
    bars = page.get_by_text(AS_OF)
    for at in (0, 1, 2, 4):
        expect(bars.nth(at)).to_be_visible()
    figures = page.get_by_role("region", name="Queue Operations").first.bounding_box()
    bar = bars.first.bounding_box()
    assert bar is not None
    assert figures is not None
    assert bar["y"] + bar["height"] <= figures["y"], "it is read before the figures that it dates"
    page.wait_for_timeout(1_500)  # every component looks once a second
    waited = page.get_by_role("row", name=re.compile("emails")).first
    oldest = waited.locator("td").nth(4).text_content()
    assert re.search(r"\d+s", oldest or "")
    said = page.locator("body").inner_text()
    page.wait_for_timeout(2_500)
    assert waited.locator("td").nth(4).text_content() == oldest
    assert page.locator("body").inner_text() == said
    shoot(page, f"saved_notebook_{page.form}")  # type: ignore[attr-defined]


@pytest.mark.long
def test_in_a_saved_notebook_every_button_is_off_and_says_why(page: Page) -> None:
    expect(page.get_by_text(AS_OF).first).to_be_visible()
    for name in ("Pause Processing", "Clear Queue emails", "Peek emails", "Refresh"):
        button = page.get_by_role("button", name=name, exact=True).first
        expect(button).to_be_disabled()
        expect(button).to_have_attribute("title", AS_OF)
        button.dispatch_event("click")
    assert page.locator("dialog[open]").count() == 0
    page.get_by_role("button", name="Waiting").first.click()  # what needs no Python still works
    expect(page.get_by_role("columnheader", name="Waiting").first).to_have_attribute("aria-sort", "ascending")


NOT_OURS = """() => {
  for (const node of document.querySelectorAll('.jp-Cell-inputWrapper, .jp-OutputPrompt')) node.remove()
  const cells = [...document.querySelectorAll('.jp-Cell')]
  for (const cell of cells.slice(3)) cell.remove()
}"""
"""Prompts of nbconvert, and the cells with Panel's own tabs, panes and widgets: axe finds faults there."""


@pytest.mark.long
def test_axe_finds_nothing_in_saved_widgets(page: Page) -> None:
    expect(page.get_by_text(AS_OF).first).to_be_visible()
    page.wait_for_timeout(1_200)  # every component looks once a second
    page.evaluate(NOT_OURS)
    axe(page)


@pytest.mark.long
def test_the_heading_of_the_whole_console_is_as_readable_as_the_notebook_around_it(page: Page) -> None:
    heading = page.get_by_role("heading", name="System Operations")
    shade = (
        "node => getComputedStyle(node).color.match(/[\\d.]+/g).slice(0, 3).reduce((sum, one) => sum + Number(one), 0)"
    )
    is_light = heading.evaluate(shade) > 380
    assert is_light == (page.form == "dark")  # type: ignore[attr-defined] # of the fixture
