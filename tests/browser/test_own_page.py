"""``apps/own_page.py``, the example of a page of one's own, as ``panel serve`` runs it: in both of its layouts."""

from __future__ import annotations

import os
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from support import programs
from support.dialogs import confirm_button
from support.services import free_port, until
from support.workers import worker

APP = Path(__file__).parents[2] / "apps" / "own_page.py"


@contextmanager
def served(*args: str, **settings: str) -> Iterator[str]:
    port = free_port()
    command = [sys.executable, "-m", "panel", "serve", str(APP), "--port", str(port), "--address", "127.0.0.1"]
    environment = {**os.environ, "PYTHONPATH": str(APP.parents[1]), "OPSDASH_AUTH": "dev", **settings}
    with programs.Popen([*command, *(["--args", *args] if args else [])], env=environment) as process:
        url = f"http://127.0.0.1:{port}/own_page"
        try:
            assert until(lambda: answers(url), timeout_s=60), "it serves"
            yield url
        finally:
            process.terminate()


def answers(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=20) as answer:
        return bool(answer.status == 200)
    return False


@pytest.mark.long
@pytest.mark.parametrize("layout", ["plain", "material"])
def test_a_page_of_ones_own_follows_the_status_and_pauses(
    visit: Callable[..., Page], valkey_url: str, sqlite_url: str, layout: str
) -> None:
    if layout == "material":
        pytest.importorskip("panel_material_ui")
    settings: dict[str, Any] = {"OPSDASH_REDIS_URL": valkey_url, "OPSDASH_DATABASE_URL": sqlite_url}
    args = ["material"] if layout == "material" else []
    with worker(env={"OPSDASH_REDIS_URL": valkey_url}), served(*args, **settings) as url:
        page = visit(url, ready="Pause before you deploy")
        page.get_by_role("button", name="Pause Processing", exact=True).click()
        page.get_by_label("Type YES to confirm").fill("YES")
        confirm_button(page).click()
        expect(page.get_by_text("Every worker has stopped. Deploy now.")).to_be_visible(timeout=30_000)
