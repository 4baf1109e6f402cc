"""The widgets in a real JupyterLab: they show, they follow, they ask for YES, and they end up in the log."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from support import services
from support.demo import running_demo
from support.workers import eventually

import opsdash

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


def answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url, timeout=2).status == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


@pytest.fixture(params=["default", "vscode"])
def lab(request: pytest.FixtureRequest, tmp_path: Path, watch: Any) -> Iterator[tuple[str, dict[str, str]]]:
    """JupyterLab on a copy of the tour, with the environment of a running demo; its address, and that environment.

    ``vscode``: the way that VS Code's notebooks take, over ipywidgets and jupyter_bokeh instead of Panel's own comms.
    """
    if request.param == "vscode":  # Panel asks its CDN for styles there, `inline` or not; the widgets have their own
        watch.tolerate = ("https://cdn.holoviz.org/panel/", "ERR_NAME_NOT_RESOLVED", "ERR_INTERNET_DISCONNECTED")
    folder, port = tmp_path / "lab", services.free_port()
    folder.mkdir()
    tour = (ROOT / "apps" / "operations.ipynb").read_text(encoding="utf-8")
    chosen = tour.replace("pn.extension(inline=True)", f"pn.extension(inline=True, comms='{request.param}')")
    assert chosen != tour
    (folder / "operations.ipynb").write_text(chosen, encoding="utf-8")
    with running_demo(tmp_path) as env:
        own = {
            name: str(tmp_path / name)
            for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
        }
        with (tmp_path / "lab.log").open("w") as out:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"),
                    *(
                        f"--port={port}",
                        f"--ServerApp.root_dir={folder}",
                        "--IdentityProvider.token=",
                        "--LabApp.news_url=",
                    ),
                    "--ServerApp.disable_check_xsrf=True",
                ],
                env={**os.environ, **env, **own},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            url = f"http://127.0.0.1:{port}"
            eventually(lambda: answers(f"{url}/api"), timeout_s=90, what="JupyterLab answers")
            yield f"{url}/lab/tree/operations.ipynb", env
        finally:
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_an_analyst_pauses_from_a_notebook_in_jupyterlab(
    lab: tuple[str, dict[str, str]], browser: Browser, watch: Any
) -> None:
    url, env = lab
    page = watch.follow(browser.new_page(viewport={"width": 1400, "height": 1000}))
    page.goto(url)
    page.set_default_timeout(60_000)
    expect(page.locator(".jp-Notebook")).to_be_visible(timeout=90_000)
    kinds = (
        "() => [...document.querySelectorAll('.jp-Notebook .jp-Cell')].map((c) => c.className.match(/jp-\\w+Cell/)[0])"
    )
    expect(page.get_by_text("Python 3 (ipykernel) | Idle")).to_be_visible(timeout=60_000)
    page.get_by_text("Run", exact=True).first.click()
    page.get_by_text("Run All Cells", exact=True).click()
    for heading in ("Worker Health", "Queue Operations", "Depth and throughput", "Worker Control", "Recent Operations"):
        found = page.get_by_role("heading", name=heading)
        found.scroll_into_view_if_needed(timeout=120_000)
        expect(found).to_be_visible()
    button = page.get_by_role("button", name="Pause Processing")
    button.scroll_into_view_if_needed()
    before = page.evaluate(kinds)
    button.click()
    dialog = page.get_by_role("dialog", name="Pause Processing")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_role("button").last).to_be_disabled()
    dialog.get_by_label("Type YES to confirm").press_sequentially("YES")
    page.screenshot(path=artifacts() / "jupyterlab_dialog.png")
    expect(dialog.get_by_role("button").last).to_be_enabled()
    dialog.get_by_role("button").last.click()
    expect(page.get_by_text("Processing Status: PAUSED")).to_be_visible()
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


def artifacts() -> Path:
    folder = ROOT / "tests" / "artifacts"
    folder.mkdir(exist_ok=True)
    return folder
