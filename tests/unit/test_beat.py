"""The mixin of beat's schedulers, without a process: what is held, what is sent, and what is said of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import fakeredis
import pytest
import redis
from celery import Celery
from celery import beat as celery_beat
from celery.schedules import BaseSchedule, crontab, schedule

import opsdash.beat
from opsdash.beat import control, entries
from opsdash.beat.words import in_short
from opsdash.keys import Keys

KEYS = Keys()
LATE = datetime.now(UTC) - timedelta(hours=1)


class Sending(celery_beat.Scheduler):  # type: ignore[misc]  # Celery has no types
    """Celery's scheduler, whose tasks go into a list."""

    def setup_schedule(self) -> None:
        self.sent: list[str] = []
        self.schedule = {}
        for name in ("often", "other"):
            self.schedule[name] = self.Entry(
                name=name, task=f"task.{name}", schedule=60.0, last_run_at=LATE, total_run_count=1, app=self.app
            )

    producer = None

    def apply_async(self, entry: Any, producer: Any = None, advance: bool = True, **options: Any) -> Any:
        if entry.name == "broken":
            raise ValueError("no such task")
        if advance:
            self.reserve(entry)
        self.sent.append(entry.name)
        return type("Result", (), {"id": f"id-of-{entry.name}"})()


class Scheduler(opsdash.beat.Schedules, Sending):  # type: ignore[misc]
    """With the mixin."""


@pytest.fixture
def client() -> redis.Redis:
    return fakeredis.FakeRedis(version=7)


