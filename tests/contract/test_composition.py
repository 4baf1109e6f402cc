"""What a queue is made of, counted or estimated with an honest error."""

from __future__ import annotations

import json
import random
import time
import uuid
from typing import Any

from opsdash.services.broker import Broker
from opsdash.services.composition import COUNTED, compose


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
    names = chance.choices(["charge", "mail", "rare"], [70, 29, 1], k=COUNTED * 3)
    broker.client.lpush(broker.lists("emails")[0], *map(message, names))
    held = 0
    for seed in range(20):
        found = compose(broker, "emails", random.Random(seed))
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
