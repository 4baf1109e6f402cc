"""What counts as a worker that holds a queue: before its unstarted tasks are taken, it must have seen the pause."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from opsdash.services.queues import reclaim


@pytest.mark.parametrize(
    ("report", "confirmed"),
    [
        ({"paused": True, "epoch": 7}, True),
        ({"paused": True, "epoch": 8}, True),
        ({"paused": True, "epoch": 6}, False),
        ({"paused": True, "epoch": None}, False),
        ({"paused_queues": ("emails",), "epoch": 7}, True),
        ({"paused_queues": ("emails",), "epoch": 6}, False),
        ({"paused_queues": ("reports",), "epoch": 7}, False),
        ({"epoch": 7}, False),
    ],
)
def test_a_worker_has_confirmed_a_pause_once_it_reports_it_with_its_epoch_or_a_later_one(
    report: dict[str, Any], confirmed: bool
) -> None:
    worker: Any = SimpleNamespace(**{"paused": False, "paused_queues": (), **report})
    assert reclaim._confirmed(worker, "emails", 7) is confirmed


def test_only_what_the_preview_saw_is_taken() -> None:
    seen = reclaim.seen_in(["tag-1"])
    assert seen(b'{"properties": {"delivery_tag": "tag-1"}}')
    assert not seen(b'{"properties": {"delivery_tag": "tag-2"}}')
    assert not seen(b"no message")


def test_three_names_are_shown_and_further_ones_counted() -> None:
    assert reclaim._some(["a", "b", "c"]) == "a, b, c"
    assert reclaim._some(["a", "b", "c", "d"]) == "a, b, c and 1 more"
