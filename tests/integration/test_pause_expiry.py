"""Pauses that nobody resumed: each is told in the audit log, once. Real broker, both databases."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from support.services import Postgres, until

import opsdash
from opsdash.model import AuditEntry
from opsdash.services.console import Console
from opsdash.services.pause.expiry import EXPIRY, OUTSIDE


@pytest.fixture
def consoles(console_for: Callable[..., Console], database_url: str) -> list[Console]:
    """Three consoles of one deployment."""
    return [console_for(database_url=database_url, queues=("celery", "emails")) for _ in range(3)]


def pause(console: Console, **params: object) -> None:
    console.run(opsdash.PauseProcessing(**params), actor="maria", confirm="YES")


def endings(console: Console) -> list[AuditEntry]:
    return [entry for entry in console.get_recent_operations() if entry.operation == "resume_processing"]


@pytest.mark.long
def test_a_pause_that_expires_is_told_once_however_many_consoles_run(consoles: list[Console]):
    pause(consoles[0], duration_s=1, reason="fire")
    assert until(lambda: not consoles[0].is_processing_paused())
    for _ in range(2):
        for console in consoles:
            console.snapshot()
    (entry,) = endings(consoles[0])
    assert (entry.user, entry.details["message"]) == (EXPIRY, "The pause of all processing by maria expired.")


@pytest.mark.long
def test_a_console_that_starts_later_still_finds_the_pause_that_expired(consoles: list[Console]):
    pause(consoles[0], duration_s=1, queue="emails")
    assert until(lambda: consoles[0].pause.read(["emails"]) == {})
    assert consoles[1].snapshot().operations[0].user == EXPIRY, "the same snapshot shows it"
    assert endings(consoles[0])[0].details["params"] == {"queue": "emails"}


def test_a_flag_deleted_by_hand_is_told_as_done_outside_opsdash(consoles: list[Console]):
    pause(consoles[0])
    consoles[1].snapshot()
    consoles[0].broker.client.delete("system:pause_processing")
    for console in consoles:
        assert console.snapshot().pause is None
    (entry,) = endings(consoles[0])
    assert entry.user == OUTSIDE
    assert "was ended outside opsdash" in entry.details["message"]


def test_a_flush_is_told_by_a_console_that_saw_the_pause(consoles: list[Console]):
    pause(consoles[0])
    consoles[0].snapshot()
    consoles[1].snapshot()
    consoles[0].broker.client.flushall()
    for console in consoles:
        console.snapshot()
    (entry,) = endings(consoles[0])
    assert entry.user == OUTSIDE


def test_a_resume_is_not_told_twice(consoles: list[Console]):
    pause(consoles[0])
    for console in consoles:
        console.snapshot()
    consoles[0].run(opsdash.ResumeProcessing(), actor="maria", confirm="YES")
    for console in consoles:
        console.snapshot()
    assert [entry.user for entry in endings(consoles[0])] == ["maria"]


@pytest.mark.long
def test_a_new_pause_after_the_old_one_expired_keeps_its_story(consoles: list[Console]):
    pause(consoles[0], duration_s=1, reason="old")
    assert until(lambda: not consoles[0].is_processing_paused())
    (old,) = consoles[0].snapshot().operations[:1]
    assert old.user == EXPIRY
    pause(consoles[0], reason="new")
    consoles[1].snapshot()
    assert consoles[2].snapshot().pause.reason == "new"


def test_an_ending_the_database_missed_is_told_when_it_is_back(console_for, postgres: Postgres, postgres_url: str):
    console = console_for(database_url=postgres_url, queues=("celery",))
    pause(console)
    console.snapshot()
    postgres.stop()
    console.broker.client.flushall()
    assert console.snapshot().pause is None
    postgres.start()
    console.snapshot()
    assert [entry.user for entry in endings(console)] == [OUTSIDE]
