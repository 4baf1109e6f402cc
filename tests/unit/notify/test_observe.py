"""What becomes a notification, and what does not: the rules alone, one look after the other."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from opsdash.model import (
    Approval,
    AuditEntry,
    FailureGroup,
    PauseInfo,
    QueueStats,
    Snapshot,
    Status,
    WorkerStats,
    to_plain,
)
from opsdash.model.notification import KINDS, Notification, from_record, to_record
from opsdash.services.notify import texts
from opsdash.services.notify.facts import Facts, read
from opsdash.services.notify.observe import Rules, Seen, Unpushed, observe

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
ALL = Rules(kinds=frozenset(KINDS), backlog=100, oldest_s=600, failures=10)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def worker(name: str = "w1", silent_s: float = 0.0, at: datetime = NOW) -> WorkerStats:
    state = "online" if silent_s < 5 else "silent" if silent_s < 300 else "offline"
    return WorkerStats(
        hostname=name, state=state, heartbeat_at=at - timedelta(seconds=silent_s), silent_s=silent_s, record=name
    )


def entry(number: int, **over: Any) -> AuditEntry:
    given: dict[str, Any] = {
        "id": uuid4(),
        "timestamp": NOW,
        "finished_at": NOW,
        "user": "maria",
        "operation": "clear_queue",
        "status": Status.SUCCESS,
        "details": {
            "message": "Cleared 312 tasks from emails.",
            "params": {"queue": "emails", "reason": "flood", "note": "planted-argument"},
        },
        "request_id": uuid4(),
        "seq": number,
    }
    return AuditEntry(**given | over)


class Console:
    """Looks again and again, as the console does."""

    def __init__(self, rules: Rules = ALL, facts: Facts | None = None) -> None:
        self.rules, self.facts = rules, facts or Facts(number=0, redis_since=NOW - timedelta(hours=1))

    def look(self, seconds: float, *, snapshot: dict[str, Any] | None = None, **seen: Any) -> list[str]:
        now = after(seconds)
        taken = Snapshot.example(**{"taken_at": now, "workers": (), "queues": (), **(snapshot or {})})
        self.facts, found = observe(self.facts, Seen(now=now, snapshot=taken, **seen), self.rules)
        # What is kept for the next console is all that it needs.
        assert read(to_plain(self.facts)) == self.facts
        for one in found:
            assert from_record(to_record(one)) == one
        self.found: list[Notification] = list(found)
        return [texts.title(one) for one in found]


def test_each_finished_operation_is_one_message_with_who_and_what():
    console = Console()
    assert console.look(0, entries=(entry(1), entry(2, user="ann", status=Status.FAILURE)), number=2) == [
        "maria: clear queue (emails): success",
        "ann: clear queue (emails): failure",
    ]
    assert console.facts.number == 2
    assert console.look(2, entries=(entry(2),), number=2) == []


def test_operations_from_before_the_first_look_are_no_news():
    console = Console(facts=Facts())
    assert console.look(0, entries=(entry(1),), number=1) == []
    assert console.look(2, entries=(entry(2),), number=2) == ["maria: clear queue (emails): success"]


def test_what_changed_nothing_is_no_message():
    assert Console().look(0, entries=(entry(1, status=Status.REFUSED),), number=1) == []


def test_only_the_operations_that_are_asked_for_are_messages():
    console = Console(Rules(kinds=frozenset({"pause_processing"})))
    entries = (entry(1), entry(2, operation="pause_processing", details={"params": {"queue": None}}))
    assert console.look(0, entries=entries, number=2) == ["maria: pause processing (all queues): success"]


def test_arguments_are_in_a_message_only_if_they_are_asked_for():
    for rules, shown in ((ALL, False), (replace(ALL, arguments=True), True)):
        console = Console(rules)
        console.look(0, entries=(entry(1), entry(2, details={"params": {"note": "planted-argument"}})), number=2)
        text = "".join(texts.body(one, "id") + str(to_record(one)) for one in console.found)
        assert ("planted-argument" in text) is shown


def test_a_pause_that_ends_in_ten_minutes_is_one_message():
    console = Console()
    paused = PauseInfo(queue=None, by="maria", at=NOW, expires_at=after(7_200), epoch=5)
    assert console.look(0, snapshot={"pause": paused}) == []
    assert console.look(6_700, snapshot={"pause": paused}) == ["The pause of all queues ends in 8m 20s"]
    assert console.look(6_800, snapshot={"pause": paused}) == []
    again = replace(paused, expires_at=after(14_400), epoch=6)
    assert console.look(13_900, snapshot={"pause": again}) == ["The pause of all queues ends in 8m 20s"]


def test_a_short_pause_ends_without_a_message():
    paused = PauseInfo(queue="emails", by="maria", at=NOW, expires_at=after(300), epoch=5)
    assert Console().look(0, snapshot={"paused_queues": {"emails": paused}}) == []


def test_a_request_for_a_second_user_is_one_message_and_can_not_be_answered():
    asked = Approval(
        id="abc", operation="clear_queue", title="Clear emails", params={}, by="ann", at=NOW, expires_at=after(900)
    )
    console = Console()
    assert console.look(0, snapshot={"approvals": (asked,)}) == ["ann asks for a second user's YES: Clear emails"]
    assert "can't be approved by an answer" in texts.body(console.found[0], "id")
    assert console.look(2, snapshot={"approvals": (asked,)}) == []


def test_a_lost_worker_is_a_message_and_its_return_another():
    console = Console()
    assert console.look(0, snapshot={"workers": (worker(silent_s=20),)}) == []
    assert console.look(15, snapshot={"workers": (worker(silent_s=35, at=after(15)),)}) == ["Worker w1 is lost"]
    assert console.look(17, snapshot={"workers": (worker(silent_s=37, at=after(17)),)}) == []
    assert console.look(60, snapshot={"workers": (worker(at=after(60)),)}) == ["Worker w1 reports again"]
    assert console.look(62, snapshot={"workers": (worker(at=after(62)),)}) == []


def test_a_worker_that_was_shut_down_is_not_lost():
    console = Console()
    console.look(0, snapshot={"workers": (worker(),)})
    assert console.look(60, snapshot={"workers": ()}) == []


def test_a_lost_worker_that_is_dismissed_and_comes_back_is_lost_again_when_it_is():
    console = Console()
    assert console.look(0, snapshot={"workers": (worker(silent_s=40),)}) == ["Worker w1 is lost"]
    assert console.look(2, snapshot={"workers": ()}) == []
    assert console.look(4, snapshot={"workers": (worker(at=after(4)),)}) == []


def test_a_worker_that_is_silent_for_a_moment_is_not_remembered_as_lost():
    console = Console()
    console.look(0, snapshot={"workers": (worker(silent_s=20),)})
    assert console.facts.alarms == {}


def test_workers_that_were_offline_at_the_first_look_are_no_news():
    console = Console(facts=Facts())
    old = {"workers": (worker(silent_s=9_000),)}
    assert [console.look(at, snapshot=old, number=0) for at in (0, 60, 120)] == [[], [], []]


def test_an_outage_of_redis_loses_no_worker():
    console = Console()
    away = {"redis_error": "Redis did not answer.", "workers": (worker(silent_s=40),)}
    assert console.look(0, snapshot=away) == []
    assert console.look(12, snapshot=away) == ["Redis does not answer"]
    assert console.look(60, snapshot=away) == []
    assert console.look(70, snapshot={"workers": (worker(silent_s=70, at=after(70)),)}) == []
    assert console.look(82, snapshot={"workers": (worker(at=after(82)),)}) == ["Redis answers again"]
    assert console.look(110, snapshot={"workers": (worker(at=after(110)),)}) == []


def test_a_short_outage_is_no_message():
    console = Console()
    assert console.look(0, snapshot={"database_error": "away"}) == []
    assert console.look(4, snapshot={}) == []
    assert console.look(60, snapshot={"database_error": "away"}) == []


def test_a_queue_above_its_bound_is_a_message_and_so_is_its_return():
    console = Console()

    def at(seconds: float, waiting: int) -> list[str]:
        return console.look(seconds, snapshot={"queues": (QueueStats(name="emails", waiting=waiting),)})

    assert at(0, 100) == []
    assert at(2, 101) == []
    assert at(13, 5_000) == ["Queue emails has 5,000 pending tasks"]
    assert at(15, 95) == []  # near the bound it may come back at once
    assert at(40, 95) == []
    assert at(50, 80) == []
    assert at(61, 80) == ["Queue emails is back to 80 pending tasks"]
    assert at(90, 80) == []


def test_a_queue_that_is_gone_is_below_its_bound():
    console = Console()
    for at in (0, 11):
        console.look(at, snapshot={"queues": (QueueStats(name="emails", waiting=500),)})
    assert [console.look(at) for at in (20, 31)] == [[], ["Queue emails is back to 0 pending tasks"]]


def test_the_age_of_the_oldest_task_has_a_bound_too():
    console = Console()

    def at(seconds: float, oldest_s: float | None, waiting: int = 5) -> list[str]:
        queue = QueueStats(name="emails", waiting=waiting, oldest_s=oldest_s)
        return console.look(seconds, snapshot={"queues": (queue,)})

    at(0, 700)
    assert at(11, 711) == ["Queue emails has an oldest task of 11m 51s"]
    assert at(13, None) == []  # not known
    assert at(40, None) == []
    at(50, None, waiting=0)
    assert at(61, None, waiting=0) == ["Queue emails is back to 0s"]


def group(count: int, *, first_at: datetime = NOW, last_at: datetime = NOW) -> FailureGroup:
    return FailureGroup(
        fingerprint="f1",
        kind="failed",
        task="shop.pay",
        error="KeyError",
        place="pay in shop.py",
        count=count,
        first_at=first_at,
        last_at=last_at,
        message_text="planted-argument",
        kept=count,
    )


def test_a_burst_of_a_new_failure_is_one_message_and_so_is_its_end():
    console = Console()
    assert console.look(0, failures=(group(9),)) == []
    assert console.look(10, failures=(group(10, last_at=after(10)),)) == ["New failure: shop.pay: KeyError, 10 times"]
    assert "planted-argument" not in str(to_record(console.found[0]))
    assert console.look(20, failures=(group(5_000, last_at=after(20)),)) == []
    assert console.look(930, failures=(group(5_000, last_at=after(20)),)) == ["shop.pay no longer fails with KeyError"]
    assert console.look(1_000, failures=(group(5_010, last_at=after(1_000)),)) == []


def test_a_failure_that_is_known_for_long_is_no_message():
    old = group(5_000, first_at=NOW - timedelta(hours=3))
    assert Console().look(0, failures=(old,)) == []


def test_an_audit_log_that_is_not_pushed_is_a_message_and_so_is_its_end():
    console = Console()
    refused = Unpushed(waiting=7, taken_at=after(-290), problem="Connection refused")
    assert console.look(0, unpushed=refused) == []
    assert console.look(20, unpushed=refused) == []
    assert console.look(30) == [], "not read"
    assert console.look(81, unpushed=refused) == ["The audit log is not pushed: 7 entries wait"]
    assert "The last attempt failed: Connection refused." in texts.body(console.found[0], "id")
    assert console.look(90, unpushed=refused) == []
    assert console.look(100, unpushed=Unpushed(waiting=2, taken_at=after(99))) == ["The audit log is pushed again"]


def test_an_entry_that_was_just_finished_after_a_quiet_hour_is_not_late():
    console = Console()
    for seconds in range(0, 600, 10):  # each time a new one, which is taken by the next look
        late = seconds % 20 == 0
        unpushed = Unpushed(waiting=int(late), taken_at=after(-3_600 if late else seconds))
        assert console.look(seconds, unpushed=unpushed) == []


def test_a_broken_chain_is_a_message_and_so_is_its_repair():
    console = Console()
    assert console.look(0, chain=()) == []
    assert console.look(60, chain=("entry 4 was changed",)) == ["The audit log's hash chain is broken"]
    assert console.look(61) == []
    assert console.look(120, chain=()) == ["The audit log's hash chain is whole again"]


def test_a_secret_in_a_reason_is_not_in_a_message():
    console = Console()
    console.look(0, entries=(entry(1, details={"params": {"reason": "password: hunter2hunter2"}}),), number=1)
    assert "hunter2hunter2" not in texts.body(console.found[0], "id")


def test_what_is_not_asked_for_is_no_message():
    console = Console(Rules(kinds=frozenset({"chain"}), backlog=100))
    paused = PauseInfo(queue=None, at=NOW, expires_at=after(7_200), epoch=5)
    assert console.look(6_700, snapshot={"pause": paused}, entries=(entry(1),), number=1) == []
