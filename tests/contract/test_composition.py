"""What a queue is made of, counted or estimated with an honest error."""

from __future__ import annotations

import json
import random
import time
import uuid
from typing import Any

import pytest

from opsdash.services import composition
from opsdash.services.broker import Broker
from opsdash.services.composition import compose
from opsdash.services.selecting import Selection

MANY = 2_500
"""Stands for ten thousand: up to so many are counted."""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time for every block, however busy the machine."""
    monkeypatch.setattr(composition, "LOOK_S", 60.0)
    monkeypatch.setattr(composition, "COUNTED", MANY)


def message(name: str, **properties: Any) -> str:
    headers = {"task": name, "id": str(uuid.uuid4())}
    return json.dumps({"headers": headers, "properties": properties, "content-type": "application/json", "body": "[]"})


def test_up_to_ten_thousand_tasks_are_counted_over_all_priorities(broker: Broker) -> None:
    lists = broker.lists("emails")
    broker.client.lpush(lists[0], *[message("charge")] * 300, *[message("mail")] * 20, "no message")
    broker.client.lpush(lists[9], *[message("mail")] * 30)
    found = compose(broker, "emails")
    assert found.by_task == {"charge": 300, "mail": 50, "(unreadable)": 1}
    assert (found.error, found.looked_at, found.oldest_s) == ({}, 351, None)
    assert found.sentences() == ["By task: 300 charge, 50 mail, 1 (unreadable)."]


def test_above_that_they_are_estimated_and_the_error_holds_what_is_true(broker: Broker) -> None:
    chance = random.Random(3)
    names = chance.choices(["charge", "mail", "rare"], [70, 29, 1], k=MANY * 3)
    broker.client.lpush(broker.lists("emails")[0], *map(message, names))
    held = 0
    for seed in range(20):
        found = compose(broker, "emails", chance=random.Random(seed))
        assert found.looked_at == 1_000
        held += abs(found.by_task["charge"] - names.count("charge")) <= found.error["charge"]
        assert found.error["charge"] < len(names) * 0.1
    assert held >= 16, "about 19 of 20 are expected"
    assert found.sentences()[0].startswith("By task: about ")
    assert found.sentences()[0].endswith("estimated from 1,000 of them.")


def test_the_oldest_is_as_old_as_the_next_to_run_says(broker: Broker) -> None:
    now = time.time()
    broker.client.lpush(broker.lists("emails")[0], message("a", timestamp=now - 600), message("b", timestamp=now))
    found = compose(broker, "emails")
    assert found.oldest_s is not None
    assert 600 <= found.oldest_s < 610


def test_an_empty_queue_and_a_foreign_key_are_made_of_nothing(broker: Broker) -> None:
    broker.client.set(broker.lists("emails")[3], "foreign")
    assert compose(broker, "emails").sentences() == []


def test_of_those_that_match_all_are_counted_and_the_oldest_is_one_of_them(broker: Broker) -> None:
    now, lists = time.time(), broker.lists("emails")
    broker.client.lpush(lists[0], message("mail", timestamp=now - 900), *[message("charge")] * 50)
    broker.client.lpush(lists[9], message("charge", timestamp=now - 300), *[message("charge.card")] * 5, "no message")
    found = compose(broker, "emails", Selection(task="charge*"))
    assert (found.number, found.number_error, found.looked_at, found.counted) == (56, 0, 58, True)
    assert found.by_task == {"charge": 51, "charge.card": 5}
    assert 300 <= found.oldest_s < 310


def test_of_very_many_those_that_match_are_estimated_and_none_seen_is_not_none_there(broker: Broker) -> None:
    chance = random.Random(5)
    names = chance.choices(["charge", "mail"], [20, 80], k=MANY * 3)
    broker.client.lpush(broker.lists("emails")[0], message("rare"), *map(message, names))
    held = 0
    for seed in range(20):
        found = compose(broker, "emails", Selection(task="charge"), random.Random(seed))
        assert (found.looked_at, found.counted) == (1_000, False)
        assert 0 < found.number_error < len(names) * 0.1
        held += abs(found.number - names.count("charge")) <= found.number_error
    assert held >= 16, "about 19 of 20 are expected"
    found = compose(broker, "emails", Selection(task="rare"), random.Random(1))
    assert (found.number, found.by_task) == (0, {})
    assert found.number_error == 23, "three in a thousand of 7,501"


def test_when_time_is_short_fewer_are_looked_at_and_the_error_says_so(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.client.lpush(broker.lists("emails")[0], *map(message, ["charge", "mail"] * MANY))
    patient = compose(broker, "emails", chance=random.Random(1))
    monkeypatch.setattr(composition, "LOOK_S", 0.0)
    hasty = compose(broker, "emails", chance=random.Random(1))
    assert (patient.looked_at, hasty.looked_at) == (1_000, 400)
    assert hasty.error["mail"] > patient.error["mail"]
    assert hasty.sentences()[0].endswith("estimated from 400 of them.")
