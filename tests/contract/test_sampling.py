"""What a queue is made of, counted or estimated with an honest error."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from opsdash.services.broker.client import Broker
from opsdash.services.queues import sampling
from opsdash.services.queues.clear_preview import expire_by, expiring
from opsdash.services.queues.sampling import sample_tasks
from opsdash.services.queues.task_filter import TaskFilter

MANY = 2_500
"""Stands for ten thousand: up to so many are counted."""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time for every block, however busy the machine."""
    monkeypatch.setattr(sampling, "LOOK_S", 60.0)
    monkeypatch.setattr(sampling, "COUNTED", MANY)


def message(name: str, expires: object = None, **properties: Any) -> str:
    headers = {"task": name, "id": str(uuid.uuid4()), "expires": expires}
    return json.dumps({"headers": headers, "properties": properties, "content-type": "application/json", "body": "[]"})


def test_up_to_ten_thousand_tasks_are_counted_over_all_priorities(broker: Broker) -> None:
    lists = broker.lists("emails")
    broker.client.lpush(lists[0], *[message("charge")] * 300, *[message("mail")] * 20, "no message")
    broker.client.lpush(lists[9], *[message("mail")] * 30)
    found = sample_tasks(broker, "emails")
    assert found.by_task == {"charge": 300, "mail": 50, "(unreadable)": 1}
    assert (found.error, found.looked_at, found.oldest_s) == ({}, 351, None)
    assert found.sentences() == ["By task: 300 charge, 50 mail, 1 (unreadable)."]


@pytest.mark.long
def test_above_that_they_are_estimated_and_the_error_holds_what_is_true(broker: Broker) -> None:
    chance = random.Random(3)
    names = chance.choices(["charge", "mail", "rare"], [70, 29, 1], k=MANY * 3)
    broker.client.lpush(broker.lists("emails")[0], *map(message, names))
    held = 0
    for seed in range(20):
        found = sample_tasks(broker, "emails", chance=random.Random(seed))
        assert found.looked_at == 1_000
        held += abs(found.by_task["charge"] - names.count("charge")) <= found.error["charge"]
        assert found.error["charge"] < len(names) * 0.1
    assert held >= 16, "about 19 of 20 are expected"
    assert found.sentences()[0].startswith("By task: about ")
    assert "estimated from 1,000 of them; of others, which were not seen, up to " in found.sentences()[0]


def test_the_oldest_is_as_old_as_the_next_to_run_says(broker: Broker) -> None:
    now = time.time()
    broker.client.lpush(broker.lists("emails")[0], message("a", timestamp=now - 600), message("b", timestamp=now))
    found = sample_tasks(broker, "emails")
    assert found.oldest_s is not None
    assert 600 <= found.oldest_s < 610


def test_what_redis_counts_by_name_is_what_reading_each_message_says(broker: Broker) -> None:
    chance, now = random.Random(5), time.time()
    plain = {"lang": "py", "task": "charge", "id": "1"}
    whole = json.dumps({"body": "[]", "headers": plain, "properties": {"timestamp": now - 50}})
    texts = [
        *[message(name, timestamp=now - age) for name, age in (("charge", 40), ("charge.card", 30), ("mail", 900))],
        whole,
        whole[:-30],
        whole[:-1],
        json.dumps({"headers": {"stamps": {"task": "mail"}, "task": "charge"}}),
        json.dumps({"headers": plain}, separators=(",", ":")),
        json.dumps({"content-type": "application/json", "body": json.dumps({"task": "old"}), "headers": {}}),
        json.dumps({"headers": {"task": "ch\u00e4rge"}}, ensure_ascii=False),
        json.dumps({"headers": {"task": ""}}),
        json.dumps({"headers": {"task": "x" * 1_001}}),
        "no message",
        "",
        "{}",
    ]
    lists = {0: chance.choices(texts, k=700), 9: chance.choices(texts, k=300)}
    for step, some in lists.items():
        broker.client.lpush(broker.lists("emails")[step], *some)
    every = [one.encode() for some in lists.values() for one in some]
    for matches in (None, TaskFilter(task="charge*"), TaskFilter(task="no.such")):
        found = sample_tasks(broker, "emails", matches)
        expected = Counter(sampling._task_of(one) for one in every if matches is None or matches(one))
        assert found.by_task == expected
        assert (found.number, found.looked_at, found.counted) == (expected.total(), 1_000, True)
    assert sample_tasks(broker, "emails", TaskFilter(task="mail")).oldest_s == pytest.approx(900, abs=30)
    assert sample_tasks(broker, "emails", TaskFilter(task="charge*")).oldest_s == pytest.approx(50, abs=30)


