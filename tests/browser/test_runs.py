"""The card of runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import redis
from playwright.sync_api import Page, expect

from opsdash.model.key_layout import Layout
from opsdash.runs.state import RunState, StepState, StepStatus
from opsdash.runs.store import RunStore
from opsdash.services.broker.client import Broker
from opsdash.services.broker.key_layout import Layouts


@pytest.mark.long
def test_a_run_that_was_left_behind_is_shown_with_what_to_type(
    served: Any, store: redis.Redis, visit: Callable[..., Page], shoot: Callable[..., None]
) -> None:
    page = visit(f"{served.url}?tab=operations")
    expect(page.get_by_role("region", name="Recent Operations")).to_be_visible()
    card = page.get_by_role("region", name="Runs")
    expect(card).to_have_count(0)  # there was none
    steps = (
        StepState(name="pause", kind="operation", does="pause_processing", status=StepStatus.DONE),
        StepState(name="command", kind="command", status=StepStatus.BEGUN),
    )
    run = RunState(id="a1b2", runbook="deploy", by="maria", host="ops-1", at=datetime.now(UTC), steps=steps)
    RunStore(Broker(store, Layouts.fixed(store, Layout()), "test", ())).begin(run)
    row = card.locator("tbody tr", has_text="deploy a1b2")
    expect(row).to_contain_text("left behind")
    expect(row).to_contain_text("opsdash run --roll-back a1b2")
    expect(row).to_contain_text("command (1 of 2 over)")
    expect(row).to_contain_text("maria on ops-1")
    shoot(page, "runs")
