"""The sealed audit log: what is changed, removed, inserted or reordered behind opsdash's back is found and named."""

from __future__ import annotations

import itertools
import logging
import os
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from support import programs
from support.errors import fails

import opsdash
from opsdash.errors import Invalid, Refused
from opsdash.model import Actor, Role, Status
from opsdash.services.audit.query import entry_of_row
from opsdash.services.console import Console
from opsdash.services.database import migrations
from opsdash.services.database.tables import audit_head, audit_log

MARIA = Actor(name="maria", role=Role.ADMIN, surface="page", client="10.1.2.3")


def act(console: Console, times: int = 6) -> None:
    for number in range(times):
        operation = opsdash.PauseProcessing(reason=f"é {number}") if number % 2 == 0 else opsdash.ResumeProcessing()
        console.run(operation, actor=MARIA, confirm="YES")


def tamper(console: Console, statement: Any) -> None:
    with console.engine.begin() as connection:
        connection.execute(statement)


def test_every_finished_entry_is_numbered_and_sealed_and_the_whole_verifies(console: Console) -> None:
    act(console)
    with pytest.raises(Refused):
        console.run(opsdash.ClearQueue(), actor=MARIA, confirm="no")
    entries = console.get_recent_operations()
    assert [entry.seq for entry in entries] == [7, 6, 5, 4, 3, 2, 1]
    assert len({entry.seal for entry in entries}) == 7
    found = console.audit.verify()
    assert (found.ok, found.checked, found.head) == (True, 7, f"7:{entries[0].seal}")
    assert found.message == f"The audit log is whole: 7 entries in the hash chain, head 7:{entries[0].seal}."


def at(number: int) -> Any:
    return audit_log.c.seq == number


def test_an_entry_keeps_who_from_where_what_was_reviewed_and_how_long_it_took(console: Console) -> None:
    preview = console.preview(opsdash.PauseProcessing())
    console.run(opsdash.PauseProcessing(), actor=MARIA, confirm="YES", reviewed=preview)
    (entry,) = console.get_recent_operations()
    assert (entry.user, entry.details["surface"], entry.details["client"]) == ("maria", "page", "10.1.2.3")
    assert entry.details["previewed"]["ttl_s"] == 86_400
    assert 0 <= entry.details["took_s"] < 60


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        (sa.update(audit_log).where(at(3)).values(user="eve"), "Changed: entry 3 "),
        (sa.update(audit_log).where(at(3)).values(status="refused"), "Changed: entry 3 "),
        (sa.update(audit_log).where(at(3)).values(details={"message": "nothing"}), "Changed: entry 3 "),
        (sa.update(audit_log).where(at(3)).values(timestamp=datetime(2026, 1, 1, tzinfo=UTC)), "Changed: entry 3 "),
        (sa.update(audit_log).where(at(3)).values(seal="0" * 64), "Changed: entry 3 "),
        (sa.update(audit_log).where(at(3)).values(seal=None), "Changed: entry 3 "),
        (
            sa.update(audit_log).where(at(3)).values(key_id="unkeyed"),
            "Entry 3 .* without a key, which is not accepted",
        ),
        (sa.update(audit_log).where(at(3)).values(key_id="0123456789ab"), "Entry 3 .* unknown key"),
        (sa.delete(audit_log).where(at(3)), "Removed: entry 3 before 4"),
        (sa.delete(audit_log).where(audit_log.c.seq.in_([2, 3])), "Removed: entry 2 to 3 before 4"),
        (sa.delete(audit_log).where(at(1)), "Removed: entry 1 before 2"),
        (sa.delete(audit_log).where(audit_log.c.seq > 4), "Removed: the newest entries are missing"),
        (sa.update(audit_head).values(seal="0" * 64), "The head does not belong"),
        (sa.delete(audit_head), "The head does not belong"),
        (sa.update(audit_log).where(at(3)).values(seq=None), "Removed: entry 3 before 4"),
        (sa.text("UPDATE audit_log SET details = '{' WHERE seq = 3"), "Changed: entry 3 "),
        (sa.text("UPDATE audit_log SET details = x'ff' WHERE seq = 3"), "Changed: entry 3 "),
        (sa.text("UPDATE audit_log SET timestamp = 'once' WHERE seq = 3"), "Changed: entry 3 .* at once"),
        (sa.text("UPDATE audit_log SET finished_at = NULL WHERE seq = 3"), "Changed: entry 3 "),
        (sa.text("UPDATE audit_log SET id = 7 WHERE seq = 3"), "Changed: entry 3 "),
        (sa.text("UPDATE audit_log SET seal = 'é' WHERE seq = 3"), "Changed: entry 3 "),
        (sa.text("UPDATE audit_log SET seal = 7 WHERE seq = 3"), "Changed: entry 4 "),
        (sa.text("UPDATE audit_log SET seq = 'third' WHERE seq = 3"), "Inserted: entry .* the number 'third'"),
    ],
    ids=str,
)
def test_what_is_changed_or_removed_is_named(console_for: Callable[..., Console], statement: Any, named: str) -> None:
    console = console_for()
    act(console)
    tamper(console, statement)
    found = console.audit.verify()
    assert not found.ok
    assert any(re.match(named, problem) for problem in found.problems), found.problems


