"""The entry of what ended by itself: whole, once for all consoles, and owed until the log has it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import fakeredis
import pytest

from opsdash.errors import Unavailable
from opsdash.model import PauseInfo, Status
from opsdash.model.key_layout import Layout
from opsdash.services.broker.client import Broker as RealBroker
from opsdash.services.broker.key_layout import Layouts
from opsdash.services.pause.ended import Ended
from opsdash.services.pause.expiry import EXPIRY, OUTSIDE, PauseExpiry
from opsdash.services.pause.hold_expiry import HoldExpiry
from opsdash.services.pause.schedule_expiry import ScheduleExpiry

BEGAN = datetime(2026, 11, 1, 12, tzinfo=UTC)
OVER = BEGAN + timedelta(minutes=10, seconds=1, microseconds=234_567)


class Audit:
    """Keeps what it is given; ``fails`` so many times before."""

    def __init__(self, fails: int = 0) -> None:
        self.notes: list[dict[str, Any]] = []
        self.fails = fails

    def here(self) -> str:
        return "redis/0"

    def note(self, **entry: Any) -> bool:
        if self.fails:
            self.fails -= 1
            raise Unavailable("The database does not answer.")
        new = entry["request_id"] not in [one["request_id"] for one in self.notes]
        if new:
            self.notes.append(entry)
        return new


class Flags:
    def __init__(self) -> None:
        self.forgotten: list[Any] = []

    def forget(self, info: PauseInfo) -> None:
        self.forgotten.append(info)


def paused(queue: str | None = "emails", **over: Any) -> PauseInfo:
    given = {"by": "maria", "reason": "bug 7", "at": BEGAN, "expires_at": OVER, "epoch": 3}
    return PauseInfo(queue=queue, **given | over)


def after(left: list[PauseInfo], audit: Audit) -> tuple[PauseExpiry, Flags]:
    flags = Flags()
    expiry = PauseExpiry(lambda: audit, flags)  # type: ignore[arg-type]
    expiry.look({}, left, 3)
    return expiry, flags


def test_a_pause_that_expired_has_one_whole_entry() -> None:
    audit, info = Audit(), paused()
    expiry, flags = after([info], audit)
    assert expiry.write_ended() == 1
    assert flags.forgotten == [info]
    assert audit.notes == [
        {
            "user": EXPIRY,
            "operation": "resume_processing",
            "status": Status.SUCCESS,
            "timestamp": OVER,
            "request_id": uuid5(NAMESPACE_URL, f"opsdash:pause-end:emails:3:{BEGAN.isoformat()}"),
            "details": {
                "message": "The pause of queue emails by maria expired.",
                "params": {"queue": "emails"},
                "surface": "system",
                "epoch": 3,
                "paused_at": "2026-11-01T12:00:00+00:00",
                "paused_s": 601.235,
                "reason": "bug 7",
            },
        }
    ]


def test_a_pause_whose_flag_was_taken_away_ended_now_and_outside() -> None:
    audit = Audit()
    late = datetime.now(UTC) + timedelta(hours=1)
    expiry, _ = after([paused(None, by="", expires_at=late), paused("a", expires_at=None, at=None)], audit)
    before = datetime.now(UTC)
    assert expiry.write_ended() == 2
    everything, unknown = audit.notes
    assert everything["user"] == unknown["user"] == OUTSIDE
    gone = "was ended outside opsdash: its flag is gone."
    assert everything["details"]["message"] == f"The pause of all processing by somebody {gone}"
    assert before <= everything["timestamp"] <= datetime.now(UTC)
    assert everything["request_id"] == uuid5(NAMESPACE_URL, f"opsdash:pause-end:*:3:{BEGAN.isoformat()}")
    assert unknown["request_id"] == uuid5(NAMESPACE_URL, "opsdash:pause-end:a:3:redis/0"), "one of this broker alone"
    assert (unknown["details"]["paused_at"], unknown["details"]["paused_s"]) == ("", None)


def test_a_flag_that_is_gone_as_its_time_is_up_by_another_clock_has_expired() -> None:
    audit = Audit()
    nearly = datetime.now(UTC) + timedelta(seconds=1.5)
    assert after([paused(expires_at=nearly)], audit)[0].write_ended() == 1
    (entry,) = audit.notes
    assert entry["user"] == EXPIRY
    assert entry["timestamp"] < nearly, "no entry is of the future"


def test_what_a_flush_has_taken_with_the_hash_is_written_from_what_was_seen_last() -> None:
    audit, flags = Audit(), Flags()
    expiry = PauseExpiry(lambda: audit, flags)  # type: ignore[arg-type]
    one, two, kept, told = (paused(queue, epoch=3) for queue in ("one", "two", "kept", "told"))
    expiry.look({info.queue: info for info in (one, two, kept, told)}, [], 3)
    expiry.look({"kept": kept}, [told], 2)
    assert expiry.write_ended() == 3, "those of the flush, and the one that the hash still has"
    assert [note["details"]["params"]["queue"] for note in audit.notes] == ["one", "two", "told"]
    assert flags.forgotten == [told]
    expiry.look({}, [], None)
    assert expiry.write_ended() == 1
    assert audit.notes[-1]["details"]["params"]["queue"] == "kept"


@pytest.mark.parametrize(("epoch", "then"), [(3, 3), (3, 4), (None, 1)])
def test_a_resume_is_no_flush(epoch: int | None, then: int) -> None:
    audit = Audit()
    expiry = PauseExpiry(lambda: audit, Flags())  # type: ignore[arg-type]
    expiry.look({"one": paused("one", epoch=epoch)}, [], 3)
    expiry.look({}, [], then)
    assert expiry.write_ended() == 0


def test_what_the_log_does_not_take_is_owed_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    audit, flags = Audit(), Flags()
    expiry = PauseExpiry(lambda: audit, flags)  # type: ignore[arg-type]
    expiry.look({"one": paused("one"), "two": paused("two")}, [], 3)
    expiry.look({}, [paused("three")], None)
    assert caplog.text == ""
    audit.fails = 2
    assert (expiry.write_ended(), expiry.write_ended()) == (0, 0)
    assert caplog.text.count("not audited yet") == 1
    assert expiry.write_ended() == 3
    assert expiry.write_ended() == 0
    audit.fails = 1
    expiry.look({}, [paused("four")], None)
    assert expiry.write_ended() == 0
    assert caplog.text.count("not audited yet") == 2, "another outage"


class Broker:
    """As much of it as is used here."""

    def __init__(self, client: Any = None) -> None:
        self.client = client
        self.keys = SimpleNamespace(hold_ended="ended")

    @contextlib.contextmanager
    def reading(self) -> Any:
        yield


class Things(Ended):
    what = "a thing"
    found: Mapping[str, str]
    forgotten: list[str]

    def _find(self) -> Mapping[str, str]:
        return self.found

    def _write(self, name: str, text: str) -> bool:
        return self.audit.note(request_id=name)  # type: ignore[call-arg]

    def _forget(self, name: str, text: str) -> None:
        self.forgotten.append(name)


def test_everything_that_ended_is_written_counted_and_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    audit = Audit()
    things = Things(audit, Broker())  # type: ignore[arg-type]
    things.found, things.forgotten = {"a": "", "b": ""}, []
    audit.fails = 2
    assert (things.write_ended(), things.write_ended()) == (0, 0)
    assert things.forgotten == []
    assert caplog.text.count("a thing that ended is not audited yet") == 1
    assert things.write_ended() == 2
    assert things.forgotten == ["a", "b"]
    things.found = {"b": "", "c": "", "d": ""}
    assert things.write_ended() == 2, "another console has written one"
    audit.fails = 1
    assert things.write_ended() == 0
    assert caplog.text.count("a thing that ended is not audited yet") == 2


@pytest.mark.parametrize(
    ("told", "operation", "params", "which"),
    [
        (
            {"kind": "task", "name": "shop.*"},
            "release_tasks",
            {"task": "shop.*", "queue": None},
            "hold of tasks shop.*",
        ),
        (
            {"kind": "task", "name": "shop.*", "queue": "emails"},
            "release_tasks",
            {"task": "shop.*", "queue": "emails"},
            "hold of tasks shop.* of queue emails",
        ),
        ({"kind": "tenant", "name": "acme"}, "release_tenant", {"tenant": "acme"}, "hold of tasks of tenant acme"),
        (
            {"kind": "limit", "name": "shop.*"},
            "remove_concurrency_limit",
            {"task": "shop.*"},
            "concurrency limit of shop.*",
        ),
        ({"kind": "of another version", "name": "x"}, "release_tasks", {"task": "x", "queue": None}, "hold of tasks x"),
    ],
)
def test_a_hold_that_ended_has_one_whole_entry(
    told: dict[str, str], operation: str, params: dict[str, Any], which: str
) -> None:
    audit = Audit()
    expiry = HoldExpiry(audit, Broker())  # type: ignore[arg-type]
    text = json.dumps({**told, "by": "maria", "at": BEGAN.isoformat(), "reason": "bug 7" * 50})
    name = f"0123456789ab:{OVER.isoformat()}"
    assert expiry._write(name, text)
    assert not expiry._write(name, text), "the same one for every console"
    assert audit.notes == [
        {
            "user": EXPIRY,
            "operation": operation,
            "status": Status.SUCCESS,
            "timestamp": OVER,
            "request_id": uuid5(NAMESPACE_URL, f"opsdash:hold-end:{name}:{BEGAN}:redis/0"),
            "details": {
                "message": f"The {which} by maria expired. Its tasks are the next to run.",
                "params": params,
                "surface": "system",
                "hold": "0123456789ab",
                "held_since": BEGAN.isoformat(),
                "held_s": 601.235,
                "reason": "bug 7" * 50,
            },
        }
    ]


def test_a_hold_that_says_nothing_of_itself_has_an_entry_too() -> None:
    audit = Audit()
    before = datetime.now(UTC)
    assert HoldExpiry(audit, Broker())._write("0123456789ab:", "nonsense")  # type: ignore[arg-type]
    (entry,) = audit.notes
    assert before <= entry["timestamp"] <= datetime.now(UTC)
    assert entry["request_id"] == uuid5(NAMESPACE_URL, "opsdash:hold-end:0123456789ab:::redis/0")
    details = entry["details"]
    assert details["message"] == "The hold of tasks  by somebody expired. Its tasks are the next to run."
    assert (details["held_since"], details["held_s"], details["reason"]) == ("", None, "")


def test_a_schedules_pause_that_ended_has_one_whole_entry() -> None:
    audit = Audit()
    expiry = ScheduleExpiry(audit, Broker())  # type: ignore[arg-type]
    text = json.dumps({"by": "maria", "reason": "bug 7", "at": BEGAN.timestamp(), "ends": OVER.timestamp()})
    assert expiry._write("nightly", text)
    assert not expiry._write("nightly", text)
    assert audit.notes == [
        {
            "user": EXPIRY,
            "operation": "resume_schedule",
            "status": Status.SUCCESS,
            "timestamp": OVER,
            "request_id": uuid5(NAMESPACE_URL, f"opsdash:schedule-end:nightly:{BEGAN.isoformat()}:{OVER}:redis/0"),
            "details": {
                "message": "The pause of schedule nightly by maria expired.",
                "params": {"schedule": "nightly"},
                "surface": "system",
                "paused_at": BEGAN.isoformat(),
                "paused_s": 601.235,
                "reason": "bug 7",
            },
        }
    ]
    assert not expiry._write("nightly", "nonsense")


def test_a_schedules_pause_of_nobody_has_an_entry_too() -> None:
    audit = Audit()
    text = json.dumps({"ends": OVER.timestamp()})
    assert ScheduleExpiry(audit, Broker())._write("nightly", text)  # type: ignore[arg-type]
    (entry,) = audit.notes
    assert entry["request_id"] == uuid5(NAMESPACE_URL, f"opsdash:schedule-end:nightly::{OVER}:redis/0")
    details = entry["details"]
    assert details["message"] == "The pause of schedule nightly by somebody expired."
    assert (details["paused_at"], details["paused_s"], details["reason"]) == ("", None, "")


def test_holds_that_ended_are_read_from_redis_written_once_and_forgotten_there() -> None:
    client = fakeredis.FakeRedis(decode_responses=True)
    broker = RealBroker(client, Layouts.fixed(client, Layout()), "test", ("celery",))
    audit = Audit()
    expiry = HoldExpiry(audit, broker)  # type: ignore[arg-type]
    assert expiry.write_ended() == 0
    names = [f"{number:012x}:{OVER.isoformat()}" for number in range(3)]
    for name in names:
        client.hset(broker.keys.hold_ended, name, json.dumps({"kind": "task", "name": "shop.*", "by": "maria"}))
    audit.fails = 1
    assert expiry.write_ended() == 0
    assert client.hlen(broker.keys.hold_ended) == 3, "owed"
    assert expiry.write_ended() == 3
    assert client.hgetall(broker.keys.hold_ended) == {}
    assert sorted(note["details"]["hold"] for note in audit.notes) == [name[:12] for name in names]
