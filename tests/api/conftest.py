"""A real server with three programs that may use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from support.served import Client, serving

from opsdash.bootstrap import assemble
from opsdash.config.settings import Settings
from opsdash.services.console import Console

TOKENS = {role: f"token-of-the-{role}-0123456789" for role in ("viewer", "operator", "admin")}


@pytest.fixture
def console(settings_for: Callable[..., Settings]) -> Iterator[Console]:
    """A console that knows the queues celery and emails, and one token for each role: ``{role}-bot``."""
    tokens = ",".join(f"{role}-bot:{role}:{token}" for role, token in TOKENS.items())
    known = Settings.from_env({"OPSDASH_API_TOKENS": tokens}).api_tokens
    made = assemble(settings_for(queues=("celery", "emails"), api_tokens=known, poll_interval_s=0.2))
    yield made
    made.close()


@pytest.fixture
def api(console: Console) -> Iterator[Client]:
    """Its API, under a prefix, as an operator's program meets it."""
    with serving(console, prefix="/ops", token=TOKENS["operator"]) as client:
        yield client
