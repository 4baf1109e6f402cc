"""The pause of an entry of beat that ends by itself: one audit entry, whoever looks, and then it is forgotten."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from opsdash.errors import Unavailable
from opsdash.model.schedule import MOST_SCHEDULES
from opsdash.services.broker.client import Broker
from opsdash.services.pause.schedule_expiry import ScheduleExpiry
from opsdash.services.workers.schedules import KEPT_S, Schedules


class Audit:
    """A log that takes each request once, as the real one does."""

    def __init__(self) -> None:
        self.noted: dict[UUID, dict[str, Any]] = {}
        self.away = False

    def here(self) -> str:
        return "test"

    def note(self, *, request_id: UUID, **entry: Any) -> bool:
        if self.away:
            raise Unavailable("The database did not answer.")
        return self.noted.setdefault(request_id, entry) is entry


def put(broker: Broker, name: str, *, ends: float, by: str = "maria") -> str:
    """A pause that began a minute before its end."""
    text = json.dumps({"by": by, "at": ends - 60, "reason": "noisy", "ends": ends})
    broker.client.hset(broker.keys.schedules_paused, name, text)
    return text


def now(broker: Broker) -> float:
    seconds, micros = broker.client.time()
    return float(seconds) + float(micros) / 1e6


def test_a_pause_that_nobody_resumed_is_written_down_once_however_many_look(broker: Broker) -> None:
    ended = now(broker) - 5
    put(broker, "nightly", ends=ended)
    put(broker, "often", ends=now(broker) + 600)
    audit: Any = Audit()
    first, second = ScheduleExpiry(audit, broker), ScheduleExpiry(audit, broker)
    assert ScheduleExpiry(audit, broker)._write("nightly", broker.client.hget(broker.keys.schedules_paused, "nightly"))
    assert (first.write_ended(), second.write_ended()) == (0, 0), "another console has written it"
    (entry,) = audit.noted.values()
    assert (entry["user"], entry["operation"]) == ("(expiry)", "resume_schedule")
    assert entry["timestamp"] == datetime.fromtimestamp(ended, UTC)
    assert entry["details"]["message"] == "The pause of schedule nightly by maria expired."
    assert (entry["details"]["params"], entry["details"]["paused_s"]) == ({"schedule": "nightly"}, 60)
    assert broker.client.hkeys(broker.keys.schedules_paused) == ["often"]


def test_it_is_written_down_in_the_second_that_it_ends(broker: Broker) -> None:
    put(broker, "nightly", ends=now(broker) - 0.001)
    audit: Any = Audit()
    assert ScheduleExpiry(audit, broker).write_ended() == 1


def test_it_is_kept_while_the_database_is_away(broker: Broker) -> None:
    put(broker, "nightly", ends=now(broker) - 5)
    audit: Any = Audit()
    expiry = ScheduleExpiry(audit, broker)
    audit.away = True
    assert expiry.write_ended() == 0
    audit.away = False
    assert (expiry.write_ended(), expiry.write_ended()) == (1, 0)


def test_a_new_pause_is_not_forgotten_with_the_one_before_and_outlives_its_end_for_the_log(broker: Broker) -> None:
    old = put(broker, "nightly", ends=now(broker) - 5)
    schedules = Schedules(broker)
    schedules.pause("nightly", by="otto", reason="", ttl_s=60)
    schedules.forget("nightly", old)
    (paused,) = schedules.read()
    assert paused.pause is not None
    assert paused.pause.by == "otto"
    assert broker.client.ttl(broker.keys.schedules_paused) > KEPT_S


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"ends": "x"}', '{"ends": 1e300}', "\0" * 9_000])
def test_what_anybody_left_there_ends_nothing(broker: Broker, text: str) -> None:
    broker.client.hset(broker.keys.schedules_paused, "odd", text)
    audit: Any = Audit()
    assert ScheduleExpiry(audit, broker).write_ended() == 0
    broker.client.delete(broker.keys.schedules_paused)
    broker.client.set(broker.keys.schedules_paused, text)
    assert ScheduleExpiry(audit, broker).write_ended() == 0
    Schedules(broker).forget("odd", text)
    assert audit.noted == {}


@pytest.mark.long
def test_many_at_once_are_all_written_down(broker: Broker) -> None:
    for number in range(MOST_SCHEDULES):
        put(broker, f"entry {number}", ends=now(broker) - 5)
    audit: Any = Audit()
    assert ScheduleExpiry(audit, broker).write_ended() == MOST_SCHEDULES
    assert not broker.client.exists(broker.keys.schedules_paused)
