"""The audit log: intent before the act, outcome after it, every attempt kept."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import sqlalchemy as sa

from opsdash.errors import Refused
from opsdash.model import Actor, AuditEntry, Status, to_plain
from opsdash.operation import Operation
from opsdash.services.database import answering, transaction
from opsdash.services.tables import audit_log

CSV_COLUMNS = ("timestamp", "finished_at", "user", "operation", "status", "details", "id", "request_id")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_EXPORT_CHUNK = 500


@dataclass(frozen=True, slots=True)
class AuditLog:
    """Reads and writes ``audit_log``. Each write is its own committed transaction."""

    engine: sa.Engine

    def begin(self, operation: Operation, actor: Actor, request_id: UUID | None = None) -> AuditEntry:
        """Commits the intent. What follows may crash: the entry stays ``in_progress`` and is seen.

        Raises:
            Unavailable: The database did not take it; so nothing may be done.
        """
        return self._write(operation, actor, Status.IN_PROGRESS, {}, request_id)

    def refuse(self, operation: Operation, actor: Actor, why: str, request_id: UUID | None = None) -> AuditEntry:
        """Records an attempt that was refused before anything was done."""
        return self._write(operation, actor, Status.REFUSED, {"message": why}, request_id)

    def finish(self, entry: AuditEntry, status: Status, details: Mapping[str, Any]) -> AuditEntry:
        """Commits the outcome of an entry that is in progress."""
        done = replace(
            entry, status=status, finished_at=datetime.now(UTC), details={**entry.details, **to_plain(details)}
        )
        statement = (
            sa.update(audit_log)
            .where(audit_log.c.id == entry.id, audit_log.c.status == Status.IN_PROGRESS.value)
            .values(status=status.value, finished_at=done.finished_at, details=dict(done.details))
        )
        with transaction(self.engine) as connection:
            connection.execute(statement)
        return done

    def note(
        self,
        *,
        user: str,
        operation: str,
        status: Status,
        timestamp: datetime,
        request_id: UUID,
        details: Mapping[str, Any],
    ) -> bool:
        """Writes down what happened without an act; False when an entry with this ``request_id`` tells it already."""
        entry = AuditEntry(
            id=uuid4(),
            timestamp=timestamp,
            user=user,
            operation=operation,
            status=status,
            details=to_plain(details),
            request_id=request_id,
            finished_at=timestamp,
        )
        try:
            self._insert(entry)
        except sa.exc.IntegrityError:  # the only other rule a whole entry can break is the status check
            return False
        return True

    def recent(self, limit: int = 20) -> tuple[AuditEntry, ...]:
        """The newest entries, newest first. Cost: one query on ``ix_audit_log_timestamp``."""
        with answering(self.engine), self.engine.connect() as connection:
            return tuple(map(_entry, connection.execute(_newest_first().limit(limit))))

    def export_csv(self) -> Iterator[str]:
        """The whole log as CSV lines, newest first, header included; streams, ``_EXPORT_CHUNK`` rows at a time.

        Text that a spreadsheet would take for a formula gets a leading apostrophe.
        """
        yield _csv_line(CSV_COLUMNS)
        with answering(self.engine), self.engine.connect() as connection:
            rows = connection.execution_options(yield_per=_EXPORT_CHUNK).execute(_newest_first())
            for entry in map(_entry, rows):
                plain = to_plain(entry) | {"details": json.dumps(to_plain(entry.details), ensure_ascii=False)}
                yield _csv_line(plain[column] for column in CSV_COLUMNS)

    def _write(
        self, operation: Operation, actor: Actor, status: Status, details: dict[str, Any], request_id: UUID | None
    ) -> AuditEntry:
        now = datetime.now(UTC)
        entry = AuditEntry(
            id=uuid4(),
            timestamp=now,
            user=actor.name,
            operation=operation.name,
            status=status,
            details={"params": operation.params(), "surface": actor.surface, **details},
            request_id=request_id or uuid4(),
            finished_at=None if status is Status.IN_PROGRESS else now,
        )
        try:
            self._insert(entry)
        except sa.exc.IntegrityError as error:
            raise Refused(
                f"The request {entry.request_id} was made before: it is in the audit log. Nothing was changed."
            ) from error
        return entry

    def _insert(self, entry: AuditEntry) -> None:
        row = {column.name: getattr(entry, column.name) for column in audit_log.c}
        row |= {"status": entry.status.value, "details": dict(entry.details)}
        with transaction(self.engine) as connection:
            connection.execute(sa.insert(audit_log), row)


def _newest_first() -> sa.Select[Any]:
    return sa.select(audit_log).order_by(audit_log.c.timestamp.desc(), audit_log.c.id)


def _entry(row: sa.Row[Any]) -> AuditEntry:
    values = dict(row._mapping)
    return AuditEntry(**values | {"status": Status(values["status"])})


def _csv_line(cells: Any) -> str:
    out = io.StringIO()
    csv.writer(out).writerow([_no_formula(cell) for cell in cells])
    return out.getvalue()


def _no_formula(cell: Any) -> str:
    text = "" if cell is None else str(cell)
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
