"""docs/embedding.md, run as it stands: the page beside other Panel applications and inside FastAPI."""

from __future__ import annotations

import re
import socket
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import panel as pn
import pytest
import uvicorn
from support import services
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


@pytest.fixture
def example(environment: None) -> Iterator[Any]:
    """Runs an example of the document under a name that is not ``__main__``."""
    spaces: list[dict[str, Any]] = []

    def run(name: str) -> dict[str, Any]:
        found = re.search(rf"<!-- tested: {name} -->\n```python\n(.*?)```", DOCS, re.DOTALL)
        assert found, name
        spaces.append({"__name__": "example"})
        exec(found.group(1), spaces[-1])
        return spaces[-1]

    yield run
    for space in spaces:
        if "ops" in space:
            space["ops"].close()


def listens(url: str) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", urlsplit(url).port)) == 0


def fetched(url: str) -> str:
    eventually(lambda: listens(url), what=f"{url} listens")
    with urllib.request.urlopen(url, timeout=20) as answer:
        return str(answer.read().decode())


def test_the_page_and_its_widgets_are_served_beside_other_panel_applications(example: Any) -> None:
    space, port = example("panel"), services.free_port()
    server = pn.serve(space["applications"], port=port, threaded=True, show=False, verbose=False)
    try:
        assert "Report" in fetched(f"http://127.0.0.1:{port}/report")
        page = fetched(f"http://127.0.0.1:{port}/operations")
        assert "Processing Status" in page
        assert "closed" not in page
    finally:
        server.stop()


@pytest.mark.filterwarnings("ignore:The method, uri, and version arguments:DeprecationWarning")  # Panel's adapter
def test_the_page_is_served_inside_fastapi_beside_its_own_routes(example: Any) -> None:
    space, port = example("fastapi"), services.free_port()
    server = uvicorn.Server(uvicorn.Config(space["app"], port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        eventually(lambda: server.started, what="uvicorn listens")
        assert "/operations" in fetched(f"http://127.0.0.1:{port}/")
        page = fetched(f"http://127.0.0.1:{port}/operations")
        assert "Development mode answers this machine only" in page  # as the document says
    finally:
        server.should_exit = True
        thread.join(20)


def test_the_document_names_public_names_only() -> None:
    assert set(re.findall(r"opsdash\.([A-Z]\w+)", DOCS)) <= set(opsdash.__all__)
