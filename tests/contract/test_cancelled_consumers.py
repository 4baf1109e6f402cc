"""What workers without the plug-in were told: several consoles change the record at once, and none loses anything."""

from __future__ import annotations

import threading

import pytest

from opsdash.services.broker.client import Broker
from opsdash.services.workers.cancelled_consumers import FREEING, LARGE, Cancelled


def test_what_many_consoles_write_at_once_is_all_there(broker: Broker) -> None:
    consoles = [Cancelled(broker) for _ in range(6)]

    def cancel(number: int) -> None:
        for at in range(5):
            consoles[number].add(None, {f"w{number}-{at}": ["celery"]})

    threads = [threading.Thread(target=cancel, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(consoles[0].read()["*"]) == {f"w{n}-{at}" for n in range(6) for at in range(5)}


def test_what_a_standing_pause_holds_stays_and_the_rest_is_freed(broker: Broker) -> None:
    record = Cancelled(broker)
    record.add(None, {"one": ["celery", "emails"], "two": ["celery"]})
    record.add("reports", {"two": ["reports"]})
    broker.client.set(broker.keys.pause("emails"), "true")
    assert record.begin_to_free() == {"one": ["celery"], "two": ["celery", "reports"]}
    assert record.read() == {"emails": {"one": ["emails"]}, FREEING: {"one": ["celery"], "two": ["celery", "reports"]}}
    assert record.end_to_free({"one": ["celery"], "two": ["celery", "reports"]}) == {}
    assert record.read() == {"emails": {"one": ["emails"]}}


def test_a_console_that_dies_before_it_has_sent_leaves_it_to_the_next(broker: Broker) -> None:
    Cancelled(broker).add(None, {"one": ["celery"]})
    assert Cancelled(broker).begin_to_free() == {"one": ["celery"]}
    assert Cancelled(broker).begin_to_free() == {"one": ["celery"]}, "told twice is told once"


def test_a_pause_that_comes_while_consumers_are_added_has_the_last_word(broker: Broker) -> None:
    resuming, pausing = Cancelled(broker), Cancelled(broker)
    pausing.add(None, {"one": ["celery"], "two": ["celery"]})
    freed = resuming.begin_to_free()
    broker.client.set(broker.keys.pause(), "true")
    pausing.add(None, {"one": ["celery"]})
    assert resuming.end_to_free(freed) == {"one": ["celery"]}, "it is told to stop once more"
    assert pausing.read() == {"*": {"one": ["celery"]}}


def test_two_consoles_that_free_the_same_end_with_nothing_left(broker: Broker) -> None:
    one, other = Cancelled(broker), Cancelled(broker)
    one.add("celery", {"w": ["celery"]})
    freed = one.begin_to_free(), other.begin_to_free()
    assert [console.end_to_free(told) for console, told in zip((one, other), freed, strict=True)] == [{}, {}]
    assert one.read() == {}


def test_foreign_values_in_the_record_name_nobody_and_are_dropped(broker: Broker) -> None:
    key = broker.keys.pause_cancelled
    for text in ("[" * 5_000, '{"w": 7}', "7", '"x"', '{"w": ["celery"]}'):
        broker.client.hset(key, "*", text)
        Cancelled(broker).begin_to_free()
    assert Cancelled(broker).read() == {FREEING: {"w": ["celery"]}}


@pytest.mark.parametrize("left", ["text", "list", "too long"])
def test_what_somebody_left_in_the_records_place_is_put_right(broker: Broker, left: str) -> None:
    key = broker.keys.pause_cancelled
    match left:
        case "text":
            broker.client.set(key, "x")
        case "list":
            broker.client.rpush(key, "x")
        case _:
            broker.client.hset(key, "*", "x" * (LARGE + 1))
    records = Cancelled(broker)
    records.add(None, {"w@x": ["celery"]})
    assert records.read() == {"*": {"w@x": ["celery"]}}
    assert records.begin_to_free() == {"w@x": ["celery"]}
    assert records.end_to_free({"w@x": ["celery"]}) == {}
    assert records.read() == {}
