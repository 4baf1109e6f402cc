"""Every attempt is in the audit log: who, from where, by which surface, what was reviewed, what happened, how long."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from support.services import Postgres, until

import opsdash
from opsdash.errors import OpsdashError, Refused
from opsdash.model import Actor, AuditEntry, Role, Status
from opsdash.services.authorization import PREVIEW_MAX_S
from opsdash.services.console import Console

MARIA = Actor(name="maria", role=Role.OPERATOR, surface="page", client="10.1.2.3")
CLEAR = opsdash.ClearQueue(queue="emails")


@pytest.fixture
def console(console_for: Callable[..., Console]) -> Console:
    """Three tasks wait in emails."""
    console = console_for(queues=("celery", "emails"))
    console.broker.client.rpush("emails", "a", "b", "c")
    return console


def attempt(console: Console, error: type[BaseException] = Refused, **over: Any) -> AuditEntry:
    """Tries to clear, as maria on the page with the preview before her; gives the one entry."""
    given = {"actor": MARIA, "confirm": "YES", "reviewed": console.preview(CLEAR), **over}
    with pytest.raises(error):
        console.run(CLEAR, **given)
    (entry,) = console.get_recent_operations()
    return entry


def is_whole(entry: AuditEntry, status: Status, message: str) -> None:
    assert (entry.user, entry.operation, entry.status) == ("maria", "clear_queue", status)
    assert (entry.details["surface"], entry.details["client"]) == ("page", "10.1.2.3")
    assert entry.details["params"] == CLEAR.params()
    assert entry.details["previewed"]["waiting"] == 3
    assert message in entry.details["message"]
    assert 0 <= entry.details["took_s"] < 30
    assert entry.finished_at is not None
    assert entry.seq == 1


def test_a_refused_role_is_audited_in_full(console: Console) -> None:
    entry = attempt(console, actor=replace(MARIA, role=Role.VIEWER))
    is_whole(entry, Status.REFUSED, "maria has the role viewer; Clear Queue needs operator. Nothing was changed.")


def test_a_wrong_confirmation_is_audited_in_full(console: Console) -> None:
    is_whole(attempt(console, confirm="yes"), Status.REFUSED, "was not confirmed with YES. Nothing was changed.")


def test_an_expired_preview_is_audited_in_full_and_changes_nothing(console: Console) -> None:
    old = datetime.now(UTC) - timedelta(seconds=PREVIEW_MAX_S + 1)
    entry = attempt(console, reviewed=replace(console.preview(CLEAR), taken_at=old))
    is_whole(entry, Status.REFUSED, "The preview expired (15 min). Nothing was changed. Open a new one.")
    assert console.get_queue_length("emails") == 3


def test_an_interrupted_act_is_audited_in_full(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(opsdash.ClearQueue, "execute", interrupted)
    entry = attempt(console, KeyboardInterrupt)
    is_whole(entry, Status.UNKNOWN, "Broken off: KeyboardInterrupt()")


def test_an_act_that_was_done_is_audited_in_full(console: Console) -> None:
    console.run(CLEAR, actor=MARIA, confirm="YES", reviewed=console.preview(CLEAR))
    is_whole(console.get_recent_operations()[0], Status.SUCCESS, "Cleared 3 tasks from emails.")


def test_an_expired_pause_is_audited_in_full(console: Console) -> None:
    console.run(opsdash.PauseProcessing(duration_s=1, reason="fire"), actor=MARIA, confirm="YES")
    assert until(lambda: console.snapshot().pause is None)
    entry, paused = console.get_recent_operations()
    assert (entry.user, entry.operation, entry.status) == ("(expiry)", "resume_processing", Status.SUCCESS)
    assert (entry.details["surface"], entry.details["reason"]) == ("system", "fire")
    assert entry.details["message"] == "The pause of all processing by maria expired."
    assert entry.details["paused_s"] == pytest.approx(1, abs=0.2)
    assert entry.details["paused_at"] >= paused.timestamp.isoformat()


def at_once(number: int, act: Callable[[int], Any]) -> list[Any]:
    """What each of so many threads got, all let go together."""
    gate, got = threading.Barrier(number), []

    def run(index: int) -> None:
        gate.wait()
        try:
            got.append(act(index))
        except OpsdashError as error:
            got.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


def same_answer_or_refused(got: list[Any], message: str) -> None:
    for one in got:
        text = one.message if not isinstance(one, Exception) else str(one)
        assert text.startswith(message) or "was made before" in text, text


def test_twenty_identical_requests_at_once_are_one_act(console_for: Callable[..., Console], database_url: str) -> None:
    consoles = [console_for(database_url=database_url) for _ in range(4)]
    request_id = uuid4()
    got = at_once(
        20,
        lambda index: consoles[index % 4].run(
            opsdash.PauseProcessing(), actor=MARIA, confirm="YES", request_id=request_id
        ),
    )
    same_answer_or_refused(got, "The flag is set")
    assert consoles[0].pause.read(())[None].epoch == 1
    (entry,) = consoles[0].get_recent_operations()
    assert (entry.request_id, entry.status) == (request_id, Status.SUCCESS)
    assert consoles[0].audit.verify().ok
    assert consoles[0].audit.outbox_length() == 0, "the database took them all"


def test_a_double_click_clears_once(console: Console) -> None:
    request_id = uuid4()
    reviewed = console.preview(CLEAR)
    got = at_once(2, lambda _: console.run(CLEAR, actor=MARIA, confirm="YES", request_id=request_id, reviewed=reviewed))
    same_answer_or_refused(got, "Cleared 3 tasks from emails.")
    assert len(console.get_recent_operations()) == len(console.trash.list()) == 1


@pytest.mark.parametrize("first", ["while it was there", "while it was away"])
def test_a_request_sent_again_while_the_database_is_away_is_still_one_act(
    console_for: Callable[..., Console], postgres: Postgres, postgres_url: str, first: str
) -> None:
    console = console_for(database_url=postgres_url)
    request_id = uuid4()
    if first == "while it was away":
        postgres.stop()
    pause(console, request_id)
    postgres.stop()
    got = at_once(20, lambda _: pause(console, request_id))
    assert all(isinstance(one, OpsdashError) and one.changed == "nothing" for one in got), got
    assert console.pause.read(())[None].epoch == 1
    postgres.start()
    console.snapshot()
    assert [entry.status for entry in console.get_recent_operations()] == [Status.SUCCESS]
    assert console.audit.verify().ok


def test_what_was_done_twice_all_the_same_has_two_entries(
    console_for: Callable[..., Console], postgres: Postgres, postgres_url: str
) -> None:
    console = console_for(database_url=postgres_url)
    request_id = uuid4()
    pause(console, request_id)
    console.broker.client.flushall()  # Redis forgets that the request was made
    postgres.stop()
    pause(console, request_id)
    postgres.start()
    console.snapshot()
    entries = console.get_recent_operations()
    assert [entry.status for entry in entries] == [Status.SUCCESS] * 2, "no act without an entry"
    assert [entry.request_id == request_id for entry in entries] == [False, True]
    assert console.audit.verify().ok


def pause(console: Console, request_id: UUID) -> Any:
    return console.run(opsdash.PauseProcessing(), actor=MARIA, confirm="YES", request_id=request_id)