def test_an_empty_queue_and_a_foreign_key_are_made_of_nothing(broker: Broker) -> None:
    broker.client.set(broker.lists("emails")[3], "foreign")
    assert sample_tasks(broker, "emails").sentences() == []


def test_of_those_that_match_all_are_counted_and_the_oldest_is_one_of_them(broker: Broker) -> None:
    now, lists = time.time(), broker.lists("emails")
    broker.client.lpush(lists[0], message("mail", timestamp=now - 900), *[message("charge")] * 50)
    broker.client.lpush(lists[9], message("charge", timestamp=now - 300), *[message("charge.card")] * 5, "no message")
    found = sample_tasks(broker, "emails", TaskFilter(task="charge*"))
    assert (found.number, found.number_error, found.looked_at, found.counted) == (56, 0, 58, True)
    assert found.by_task == {"charge": 51, "charge.card": 5}
    assert 300 <= found.oldest_s < 310


@pytest.mark.long
def test_of_very_many_those_that_match_are_estimated_and_none_seen_is_not_none_there(broker: Broker) -> None:
    chance = random.Random(5)
    names = chance.choices(["charge", "mail"], [20, 80], k=MANY * 3)
    broker.client.lpush(broker.lists("emails")[0], message("rare"), *map(message, names))
    held = 0
    for seed in range(20):
        found = sample_tasks(broker, "emails", TaskFilter(task="charge"), random.Random(seed))
        assert (found.looked_at, found.counted) == (1_000, False)
        assert 0 < found.number_error < len(names) * 0.1
        held += abs(found.number - names.count("charge")) <= found.number_error
    assert held >= 16, "about 19 of 20 are expected"
    found = sample_tasks(broker, "emails", TaskFilter(task="rare"), random.Random(1))
    assert (found.number, found.by_task) == (0, {})
    assert found.number_error == 23, "three in a thousand of 7,501"


