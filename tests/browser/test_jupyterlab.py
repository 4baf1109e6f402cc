"""The widgets in a real JupyterLab: they show, they follow, they ask for YES, and they end up in the log."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from playwright.sync_api import Browser, Page, expect
from support.demo import running_demo
from support.lab import jupyterlab, notebook
from support.workers import eventually

import opsdash

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]
AS_OF = re.compile(r"Not live: as of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\.")


@pytest.fixture(params=["default", "vscode"])
def lab(request: pytest.FixtureRequest, tmp_path: Path, watch: Any) -> Iterator[tuple[str, dict[str, str]]]:
    """JupyterLab on a copy of the tour, with the environment of a running demo; its address, and that environment.

    ``vscode``: the way that VS Code's notebooks take, over ipywidgets and jupyter_bokeh instead of Panel's own comms.
    """
    kernels = {}
    if request.param == "vscode":
        kernels["commsOverSubshells"] = "disabled"  # VS Code hands everything to the kernel's one thread
        # Panel asks its CDN for styles there, `inline` or not; the widgets have their own.
        watch.tolerate = ("https://cdn.holoviz.org/panel/", "ERR_NAME_NOT_RESOLVED", "ERR_INTERNET_DISCONNECTED")
    folder = tmp_path / "lab"
    folder.mkdir()
    tour = (ROOT / "apps" / "operations.ipynb").read_text(encoding="utf-8")
    chosen = tour.replace("pn.extension(inline=True)", f"pn.extension(inline=True, comms='{request.param}')")
    assert chosen != tour
    (folder / "operations.ipynb").write_text(chosen, encoding="utf-8")
    with running_demo(tmp_path) as env, jupyterlab(folder, env, kernels) as url:
        yield f"{url}/operations.ipynb", env


def opened(browser: Browser, watch: Any, url: str) -> Page:
    """A notebook in JupyterLab, with an idle kernel."""
    page: Page = watch.follow(browser.new_page(viewport={"width": 1400, "height": 1000}))
    page.set_default_timeout(60_000)
    page.goto(url)
    expect(page.locator(".jp-Notebook")).to_be_visible(timeout=90_000)
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible(timeout=60_000)
    return page


def menu(page: Page, name: str, item: str) -> None:
    page.get_by_role("menuitem", name=name, exact=True).click()
    page.get_by_text(item, exact=True).click()


def test_an_analyst_pauses_from_a_notebook_in_jupyterlab(
    lab: tuple[str, dict[str, str]], browser: Browser, watch: Any
) -> None:
    url, env = lab
    page = opened(browser, watch, url)
    kinds = (
        "() => [...document.querySelectorAll('.jp-Notebook .jp-Cell')].map((c) => c.className.match(/jp-\\w+Cell/)[0])"
    )
    menu(page, "Run", "Run All Cells")
    for heading in ("Worker Health", "Queue Operations", "Depth and throughput", "Worker Control", "Recent Operations"):
        found = page.get_by_role("heading", name=heading)
        found.scroll_into_view_if_needed(timeout=120_000)
        expect(found).to_be_visible()
    figures = page.locator(".bk-Canvas")
    expect(figures).to_have_count(2, timeout=30_000)
    figures.first.scroll_into_view_if_needed()
    button = page.get_by_role("button", name="Pause Processing")
    button.scroll_into_view_if_needed()
    before = page.evaluate(kinds)
    button.click()
    dialog = page.get_by_role("dialog", name="Pause Processing")
    expect(dialog).to_be_visible(timeout=20_000)  # over ipywidgets each change is a message of its own
    expect(dialog.get_by_role("button").last).to_be_disabled()
    dialog.get_by_label("Type YES to confirm").press_sequentially("YES")
    page.screenshot(path=artifacts() / "jupyterlab_dialog.png")
    expect(dialog.get_by_role("button").last).to_be_enabled()
    dialog.get_by_role("button").last.click()
    expect(page.get_by_text(re.compile("^PAUSED. Paused by "))).to_be_visible(timeout=15_000)
    assert page.evaluate(kinds) == before  # no cell took the typed letters for its shortcuts
    ops = opsdash.connect(redis_url=env["OPSDASH_REDIS_URL"], database_url=env["OPSDASH_DATABASE_URL"])
    entry = ops.get_recent_operations(limit=1)[0]
    ops.close()
    assert (entry.operation, entry.status, entry.details["surface"]) == ("pause_processing", "success", "notebook")
    log = page.get_by_role("heading", name="Recent Operations")
    log.scroll_into_view_if_needed()
    expect(page.get_by_role("cell", name="Pause Processing").first).to_be_visible()
    page.screenshot(path=artifacts() / "jupyterlab_log.png")
    for name, heading in (("workers", "Worker Health"), ("chart", "Depth and throughput")):
        page.get_by_role("heading", name=heading).scroll_into_view_if_needed()
        page.screenshot(path=artifacts() / f"jupyterlab_{name}.png")


CELLS = (
    "import panel as pn\nimport opsdash\npn.extension(inline=True)\nops = opsdash.connect()",
    "controls = opsdash.OperationControls(ops)\ncontrols",
    "controls",
    "opsdash.WorkerHealth(ops)",
    "chart = opsdash.QueueChart(ops)\nchart",
    "chart",
)


MINUTES = """() => Bokeh.documents.flatMap((doc) => [...doc._all_models.values()])
  .filter(({type}) => type === 'Plot').map(({x_range: {start, end}}) => Math.round((end - start) / 60000))"""
"""How long a time each figure shows, in whichever cell."""


def test_one_widget_in_two_cells_has_one_dialog_and_a_restart_or_a_reload_says_how_old_it_is(
    tmp_path: Path, browser: Browser, watch: Any, valkey_url: str, sqlite_url: str
) -> None:
    # What the page from the disk asks the new kernel for is news to the other page.
    watch.tolerate = ("Comm not found for comm id",)
    folder = tmp_path / "lab"
    folder.mkdir()
    nbformat.write(notebook(*CELLS), folder / "twice.ipynb")
    env = {"OPSDASH_REDIS_URL": valkey_url, "OPSDASH_DATABASE_URL": sqlite_url, "OPSDASH_AUTH": "dev"}

    def saved() -> int:
        """How many cells on the disk have what they gave."""
        with contextlib.suppress(nbformat.reader.NotJSONError):  # it is being written
            return sum(bool(cell.outputs) for cell in nbformat.read(folder / "twice.ipynb", as_version=4).cells)
        return 0

    with jupyterlab(folder, env) as url:
        page = opened(browser, watch, f"{url}/twice.ipynb")
        menu(page, "Run", "Run All Cells")
        cells, pause = page.locator(".jp-CodeCell"), page.get_by_role("button", name="Pause Processing")
        expect(pause).to_have_count(2, timeout=90_000)
        for number in (2, 1):
            button = cells.nth(number).get_by_role("button", name="Pause Processing")
            button.scroll_into_view_if_needed()
            expect(button).to_be_enabled()
            button.click()
            expect(page.locator("dialog[open]")).to_have_count(1)
            expect(cells.nth(number).locator("dialog[open]")).to_have_count(1)
            page.wait_for_timeout(500)  # no other follows
            expect(page.locator("dialog[open]")).to_have_count(1)
            page.keyboard.press("Escape")
            expect(page.locator("dialog[open]")).to_have_count(0)
        for number in (5, 4):
            cells.nth(number).scroll_into_view_if_needed()
            expect(cells.nth(number).locator("canvas").first).to_be_visible()
            cells.nth(number).get_by_text("1 hour", exact=True).click()
            eventually(lambda: page.evaluate(MINUTES) == [60] * 4, timeout_s=20, what="both charts show an hour")
            cells.nth(number).get_by_text("15 min", exact=True).click()
            eventually(lambda: page.evaluate(MINUTES) == [15] * 4, timeout_s=20, what="both charts show 15 minutes")
        expect(page.get_by_text("Not live")).to_have_count(0)
        menu(page, "File", "Save Notebook")  # the focus is in a widget, which keeps JupyterLab's keys to itself
        eventually(lambda: saved() == len(CELLS), what="the notebook is saved with what its cells gave")
        menu(page, "Kernel", "Restart Kernel…")
        page.get_by_role("button", name=re.compile(r"^(Restart|Confirm Kernel Restart)$")).click()
        is_dated(page)
        page.screenshot(path=artifacts() / "jupyterlab_restarted.png")
        again = opened(browser, watch, f"{url}/twice.ipynb?reset")
        is_dated(again)
        again.screenshot(path=artifacts() / "jupyterlab_from_disk.png")


def is_dated(page: Page) -> None:
    """Every widget says when its figures were read, and its buttons are off."""
    expect(page.get_by_text(AS_OF)).to_have_count(5, timeout=15_000)
    for name in ("Pause Processing", "Refresh"):
        button = page.get_by_role("button", name=name, exact=True).first
        button.scroll_into_view_if_needed()
        expect(button).to_be_disabled()
        assert "as of" in (button.get_attribute("title") or "")


def test_whoever_imports_hvplot_after_the_extension_has_everything_in_the_notebook(tmp_path: Path) -> None:
    """What the documentation says of the order: the other way round, scripts come from a CDN."""
    pytest.importorskip("hvplot")
    extension, hvplot = "import panel as pn\npn.extension(inline=True)", "import hvplot.pandas"
    for cells, inlined in (((extension, hvplot), True), ((hvplot, extension), False)):
        run = notebook(*cells)
        NotebookClient(run, timeout=120, kernel_name="python3").execute()
        sizes = [len(str(cell.outputs)) for cell in run.cells]
        assert (max(sizes) > 2_000_000) is inlined, sizes


def artifacts() -> Path:
    folder = ROOT / "tests" / "artifacts"
    folder.mkdir(exist_ok=True)
    return folder
