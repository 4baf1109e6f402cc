"""A test that does nothing: asked for first, it starts the servers that all mutants' processes share."""

from __future__ import annotations

import pytest
from support import services

SHARED: list[services.Server] = []


def test_servers_run(request: pytest.FixtureRequest) -> None:
    SHARED[:] = [request.getfixturevalue(name) for name in ("_valkey_server", "_postgres_server")]
    for template in ("_postgres_template", "_sqlite_template"):
        request.getfixturevalue(template)