@pytest.mark.parametrize("when", ["infinity", "-infinity", "0001-01-01 00:00+00 BC"])
def test_an_instant_that_no_calendar_of_ours_has_is_named_too(
    console_for: Callable[..., Console], postgres_url: str, when: str
) -> None:
    console = console_for(database_url=postgres_url)
    act(console, 2)
    tamper(console, sa.text(f"UPDATE audit_log SET timestamp = '{when}' WHERE seq = 1"))
    (problem,) = console.audit.verify().problems
    assert problem.startswith("Changed: entry 1 ")


def test_instants_of_every_kind_are_sealed_as_they_are_read_back(console: Console) -> None:
    seconds = [
        datetime.fromisoformat(day) for day in ("1969-07-20T20:17:40Z", "2026-11-25T02:00:59Z", "2199-12-31T23:00Z")
    ]
    for second, micros in itertools.product(seconds, (0, 1, 10, 123_456, 999_999)):
        console.audit.note(
            user="maria",
            operation="pause_processing",
            status=Status.SUCCESS,
            timestamp=second.replace(microsecond=micros),
            request_id=uuid4(),
            details={"é": [1.5, None, True, {"b": 1, "a": 2}]},
        )
    found = console.audit.verify()
    assert (found.ok, found.checked) == (True, 15), found.problems


def test_text_and_figures_of_every_kind_are_sealed_as_they_are_read_back(console: Console) -> None:
    texts = [
        "",
        "é",
        "\\",
        "\\N",
        "\\t",
        'a "b" \\" c',
        "tab\t, line\n, both\r\n",
        "\x7f\u2028\x1f",
        "𝔘",
        "'",
        "{}",
        "\\\\.",
    ]
    figures = [0.5, 1e-07, 1e16, -0.0, 1.0, 2**53 + 1, 2**64, -(2**70), 10**400, True, None]
    for text, figure in itertools.zip_longest(texts, figures):
        console.audit.note(
            user=f"maria{text}",
            operation="pause_processing",
            status=Status.SUCCESS,
            timestamp=datetime.now(UTC),
            request_id=uuid4(),
            details={"message": text, text: figure, "é": {"b": [figure], "a": text}},
        )
    found = console.audit.verify()
    assert (found.ok, found.checked) == (True, len(texts)), found.problems
    tamper(console, sa.update(audit_log).where(at(3)).values(user="maria"))
    assert len(console.audit.verify().problems) == 1


def test_what_is_inserted_is_named(console: Console) -> None:
    act(console, 2)
    now = datetime.now(UTC)
    row = {
        "id": uuid4(),
        "timestamp": now,
        "user": "eve",
        "operation": "clear_queue",
        "details": {},
        "finished_at": now,
    }
    tamper(console, sa.insert(audit_log).values(row | {"status": "success", "request_id": uuid4()}))
    assert console.audit.verify().problems == [
        f"Inserted: entry {row['id']} (clear_queue by eve) is not in the hash chain."
    ]


def test_what_is_reordered_is_named(console: Console) -> None:
    act(console)
    for old, new in ((2, 100), (5, 2), (100, 5)):
        tamper(console, sa.update(audit_log).where(at(old)).values(seq=new))
    problems = console.audit.verify().problems
    assert any(problem.startswith("Changed: entry 2 ") for problem in problems)
    assert any(problem.startswith("Changed: entry 5 ") for problem in problems)


def test_a_head_that_was_kept_elsewhere_shows_that_the_end_was_cut_off_and_written_anew(console: Console) -> None:
    act(console, 4)
    kept = console.audit.verify().head
    act(console, 2)
    assert console.audit.verify(kept).ok
    # Whoever has the key and the database can cut the end off and go on; only a head kept elsewhere tells.
    tamper(console, sa.delete(audit_log).where(audit_log.c.seq >= 3))
    before = console.get_recent_operations()[0]
    tamper(console, sa.update(audit_head).values(seq=2, seal=before.seal))
    act(console, 4)
    assert console.audit.verify().ok
    assert console.audit.verify(kept).problems == [
        f"The head {kept} is not in the chain: entries up to it were changed or removed."
    ]


def test_the_head_is_shown_and_logged_once_whenever_it_has_moved(
    console: Console, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="opsdash.audit.head"):
        act(console, 1)
        heads = [console.snapshot().audit_head, console.snapshot().audit_head]
        act(console, 1)
        heads.append(console.snapshot().audit_head)
    assert heads[0] == heads[1]
    assert heads[2] == console.audit.verify().head == console.audit.head()
    messages = [record.getMessage() for record in caplog.records if record.name == "opsdash.audit.head"]
    assert all("keep a copy in another place: opsdash audit verify --head" in line for line in messages)
    assert [line.partition(" (")[0] for line in messages] == [
        f"audit head {heads[0]}",
        f"audit head {heads[2]}",
    ]


