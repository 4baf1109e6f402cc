"""Retrying, discarding and restoring failed tasks: each exactly once, and only what was previewed."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
import redis
from support.failed_tasks import CHARGE, SEND, failed, keep, message

from opsdash.errors import Refused
from opsdash.services.broker.client import Broker
from opsdash.services.failures.discard import Discarded
from opsdash.services.failures.message_edit import Change
from opsdash.services.failures.retry import Retry, Sent
from opsdash.services.failures.selection import (
    CHORD,
    NO_QUEUE,
    NOT_KEPT,
    TOO_LARGE,
    WAITING,
    Meant,
    RetryPlan,
    redis_now,
)
from opsdash.services.failures.selection import plan as make_plan
from opsdash.services.failures.store import FailureFilter, FailureStore
from opsdash.services.queues.trash import Trash

KEPT = Change(retries=True, times=True)
ALL = Meant(where=FailureFilter(task="*"))


@pytest.fixture
def store(broker: Broker) -> FailureStore:
    return FailureStore(broker)


def plan(broker: Broker, meant: Meant = ALL, **more: Any) -> RetryPlan:
    failures = meant.read(FailureStore(broker), redis_now(broker))
    return make_plan(broker, meant, failures, known=("celery", "emails"), workers=(), **more)


def retry(broker: Broker, meant: Meant = ALL, change: Change = KEPT, **more: Any) -> Sent:
    return Retry(broker).send(plan(broker, meant), change, audit_id="a1", **more)


def texts(broker: Broker, queue: str = "celery", step: int = 0) -> list[str]:
    found: Any = broker.client.lrange(broker.lists(queue)[step], 0, -1)
    return found[::-1]


def ids(broker: Broker, queue: str = "celery", step: int = 0) -> list[str]:
    return [json.loads(text)["headers"]["id"] for text in texts(broker, queue, step)]


def empty(broker: Broker) -> bool:
    """The store has nothing of any entry."""
    keys = [key for key in broker.client.scan_iter() if ":entry:" in key or key.endswith(":entries")]
    return not keys and FailureStore(broker).page().total == 0


def discard(broker: Broker, trash_id: str = "t1", keep_s: int = 600, meant: Meant = ALL, **more: Any) -> Any:
    failures = meant.read(FailureStore(broker), redis_now(broker))
    return Discarded(broker).take(failures, by="maria", keep_s=keep_s, trash_id=trash_id, **more)


def test_failed_tasks_go_back_to_their_queues_byte_for_byte_behind_what_waits_the_oldest_first(broker: Broker):
    broker.client.lpush(broker.lists("celery")[0], "waits")
    old, young = message("old"), message("young")
    keep(broker, [failed("young", ago_s=5, message=young), failed("old", ago_s=50, message=old)])
    keep(broker, [failed("mail", SEND, queue="emails", step=6)])
    sent = retry(broker)
    assert (dict(sent.by_queue), sent.changed, sent.left) == ({"celery": 2, "emails": 1}, 0, 0)
    assert texts(broker) == ["waits", old.decode(), young.decode()]
    assert ids(broker, "emails", 6) == ["mail"]
    assert empty(broker)
    assert Retry(broker).sent_by("a1") == {"celery": 2, "emails": 1}
    assert 0 < broker.client.ttl(broker.keys.failed_act("a1")) <= 7 * 86_400


def test_retries_eta_and_expiry_are_reset_and_nothing_besides(broker: Broker):
    strange = {"x-unknown": {"a": [1.50, 1e400 if False else 2]}, "retries": 3, "eta": "2026-01-01T00:00:00+00:00"}
    raw = message("a", expires="2026-01-01T00:00:00+00:00", **strange)
    keep(broker, [failed("a", message=raw, retries="3", eta="2026-01-01T00:00:00+00:00")])
    retry(broker)
    (text,) = texts(broker)
    before, after = json.loads(raw), json.loads(text)
    assert after["headers"] == {**before["headers"], "retries": 0, "eta": None, "expires": None}
    assert {**after, "headers": 0} == {**before, "headers": 0}


def test_what_is_kept_when_it_is_asked_for_is_the_same_message(broker: Broker):
    raw = message("a", retries=3, eta="2026-01-01T00:00:00+00:00")
    keep(broker, [failed("a", message=raw, retries="3")])
    retry(broker, change=Change())
    assert texts(broker) == [raw.decode()]


def test_a_new_id_is_the_tasks_and_its_own_roots_but_not_another_roots(broker: Broker):
    keep(broker, [failed("own"), failed("child", message=message("child", root_id="elsewhere"))])
    retry(broker, new_ids=True)
    for text in texts(broker):
        found = json.loads(text)
        headers, properties = found["headers"], found["properties"]
        assert headers["id"] == properties["correlation_id"] not in {"own", "child"}
        assert headers["root_id"] in {headers["id"], "elsewhere"}
    assert len(set(ids(broker))) == 2


def test_members_of_chords_and_what_has_no_message_and_unknown_queues_are_left_out_by_name(broker: Broker):
    keep(
        broker,
        [
            failed("chord", chord="1"),
            failed("large", message=b"", too_large="1"),
            failed("none", message=b""),
            failed("lost", queue="elsewhere"),
            failed("foreign", list="other:celery"),
            failed("like", list=f"{broker.lists('celery')[0]}2"),
            failed("good"),
        ],
    )
    found = plan(broker)
    left = {why: {one.id for one in failures} for why, failures in found.left_out.items()}
    assert left == {CHORD: {"chord"}, TOO_LARGE: {"large"}, NOT_KEPT: {"none"}, NO_QUEUE: {"lost", "foreign", "like"}}
    assert [one.id for one in found.going] == ["good"]
    assert {one.id for one in plan(broker, chords=True).going} == {"good", "chord"}


def test_a_task_of_a_priority_that_the_app_has_no_more_goes_to_the_nearest_one(broker: Broker):
    steps = broker.lists("celery")
    keep(broker, [failed("a", list=f"{steps[0]}{broker.separator}5", priority="5")])
    assert plan(broker).other_step == ("a",)
    retry(broker)
    assert ids(broker, step=3) == ["a"]


def test_a_task_that_waits_or_was_fetched_again_already_is_left_out_and_the_search_is_described(broker: Broker):
    keep(broker, [failed("waits"), failed("fetched"), failed("good"), failed("argument")])
    broker.client.lpush(broker.lists("celery")[3], message("waits"))
    broker.client.lpush(broker.lists("celery")[0], message("other", kwargs={"id": "argument"}))
    entry = json.dumps([json.loads(message("fetched")), "", "celery"])
    broker.client.hset(broker.unacked, "tag", entry)
    found = plan(broker)
    assert {one.id for one in found.left_out[WAITING]} == {"waits", "fetched"}
    assert found.looked.found == {"waits": "waits in celery", "fetched": "was fetched by a worker"}
    assert found.looked.text == "Searched for the same ids: 2 waiting tasks, 1 fetched ones, 0 worker reports."
    assert {one.id for one in found.going} == {"good", "argument"}
    both = plan(broker, waiting=True)
    before = json.loads(message("waits"))["properties"]
    Retry(broker).send(both, KEPT, audit_id="a1")
    tags = [json.loads(text)["properties"]["delivery_tag"] for text in texts(broker)]
    assert len(set(tags)) == len(tags), before


def test_of_many_waiting_tasks_those_at_both_ends_are_searched_and_it_says_so(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("opsdash.services.failures.later_tries.MOST", 10)
    keep(broker, [failed("first"), failed("last"), failed("middle")])
    broker.client.rpush(broker.lists("celery")[0], *(message(f"m{n}") for n in range(30)))
    broker.client.rpush(broker.lists("celery")[0], message("middle"), *(message(f"n{n}") for n in range(30)))
    broker.client.rpush(broker.lists("celery")[0], message("last"))
    broker.client.lpush(broker.lists("celery")[0], message("first"))
    found = plan(broker)
    assert set(found.looked.found) == {"first", "last"}
    assert "10 of 63 waiting tasks (those at both ends of their queues)" in found.looked.text


def test_of_many_failed_tasks_all_are_read_page_by_page_also_where_many_have_one_time(
    broker: Broker, store: FailureStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("opsdash.services.failures.store.READ_IDS", 10)
    keep(broker, [failed(f"t{n:03}", ago_s=n) for n in range(95)])
    for n in range(20, 80):
        broker.client.zadd(broker.keys.failed, {f"t{n:03}": 1_000.5})
        broker.client.zadd(broker.keys.failed_group_entries(CHARGE.fingerprint), {f"t{n:03}": 1_000.5})
    for where in (FailureFilter(), FailureFilter(task="shop.*")):
        assert sorted(store.ids(where)) == [f"t{n:03}" for n in range(95)]


def test_an_entry_that_has_failed_again_since_it_was_read_stays(broker: Broker, store: FailureStore):
    keep(broker, [failed("a"), failed("b")])
    planned = plan(broker)
    keep(broker, [failed("a", SEND, ago_s=0)])
    sent = Retry(broker).send(planned, KEPT, audit_id="a1")
    assert (sent.total, sent.changed, ids(broker)) == (1, 1, ["b"])
    assert store.find("a").error == SEND.error


def test_two_retries_of_the_same_tasks_send_each_once(broker: Broker):
    keep(broker, [failed(f"t{n}") for n in range(30)])
    first, second = plan(broker), plan(broker)
    one, two = (Retry(broker).send(each, KEPT, audit_id="a") for each in (first, second))
    assert (one.total, two.total, two.changed) == (30, 0, 30)
    assert sorted(ids(broker)) == sorted(f"t{n}" for n in range(30))


def test_a_cancelled_retry_ends_between_two_steps_and_says_how_many_are_left(broker: Broker):
    keep(broker, [failed(f"t{n}") for n in range(250)])
    seen: list[int] = []
    sent = retry(broker, on_progress=lambda at, _of: seen.append(at), cancelled=lambda: bool(seen))
    assert sent.cancelled
    assert (sent.total, sent.left) == (seen[0], 250 - seen[0])
    assert len(texts(broker)) + FailureStore(broker).page().total == 250


def test_a_pace_is_kept_without_bursts(broker: Broker):
    keep(broker, [failed(f"t{n}") for n in range(8)])
    started, at = time.monotonic(), []
    retry(broker, per_s=20.0, on_progress=lambda done, _of: at.append((time.monotonic() - started, done)))
    assert at[-1][1] == 8
    assert at[-1][0] >= 7 / 20 - 0.15
    assert all(done <= when * 20 + 4 for when, done in at)


def test_a_queue_whose_key_is_no_list_keeps_its_tasks_failed(broker: Broker):
    broker.client.set(broker.lists("celery")[0], "x")
    keep(broker, [failed("a"), failed("b", SEND, queue="emails")])
    sent = retry(broker)
    assert (sent.no_list, sent.total, ids(broker, "emails")) == (1, 1, ["b"])
    assert FailureStore(broker).find("a").sendable


def test_a_message_that_is_no_json_is_sent_as_it_is_unless_it_needs_a_new_id(broker: Broker):
    raw = b"\x80\x04not json"
    keep(broker, [failed("a", message=b"garbage {"), failed("b", SEND, message=b'{"headers": 5}')])
    assert retry(broker, new_ids=True).unable == 2
    sent = retry(broker)
    assert (sent.as_it_was, sent.total) == (2, 2)
    assert sorted(texts(broker)) == ["garbage {", '{"headers": 5}'], raw


def test_a_task_of_the_first_protocol_is_reset_in_its_body(broker: Broker):
    body = {"task": "shop.charge", "id": "a", "args": [1], "kwargs": {}, "retries": 2, "eta": "x", "expires": 1.5}
    raw = json.dumps(
        {
            "body": base64.b64encode(json.dumps(body).encode()).decode(),
            "content-type": "application/json",
            "headers": {},
            "properties": {"correlation_id": "a", "body_encoding": "base64", "delivery_tag": "t"},
        }
    ).encode()
    keep(broker, [failed("a", message=raw)])
    retry(broker, new_ids=True)
    (text,) = texts(broker)
    found = json.loads(text)
    inner = json.loads(base64.b64decode(found["body"]))
    assert inner == {**body, "id": found["properties"]["correlation_id"], "retries": 0, "eta": None, "expires": None}


@pytest.mark.parametrize("kind", ["string", "list", "hash"])
def test_foreign_values_under_names_of_the_store_neither_stop_nor_double_a_retry(broker: Broker, kind: str):
    keep(broker, [failed("a"), failed("b")])
    planned = plan(broker)
    keys, client = broker.keys, broker.client
    for key in (keys.failed, keys.failed_bytes, keys.failed_group_entries(CHARGE.fingerprint), keys.failed_act("a1")):
        client.delete(key)
        put(client, key, kind)
    put(client, keys.failed_entry("c"), "string")
    assert Retry(broker).send(planned, KEPT, audit_id="a1").total == 2
    assert sorted(ids(broker)) == ["a", "b"]
    assert Retry(broker).send(planned, KEPT, audit_id="a1").changed == 2


def put(client: redis.Redis, key: str, kind: str) -> None:
    client.delete(key)
    if kind == "string":
        client.set(key, "x")
    elif kind == "list":
        client.rpush(key, "x")
    else:
        client.hset(key, mapping={"celery": "x", "*": "y", "a": "z"})


# Discarding


def test_discarded_failures_are_in_the_trash_with_their_end_and_come_back_as_they_were(
    broker: Broker, store: FailureStore
):
    keep(broker, [failed("a", ago_s=50), failed("b", SEND, ago_s=40), failed("none", message=b"")])
    before = {one.id: one for one in store.every()}
    raw = {one.id: one for one in store.messages(["a", "b"])}
    groups = store.groups()[0]
    assert discard(broker) == (3, 0, False)
    assert empty(broker)
    (entry,) = Trash(broker).list()
    assert (entry.kind, entry.count, entry.by, entry.queue, entry.state) == ("failed", 3, "maria", "", "kept")
    assert entry.expires_at is not None
    for key in broker.client.scan_iter(f"{broker.keys.trash('t1', '')}*"):
        assert 0 < broker.client.ttl(key) <= 600, key
    found, done = Discarded(broker).restore("t1", by="otto")
    assert (found.count, done.restored, done.newer, done.gone) == (3, 3, 0, 0)
    assert {one.id: one for one in store.every()} == before
    assert {one.id: one for one in store.messages(["a", "b"])} == raw
    assert store.groups()[0] == groups
    assert broker.client.ttl(broker.keys.failed_entry("a")) > 6 * 86_400
    assert Trash(broker).list() == ()
    with pytest.raises(Refused, match=r"were restored at .* by otto"):
        Discarded(broker).restore("t1", by="otto")


def test_a_failure_that_came_again_meanwhile_stays_and_counts_the_discarded_one(broker: Broker, store: FailureStore):
    keep(broker, [failed("a")])
    discard(broker)
    keep(broker, [failed("a", SEND, ago_s=0)])
    _, done = Discarded(broker).restore("t1", by="otto")
    assert (done.restored, done.newer) == (0, 1)
    assert (store.find("a").error, store.find("a").times) == (SEND.error, 2)
    assert not list(broker.client.scan_iter("*opsdash:trash:t1:failed*"))


def test_a_restored_failure_has_a_group_again_although_its_group_has_ended(broker: Broker, store: FailureStore):
    keep(broker, [failed("a"), failed("b")])
    discard(broker)
    broker.client.delete(broker.keys.failed_group(CHARGE.fingerprint), broker.keys.failed_groups)
    Discarded(broker).restore("t1", by="otto")
    (group,) = store.groups()[0]
    assert (group.task, group.error, group.count, group.kept) == (CHARGE.task, CHARGE.error, 2, 2)
    assert {one.id for one in store.every(FailureFilter(fingerprint=CHARGE.fingerprint))} == {"a", "b"}


def test_without_an_undo_window_discarded_failures_are_deleted(broker: Broker):
    keep(broker, [failed("a")])
    assert discard(broker, keep_s=0) == (1, 0, False)
    assert empty(broker)
    assert Trash(broker).list() == ()
    assert not list(broker.client.scan_iter("*trash*"))


def test_only_what_was_read_is_discarded(broker: Broker, store: FailureStore):
    keep(broker, [failed("a"), failed("b")])
    failures = list(store.every())
    keep(broker, [failed("a", SEND, ago_s=0)])
    assert Discarded(broker).take(failures, by="maria", keep_s=60, trash_id="t1") == (1, 1, False)
    assert [one.id for one in store.every()] == ["a"]


def test_a_cancelled_discard_can_be_restored(broker: Broker, store: FailureStore):
    keep(broker, [failed(f"t{n}") for n in range(250)])
    seen: list[int] = []
    moved, _, cancelled = discard(broker, on_progress=lambda at, _of: seen.append(at), cancelled=lambda: bool(seen))
    assert cancelled
    assert (moved, store.page().total) == (seen[0], 250 - seen[0])
    assert Discarded(broker).restore("t1", by="otto")[1].restored == moved
    assert store.page().total == 250


def test_discarded_failures_are_deleted_for_good(broker: Broker):
    keep(broker, [failed(f"t{n}") for n in range(250)])
    discard(broker)
    assert Discarded(broker).delete("t1").count == 250
    assert not list(broker.client.scan_iter("*trash*"))
    with pytest.raises(Refused, match="There is no such trash"):
        Discarded(broker).restore("t1", by="otto")


def test_a_trash_of_failures_is_not_taken_for_one_of_a_queue(broker: Broker):
    keep(broker, [failed("a")])
    discard(broker)
    for act in (Trash(broker).restore, Trash(broker).delete):
        with pytest.raises(Refused, match="has failed tasks, none of a queue"):
            act("t1", by="otto")
    assert Trash(broker).list()[0].count == 1


def test_foreign_values_in_a_trash_of_failures_are_no_failures(broker: Broker, store: FailureStore):
    keep(broker, [failed("a"), failed("b"), failed("c")])
    discard(broker)
    kept = broker.keys.trash("t1", "failed")
    put(broker.client, f"{kept}:a", "string")
    broker.client.hset(f"{kept}:b", mapping={"noted": "x", "lasts_until": "nan", "times": "-1"})
    _, done = Discarded(broker).restore("t1", by="otto")
    assert (done.restored, done.gone) == (2, 1)
    assert {one.id for one in store.every()} == {"b", "c"}
