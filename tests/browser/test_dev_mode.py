"""``panel serve --dev`` while somebody works on a component: the page shows a changed script or style by itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from support.lab import answers
from support.services import free_port
from support.workers import eventually

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_in_dev_mode_a_page_shows_a_changed_script_or_style_by_itself(
    visit: Callable[..., Page], tmp_path: Path, valkey_url: str, sqlite_url: str
) -> None:
    for folder in ("opsdash", "apps"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    components, port = tmp_path / "opsdash" / "views" / "components", free_port()
    settings = {"OPSDASH_REDIS_URL": valkey_url, "OPSDASH_DATABASE_URL": sqlite_url, "OPSDASH_AUTH": "dev"}
    command = [sys.executable, "-m", "panel", "serve", "apps/operations.py", "--dev", "--port", str(port)]
    environment = {**os.environ, **settings, "PYTHONPATH": str(tmp_path)}
    with subprocess.Popen([*command, "--address", "127.0.0.1"], env=environment, cwd=tmp_path) as process:
        try:
            url = f"http://127.0.0.1:{port}/operations"
            eventually(lambda: answers(url), timeout_s=60, what="it serves")
            page = visit(f"{url}?tab=operations", ready="Hash chain", apart=True, color_scheme="light")
            for file, old, new, seen in (
                ("card.js", "{class: 'lines'}", "{class: 'lines', 'data-changed': 'script'}", "[data-changed=script]"),
                ("base.js", "{class: 'box', ", "{class: 'box', 'data-changed': 'shared', ", "[data-changed=shared]"),
            ):
                change(components / file, old, new)
                expect(page.locator(seen).first).to_be_attached(timeout=20_000)
            change(components / "base.css", "--paper: #fff;", "--paper: rgb(1, 2, 3);")
            box = page.locator("section.box").first
            expect(box).to_have_css("background-color", "rgb(1, 2, 3)", timeout=20_000)
        finally:
            process.terminate()


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
