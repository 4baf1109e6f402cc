"""Tasks by name and argument text, page by page: what runs, was fetched, waits, failed; nothing hidden is searched."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import fakeredis
import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st
from support.errors import fails
from support.failed_tasks import SEND, failed, keep
from support.holders import Nobody
from support.messages import fetched, hostile, message

from opsdash.errors import Invalid
from opsdash.model import TaskPlace
from opsdash.services.broker.client import Broker
from opsdash.services.failures.find_failed import FailedSearch
from opsdash.services.failures.store import FailureStore
from opsdash.services.queues import scan
from opsdash.services.queues.search_cursor import Cursor
from opsdash.services.queues.search_tasks import TaskQuery, TaskSearch
from opsdash.services.workers.task_holders import HeldTask


def searched(broker: Broker, *tasks: HeldTask, redact: str = "", failed: FailedSearch | None = None) -> TaskSearch:
    return TaskSearch(broker, Nobody(*tasks), lambda: broker.queues, redact, failed)  # type: ignore[arg-type] # in place of workers


def every(
    search: TaskSearch, query: TaskQuery, limit: int = 200, between: Callable[[], object] = lambda: None
) -> Iterator[TaskPlace]:
    """All pages."""
    after = ""
    for _ in range(10_000):
        page = search.page(query, after=after, limit=limit)
        yield from page.tasks
        if not (after := page.after):
            return
        between()
    raise AssertionError("the search has no end")


def push(broker: Broker, *messages: str | bytes, queue: str = "celery", step: int = 0) -> None:
    broker.client.lpush(broker.lists(queue)[step], *messages)


def test_a_search_finds_by_id_name_and_argument_over_all_queues_and_states(broker: Broker) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    push(broker, message("w-1", "shop.refund", ["Order 4711"]), message("w-2"), message("w-3", "shop.mail"))
    push(broker, message("e-1", "shop.mail", ["Order 4711"]), queue="emails", step=6)
    broker.client.hset(broker.unacked, "1", fetched(message("f-1", "shop.refund", ["order 4711"]), "emails"))
    broker.client.hset(broker.unacked, "2", fetched(message("f-2", "shop.mail", eta=soon)))
    running = HeldTask(id="r-1", worker="w1@host", state="active", name="shop.refund", arguments='"Order 4711"')
    search = searched(broker, running)

    def ids(**query: object) -> list[tuple[str, str]]:
        return [(one.id, one.state) for one in every(search, TaskQuery(**query))]  # type: ignore[arg-type]

    everywhere = [("r-1", "active"), ("f-1", "reserved"), ("w-1", "waiting"), ("e-1", "waiting")]
    assert ids(text="order 4711") == everywhere
    assert ids(text="ORDER 4711", name="shop.re*") == everywhere[:3]
    assert ids(name="shop.mail") == [("f-2", "scheduled"), ("w-3", "waiting"), ("e-1", "waiting")]
    assert ids(queue="emails") == [("f-1", "reserved"), ("e-1", "waiting")]
    assert ids(states=("scheduled",)) == [("f-2", "scheduled")]
    assert ids(states=("waiting",)) == [("w-3", "waiting"), ("w-2", "waiting"), ("w-1", "waiting"), ("e-1", "waiting")]
    assert ids(text="w-2") == [("w-2", "waiting")]
    (found,) = every(search, TaskQuery(text="shop.refund", states=("waiting",)))
    assert (found.queue, found.position, found.waiting, found.arguments) == ("celery", 1, 3, '"Order 4711"')


def test_a_late_acknowledged_task_that_runs_is_not_listed_as_fetched_too(broker: Broker) -> None:
    broker.client.hset(broker.unacked, "1", fetched(message("r-1")))
    search = searched(broker, HeldTask(id="r-1", worker="w1@host", state="active", name="shop.charge"))
    assert [one.state for one in every(search, TaskQuery())] == ["active"]


@pytest.mark.parametrize("limit", [1, 3, 10])
def test_pages_have_each_task_once_with_its_place(broker: Broker, limit: int) -> None:
    push(broker, *(message(f"a-{n}") for n in range(10)))
    push(broker, *(message(f"b-{n}") for n in range(7)), step=3)
    push(broker, message("other", "shop.mail"), *(message(f"c-{n}") for n in range(3)), queue="emails")
    found = list(every(searched(broker), TaskQuery(name="shop.charge"), limit))
    assert len({one.id for one in found}) == len(found) == 20
    places = {one.id: one.position for one in found}
    assert {places[f"a-{n}"] - n for n in range(10)} == {1}
    assert {places[f"b-{n}"] - n for n in range(7)} == {11}
    assert {places[f"c-{n}"] - n for n in range(3)} == {2}


def test_a_search_never_tells_what_is_hidden(broker: Broker) -> None:
    push(
        broker,
        message("1", args=[{"password": "hunter2-and-more"}, "Bearer hunter2-too"], kwargs={"deep": [[[[[7]]]]]}),
    )
    push(broker, message("2", args=["card 4711"]))
    search = searched(broker, redact="card")
    for text in ("hunter2", "hunter", "and-more", "4711"):
        assert list(every(search, TaskQuery(text=text))) == [], text
    assert [one.id for one in every(search, TaskQuery(text="password"))] == ["1"]
    long = message("3", args=["x" * 500 + "needle" + "y" * 500, *range(100), "behind the fiftieth"])
    push(broker, long)
    for text in ("needle", "behind the fiftieth"):
        assert [one.id for one in every(search, TaskQuery(text=text))] == ["3"], "more is searched than is shown"


def test_messages_that_can_not_be_read_are_no_match_and_no_error(broker: Broker) -> None:
    push(broker, *hostile("wanted-1"), message("wanted-1", "shop.mail"))
    assert [one.id for one in every(searched(broker), TaskQuery(name="shop.mail"))] == ["wanted-1"]
    everything = list(every(searched(broker), TaskQuery()))
    assert len(everything) == 12
    assert sum(bool(one.unreadable) for one in everything) >= 5
    broker.client.set(broker.lists("emails")[0], "no list")
    page = searched(broker).page(TaskQuery(name="shop.mail"))
    assert page.problems == ("A key of emails is not a list.",)


def test_a_page_ends_in_time_and_the_next_one_goes_on_there(broker: Broker) -> None:
    push(broker, *(message() for _ in range(900)), message("wanted", "shop.mail"))
    push(broker, *(message() for _ in range(900)))
    search = searched(broker)
    page = search.page(TaskQuery(name="shop.mail"), look_s=0)
    assert not page.tasks
    assert page.after
    pages = 0
    while page.after:
        assert page.looked_at <= 300
        page, pages = search.page(TaskQuery(name="shop.mail"), look_s=0, after=page.after), pages + 1
        if page.tasks:
            assert (page.tasks[0].id, page.tasks[0].position) == ("wanted", 901)
    assert pages > 5


def test_what_is_no_page_is_refused(broker: Broker) -> None:
    good = Cursor(stage="waiting", queue="celery", step=0, at=3, seen="x").text
    assert Cursor.of(good) == Cursor(stage="waiting", queue="celery", step=0, at=3, seen="x")
    for wrong in ("x", "!!", "W10", Cursor(stage="nowhere").text, good[:-4], "é"):
        with fails(Invalid, field="after"):
            searched(broker).page(TaskQuery(), after=wrong)
    gone = Cursor(stage="waiting", queue="no-more", step=0, at=3, seen="x").text
    assert searched(broker).page(TaskQuery(), after=gone).tasks == ()


MOVES = st.lists(st.sampled_from(["push", "push many", "pop", "give back"]), max_size=4)


@pytest.mark.long
@settings(max_examples=60)
@given(
    waiting=st.integers(1, 40),
    window=st.integers(1, 9),
    limit=st.integers(1, 9),
    moves=st.lists(MOVES, min_size=1, max_size=30),
    taken=st.integers(0, 30),
)
def test_whatever_is_pushed_and_popped_between_two_steps_what_waits_all_the_while_is_found(
    waiting: int, window: int, limit: int, moves: list[list[str]], taken: int
) -> None:
    """In memory: what counts is the order of reads and moves, and not the server."""
    import fakeredis

    from opsdash.model.key_layout import Layout
    from opsdash.services.broker.key_layout import Layouts

    client = fakeredis.FakeRedis(decode_responses=True, encoding_errors="backslashreplace")
    broker = Broker(client, Layouts.fixed(client, Layout()), "test", ("celery",))
    key = broker.lists("celery")[0]
    push(broker, *(message(f"w-{n}") for n in range(waiting)))
    turns, popped = iter(moves), list[str]()

    def between() -> None:
        for move in next(turns, []):
            if move == "pop" and len(popped) < taken:
                popped.append(client.rpop(key) or "")
            elif move == "give back" and popped:
                client.rpush(key, popped.pop())
            elif move.startswith("push"):
                push(broker, *(message() for _ in range(1 if move == "push" else 12)))

    before = (scan.FIRST, scan.LARGEST_WINDOW)
    scan.FIRST, scan.LARGEST_WINDOW = window, window
    try:
        found = [one.id for one in every(searched(broker), TaskQuery(), limit, between)]
    finally:
        scan.FIRST, scan.LARGEST_WINDOW = before
    stayed = {f"w-{n}" for n in range(min(taken, waiting), waiting)}
    assert stayed <= set(found)


@pytest.mark.long
def test_every_task_that_waits_all_the_while_is_found_while_others_push_and_pop_at_full_speed(
    broker: Broker, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan, "LARGEST_WINDOW", 50)
    key, ends = broker.lists("celery")[0], threading.Event()
    # fakeredis has one thread's worth of processor for both sides.
    early, stays = (1_000, 600) if isinstance(client, fakeredis.FakeRedis) else (3_000, 2_000)
    push(broker, *(message(f"early-{n}") for n in range(early)), *(message(f"stays-{n}") for n in range(stays)))

    def work() -> None:
        left = early
        while not ends.is_set():
            number = random.randint(1, 20)
            client.lpush(key, *(message() for _ in range(number)))
            for _ in range(min(left, number)):
                client.rpop(key)
                left -= 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        found = [one.id for one in every(searched(broker), TaskQuery(text="stays-"))]
    finally:
        ends.set()
        thread.join()
    assert set(found) == {f"stays-{n}" for n in range(stays)}


@pytest.mark.long
def test_failed_tasks_are_searched_too_and_come_last_the_newest_first(broker: Broker) -> None:
    push(broker, message("w-1", "shop.charge", ["Order 4711"]))
    shown = {"arguments": '"Order 4711"'}
    keep(broker, [failed(f"f-{n}", ago_s=100 + n, **shown) for n in range(120)])
    keep(broker, [failed("mail-1", SEND, queue="emails", arguments='"hidden"')])
    search = searched(broker, failed=FailedSearch(FailureStore(broker)))
    own = [f"f-{n}" for n in range(120)]
    assert [one.id for one in every(search, TaskQuery(text="order 4711"))] == ["w-1", *own]
    assert [one.id for one in every(search, TaskQuery(name="shop.charge"), limit=7)] == ["w-1", *own]
    assert [one.id for one in every(search, TaskQuery(queue="emails"))] == ["mail-1"]
    (mail,) = every(search, TaskQuery(text="HIDDEN", states=("failed",)))
    assert (mail.id, mail.state, mail.error, mail.sendable) == ("mail-1", "failed", "TimeoutError", True)
    assert [one.id for one in every(search, TaskQuery(states=("waiting",)))] == ["w-1"]
    page = search.page(TaskQuery(states=("failed",), name="nothing"))
    assert (page.looked_at, page.of) == (121, 121)


def test_what_fails_while_a_search_goes_on_makes_it_miss_none(broker: Broker) -> None:
    keep(broker, [failed(f"f-{n}", ago_s=100 + n) for n in range(20)])
    search = searched(broker, failed=FailedSearch(FailureStore(broker)))
    later = iter(range(1_000))

    def fail() -> None:
        keep(broker, [failed(f"new-{next(later)}", ago_s=1)])

    found = [one.id for one in every(search, TaskQuery(states=("failed",)), limit=3, between=fail)]
    assert found == [f"f-{n}" for n in range(20)]
