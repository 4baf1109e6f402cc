from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest

from opsdash.errors import Refused
from opsdash.services.broker.client import Broker
from opsdash.services.broker.key_layout import Layouts
from opsdash.services.queues.peek import LARGE
from opsdash.services.queues.read import Queues


def fill(broker: Broker, queue: str, **per_step: int) -> None:
    for step, number in per_step.items():
        key = broker.lists(queue)[int(step.removeprefix("p"))]
        broker.client.rpush(key, *(f"{queue}-{step}-{i}" for i in range(number)))


def everything(broker: Broker) -> dict[str, object]:
    return {key: broker.client.type(key) for key in broker.client.scan_iter()}


def test_pending_tasks_count_every_priority(broker: Broker):
    fill(broker, "celery", p0=5, p3=2, p9=1)
    celery, emails = Queues(broker).read(["celery", "emails"])
    assert (celery.waiting, dict(celery.by_priority)) == (8, {0: 5, 3: 2, 9: 1})
    assert (emails.waiting, dict(emails.by_priority)) == (0, {})


def test_a_clear_empties_one_queue_over_all_priorities_and_reports_the_exact_count(broker: Broker):
    fill(broker, "celery", p0=4, p3=3, p6=2, p9=1)
    fill(broker, "emails", p0=7, p9=2)
    cleared = Queues(broker).clear("celery", by="maria", keep_s=60)
    assert (cleared.total, cleared.by_priority) == (10, {0: 4, 3: 3, 6: 2, 9: 1})
    celery, emails = Queues(broker).read(["celery", "emails"])
    assert (celery.waiting, emails.waiting) == (0, 9)


def test_cleared_messages_wait_in_the_trash_for_the_undo_window(broker: Broker):
    fill(broker, "celery", p0=3, p9=1)
    before = {step: broker.client.lrange(key, 0, -1) for step, key in broker.lists("celery").items()}
    cleared = Queues(broker).clear("celery", by="maria", keep_s=60)
    for step, messages in before.items():
        kept = broker.keys.trash(cleared.trash_id, str(step))
        assert broker.client.lrange(kept, 0, -1) == messages
        assert not messages or 0 < broker.client.ttl(kept) <= 60
    info = broker.client.hgetall(broker.keys.trash(cleared.trash_id, "info"))
    assert (info["queue"], info["by"], info["count"]) == ("celery", "maria", "4")
    assert broker.client.zrange(broker.keys.trash_index, 0, -1) == [cleared.trash_id]


def test_the_same_clear_sent_twice_is_done_once(broker: Broker):
    fill(broker, "celery", p0=3, p3=1)
    first = Queues(broker).clear("celery", by="maria", keep_s=60, trash_id="one")
    fill(broker, "celery", p0=5)
    again = Queues(broker).clear("celery", by="maria", keep_s=60, trash_id="one")
    assert again == first
    assert Queues(broker).read(["celery"])[0].waiting == 5


def test_without_an_undo_window_nothing_is_kept(broker: Broker):
    fill(broker, "celery", p0=3)
    cleared = Queues(broker).clear("celery", by="maria", keep_s=0)
    assert (cleared.total, cleared.trash_id) == (3, None)
    assert everything(broker) == {}


def test_clearing_an_empty_queue_leaves_no_trace(broker: Broker):
    cleared = Queues(broker).clear("celery", by="maria", keep_s=60)
    assert (cleared.total, cleared.trash_id) == (0, None)
    assert everything(broker) == {}


def message(number: int, size: int = 0) -> str:
    return json.dumps({"headers": {"task": "shop.mail", "id": f"{number}"}, "body": "x" * size})