def test_keys_rotate_and_the_old_ones_still_verify(console_for: Callable[..., Console]) -> None:
    first, second = "first-secret-key-of-many", "second-secret-key-of-many"
    act(console_for(secret_key=first), 2)
    console = console_for(secret_key=second, old_secret_keys=(first,))
    act(console, 2)
    assert console.audit.verify().ok
    assert len({entry.key_id for entry in console.get_recent_operations()}) == 2
    forgot = console_for(secret_key=second).audit.verify()
    assert [problem.split(": ")[1][:28] for problem in forgot.problems] == ["written with an unknown key "] * 2


def test_another_key_can_not_make_a_seal(console_for: Callable[..., Console]) -> None:
    console = console_for(secret_key="the-real-secret-key-here")
    act(console, 2)
    forger = console_for(secret_key="what-an-intruder-guesses")
    act(forger, 1)
    assert not console.audit.verify().ok


def test_the_log_is_pruned_and_the_rest_still_verifies(console: Console) -> None:
    act(console, 4)
    long_ago = datetime.now(UTC) - timedelta(days=400)
    with pytest.raises(Refused, match="needs admin"):
        console.run(opsdash.PruneAuditLog(), actor=Actor(name="eve", role=Role.OPERATOR), confirm="YES")
    for age_s in (60, 10**12):
        with fails(Invalid, field="older_than_s") as refused:
            console.preview(opsdash.PruneAuditLog(older_than_s=age_s))
        assert refused.value.field == "older_than_s"
    # Nothing is that old yet: time passes for the first three, and is sealed as it passed.
    for number in (1, 2, 3):
        _age(console, number, long_ago + timedelta(minutes=number))
    preview = console.preview(opsdash.PruneAuditLog(older_than_s=365 * 86_400))
    assert preview.values() == {"going": 3, "staying": 2, "others": 0}  # the fourth and eve's refusal
    effect = console.run(opsdash.PruneAuditLog(older_than_s=365 * 86_400), actor=MARIA, confirm="YES")
    assert effect.affected == 3
    assert min(entry.seq or 0 for entry in console.get_recent_operations()) == 4
    assert console.audit.verify().ok
    tamper(console, sa.delete(audit_log).where(at(4)))
    assert not console.audit.verify().ok, "taking away one more is not what the prune did"


def _age(console: Console, number: int, when: datetime) -> None:
    """Seals the chain again from this entry on, as if it had been made then."""
    with console.engine.begin() as connection:
        rows = connection.execute(sa.select(audit_log).where(audit_log.c.seq >= number).order_by(audit_log.c.seq)).all()
        seal = sa.select(audit_log.c.seal).where(at(number - 1))
        connection.execute(sa.update(audit_head).values(seq=number - 1, seal=connection.scalar(seal) or ""))
        connection.execute(sa.update(audit_log).where(audit_log.c.seq >= number).values(seq=None))
        for row in rows:
            entry = entry_of_row(row)
            entry = replace(entry, timestamp=when if row.seq == number else entry.timestamp)
            sealed = console.audit.signer.next(connection, entry)
            end = {"seq": sealed.seq, "seal": sealed.seal}
            values = {**end, "timestamp": sealed.timestamp}
            connection.execute(sa.update(audit_log).where(audit_log.c.id == sealed.id).values(values))
            connection.execute(sa.update(audit_head).values(end))


def test_entries_from_before_there_were_seals_are_told_apart(
    console_for: Callable[..., Console], tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/old.sqlite3"
    migrations.upgrade(url, "0001")
    with sa.create_engine(url).begin() as connection:
        connection.execute(
            sa.text(
                'INSERT INTO audit_log (id, timestamp, "user", operation, details, status, request_id, finished_at)'
                " VALUES (:id, '2026-01-01', 'maria', 'clear_queue', '{}', 'success', :request, '2026-01-01')"
            ),
            {"id": uuid4().hex, "request": uuid4().hex},
        )
    migrations.upgrade(url)
    console = console_for(database_url=url)
    act(console, 2)
    found = console.audit.verify()
    assert (found.ok, found.checked, found.before) == (True, 2, 1)


ACTS = """
import sys, opsdash
console = opsdash.connect()
for number in range(int(sys.argv[1])):
    console.run(opsdash.ResumeProcessing(), actor="maria", confirm="YES")
"""


@pytest.mark.slow
def test_four_processes_make_one_unbroken_chain(
    console_for: Callable[..., Console], database_url: str, valkey_url: str
) -> None:
    console = console_for(database_url=database_url)
    env = {**os.environ, "OPSDASH_REDIS_URL": valkey_url, "OPSDASH_DATABASE_URL": database_url}
    env["OPSDASH_SECRET_KEY"] = console.settings.secret_key or ""
    running = [programs.Popen([sys.executable, "-c", ACTS, "200"], env=env) for _ in range(4)]
    assert [process.wait(300) for process in running] == [0] * 4
    assert console.snapshot().spooled == 0
    found = console.audit.verify()
    assert (found.ok, found.checked, found.unkeyed) == (True, 800, 0), found.problems
    assert {entry.status for entry in console.get_recent_operations(800)} == {Status.SUCCESS}
