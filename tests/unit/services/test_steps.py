"""How large a step through a long list is: by what Redis needs for it, not by how far away Redis is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from opsdash.services.broker import writes
from opsdash.services.queues.lock import STEP_S, Pace
from opsdash.services.queues.scan import MESSAGE_BYTES, WindowSize


def redis_needs(seconds: float) -> Any:
    """A pipeline of one script that takes so long by Redis's clock, whatever the way there takes."""
    times, pipe = [(7, 0), (7, round(seconds * 1e6))], SimpleNamespace(command_stack=["EVAL"])
    pipe.time = lambda: pipe.command_stack.append("TIME")

    def execute() -> list[Any]:
        assert pipe.command_stack == ["TIME", "EVAL", "TIME"]
        return [times[0], "answer", times[1]]

    pipe.execute = execute
    return pipe


@pytest.mark.parametrize("message_s", [2e-7, 5e-6, 1e-4])
def test_a_step_has_as_many_messages_as_redis_moves_in_a_millisecond(message_s: float) -> None:
    pace, needed = Pace(), list[float]()

    def step(number: int) -> Any:
        needed.append(number * message_s)
        return writes.run(redis_needs(needed[-1]))

    for _ in range(20):
        assert pace.timed(step) == "answer"
    assert max(needed[5:]) <= STEP_S * 1.01
    assert needed[-1] >= min(STEP_S / 2, 4_000 * message_s)


def test_a_step_of_fewer_than_asked_for_does_not_let_the_next_one_grow_beyond_twice_that() -> None:
    pace = Pace()
    for _ in range(10):
        pace.timed(lambda number: writes.run(redis_needs(number * 1e-6)), 10)
    assert pace.messages == 20


def test_scripts_outside_of_a_timed_step_are_sent_as_they_are() -> None:
    assert writes.run(SimpleNamespace(execute=lambda: ["answer"])) == "answer"


@pytest.mark.parametrize("message_bytes", [300, 900, 20_000])
@pytest.mark.parametrize("way_s", [0.0, 0.0004, 0.003])
def test_a_window_takes_a_millisecond_and_far_from_both_ends_half_as_long_again_as_the_way(
    message_bytes: int, way_s: float
) -> None:
    size, byte_s, took = WindowSize(), 1e-9, list[float]()
    for turn in range(40):
        cost = size.messages * (message_bytes + MESSAGE_BYTES) * byte_s
        took.append(cost + (way_s if turn >= 20 else 0))  # the first ones are near an end
        size.learn(size.messages, size.messages * message_bytes, took[-1])
    assert max(took[10:20]) <= STEP_S * 1.01
    assert max(took[25:]) <= max(STEP_S, way_s * 1.5) * 1.01
