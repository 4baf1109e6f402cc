"""What a worker measures of the time in queue, task by task."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from celery import Celery, chain
from celery.signals import before_task_publish

import opsdash.worker
from opsdash.keys import SENT
from opsdash.model.hold import Hold
from opsdash.model.time_in_queue import MOST_QUEUES, TimeInQueue, bucket_of, by_queue
from opsdash.worker.gate import PauseState
from opsdash.worker.hold_rules import HoldRules
from opsdash.worker.message_origin import Origin
from opsdash.worker.sent_time import _stamp
from opsdash.worker.time_in_queue import MOST_ENDED, QueueTimes

NOW = 1_800_000_000.0
OPEN, PAUSED = PauseState(), PauseState(everything=True)


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> QueueTimes:
    """At the moment ``NOW``, with clocks that agree."""
    monkeypatch.setattr(time, "time", lambda: NOW)
    return QueueTimes()


def request(
    sent: Any = None,
    *,
    queue: str | None = "emails",
    eta_s: float | None = None,
    start: float = NOW,
    headers: Any = ...,
) -> Any:
    """One that was sent at ``sent``, with an ETA so many seconds later, and started at ``start``."""
    message = SimpleNamespace(headers=({} if sent is None else {SENT: sent}) if headers is ... else headers)
    if queue is not None:
        message.opsdash_origin = Origin(queue, queue, b"")
    eta = None if eta_s is None else datetime.fromtimestamp(sent, UTC) + timedelta(seconds=eta_s)
    return SimpleNamespace(message=message, time_start=start, eta=eta)


def note(times: QueueTimes, one: Any) -> None:
    """A worker starts it."""
    times.note(one, one.message)


def seen(times: QueueTimes, queue: str = "emails") -> TimeInQueue:
    return by_queue(json.loads(times.as_json([queue]))).get(queue, TimeInQueue())


def only(seconds: float) -> tuple[int, ...]:
    return tuple(int(bucket == bucket_of(seconds)) for bucket in range(len(TimeInQueue().counts)))


def test_a_tasks_time_is_its_start_minus_its_sending(times: QueueTimes) -> None:
    note(times, request(NOW - 4))
    assert seen(times).counts == only(4)
    assert seen(times).sum_s == pytest.approx(4)


def test_with_an_eta_it_counts_from_there(times: QueueTimes) -> None:
    note(times, request(NOW - 3_600, eta_s=3_598))
    assert seen(times).counts == only(2)


@pytest.mark.parametrize(
    "written",
    [
        lambda at: at.isoformat(),
        lambda at: at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        lambda at: at.astimezone(timezone(timedelta(hours=-7))).isoformat(),
        lambda at: at.replace(tzinfo=None).isoformat(),  # Celery takes it for UTC
        lambda at: at.timestamp(),
        lambda at: [at.isoformat()],
    ],
    ids=["as Celery writes it", "Z", "another zone", "no zone", "a number", "a list"],
)
def test_an_eta_is_the_same_however_a_sender_writes_it(
    times: QueueTimes, written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        due = datetime.fromtimestamp(NOW - 2, UTC)
        one = request(headers={SENT: NOW - 3_600, "eta": written(due)})
        one.eta = due.astimezone(ZoneInfo("Europe/Berlin"))  # what Celery has made of it
        note(times, one)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert seen(times).counts == only(2)


def test_a_message_that_says_that_it_has_no_eta_has_none(times: QueueTimes) -> None:
    note(times, request(headers={SENT: NOW - 4, "eta": None}))
    assert seen(times).counts == only(4)


def test_an_eta_in_the_past_does_not_make_it_older_than_its_sending(times: QueueTimes) -> None:
    note(times, request(NOW - 4, eta_s=-3_600))
    assert seen(times).counts == only(4)


def test_the_start_is_read_by_the_clock_of_redis(times: QueueTimes) -> None:
    times.set_clock(-60)  # this machine is a minute ahead
    note(times, request(NOW - 64))
    assert seen(times).counts == only(4)


def test_a_start_before_the_sending_is_counted_as_a_difference_of_clocks(times: QueueTimes) -> None:
    note(times, request(NOW + 20))
    assert (seen(times).tasks, seen(times).clock) == (0, 1)
    note(times, request(NOW + 0.05))  # no clock is better than that
    assert (seen(times).tasks, seen(times).clock) == (1, 1)


@pytest.mark.parametrize(
    "headers",
    [
        *({}, None, [1], {SENT: None}, {SENT: "1800000000"}, {SENT: [NOW]}, {SENT: True}, {SENT: float("nan")}),
        *({SENT: -1e300}, {SENT: 0}, {SENT: {"a": 1}}),
    ],
)
def test_a_header_of_another_shape_is_no_time(times: QueueTimes, headers: Any) -> None:
    note(times, request(headers=headers))
    assert (seen(times).tasks, seen(times).unknown, seen(times).sum_s) == (0, 1, 0)


def test_a_broadcast_is_of_no_queue(times: QueueTimes) -> None:
    note(times, request(NOW - 4, queue=None))
    assert times.as_json([]) == "{}"


def test_what_waited_while_its_queue_was_paused_is_counted_apart(times: QueueTimes, monkeypatch) -> None:
    note(times, request(NOW - 5))
    times.follow(PauseState(queues=frozenset({"emails"})))
    monkeypatch.setattr(time, "time", lambda: NOW + 60)
    times.follow(OPEN)
    note(times, request(NOW + 30, start=NOW + 61))
    note(times, request(NOW - 5, start=NOW + 61))
    note(times, request(NOW + 30, start=NOW + 61, queue="reports"))  # it was not paused
    note(times, request(NOW + 60.5, start=NOW + 61))  # sent after the pause
    assert (seen(times).tasks, seen(times).paused) == (2, 2)
    assert (seen(times, "reports").tasks, seen(times, "reports").paused) == (1, 0)


def named(name: str, sent: float, start: float) -> Any:
    one = request(sent, start=start)
    one.name = name
    return one


def test_what_a_hold_has_held_is_counted_apart_and_what_came_after_it_or_has_another_name_is_not(
    times: QueueTimes, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = Hold(id="h", kind="task", name="shop.*")
    times.follow(PauseState(rules=HoldRules((hold,))))
    note(times, named("shop.charge", NOW - 5, NOW))  # it is being released
    note(times, named("mail", NOW - 5, NOW))
    assert (seen(times).tasks, seen(times).paused) == (1, 1)
    monkeypatch.setattr(time, "time", lambda: NOW + 60)
    times.follow(OPEN)
    note(times, named("shop.charge", NOW + 30, NOW + 61))
    note(times, named("mail", NOW + 30, NOW + 61))
    note(times, named("shop.charge", NOW + 60.5, NOW + 61))  # sent after the hold
    assert (seen(times).tasks, seen(times).paused) == (3, 2)


def test_of_the_holds_that_have_ended_only_the_last_ones_are_known(times: QueueTimes) -> None:
    for n in range(MOST_ENDED * 2):
        times.follow(PauseState(rules=HoldRules((Hold(id=str(n), kind="task", name=f"task{n}"),))))
        times.follow(OPEN)
    note(times, named("task0", NOW - 5, NOW))
    note(times, named(f"task{MOST_ENDED * 2 - 1}", NOW - 5, NOW))
    assert (seen(times).tasks, seen(times).paused) == (1, 1)


def test_a_pause_of_everything_counts_for_queues_that_had_no_task_before_it_too(times: QueueTimes, monkeypatch) -> None:
    note(times, request(NOW - 5))
    times.follow(PAUSED)
    monkeypatch.setattr(time, "time", lambda: NOW + 60)
    times.follow(OPEN)
    for queue in ("emails", "reports"):
        note(times, request(NOW + 30, start=NOW + 61, queue=queue))
        assert seen(times, queue).paused == 1


def test_draining_a_worker_is_no_pause_of_its_queues(times: QueueTimes) -> None:
    times.follow(PauseState(draining=True))
    times.follow(OPEN)
    note(times, request(NOW - 5))
    assert (seen(times).tasks, seen(times).paused) == (1, 0)


def test_a_client_that_invents_queues_does_not_fill_the_report(times: QueueTimes) -> None:
    for n in range(MOST_QUEUES * 2):
        note(times, request(NOW - 1, queue=f"q{n}"))
    assert len(times._queues) == MOST_QUEUES
    assert len(json.loads(times.as_json(["q0", "q1"]))) == 2  # the others are consumed no more
    note(times, request(NOW - 1, queue="emails"))
    assert seen(times).tasks == 1


def test_each_message_of_a_process_with_the_plug_in_is_stamped_whatever_sends_it(monkeypatch) -> None:
    app = Celery("proj", broker="memory://", set_as_current=False)
    opsdash.worker.install(app)

    @app.task(name="add", bind=True)
    def add(self: Any) -> None:
        pass

    sent: list[Any] = []

    def keep(headers: Any, **_: Any) -> None:
        sent.append(headers.get(SENT))

    before_task_publish.connect(keep)
    began = time.time()
    try:
        add.delay()
        add.apply_async(countdown=60)
        app.send_task("elsewhere", headers={SENT: 5.0})  # as a retry carries the header of the try before it
        chain(add.si(), add.si())()
    finally:
        before_task_publish.disconnect(keep)
    assert len(sent) == 4
    assert all(began <= at <= time.time() for at in sent)


def test_headers_that_are_none_are_left_alone() -> None:
    _stamp(headers=None)
    _stamp(headers=[1])
