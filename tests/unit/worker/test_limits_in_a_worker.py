"""What one worker does about concurrency limits: which tasks get a slot, what is fetched next, what is given back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import fakeredis
import pytest
import redis
from celery.worker import state as worker_state
from support.messages import message

from opsdash.keys import Keys
from opsdash.model.hold import MOST_AT_ONCE, Hold
from opsdash.worker import celery_private, concurrency_limits, message_origin, unacked
from opsdash.worker.concurrency_limits import IN_TURN, POLL_S, ConcurrencyLimits
from opsdash.worker.hold_rules import NONE, HoldRules
from opsdash.worker.set_aside import FETCHED
from opsdash.worker.slots import LATER_S, LEASE_S, SOON_S

KEYS = Keys("shop:")
CHARGES = Hold(id="c1", kind="limit", name="shop.charge", most=2)
SHOP = Hold(id="s1", kind="limit", name="shop.*", most=3)


class Request:
    """As much of Celery's as a limit looks at."""

    def __init__(self, name: str = "shop.charge", *, broadcast: bool = False) -> None:
        origin = None if broadcast else message_origin.Origin("celery", "celery", b"{}")
        self.name, self.message = name, SimpleNamespace(opsdash_origin=origin, acknowledged=False)

    def on_success(self) -> None:
        """Nothing."""

    on_failure = on_timeout = on_success