@pytest.fixture
def scheduler(client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Scheduler:
    class Link:
        def __init__(self, _app: Any) -> None:
            self.redis, self.keys = client, KEYS

        def close(self) -> None:
            pass

    monkeypatch.setattr(control, "Link", Link)
    monkeypatch.setattr(control, "READ_S", 0.0)
    return Scheduler(Celery("proj", broker="redis://127.0.0.1:1/0", set_as_current=False))


def pause(client: redis.Redis, name: str, *, for_s: float = 600) -> None:
    ends = float(client.time()[0]) + for_s
    client.hset(KEYS.schedules_paused, name, json.dumps({"by": "maria", "ends": ends}))


def due(scheduler: Scheduler) -> list[str]:
    """What one round sends when all is due."""
    scheduler.sent = []
    for entry in scheduler.schedule.values():
        entry.last_run_at = LATE
    scheduler._heap = None
    while scheduler.tick() == 0:
        pass
    return sorted(scheduler.sent)


def told(client: redis.Redis, scheduler: Scheduler, name: str) -> dict[str, Any]:
    scheduler._opsdash._next_report = 0.0
    scheduler.tick()
    found: dict[str, Any] = json.loads(client.hget(KEYS.schedules, name))
    return found


def test_a_paused_entry_comes_due_and_is_not_sent_and_is_not_caught_up(client, scheduler: Scheduler) -> None:
    assert due(scheduler) == ["often", "other"]
    pause(client, "often")
    assert due(scheduler) == ["other"]
    last = told(client, scheduler, "often")
    assert (last["paused"], last["missed"]) == (True, 1)
    assert due(scheduler) == ["other"]
    assert told(client, scheduler, "often")["missed"] == 2
    client.delete(KEYS.schedules_paused)
    scheduler.sent = []
    while scheduler.tick() == 0:
        pass
    assert scheduler.sent == [], "it is due a minute after the run that was left out"
    assert told(client, scheduler, "often")["missed"] is None
    assert due(scheduler) == ["often", "other"]


def test_a_run_that_was_left_out_is_not_shown_as_the_last_one(client, scheduler: Scheduler) -> None:
    pause(client, "often")
    due(scheduler)
    assert datetime.fromisoformat(told(client, scheduler, "often")["last"]) == LATE.replace(microsecond=0)
    assert datetime.fromisoformat(told(client, scheduler, "other")["last"]) > LATE + timedelta(minutes=50)


def test_a_pause_that_has_ended_holds_nothing(client, scheduler: Scheduler) -> None:
    pause(client, "often", for_s=-1)
    assert due(scheduler) == ["often", "other"]


def test_a_scheduler_that_sends_past_apply_entry_is_held_too(client, scheduler: Scheduler) -> None:
    pause(client, "often")
    scheduler.tick()
    before = scheduler.schedule["often"].total_run_count
    scheduler.sent = []
    assert scheduler.apply_async(scheduler.schedule["often"]) is None
    assert (scheduler.sent, scheduler.schedule["often"].total_run_count) == ([], before + 1)


def test_an_entry_runs_now_when_it_is_asked_for_also_while_it_is_paused(client, scheduler: Scheduler) -> None:
    pause(client, "often")
    scheduler.tick()
    now = float(client.time()[0])
    client.hset(KEYS.schedules_asked, "r1", json.dumps({"name": "often", "at": now}))
    client.hset(KEYS.schedules_asked, "r2", json.dumps({"name": "of another beat", "at": now}))
    client.hset(KEYS.schedules_asked, "r3", json.dumps({"name": "other", "at": now - 60}))
    client.hset(KEYS.schedules_asked, "r4", "nonsense")
    before = scheduler.schedule["often"].last_run_at
    scheduler.sent = []
    scheduler._opsdash_follow(scheduler._opsdash)
    assert scheduler.sent == ["often"]
    assert scheduler.schedule["often"].last_run_at == before
    assert json.loads(client.get(KEYS.schedule_answer("r1"))) == {"task_id": "id-of-often"}
    assert sorted(client.hkeys(KEYS.schedules_asked)) == [b"r2", b"r3", b"r4"]


def test_what_can_not_be_sent_is_answered_with_its_error(client, scheduler: Scheduler) -> None:
    scheduler.schedule["broken"] = scheduler.Entry(name="broken", task="gone", schedule=60.0, app=scheduler.app)
    client.hset(KEYS.schedules_asked, "r1", json.dumps({"name": "broken", "at": float(client.time()[0])}))
    scheduler._opsdash_follow(scheduler._opsdash)
    assert json.loads(client.get(KEYS.schedule_answer("r1"))) == {"error": "ValueError: no such task"}


def test_an_entry_that_is_gone_is_reported_no_more_and_others_stay(client, scheduler: Scheduler) -> None:
    client.hset(KEYS.schedules, "of another beat", "{}")
    told(client, scheduler, "often")
    del scheduler.schedule["often"]
    told(client, scheduler, "other")
    assert sorted(client.hkeys(KEYS.schedules)) == [b"of another beat", b"other"]
    assert 86_000 < client.ttl(KEYS.schedules) <= 86_400


def test_the_hash_of_entries_is_bounded(client, scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "MOST_SCHEDULES", 3)
    for n in range(10):
        scheduler.schedule[f"e{n}"] = scheduler.Entry(name=f"e{n}", task="t", schedule=60.0, app=scheduler.app)
    told(client, scheduler, "often")
    assert client.hlen(KEYS.schedules) == 3


@pytest.mark.parametrize("value", ["no hash", None])
def test_keys_of_another_type_and_outages_stop_nothing(client, scheduler: Scheduler, value: str | None, monkeypatch):
    if value is None:
        monkeypatch.setattr(client, "eval", lambda *_: (_ for _ in ()).throw(redis.ConnectionError("gone")))
    else:
        for key in (KEYS.schedules_paused, KEYS.schedules_asked, KEYS.schedules):
            client.set(key, value)
    assert due(scheduler) == ["often", "other"]


def test_a_fault_of_ours_does_not_end_beat(scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise AssertionError("on purpose")

    monkeypatch.setattr(scheduler._opsdash, "follow", broken)
    monkeypatch.setattr(scheduler._opsdash, "report", broken)
    assert due(scheduler) == ["often", "other"]


def test_beat_looks_again_within_a_second_and_asks_once_a_second(client, scheduler: Scheduler, monkeypatch) -> None:
    monkeypatch.setattr(control, "READ_S", 1.0)
    asked = []
    real = client.eval
    monkeypatch.setattr(client, "eval", lambda script, *rest: asked.append(script) or real(script, *rest))
    due(scheduler)
    for _ in range(20):
        assert 0 <= scheduler.tick() <= 1.0
    assert len([script for script in asked if "HGETALL" in script]) == 1
    assert len(asked) == 2, "and one report"


def test_on_another_broker_beat_runs_as_ever(caplog: pytest.LogCaptureFixture) -> None:
    made = Scheduler(Celery("proj", broker="memory://", set_as_current=False))
    assert due(made) == ["often", "other"]
    assert "can't be paused" in caplog.text


class Row:
    """One of django-celery-beat's, as it was read."""

    name, task, enabled, one_off, total_run_count = "nightly", "task.nightly", True, False, 0
    last_run_at = expires = start_time = None
    date_changed = LATE

    def __init__(self, **values: Any) -> None:
        self.schedule = schedule(7_200.0)
        vars(self).update(values)

    def save(self) -> None:
        raise AssertionError("a report writes nothing")


class Loaded:
    """An entry that was made of a row, with the last run of then."""

    def __init__(self, model: Row, app: Any = None) -> None:
        self.name, self.task, self.model, self.schedule, self.app = model.name, model.task, model, model.schedule, app
        self.last_run_at, self.total_run_count = model.last_run_at, model.total_run_count

    def is_due(self) -> Any:
        raise AssertionError("it may save its row")


class Table:
    """A manager of rows that can be asked as Django's are."""

    def __init__(self, *rows: Row) -> None:
        self.rows, self.gone = list(rows), False

    def select_related(self, *_: str) -> Table:
        return self

    def order_by(self, *_: str) -> list[Row]:
        if self.gone:
            raise RuntimeError("the database is away")
        return self.rows

    def filter(self, name: str) -> Table:
        return Table(*(row for row in self.rows if row.name == name))

    def first(self) -> Row | None:
        return next(iter(self.rows), None)


@pytest.fixture
def table(scheduler: Scheduler) -> Table:
    found = Table()
    scheduler._opsdash_rows = entries.Rows(type("Model", (), {"_default_manager": found}))
    scheduler.Entry = Loaded
    return found


def test_a_row_that_is_not_loaded_is_reported_paused_and_run_now(client, scheduler: Scheduler, table: Table) -> None:
    table.rows = [Row(), Row(name="off", enabled=False)]
    pause(client, "nightly")
    scheduler.tick()
    found = told(client, scheduler, "nightly")
    assert (found["paused"], found["missed"], found["enabled"], found["last"]) == (True, 0, True, None)
    assert datetime.fromisoformat(found["next"]) - datetime.now(UTC) < timedelta(hours=1)
    off = told(client, scheduler, "off")
    assert (off["enabled"], off["next"], off["schedule"]) == (False, None, "every 2 hours")
    client.hset(KEYS.schedules_asked, "r1", json.dumps({"name": "off", "at": float(client.time()[0])}))
    scheduler._opsdash_follow(scheduler._opsdash)
    assert scheduler.sent[-1] == "off"
    table.gone = True
    assert told(client, scheduler, "off")["enabled"] is False, "what was read last stays while the database is away"
    table.gone, table.rows = False, []
    told(client, scheduler, "often")
    assert sorted(client.hkeys(KEYS.schedules)) == [b"often", b"other"]


def test_a_loaded_entry_has_the_times_of_its_row_which_is_newer() -> None:
    row = Row(last_run_at=LATE - timedelta(days=1), total_run_count=1)
    entry = Loaded(row)
    row.last_run_at, row.total_run_count = LATE, 2
    row.date_changed = LATE - timedelta(days=2)
    assert entries.last_run(entry) == LATE.isoformat(timespec="seconds")
    assert datetime.fromisoformat(entries.next_run(entry)) > datetime.now(UTC) + timedelta(minutes=50)


@pytest.mark.parametrize(
    "values",
    [
        {"enabled": False},
        {"expires": LATE},
        {"one_off": True, "total_run_count": 1, "last_run_at": LATE},
        {"schedule": None},
    ],
)
def test_what_does_not_come_again_has_no_next_run(values: dict[str, Any]) -> None:
    assert entries.next_run(Row(**values)) is None


def test_what_has_a_start_is_not_due_before_it_and_a_change_is_no_run() -> None:
    start = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3)
    assert entries.next_run(Row(start_time=start)) == start.isoformat()
    assert entries.last_run(Row(last_run_at=LATE, total_run_count=3)) is None, "it was enabled again then"


class Crontab(crontab):  # type: ignore[misc] # Celery has no types
    """As django-celery-beat's: in a zone of its own."""

    tz: Any = None

    def __init__(self, *args: str, tz: str) -> None:
        self.tz = tz
        super().__init__(*args)


class Clocked(BaseSchedule):  # type: ignore[misc] # as above
    """As django-celery-beat's."""

    clocked_time = datetime(2026, 12, 24, 18, tzinfo=UTC)


class Tides(BaseSchedule):  # type: ignore[misc]
    """Anybody's own kind."""

    def __str__(self) -> str:
        return "at high tide"


ASKED = crontab("0", "5")
assert ASKED.tz, "it keeps the app's zone then"


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (ASKED, "crontab 0 5 * * *"),
        (schedule(30.0), "every 30 seconds"),
        (schedule(3_600.0), "every 1 hour"),
        (schedule(90.0), "every 90 seconds"),
        (schedule(0.5), "every 0.5 seconds"),
        (crontab("*/5", "4", day_of_week="mon"), "crontab */5 4 * * mon"),
        (Crontab("0", "4", tz="Europe/Berlin"), "crontab 0 4 * * * Europe/Berlin"),
        (Clocked(), "once at 2026-12-24 18:00:00 UTC"),
        (Tides(), "at high tide"),
    ],
)
def test_a_schedule_is_said_in_words(kind: Any, text: str) -> None:
    assert in_short(kind) == text
