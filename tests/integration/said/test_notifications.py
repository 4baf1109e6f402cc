"""Each notification in words: its title and its lines, word for word."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from support.desk import check, sentence

from opsdash.model import notification as of
from opsdash.services.notify import texts

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BEFORE = NOW - timedelta(minutes=90)
ENDED = {"audit_id": "a", "number": 7, "user": "maria", "operation": "clear_queue", "status": "success", "at": NOW}
QUEUE = {"queue": "emails", "since": BEFORE, "at": NOW}
FAILURE = {"fingerprint": "f00d", "task": "shop.charge", "error": "Declined", "first_at": BEFORE, "since": BEFORE}

EACH: tuple[of.Notification, ...] = (
    of.OperationEnded(**ENDED),
    of.OperationEnded(
        **ENDED,
        target="emails",
        message="Cleared 3 tasks.",
        reason="stale",
        approved_by="otto",
        params={"queue": "emails", "naïve": 1},
    ),
    of.PauseEnds(at=NOW, queue=None, expires_at=NOW + timedelta(minutes=5)),
    of.PauseEnds(at=NOW, queue="emails", expires_at=NOW + timedelta(minutes=5), by="maria", reason="fire"),
    of.ApprovalWanted(
        at=NOW, approval_id="0123", operation="clear_queue", title="Clear Queue", by="maria", expires_at=NOW
    ),
    of.ApprovalWanted(
        at=NOW, approval_id="0123", operation="x", title="X", by="m", expires_at=NOW, params={"queue": "emails"}
    ),
    of.WorkerLost(at=NOW, hostname="a@h", since=BEFORE),
    of.WorkerLost(at=NOW, hostname="a@h", since=BEFORE, recovered=True),
    of.ServiceLost(at=NOW, service="redis", since=BEFORE, error="Connection refused."),
    of.ServiceLost(at=NOW, service="database", since=BEFORE, recovered=True),
    of.ServiceLost(at=NOW, service="clock", since=BEFORE, recovered=True),
    of.BacklogHigh(**QUEUE, waiting=12_000, bound=10_000),
    of.BacklogHigh(**QUEUE, waiting=1, bound=10_000, paused=True, recovered=True),
    of.OldestHigh(**QUEUE, oldest_s=3_700.0, bound_s=3_600),
    of.OldestHigh(**QUEUE, oldest_s=5.0, bound_s=3_600, paused=True, recovered=True),
    of.FailuresNew(**FAILURE, at=NOW, count=1),
    of.FailuresNew(**FAILURE, at=NOW, count=1_200, place="charge in a.py", queue="emails", message_text="card 4111"),
    of.FailuresNew(**FAILURE, at=NOW, count=5, recovered=True),
    of.ChainBroken(at=NOW, problems=("entry 7 is missing", "entry 9 was changed"), since=BEFORE),
    of.ChainBroken(at=NOW, problems=(), since=BEFORE, recovered=True),
    of.PushStopped(at=NOW, waiting=1, since=BEFORE),
    of.PushStopped(at=NOW, waiting=1_200, since=BEFORE, problem="refused"),
    of.PushStopped(at=NOW, waiting=0, since=BEFORE, recovered=True),
    of.TestNotification(at=NOW, by="maria"),
)


def test_each_notification_says_what_happened(request: pytest.FixtureRequest) -> None:
    said: list[str] = []
    for one in EACH:
        said += [f"{one.kind}: {texts.title(one)}", *(f"  {line}" for line in texts.body(one, "m-1").splitlines())]
    assert {type(one) for one in EACH} == set(of.KINDS.values())
    check(sentence(request.node.name), said, request.path.with_suffix(".txt"))


def test_a_title_names_the_deployment_and_is_one_short_line_without_secrets() -> None:
    test = of.TestNotification(at=NOW, by="maria")
    assert texts.title(test, "staging") == "[staging] A test of opsdash's notifications, sent by maria"
    long = texts.title(of.TestNotification(at=NOW, by="x" * 500))
    assert (len(long), long[-1]) == (texts.MOST_TITLE, "…")
    exact = texts.title(
        of.TestNotification(at=NOW, by="x" * (texts.MOST_TITLE - len("A test of opsdash's notifications, sent by ")))
    )
    assert (len(exact), exact[-1]) == (texts.MOST_TITLE, "x")
    odd = texts.title(of.TestNotification(at=NOW, by="a\x07b\n c password=hunter2-planted"))
    assert odd.endswith("sent by a?b c password=(hidden)")
    lines = texts.body(of.WorkerLost(at=NOW, hostname="a", since=BEFORE), "m-1").splitlines()
    assert all(len(line) <= texts.MOST_LINE for line in lines)