class Worker:
    """One with room for four tasks, that takes tasks of celery and emails."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.client = fakeredis.FakeRedis()
        patch.setattr(unacked, "client_of", lambda _channel: self.client)
        self.soon: list[Callable[[], Any]] = []
        self.paused: set[str] = set()
        self.texts: list[bytes] = []
        self.fetched: list[tuple[message_origin.Origin, str]] = []
        self.handles: Callable[[Any], None] = lambda _message: None
        queues = [SimpleNamespace(name=name, exchange=None) for name in ("celery", "emails")]
        self.consumer = SimpleNamespace(
            qos=SimpleNamespace(value=4),
            pool=SimpleNamespace(num_processes=2),
            task_consumer=SimpleNamespace(queues=queues),
            blueprint=SimpleNamespace(state=1),
        )
        qos = SimpleNamespace(unacked_key="unacked", unacked_index_key="unacked_index")
        channel = SimpleNamespace(
            global_keyprefix="shop:",
            priority_steps=[0, 6],
            qos=qos,
            _q_for_pri=lambda queue, step: f"{queue}:{step}" if step else queue,
        )
        self.gate = SimpleNamespace(
            limits=None,
            channel=channel,
            state=SimpleNamespace(holds=lambda queue: queue in self.paused),
            connection_errors=(redis.ConnectionError,),
            fetches=SimpleNamespace(deliver=self._deliver),
        )
        self.limits = ConcurrencyLimits(self.consumer, self.gate, "me", self.soon.append)
        self.link: Any = SimpleNamespace(redis=self.client, keys=KEYS)

    def apply(self, *holds: Hold, passed: tuple[Request, ...] = ()) -> list[Request]:
        """Limits come into force; which of these had to pass the gate again."""
        again: list[Request] = []

        def pass_again(meant: Callable[[Any], bool]) -> None:
            again.extend(one for one in passed if meant(one))

        self.limits.apply(HoldRules(holds), pass_again)
        return again

    def begins(self, request: Request) -> str:
        """It comes to the gate; the limit that has no slot for it."""
        short = self.limits.short_of(request)
        if not short:
            worker_state.reserved_requests.add(request)
        return short

    def ends(self, request: Request) -> None:
        """It is done."""
        worker_state.reserved_requests.discard(request)
        request.on_success()

    def turn(self) -> int:
        """What was asked for is done; how many things that were."""
        number = 0
        while self.soon:
            self.soon.pop(0)()
            number += 1
        return number

    def put_aside(self, hold: Hold, *names: str, queue: str = "celery", step: str = "0") -> None:
        """Tasks that wait for a slot."""
        key = KEYS.held(hold.id, step, queue)
        self.client.hset(KEYS.hold, hold.id, hold.as_json())
        for at, name in enumerate(names):
            self.texts.append(message(name, hold.name).encode())
            self.client.lpush(key, self.texts[-1])
            self.client.lpush(f"{key}:order", f"{at + 1}.0 1764364800.0")

    def _deliver(self, place: message_origin.Origin, field: str, note: Callable[[Any], None]) -> None:
        self.fetched.append((place, field))
        one = SimpleNamespace(opsdash_origin=place, acknowledged=False)
        note(one)
        self.handles(one)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    yield Worker(monkeypatch)
    worker_state.reserved_requests.clear()


def test_as_many_run_as_there_are_slots_and_the_next_when_one_has_ended(worker: Worker) -> None:
    worker.apply(CHARGES)
    one, two, three = Request(), Request(), Request()
    assert [worker.begins(each) for each in (one, two, three)] == ["", "", "c1"]
    assert worker.begins(Request("shop.send")) == ""
    assert worker.begins(Request(broadcast=True)) == "", "a broadcast waits for nothing"
    assert worker.limits.used() == {"c1": 2}
    worker.ends(one)
    assert (worker.begins(three), worker.limits.used()) == ("", {"c1": 2})


def test_a_task_of_two_limits_needs_a_slot_of_both_and_gives_both_back(worker: Worker) -> None:
    worker.apply(SHOP, CHARGES)
    ships = [Request("shop.ship") for _ in range(2)]
    assert [worker.begins(one) for one in ships] == ["", ""]
    first, second = Request(), Request()
    assert (worker.begins(first), worker.begins(second)) == ("", "s1")
    assert worker.limits.used() == {"s1": 3, "c1": 1}
    worker.ends(first)
    assert worker.limits.used() == {"s1": 2, "c1": 0}
    worker.apply(CHARGES)
    assert (worker.limits.used(), worker.gate.limits) == ({"c1": 0}, worker.limits)
    worker.apply()
    assert (worker.limits.used(), worker.gate.limits) == ({}, None)
    assert worker.begins(Request()) == ""


def test_a_limit_that_changes_its_number_keeps_who_runs(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(concurrency_limits.logger, "info", lambda text, *args: said.append(text % args))
    worker.apply(CHARGES)
    one = Request()
    worker.begins(one)
    lower = Hold(id="c1", kind="limit", name="shop.charge", most=1)
    worker.apply(lower)
    worker.limits.follow(worker.link)
    assert (worker.limits.used(), worker.begins(Request())) == ({"c1": 1}, "c1")
    worker.apply(lower)
    worker.apply()
    start = "opsdash: running at once in all workers, at most: "
    assert said == [f"{start}shop.charge 2", f"{start}shop.charge 1", f"{start}no limit"]


def test_what_runs_already_counts_and_what_has_not_begun_passes_the_gate_again(worker: Worker) -> None:
    runs, other, news = Request(), Request("shop.send"), Request(broadcast=True)
    for one in (runs, other, news):
        worker_state.reserved_requests.add(one)
    unstarted = (Request(), Request("shop.send"))
    assert worker.apply(CHARGES, passed=unstarted) == [unstarted[0]]
    assert worker.limits.used() == {"c1": 1}
    assert worker.apply(CHARGES, SHOP, passed=unstarted) == list(unstarted), "of the new limit alone"
    assert worker.limits.used() == {"c1": 1, "s1": 2}
    worker.ends(runs)
    assert worker.limits.used() == {"c1": 0, "s1": 2} or worker.limits.used() == {"c1": 1, "s1": 2}
    worker.limits.follow(worker.link)
    assert worker.limits.used() == {"c1": 0, "s1": 1}, "one that ended without a word has no slot any more"


def test_while_a_limit_begins_nobody_asks_redis_for_each_task(worker: Worker) -> None:
    calls: list[str] = []
    worker.client.eval = lambda *_args: calls.append("eval")

    def pass_again(meant: Callable[[Any], bool]) -> None:
        assert worker.limits.short_of(Request()) == "c1"

    worker.limits.apply(HoldRules((CHARGES,)), pass_again)
    assert calls == []


def test_what_can_not_be_set_aside_runs_and_counts(worker: Worker) -> None:
    worker.apply(SHOP, CHARGES)
    for _ in range(2):
        worker.begins(Request())
    one = Request()
    assert worker.begins(one) == "c1"
    worker.limits.note(one, "c1", runs=True)
    worker_state.reserved_requests.add(one)
    assert worker.limits.used() == {"s1": 3, "c1": 3}
    worker.ends(one)
    assert worker.limits.used() == {"s1": 2, "c1": 2}
    assert not worker.limits.waits
    worker.limits.note(one, "c1", runs=False)
    assert worker.limits.waits
    assert [limit.slots.waiting for limit in worker.limits._limits.values()] == [0, 1]


def test_the_next_that_waits_is_fetched_where_a_task_has_ended(worker: Worker) -> None:
    worker.apply(CHARGES)
    running = [Request(), Request()]
    for one in running:
        worker.begins(one)
    worker.put_aside(CHARGES, "a", "b", "c", queue="emails", step="6")
    worker.limits.note(Request(), "c1", runs=False)
    assert worker.turn() == 0
    worker.ends(running[0])
    assert worker.turn() == 2, "one is fetched, and for the next there is no slot"
    ((place, field),) = worker.fetched
    assert place == ("emails", "shop:emails:6", worker.texts[0])
    assert worker.client.hexists("shop:unacked", field)
    assert worker.limits.used() == {"c1": 2}
    (expected,) = worker.limits._limits["c1"].expected
    assert (getattr(expected, IN_TURN), getattr(expected, FETCHED)) == ("c1", "1.000000")
    assert worker.limits._limits["c1"].slots.waiting == 2
    it = Request()
    it.message = expected
    assert worker.begins(it) == ""
    assert (worker.limits.used(), worker.limits._limits["c1"].expected) == ({"c1": 2}, [])


def test_nothing_is_fetched_by_a_worker_that_stops_or_whose_queues_are_paused(worker: Worker) -> None:
    worker.apply(CHARGES)
    worker.begins(Request())
    worker.put_aside(CHARGES, "a")
    worker.limits._limits["c1"].slots.waiting = 1
    worker.paused = {"celery", "emails"}
    worker.limits._fill()
    assert (worker.fetched, worker.limits.used()) == ([], {"c1": 1})
    worker.paused = set()
    worker.limits._limits["c1"].slots.waiting = 1
    worker.consumer.blueprint.state = 2
    worker.limits._fill()
    assert (worker.fetched, worker.limits.used()) == ([], {"c1": 1})
    worker.consumer.blueprint.state = 1
    worker.limits._fill()
    assert (len(worker.fetched), worker.limits.used()) == (1, {"c1": 2})


def test_each_is_fetched_until_the_slots_are_taken_and_none_that_goes_straight_back(worker: Worker) -> None:
    worker.apply(Hold(id="c1", kind="limit", name="shop.charge", most=4))
    worker.begins(Request())
    worker.put_aside(CHARGES, "a", "b", "c", "d")
    limit = worker.limits._limits["c1"]
    limit.slots.waiting = 4
    limit.slots._share = limit.slots._slots = 3
    worker.limits._fill()
    worker.turn()
    assert (len(worker.fetched), worker.limits.used(), limit.slots.waiting) == (2, {"c1": 3}, 2)
    limit.slots._share = limit.slots._slots = 4

    def goes_back(fetched: Any) -> None:
        request = Request()
        request.message = fetched
        worker.limits.note(request, "c1", runs=False)
        limit.came(fetched)
        limit.slots.give()

    worker.handles = goes_back
    worker.limits._fill()
    assert limit.blocked
    assert worker.turn() == 0, "it would be fetched and go back for ever"
    assert len(worker.fetched) == 3


def test_a_slot_for_which_nothing_came_is_free_again(worker: Worker) -> None:
    worker.apply(CHARGES)
    worker.begins(Request())
    worker.limits._limits["c1"].slots.waiting = 5
    worker.limits._fill()
    assert (worker.fetched, worker.limits.used()) == ([], {"c1": 1})
    assert not worker.limits.waits, "Redis has none that waits"


@pytest.mark.parametrize("fault", [redis.ConnectionError, ValueError])
def test_a_fault_of_a_fetch_gives_the_slot_back_and_only_a_lost_connection_is_celerys(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, fault: type[Exception]
) -> None:
    worker.apply(CHARGES)
    worker.begins(Request())
    limit = worker.limits._limits["c1"]
    limit.slots.waiting = 1

    def broken(*_args: Any) -> Any:
        raise fault("no")

    monkeypatch.setattr(worker.client, "eval", broken)
    if fault is ValueError:
        worker.limits._fill()
    else:
        with pytest.raises(redis.ConnectionError):
            worker.limits._fill()
    assert worker.limits.used() == {"c1": 1}
    limit.slots.waiting = 1
    worker.limits._fill_soon()
    assert len(worker.soon) == 1


def test_messages_of_a_lost_connection_have_no_slot_any_more(worker: Worker) -> None:
    worker.apply(CHARGES)
    worker.begins(Request())
    limit = worker.limits._limits["c1"]
    for acknowledged in (False, True):
        limit.slots.run()
        limit.expected.append(SimpleNamespace(acknowledged=acknowledged))
    worker.limits.reconnected()
    assert (limit.expected, limit.slots.used) == ([], 2), "one that is acknowledged runs on"


def test_what_was_fetched_for_a_slot_and_went_back_has_none(worker: Worker) -> None:
    worker.apply(CHARGES)
    limit = worker.limits._limits["c1"]
    kept, back = SimpleNamespace(acknowledged=False), SimpleNamespace(acknowledged=True)
    for one in (kept, back):
        limit.slots.run()
        limit.expected.append(one)
    assert not limit.came(SimpleNamespace())
    limit.prune_expected()
    assert (limit.expected, limit.slots.used) == ([kept], 1)


def test_leases_are_renewed_and_left_where_the_worker_ends(worker: Worker) -> None:
    assert worker.limits.follow(worker.link) == POLL_S
    worker.apply(SHOP, CHARGES)
    one = Request()
    worker.begins(one)
    assert worker.limits.follow(worker.link) in (SOON_S, LATER_S)
    charges, shop = (KEYS.slots(hold.id) for hold in (CHARGES, SHOP))
    assert (worker.client.hkeys(charges), worker.client.hkeys(shop)) == ([b"me"], [b"me"])
    assert 0 < worker.client.ttl(charges) <= LEASE_S
    worker.limits.close(worker.link)
    assert worker.client.hkeys(charges) == [b"me"], "its task still runs"
    worker.ends(one)
    worker.limits.close(worker.link)
    assert (worker.client.hkeys(charges), worker.client.hkeys(shop)) == ([], [])


def test_a_worker_with_a_free_slot_fetches_what_waits_at_its_next_renewal(worker: Worker) -> None:
    worker.apply(CHARGES)
    worker.begins(Request())
    worker.limits.follow(worker.link)
    assert worker.soon == []
    worker.put_aside(CHARGES, "a")
    worker.limits.follow(worker.link)
    assert len(worker.soon) == 1
    worker.turn()
    assert len(worker.fetched) == 1
    worker.limits._limits["c1"].slots.waiting = 1
    taken = worker.limits._limits["c1"].slots
    while taken.take():
        pass
    worker.limits._limits["c1"].expected.clear()
    worker.put_aside(CHARGES, "b")
    worker.limits.follow(worker.link)
    assert worker.soon == [], "there is no slot for it"


def test_a_redis_that_refuses_leaves_tasks_without_a_limit_and_is_said_once(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.apply(CHARGES)
    ask = worker.client.eval

    def refuse(*_args: Any) -> Any:
        raise redis.ResponseError("no such right")

    monkeypatch.setattr(worker.client, "eval", refuse)
    assert worker.begins(Request()) == ""
    assert worker.limits.error == "ResponseError: no such right"
    assert worker.limits.follow(worker.link) == LATER_S
    assert [worker.begins(Request()) for _ in range(5)] == [""] * 5
    monkeypatch.setattr(worker.client, "eval", ask)
    worker.limits.follow(worker.link)
    assert worker.limits.error == ""

    def away(*_args: Any) -> Any:
        raise redis.ConnectionError

    monkeypatch.setattr(worker.client, "eval", away)
    with pytest.raises(redis.ConnectionError):
        worker.limits.follow(worker.link)
    assert worker.limits.error == "", "what is leased holds until it ends"


def test_how_many_a_worker_may_take_is_what_it_fetches_and_at_least_one_for_each_process(worker: Worker) -> None:
    assert worker.limits._size() == 4
    worker.consumer.pool.num_processes = 9
    assert worker.limits._size() == 9
    worker.consumer.pool.num_processes = None
    worker.consumer.qos.value = 0
    assert worker.limits._size() == MOST_AT_ONCE, "no prefetch limit"
    worker.consumer.qos = None
    assert worker.limits._size() == MOST_AT_ONCE
    worker.consumer.qos = SimpleNamespace(value=1)
    assert worker.limits._size() == 1


def test_without_limits_a_task_waits_for_none(worker: Worker) -> None:
    worker.limits.apply(NONE, lambda _meant: pytest.fail("nothing begins"))
    assert (worker.begins(Request()), worker.gate.limits, worker.limits.waits) == ("", None, False)
    assert celery_private.is_reserved(Request()) is False
