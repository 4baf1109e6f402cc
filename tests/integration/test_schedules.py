"""A real beat on a real server: its entries are seen, paused, resumed and run now."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis
from support.beats import beat
from support.cli import Result
from support.services import Valkey, until
from support.workers import eventually

from opsdash.errors import Refused, Unavailable
from opsdash.keys import Keys
from opsdash.model import Schedule, Status
from opsdash.operations import PauseSchedule, ResumeSchedule, RunScheduleNow
from opsdash.services.console import Console
from opsdash.services.workers import schedules

KEYS = Keys()


@pytest.fixture
def client(valkey: Valkey) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(valkey.url, decode_responses=True) as made:
        yield made


def entry(console: Console, name: str) -> Schedule | None:
    return next((one for one in console.schedules.read() if one.name == name), None)


@pytest.mark.long
def test_entries_are_seen_paused_resumed_and_run_now(
    valkey: Valkey, client: redis.Redis, console_for: Callable[..., Console], cli: Callable[..., Result], tmp_path: Path
) -> None:
    console = console_for()
    with beat(valkey, tmp_path) as running:
        eventually(lambda: len(console.schedules.read()) == 4, what="three entries, and Celery's own", timeout_s=20)
        nightly = entry(console, "nightly")
        assert (nightly.task, nightly.schedule, nightly.last_run_at) == ("sample.report", "crontab 0 4 * * *", None)
        assert (nightly.state, nightly.pid, nightly.enabled) == ("runs", running.process.pid, True)
        assert 0 < (nightly.next_run_at - datetime.now(UTC)).total_seconds() <= 86_401
        assert entry(console, "often").schedule == "every 1 second"
        eventually(lambda: entry(console, "often").last_run_at, what="its last run")
        assert "crontab 0 4 * * *" in cli("schedules").out

        done = console.run(
            PauseSchedule(schedule="often", duration_s=600, reason="noisy"), actor="maria", confirm="YES"
        )
        assert done.message.startswith("Paused schedule often until")
        eventually(lambda: "often is paused and not sent" in running.log, what="beat knows of the pause")
        client.delete("celery", "emails")
        eventually(lambda: client.llen("emails") >= 3, what="the other one goes on")
        assert client.llen("celery") == 0
        eventually(lambda: (entry(console, "often").missed or 0) >= 3, what="missed runs are counted")
        paused = entry(console, "often")
        assert (paused.state, paused.applied, paused.pause.by, paused.pause.reason) == (
            "paused",
            True,
            "maria",
            "noisy",
        )
        assert (datetime.now(UTC) - paused.last_run_at).total_seconds() > 2, "a run that was left out is none"
        (shown,) = [one for one in json.loads(cli("schedules", "--json").out) if one["name"] == "often"]
        assert (shown["state"], shown["pause"]["by"]) == ("paused", "maria")

        ran = console.run(RunScheduleNow(schedule="often"), actor="maria", confirm="YES")
        (message,) = client.lrange("celery", 0, -1)
        assert json.loads(message)["headers"]["id"] == ran.details["task_id"]
        assert ran.details["task_id"] in ran.message
        assert console.get_recent_operations(1)[0].details["task_id"] == ran.details["task_id"]

        client.delete("celery")
        console.run(ResumeSchedule(schedule="often"), actor="maria", confirm="YES")
        eventually(lambda: client.llen("celery") >= 1, what="it is sent again")
        time.sleep(1.0)  # what it missed would come at once
        assert client.llen("celery") <= 3, "nothing is caught up"

        ran = console.run(RunScheduleNow(schedule="nightly"), actor="maria", confirm="YES")
        (message,) = client.lrange("reports", 0, -1)
        assert "'a': 1" in json.loads(message)["headers"]["kwargsrepr"]
        assert entry(console, "nightly").next_run_at.hour == 4


@pytest.mark.long
def test_a_resumed_entry_sends_once_for_what_it_missed_if_asked(
    valkey: Valkey, client: redis.Redis, console_for: Callable[..., Console], tmp_path: Path
) -> None:
    console = console_for()
    with beat(valkey, tmp_path):
        eventually(lambda: entry(console, "other"), what="entries", timeout_s=20)
        console.run(PauseSchedule(schedule="nightly"), actor="maria", confirm="YES")
        done = console.run(ResumeSchedule(schedule="nightly", catch_up=True), actor="maria", confirm="YES")
        assert "missed nothing" in done.message
        console.run(PauseSchedule(schedule="other"), actor="maria", confirm="YES")
        eventually(lambda: (entry(console, "other").missed or 0) >= 2, what="missed runs", timeout_s=20)
        preview = console.preview(ResumeSchedule(schedule="other"))
        assert preview.choices == ("catch_up",)
        assert any("not caught up" in line.text for line in preview.lines)
        client.delete("emails")
        done = console.run(ResumeSchedule(schedule="other", catch_up=True), actor="maria", confirm="YES")
        assert done.details["task_id"] in {json.loads(text)["headers"]["id"] for text in client.lrange("emails", 0, -1)}


@pytest.mark.long
def test_beat_goes_on_while_redis_can_not_be_asked_and_keeps_the_pauses_it_knows(
    valkey: Valkey, client: redis.Redis, console_for: Callable[..., Console], tmp_path: Path
) -> None:
    console = console_for()
    with beat(valkey, tmp_path) as running:
        eventually(lambda: entry(console, "often"), what="entries", timeout_s=20)
        console.run(PauseSchedule(schedule="often"), actor="maria", confirm="YES")
        eventually(lambda: "often is paused and not sent" in running.log, what="beat knows of the pause")
        client.execute_command("ACL", "SETUSER", "default", "-eval")  # what beat sends still arrives
        eventually(lambda: "beat goes on" in running.log, what="beat says so")
        client.delete("celery", "emails")
        eventually(lambda: client.llen("emails") >= 3, what="the others go on", timeout_s=20)
        assert client.llen("celery") == 0
        client.execute_command("ACL", "SETUSER", "default", "+eval")
        eventually(lambda: "can be read again" in running.log, what="beat reads again", timeout_s=20)


@pytest.mark.long
def test_a_pause_ends_by_itself(
    valkey: Valkey, client: redis.Redis, console_for: Callable[..., Console], tmp_path: Path
) -> None:
    console = console_for()
    with beat(valkey, tmp_path) as running:
        eventually(lambda: entry(console, "often"), what="entries", timeout_s=20)
        console.run(PauseSchedule(schedule="often", duration_s=4), actor="maria", confirm="YES")
        eventually(lambda: "often is paused and not sent" in running.log, what="beat knows of the pause")
        client.delete("celery")
        eventually(lambda: client.llen("celery"), what="it is sent again")
        assert entry(console, "often").pause is None
        eventually(lambda: console.snapshot().operations[0].user == "(expiry)", what="its audit entry")
        (expired, paused) = console.get_recent_operations(2)
        assert (expired.user, expired.operation, expired.status) == ("(expiry)", "resume_schedule", Status.SUCCESS)
        assert expired.details["message"] == "The pause of schedule often by maria expired."
        assert paused.operation == "pause_schedule"
        assert not client.exists(KEYS.schedules_paused)


def report(client: redis.Redis, name: str, **fields: object) -> None:
    client.hset(KEYS.schedules, name, json.dumps({"task": "t", "at": time.time(), **fields}))


def test_what_no_beat_reports_can_not_be_paused_and_it_is_said_what_there_is(
    client: redis.Redis, console_for: Callable[..., Console], cli: Callable[..., Result]
) -> None:
    console = console_for()
    assert "opsdash.beat:Scheduler" in cli("schedules").out
    with pytest.raises(Refused, match=r"opsdash\.beat"):
        console.run(PauseSchedule(schedule="nightly"), actor="maria", confirm="YES")
    report(client, "nightly")
    with pytest.raises(Refused, match="nightly"):
        console.preview(ResumeSchedule(schedule="nigtly"))
    with pytest.raises(Refused, match="not paused"):
        console.preview(ResumeSchedule(schedule="nightly"))


def test_a_run_that_no_beat_takes_is_taken_back_and_nothing_was_sent(
    client: redis.Redis, console_for: Callable[..., Console], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedules, "ANSWER_S", 0.3)
    console = console_for()
    report(client, "nightly")
    with pytest.raises(Unavailable, match="nothing was sent"):
        console.run(RunScheduleNow(schedule="nightly"), actor="maria", confirm="YES")
    assert not client.exists(KEYS.schedules_asked)
    assert console.get_recent_operations(1)[0].status is Status.FAILURE
    report(client, "nightly", at=time.time() - 60)
    assert entry(console, "nightly").state == "silent"
    with pytest.raises(Unavailable, match="does not report"):
        console.run(RunScheduleNow(schedule="nightly"), actor="maria", confirm="YES")


@pytest.mark.parametrize("value", ["", "{", "[]", "3", '{"at": "x", "missed": -1, "last": 5, "pid": []}', "\0" * 9_000])
def test_foreign_values_are_read_as_what_is_not_known(
    client: redis.Redis, console_for: Callable[..., Console], value: str
) -> None:
    console = console_for()
    client.hset(KEYS.schedules, "odd", value)
    client.hset(KEYS.schedules_paused, "odd", value)
    assert [one.pause for one in console.schedules.read()] in ([], [None])
    client.delete(KEYS.schedules)
    client.set(KEYS.schedules, value)
    assert until(lambda: console.schedules.read() == ())
