"""What an entry keeps, what is taken away of a log, what goes into a file, and what a repeated request is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from opsdash.model import Actor, AuditEntry, Role, Status
from opsdash.operations import PauseProcessing
from opsdash.services.audit import details, exports, prune
from opsdash.services.audit.idempotency import ElsewhereRequest, TakenRequest, answered
from opsdash.services.audit.log import DuplicateRequest
from opsdash.services.audit.query import Filter
from opsdash.services.database import engine as database
from opsdash.services.database.tables import audit_log

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
REQUEST = UUID(int=7)


def test_a_secrets_name_hides_its_value_in_the_parameters_and_nowhere_else() -> None:
    kept = details.stored(
        {
            "message": "done",
            "params": {"password": "hunter2", "queue": "emails"},
            "by_task": {"shop.password": 3},
            "tags": ["x", {"password": "of a task"}],
        }
    )
    assert kept["params"]["queue"] == "emails"
    assert "hunter2" not in str(kept)
    assert kept["by_task"] == {"shop.password": 3}
    assert kept["tags"] == ["x", {"password": "of a task"}]
    assert details.stored({"params": "none"}) == {}


def test_what_an_entry_is_a_part_of_holds_for_its_block_alone() -> None:
    assert details.begun_in() == {}
    with details.part_of(run="r1"):
        assert details.begun_in() == {"run": "r1"}
        with details.part_of(run="r2", step="two"):
            assert details.begun_in() == {"run": "r2", "step": "two"}
        assert details.begun_in() == {"run": "r1"}
    assert details.begun_in() == {}


@pytest.fixture
def log_of(sqlite_url: str) -> Callable[..., sa.Engine]:
    """A log with these rows; each is (number in the chain, hours after noon, status)."""

    def make(*rows: tuple[int | None, float, str]) -> sa.Engine:
        engine = database.connect(sqlite_url)
        made = [
            {
                "id": uuid4(),
                "request_id": uuid4(),
                "timestamp": NOON + timedelta(hours=hours),
                "user": f"user-{index}",
                "operation": "clear_queue",
                "status": status,
                "details": {},
                "finished_at": NOON,
                "seq": seq,
                "seal": None if seq is None else f"seal-{seq}",
            }
            for index, (seq, hours, status) in enumerate(rows)
        ]
        with engine.begin() as connection:
            connection.execute(sa.insert(audit_log), made)
        return engine

    return make


def test_the_chain_loses_its_beginning_and_nothing_from_its_middle(log_of: Callable[..., sa.Engine]) -> None:
    engine = log_of(
        (1, -5, "success"),
        (2, 1, "success"),
        (3, -5, "success"),  # begun long ago, and written late: its links to both neighbours must stay
        (None, -5, "success"),
        (None, -5, "in_progress"),
        (None, 1, "refused"),
    )
    counted = prune.prunable(engine, NOON, "redis/0")
    assert (counted.going, counted.staying) == (2, 4)
    pruned = prune.prune(engine, NOON, uuid4())
    assert (pruned.count, pruned.through, pruned.seal) == (2, 1, "seal-1")
    with engine.connect() as connection:
        left = connection.execute(sa.select(audit_log.c.user).order_by(audit_log.c.user)).scalars().all()
    assert left == ["user-1", "user-2", "user-4", "user-5"]
    engine.dispose()


@pytest.mark.parametrize("form", exports.EXPORTS)
def test_a_file_has_the_chosen_entries_and_no_other(form: str, log_of: Callable[..., sa.Engine]) -> None:
    engine = log_of((1, 0, "success"), (2, 1, "success"), (3, 2, "failure"))
    text = "".join(exports.EXPORTS[form](engine, Filter(user="user-1")))
    assert [name in text for name in ("user-0", "user-1", "user-2")] == [False, True, False]
    engine.dispose()


def entry_of(operation: Any, status: Status = Status.SUCCESS, **told: Any) -> AuditEntry:
    kept = {"params": operation.params(), "surface": "page", "message": "Paused.", "affected": 2, **told}
    return AuditEntry(
        id=UUID(int=1),
        timestamp=NOON,
        user="maria",
        operation=operation.name,
        status=status,
        details=kept,
        request_id=REQUEST,
    )


def ask(entry: AuditEntry | None, operation: Any, actor: Actor | None = None, *, here: bool = True) -> Any:
    audit: Any = SimpleNamespace(
        writing=SimpleNamespace(run=lambda work: work()),
        by_request=lambda _request_id: entry,
        is_here=lambda _entry: here,
    )
    maria = Actor(name="maria", role=Role.OPERATOR, surface="page")
    return answered(audit, operation, actor or maria, DuplicateRequest(REQUEST))


def test_a_request_that_comes_again_hears_what_it_did_the_first_time() -> None:
    pause = PauseProcessing(queue="emails")
    done = ask(entry_of(pause, epoch=3), pause)
    assert (done.affected, done.message, done.ok, done.followed) == (2, "Paused.", True, True)
    assert (done.audit_id, done.details) == (UUID(int=1), {"epoch": 3})
    failed = ask(entry_of(pause, Status.FAILURE, followed=False), pause)
    assert (failed.ok, failed.followed) == (False, False)


@pytest.mark.parametrize(
    ("entry", "actor", "here", "refusal"),
    [
        (entry_of(PauseProcessing(queue="emails")), Actor(name="eve", role=Role.OPERATOR), True, TakenRequest),
        (
            entry_of(PauseProcessing(queue="emails")),
            Actor(name="maria", role=Role.OPERATOR, surface="api"),
            True,
            TakenRequest,
        ),
        (entry_of(PauseProcessing(queue="emails")), None, False, ElsewhereRequest),
        (entry_of(PauseProcessing(queue="reports")), None, True, DuplicateRequest),
        (entry_of(PauseProcessing(queue="emails"), Status.IN_PROGRESS), None, True, DuplicateRequest),
        (None, None, True, DuplicateRequest),
    ],
)
def test_a_request_of_somebody_else_of_elsewhere_or_for_something_else_is_refused(
    entry: AuditEntry | None, actor: Actor | None, here: bool, refusal: type[Exception]
) -> None:
    with pytest.raises(refusal) as refused:
        ask(entry, PauseProcessing(queue="emails"), actor, here=here)
    assert type(refused.value) is refusal
