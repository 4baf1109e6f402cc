"""Desks whose texts are compared with what stands in the file beside the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.desk import Desk, check, sentence

from opsdash.operations import pause_processing
from opsdash.services.console import Console


@pytest.fixture
def desk_for(
    request: pytest.FixtureRequest, console_for: Callable[..., Console], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Desk]]:
    """Makes a desk with these settings; what it has said is compared after the test."""
    made: list[Desk] = []
    monkeypatch.setattr(pause_processing, "JUST_S", 10**9)  # the tests' server may have been started any time ago

    def make(**settings: Any) -> Desk:
        made.append(
            Desk(console_for(**{"queues": ("celery", "emails"), "separator": "\x06\x16", **settings}), monkeypatch)
        )
        return made[-1]

    yield make
    check(sentence(request.node.name), [line for desk in made for line in desk.said], request.path.with_suffix(".txt"))


@pytest.fixture
def desk(desk_for: Callable[..., Desk]) -> Desk:
    """One with the queues celery and emails, an undo window of an hour, and pauses of one."""
    return desk_for(undo_window_s=3_600, pause_ttl_s=3_600)