def test_when_time_is_short_fewer_are_looked_at_and_the_error_says_so(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.client.lpush(broker.lists("emails")[0], *map(message, ["charge", "mail"] * MANY))
    patient = sample_tasks(broker, "emails", chance=random.Random(1))
    monkeypatch.setattr(sampling, "LOOK_S", 0.0)
    hasty = sample_tasks(broker, "emails", chance=random.Random(1))
    assert (patient.looked_at, hasty.looked_at) == (1_000, 400)
    assert hasty.error["mail"] > patient.error["mail"]
    assert "estimated from 400 of them; of others, which were not seen, up to " in hasty.sentences()[0]


def test_a_step_walks_to_its_place_in_a_long_list_once_and_not_for_each_message(
    broker: Broker, request: pytest.FixtureRequest
) -> None:
    if request.node.callspec.params["client"] != "valkey":
        pytest.skip("only a server counts its commands")
    broker.client.lpush(broker.lists("emails")[0], *[message("charge")] * (MANY * 2))
    broker.client.config_resetstat()
    sample_tasks(broker, "emails")
    broker.client.ltrim(broker.lists("emails")[0], 0, MANY - 1)
    sample_tasks(broker, "emails")
    calls = broker.client.info("commandstats")
    assert "cmdstat_lindex" not in calls
    assert calls["cmdstat_lrange"]["calls"] < 60


def test_large_messages_are_read_a_few_at_a_time(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = list[int]()
    window = sampling.scan.window
    monkeypatch.setattr(sampling.scan, "window", lambda *given: steps.append(given[3].messages) or window(*given))
    broker.client.lpush(broker.lists("emails")[0], *[message("charge", body="x" * 20_000)] * 60)
    assert sample_tasks(broker, "emails", TaskFilter(containing="x")).looked_at == 60
    assert max(steps) <= 20, "a quarter of a megabyte, and the first step"


NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
END = NOW + timedelta(hours=1)


def in_minutes(minutes: float) -> str:
    return (NOW + timedelta(minutes=minutes)).isoformat()


def test_tasks_that_end_before_a_pause_does_are_counted_over_all_its_queues(broker: Broker) -> None:
    first_protocol = {"content-type": "application/json", "body": json.dumps({"task": "old", "expires": in_minutes(5)})}
    ends = [in_minutes(1), in_minutes(59), in_minutes(30).replace("+00:00", ""), NOW.timestamp() + 60]
    stay = [None, in_minutes(-1), in_minutes(61), "soon", True, 1e300, {"in": 5}, "9999-12-31T23:59:59-23:59"]
    broker.client.lpush(broker.lists("emails")[0], *(message("mail", each) for each in ends + stay), "no message")
    broker.client.lpush(broker.lists("celery")[6], message("mail", in_minutes(2)), json.dumps(first_protocol))
    found = sample_tasks(broker, ("celery", "emails"), expire_by(NOW, END))
    assert (found.number, found.number_error, found.counted) == (6, 0, True)
    assert [line.text for line in expiring(found)] == [
        "Of those that wait, 6 end (their expires) before the pause does: received later, Celery revokes them unrun."
    ]
    assert expiring(sample_tasks(broker, "celery", expire_by(END, END))) == []


def test_of_many_they_are_estimated_and_said_to_be(broker: Broker) -> None:
    for queue, share in (("celery", 3), ("emails", 6)):
        texts = [message("mail", in_minutes(5) if n % share == 0 else None) for n in range(MANY)]
        broker.client.lpush(broker.lists(queue)[0], *texts)
    found = sample_tasks(broker, ("celery", "emails"), expire_by(NOW, END), random.Random(7))
    assert abs(found.number - MANY // 2) <= found.number_error < MANY
    assert not found.counted
    (said,) = expiring(found)
    assert said.text.startswith(
        f"Of those that wait, about {found.number:,} (± {found.number_error:,}, estimated from 1,000"
    )


def test_names_are_found_by_redis_where_a_message_is_as_celery_writes_it_and_read_here_where_not(
    broker: Broker,
) -> None:
    plain = {"lang": "py", "task": "charge", "id": "1", "argsrepr": '(\'"task": "mail"\',)'}
    texts = [
        json.dumps({"body": "[]", "content-type": "application/json", "headers": plain}),
        json.dumps({"headers": {"stamps": {"task": "mail"}, "task": "charge"}}),
        json.dumps({"headers": {"task": "charge"}}, separators=(",", ":")),
        json.dumps({"content-type": "application/json", "body": json.dumps({"task": "old"}), "headers": {}}),
        json.dumps({"headers": {"task": "ch\u00e4rge"}}),
        "no message",
    ]
    broker.client.lpush(broker.lists("emails")[0], *texts * (MANY // 3))
    for matches, names in ((None, {"charge", "old", "ch\u00e4rge", "(unreadable)"}), (TaskFilter(task="ch*"), None)):
        found = sample_tasks(broker, "emails", matches, random.Random(1))
        assert not found.counted
        assert set(found.by_task) == (names or {"charge", "ch\u00e4rge"})
        assert abs(found.by_task["charge"] - MANY) <= found.error["charge"] + 3