def test_a_peek_shows_both_ends_in_the_order_workers_take_them(broker: Broker):
    broker.client.lpush(broker.lists("celery")[0], *map(message, range(10)))
    broker.client.lpush(broker.lists("celery")[9], *map(message, (20, 21)))
    before = everything(broker)
    seen = Queues(broker).peek("celery", 3)
    assert [(m.position, m.id, m.priority) for m in seen] == [
        (1, "0", 0),
        (2, "1", 0),
        (3, "2", 0),
        (10, "9", 0),
        (11, "20", 9),
        (12, "21", 9),
    ]
    assert [m.id for m in Queues(broker).peek("celery", 100)] == [*map(str, range(10)), "20", "21"]
    assert everything(broker) == before, "looking changes nothing"


def test_a_peek_leaves_huge_messages_where_they_are(broker: Broker):
    huge = message(1, LARGE)
    broker.client.lpush(broker.lists("celery")[0], message(0), huge, message(2))
    first, second, third = Queues(broker).peek("celery", 5)
    assert (first.id, third.id) == ("0", "2")
    assert (second.id, second.size_bytes) == ("", len(huge))
    assert second.unreadable == "not looked into: larger than 262.1 kB"


def test_a_peek_takes_bytes_that_are_no_text(broker: Broker):
    broker.client.lpush(broker.lists("celery")[0], b"\xff\x00\xfe", message(1))
    assert [m.unreadable[:10] for m in Queues(broker).peek("celery", 5)] == ["unreadable", ""]


def test_a_queue_is_as_old_as_the_oldest_of_its_tasks_that_run_next(broker: Broker):
    lists, now = broker.lists("celery"), time.time()
    old, young = (json.dumps({"properties": {"timestamp": now - ago}}) for ago in (900, 30))
    broker.client.lpush(lists[0], young, message(1))
    broker.client.lpush(lists[9], old)
    broker.client.set(lists[3], "foreign")
    broker.client.lpush(broker.lists("emails")[0], message(1))
    celery, emails = Queues(broker).read(["celery", "emails"])
    assert (900 <= celery.oldest_s < 910, emails.oldest_s) == (True, None)
    assert celery.waiting == 3
    assert not celery.oldest_at_least
    broker.client.rpop(lists[0])  # the next of priority 0 does not say
    assert Queues(broker).read(["celery"])[0].oldest_at_least


def test_a_task_that_does_not_say_when_it_was_sent_is_at_least_as_old_as_it_is_known_to_be_the_next(broker: Broker):
    queues, (first, *_) = Queues(broker), broker.lists("celery").values()
    for number in (1, 2):
        broker.client.lpush(first, message(number))
    (unknown,) = queues.read(["celery"])
    assert unknown.oldest_s is None, "it is seen for the first time"
    time.sleep(0.05)
    queues.read(["emails"])  # of another queue: nothing is forgotten for it
    (known,) = queues.read(["celery"])
    assert known.oldest_at_least
    assert 0.05 <= known.oldest_s < 5
    broker.client.rpop(first)
    assert queues.read(["celery"])[0].oldest_s is None, "another one is the next now"
    broker.client.rpop(first)
    broker.client.lpush(first, "x" * (LARGE + 1))
    queues.read(["celery"])
    assert queues.read(["celery"])[0].oldest_at_least, "too large to be looked at, and there"


def test_tasks_of_a_priority_that_nobody_has_told_of_are_not_left_behind_in_silence(broker: Broker):
    broker.client.lpush(f"{broker.keys.prefix}emails{broker.separator}4", "x")
    with pytest.raises(Refused, match=r"wait at priority 4, where opsdash does not look") as refused:
        Queues(broker).check_priorities("emails")
    assert "OPSDASH_PRIORITY_STEPS" in refused.value.hint
    layout = replace(broker.layout, sources={"priority_steps": "setting"})
    Queues(replace(broker, layouts=Layouts.fixed(broker.client, layout))).check_priorities("emails")


def test_of_many_known_queues_a_refusal_names_the_closest_and_some(broker: Broker):
    known = [f"queue-{number:03}" for number in range(500)]
    with pytest.raises(Refused, match=r"Known queues: queue-314, .* and 490 more") as caught:
        Queues(broker).check("qeue-314", known)
    assert len(str(caught.value)) < 300
