"""A demo's addresses, without the demo."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opsdash.demo import ports
from opsdash.demo.deployment import Deployment
from opsdash.demo.folder import Folder


@pytest.fixture
def deploy(tmp_path: Path) -> Iterator[Callable[..., Deployment]]:
    """Makes the addresses of a demo whose user has this environment."""
    with contextlib.ExitStack() as stack:

        def make(external: str | None = None, **env: str) -> Deployment:
            folder = Folder.at(tmp_path)
            stack.callback(folder.close)
            demo = Deployment(folder=folder, claim=ports.Claim(ports.free_port()), external_url=external, user_env=env)
            stack.callback(demo.close)
            return demo

        yield make
