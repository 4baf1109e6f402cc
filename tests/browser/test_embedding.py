"""docs/embedding.md, run as it stands: the page beside other Panel applications and inside FastAPI."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import panel as pn
import pytest
from playwright.sync_api import Page, expect
from support import services
from support.dialogs import PROCESSING, confirm_button
from support.workers import eventually

import opsdash

DOCS = (Path(__file__).parents[2] / "docs" / "embedding.md").read_text(encoding="utf-8")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, valkey_url: str, sqlite_url: str) -> None:
    settings = {
        "REDIS_URL": valkey_url,
        "DATABASE_URL": sqlite_url,
        "AUTH": "dev",
        "SECRET_KEY": "a-key-for-tests-only",
    }
    for name, value in settings.items():
        monkeypatch.setenv(f"OPSDASH_{name}", value)


def source(name: str) -> str:
    """An example as the document has it."""
    found = re.search(rf"<!-- tested: {name} -->\n```python\n(.*?)```", DOCS, re.DOTALL)
    assert found, name
    return found.group(1)


@pytest.fixture
def example(environment: None) -> Iterator[Any]:
    """Runs an example of the document under a name that is not ``__main__``."""
    spaces: list[dict[str, Any]] = []

    def run(name: str) -> dict[str, Any]:
        spaces.append({"__name__": "example"})
        exec(source(name), spaces[-1])
        return spaces[-1]

    yield run
    for space in spaces:
        if "ops" in space:
            space["ops"].close()


@pytest.mark.slow
def test_the_page_and_its_widgets_are_served_beside_other_panel_applications(
    example: Any, visit: Callable[..., Page], watch: Any
) -> None:
    watch.tolerate = ("fonts.googleapis.com", "ERR_NAME_NOT_RESOLVED")  # the font of Panel's own template
    space, port = example("panel"), services.free_port()
    server = pn.serve(space["applications"], port=port, threaded=True, show=False, verbose=False)
    try:
        eventually(lambda: listens(port), what="the server listens")
        report = visit(f"http://127.0.0.1:{port}/report", ready="Worker Health")
        expect(report.get_by_text("0 wait")).to_be_visible()
        page = visit(f"http://127.0.0.1:{port}/operations")
        expect(page.get_by_text(PROCESSING)).to_be_visible()
        page.get_by_role("button", name="Pause Processing").click()
        page.get_by_label("Type YES to confirm").fill("YES")
        confirm_button(page).click()
        expect(page.get_by_text("Processing Status: PAUSED")).to_be_visible()
        assert "Panel" in page.title()  # it is one thing among others: the title is not its own
        page.close()
        report.close()
        assert space["ops"].get_recent_operations()[0].details["surface"] == "page"
    finally:
        server.stop()


@pytest.mark.slow
def test_the_page_is_served_inside_fastapi_to_whom_the_proxy_names(
    environment: None, visit: Callable[..., Page], watch: Any, tmp_path: Path
) -> None:
    watch.tolerate = ("404",)  # FastAPI has no icon for its tab
    (tmp_path / "app.py").write_text(source("fastapi"))
    with served("app:app", tmp_path) as url:
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert b"/operations" in answer.read()
        page = visit(f"{url}operations", PROCESSING, extra_http_headers={"X-Auth-Request-User": "maria"})
        expect(page.get_by_text("maria · admin")).to_be_visible()
        visit(f"{url}operations", "You are not signed in")
    with served("app:app", tmp_path, OPSDASH_TRUSTED_PROXIES="10.0.0.0/24") as url:
        visit(f"{url}operations", "did not come through the proxy", extra_http_headers={"X-Auth-Request-User": "maria"})


@pytest.mark.slow
def test_the_page_is_served_inside_django_beside_its_own_pages(
    environment: None, visit: Callable[..., Page], watch: Any, tmp_path: Path
) -> None:
    watch.tolerate = ("404",)
    project = tmp_path / "project"
    project.mkdir()
    (project / "__init__.py").touch()
    (project / "asgi.py").write_text(source("django"))
    (project / "settings.py").write_text(
        "SECRET_KEY = 'k'\nROOT_URLCONF = 'project.urls'\nALLOWED_HOSTS = ['*']\nINSTALLED_APPS = []\n"
    )
    (project / "urls.py").write_text(
        "from django.http import HttpResponse\nfrom django.urls import path\n"
        "urlpatterns = [path('', lambda request: HttpResponse('of Django')),\n"
        "               path('assets/own', lambda request: HttpResponse('also of Django'))]\n"
    )
    with served("project.asgi:application", tmp_path) as url:
        for address, answer in ((url, b"of Django"), (f"{url}assets/own", b"also of Django")):
            with urllib.request.urlopen(address, timeout=20) as answered:
                assert answered.read() == answer
        page = visit(f"{url}operations", PROCESSING, extra_http_headers={"X-Auth-Request-User": "maria"})
        expect(page.get_by_text("maria · admin")).to_be_visible()
        visit(f"{url}operations", "You are not signed in")


@contextlib.contextmanager
def served(application: str, folder: Path, **over: str) -> Iterator[str]:
    """Where uvicorn serves it, with sessions signed and maria as admin."""
    port = services.free_port()
    env = {
        "OPSDASH_AUTH": "header",
        "OPSDASH_ADMINS": "maria",
        "BOKEH_SIGN_SESSIONS": "true",
        "BOKEH_SECRET_KEY": "k" * 32,
        **over,
    }
    command = [
        sys.executable,
        "-m",
        "uvicorn",
        "--no-proxy-headers",
        application,
        "--port",
        str(port),
        "--log-level",
        "error",
    ]
    process = subprocess.Popen(command, cwd=folder, env={**os.environ, **env})
    try:
        eventually(lambda: listens(port), timeout_s=30, what="uvicorn listens")
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize(("theme", "system", "seen"), [("dark", "light", "dark"), ("light", "dark", "light")])
@pytest.mark.slow
def test_a_theme_that_is_asked_for_wins_over_the_visitors_own(
    environment: None, visit: Callable[..., Page], theme: str, system: str, seen: str
) -> None:
    ops, port = opsdash.connect(), services.free_port()

    def operations() -> Any:
        return opsdash.Console(ops, theme=theme)

    server = pn.serve({"operations": operations}, port=port, threaded=True, show=False, verbose=False)
    try:
        eventually(lambda: listens(port), what="the server listens")
        page = visit(f"http://127.0.0.1:{port}/operations", apart=True, color_scheme=system)
        paper = {"dark": "rgb(18, 21, 28)", "light": "rgb(255, 255, 255)"}[seen]
        expect(page.locator("section.box").first).to_have_css("background-color", paper)
        page.close()
    finally:
        server.stop()
        ops.close()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_document_names_public_names_only() -> None:
    assert set(re.findall(r"opsdash\.([A-Z]\w+)", DOCS)) <= set(opsdash.__all__)
