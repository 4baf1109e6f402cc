"""Since when the same message is the next one of its list, by this process's own clock."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace

import pytest

from opsdash.services.queues import age
from opsdash.services.queues.age import Ages


class Clock:
    now = 1_000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return time.time()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(age, "time", SimpleNamespace(monotonic=made.monotonic, time=made.time))
    return made


def message(task_id: str, tag: str = "", **headers: object) -> str:
    return json.dumps({"headers": {"id": task_id, **headers}, "properties": {"delivery_tag": tag}})


def test_a_task_is_the_same_one_whatever_else_its_message_says(clock: Clock) -> None:
    ages = Ages()
    assert ages.oldest({"celery": message("a", "1")}) is None, "nothing is known yet"
    clock.now += 30
    found = ages.oldest({"celery": message("a", "2")})
    assert found is not None
    assert (found.seconds, found.at_least) == (30.0, True)
    assert ages.oldest({"celery": message("b")}) is None
    clock.now += 5
    assert ages.oldest({"celery": ""}) is None
    assert ages.oldest({"celery": message("b")}) is None, "it was away meanwhile"


def test_what_is_no_message_is_known_by_its_bytes(clock: Clock) -> None:
    ages = Ages()
    assert ages.oldest({"a": b"\xff", "b": "{}"}) is None
    clock.now += 7
    found = ages.oldest({"a": b"\xff", "b": "{"})
    assert found is not None
    assert found.seconds == 7.0


def test_a_time_in_the_message_is_exact_and_one_unknown_beside_it_makes_it_at_least(clock: Clock) -> None:
    ages = Ages()
    sent = time.time() - 100
    found = ages.oldest({"a": message("a", timestamp=sent)})
    assert found is not None
    assert found.seconds == pytest.approx(100, abs=5)
    assert not found.at_least
    both = ages.oldest({"a": message("a", timestamp=sent), "b": message("b")})
    assert both is not None
    assert both.at_least
    future = ages.oldest({"a": message("c", timestamp=time.time() + 1_000)})
    assert future is not None
    assert future.seconds == 0.0
