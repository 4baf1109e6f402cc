"""Histograms of the time in queue: they add up, and their percentiles are as exact as their buckets."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.model import time_in_queue
from opsdash.model.time_in_queue import (
    BOUNDS_S,
    BUCKETS,
    NOTHING,
    Sum,
    TimeInQueue,
    Wait,
    bucket_of,
    by_queue,
    reported,
    total,
)

SECONDS = st.floats(min_value=0, max_value=80_000)
WORST = 5 / 3 + 1e-9
"""Of the buckets above 10 ms: how much larger the upper limit is than the lower one."""


def histogram(*seconds: float, **more: int) -> TimeInQueue:
    counts = [0] * BUCKETS
    for one in seconds:
        counts[bucket_of(one)] += 1
    return TimeInQueue(tuple(counts), math.fsum(seconds), **more)


@given(st.lists(st.lists(SECONDS, max_size=30), min_size=1, max_size=5), st.sampled_from([0.5, 0.9, 0.95, 0.99, 1.0]))
def test_percentiles_of_merged_histograms_are_within_a_bucket_of_the_true_ones(
    parts: list[list[float]], share: float
) -> None:
    merged = total(histogram(*part) for part in parts)
    everything = sorted(one for part in parts for one in part)
    found = merged.percentile(share)
    if not everything:
        assert found is None
        return
    true = everything[max(0, math.ceil(share * len(everything)) - 1)]
    assert found is not None
    assert bucket_of(found) == bucket_of(true) or found == pytest.approx(BOUNDS_S[bucket_of(true) - 1])
    if true > BOUNDS_S[0]:
        assert true / WORST <= found <= true * WORST


@given(st.lists(SECONDS, min_size=1), st.sampled_from(BOUNDS_S))
def test_the_share_within_a_limit_of_a_bucket_is_exact(seconds: list[float], limit: float) -> None:
    assert histogram(*seconds).within(limit) == sum(one <= limit for one in seconds) / len(seconds)


@given(st.lists(SECONDS), st.lists(SECONDS), st.integers(0, 9))
def test_what_was_added_and_is_taken_away_leaves_the_rest(one: list[float], other: list[float], paused: int) -> None:
    first, second = histogram(*one, paused=paused), histogram(*other, clock=1, unknown=2)
    both = first + second
    assert (both.tasks, both.paused, both.clock, both.unknown) == (len(one) + len(other), paused, 1, 2)
    assert both.since(second).counts == first.counts
    assert both.started == len(one) + len(other) + paused + 3


@given(st.lists(SECONDS, max_size=50), st.integers(0, 10**6))
def test_a_histogram_survives_json(seconds: list[float], paused: int) -> None:
    one = histogram(*seconds, paused=paused)
    back = TimeInQueue.from_list(json.loads(json.dumps(one.to_list())))
    assert back is not None
    assert (back.counts, back.paused) == (one.counts, one.paused)
    assert back.sum_s == pytest.approx(one.sum_s, abs=0.001)


@pytest.mark.parametrize(
    "value",
    [
        *(None, 3, "x", {}, [], [1, 2, 3], [1, 2, 3, 4, 5], [1, 0, 0, 0, BUCKETS, 1], [-1.0, 0, 0, 0]),
        *([1, -1, 0, 0], [1, 0.5, 0, 0], [1, True, 0, 0], [1e300, 0, 0, 0], [1, 0, 0, 0, 3, "x"], [0] * 1_000),
    ],
)
def test_what_is_no_histogram_is_none(value: Any) -> None:
    assert TimeInQueue.from_list(value) is None
    assert by_queue({"emails": value}) == {}
    assert reported(json.dumps({"emails": value, "a": [1, 2, 0, 0]})) == {"a": TimeInQueue(sum_s=1, paused=2)}


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", "[" * 100_000, '{"a": [NaN, 1, 0, 0]}', "9" * 10_000])
def test_a_report_that_is_none_says_nothing(text: str) -> None:
    assert reported(text) == {}


def test_the_name_of_a_queue_is_safe_to_store() -> None:
    assert list(reported('{"\\ud800": [1, 2, 0, 0], "\\u0000": [1, 2, 0, 0]}')) == ["\\ud800", "\\x00"]


def test_a_mapping_is_read_by_queue_and_bounded() -> None:
    assert by_queue([1]) == {}
    many = {f"q{n}": [0, 1, 0, 0] for n in range(1_000)}
    assert len(by_queue(many)) == time_in_queue.MOST_QUEUES
    assert by_queue({"": [0, 1, 0, 0], "x" * 300: [0, 1, 0, 0], "emails": [0, 1, 0, 0]}) == {
        "emails": TimeInQueue(paused=1)
    }


def test_nothing_has_no_figures() -> None:
    assert not NOTHING
    assert (NOTHING.percentile(0.5), NOTHING.within(30)) == (None, None)
    assert Wait.of(NOTHING, 300) == Wait(span_s=300)
    assert TimeInQueue(clock=1)


def test_the_last_bucket_has_no_upper_limit_to_guess_from() -> None:
    assert histogram(1e6, 1e7).percentile(0.5) == BOUNDS_S[-1]


def test_the_limits_grow_by_two_thirds_at_most() -> None:
    assert all(1 < high / low <= WORST for low, high in pairwise(BOUNDS_S))


def test_a_running_sum_forgets_a_queue_whose_tasks_have_gone() -> None:
    running = Sum()
    running.add([("emails", histogram(1.0, 2.0)), ("reports", histogram(5.0))])
    running.add([("emails", histogram(3.0))])
    running.take([("emails", histogram(1.0, 2.0)), ("reports", histogram(5.0))])
    assert set(running.times) == {"emails"}
    assert running.times["emails"].counts == histogram(3.0).counts
