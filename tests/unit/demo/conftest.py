"""A demo's addresses, without the demo."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opsdash.demo.deployment import Deployment, free_port
from opsdash.demo.folder import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    with contextlib.closing(Folder(tmp_path / "demo")) as folder:
        yield folder


@pytest.fixture
def deploy(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Deployment]]:
    """Makes the addresses of a demo whose user has these variables too."""
    with contextlib.ExitStack() as stack:

        def make(external_url: str = "", **env: str) -> Deployment:
            for name, value in env.items():
                monkeypatch.setenv(name, value)
            demo = Deployment(folder=folder, port=free_port(), external_url=external_url)
            stack.callback(demo.close)
            return demo

        yield make
