"""The audit log: an entry before the operation, its result afterwards, every attempt, in a hash chain.

While the database does not answer, entries go to the outbox in Redis, and later from there into the table.
"""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import redis
import sqlalchemy as sa

from opsdash.errors import NOTHING_CHANGED, Invalid, OpsdashError, Refused, Unavailable, Uncertain, explained, sentences
from opsdash.model import Actor, AuditEntry, DeclaredOperation, Status
from opsdash.services.audit import prune as audit_prune
from opsdash.services.audit import query, rows
from opsdash.services.audit.chain import KEY, LOST_KEY, ChainSigner
from opsdash.services.audit.details import begun_in, stored
from opsdash.services.audit.outbox import Outbox
from opsdash.services.audit.prune import Pruned
from opsdash.services.audit.query import ALL, THIS, Filter, Page, entry_of_row
from opsdash.services.database.engine import answering, reading, short_label, statement, transaction
from opsdash.services.database.tables import audit_head, audit_log
from opsdash.services.database.time_limit import TimeLimit

if TYPE_CHECKING:
    import pandas as pd

    from opsdash.services.audit import frame
    from opsdash.services.audit.verify import Verification

log = logging.getLogger(__name__)

STRICT_WAIT_S = 2.0
"""Without an outbox there is only the database, so the wait is longer."""


@dataclass(slots=True)
class AuditLog:
    """Reads and writes ``audit_log``. Each write is its own committed transaction.

    Attributes:
        outbox: The outbox, for entries that the database does not store soon; None: refuse (``OPSDASH_AUDIT=strict``).
        here: The broker that this console's entries are about, as `broker_identity` says it; empty: they don't say.
        writing: Writes that an operation waits for. ``draining``: moves the outbox into the table in the background.
    """

    engine: sa.Engine
    signer: ChainSigner
    _: KW_ONLY
    outbox: Outbox | None = None
    here: Callable[[], str] = lambda: ""
    writing: TimeLimit = field(init=False)
    draining: TimeLimit = field(init=False)
    _writer: sa.Engine = field(init=False)
    _one_drain: threading.Lock = field(default_factory=threading.Lock, init=False)

    def __post_init__(self) -> None:
        """SQLite takes its write lock first: who reads and then writes needs it from the start, or is sent away."""
        self._writer = self.engine.execution_options(sqlite_begin="IMMEDIATE")
        who = f"The database at {short_label(self.engine.url)}"
        strict = self.outbox is None
        self.writing = TimeLimit(who, wait_s=STRICT_WAIT_S if strict else None, rests="never" if strict else "any")
        self.draining = TimeLimit(who)

    def begin(
        self, operation: DeclaredOperation, actor: Actor, request_id: UUID | None = None, **details: Any
    ) -> AuditEntry:
        """Commits the intent. What follows may crash: the entry stays ``in_progress`` and is seen.

        Raises:
            Duplicate: There is an entry with this request id already.
            Unavailable: Neither the database nor the outbox stored it, so nothing may be done.
            Invalid: There is no secret here, and the log was written with one, so nothing may be done.
        """
        entry = self._entry_of(operation, actor, Status.IN_PROGRESS, details, request_id)
        self._keep("begin", entry)
        if request_id is not None and self.outbox is not None:
            try:
                self.outbox.claim(entry)  # should the database be away when it is sent again
            except redis.RedisError as error:  # the act itself meets the outage, and says so
                log.debug("the request %s is stored in the database only: %s", request_id, error)
        return entry

    def refuse(
        self, operation: DeclaredOperation, actor: Actor, why: str, request_id: UUID | None = None, **details: Any
    ) -> AuditEntry:
        """Records an attempt that was refused before anything was done."""
        facts = {"message": why, "took_s": 0.0, **details}
        entry = self._entry_of(operation, actor, Status.REFUSED, facts, request_id)
        try:
            self._keep("whole", entry)
        except DuplicateRequest:  # a second refusal of the same request has its own entry
            entry = replace(entry, request_id=uuid4())
            self._keep("whole", entry)
        return entry

    def finish(self, entry: AuditEntry, status: Status, details: Mapping[str, Any]) -> AuditEntry:
        """Commits the outcome of an entry that is in progress.

        Raises:
            Unavailable: Neither the database nor the outbox stored it.
        """
        now = datetime.now(UTC)
        took_s = round((now - entry.timestamp).total_seconds(), 3)
        added = {name: value for name, value in stored(details).items() if name != "broker"}
        done = replace(entry, status=status, finished_at=now, details={**entry.details, **added, "took_s": took_s})
        self._keep("finish", done)
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
            details=self._here(stored(details)),
            request_id=request_id,
            finished_at=timestamp,
        )
        try:
            self._write("whole", entry)
        except DuplicateRequest:
            return False
        return True

    def recent(self, limit: int = 20, broker: str = "") -> tuple[AuditEntry, ...]:
        """The newest entries, newest first, of all brokers or of one. Cost: one query, by an index."""
        return self.page(Filter(broker=broker), limit=limit).entries

    def page(self, chosen: Filter = ALL, *, limit: int = 50, after: str | None = None) -> Page:
        """One page, newest first; see `query.page`."""
        return query.page(self.engine, self._meant(chosen), limit=limit, after=after)

    def to_frame(
        self,
        chosen: Filter = ALL,
        *,
        since: frame.Time = None,
        until: frame.Time = None,
        user: str = "",
        operation: str = "",
        status: str = "",
        broker: str = "",
        details: bool = False,
        limit: int | None = None,
    ) -> pd.DataFrame:
        """All entries that are chosen as a typed pandas frame, newest first.

        Cost: short statements of a thousand entries each, and the frame's memory (``tests/benchmarks/RESULTS.md``).

        Args:
            chosen: A filter; what follows narrows it.
            since: Begun at or after this; ``until``: before this. ISO text, an age such as ``2h``, a datetime, a date
                or a Timestamp; one without a zone is UTC.
            status: One of ``in_progress``, ``success``, ``failure``, ``refused``, ``unknown``.
            broker: Of one broker; ``this``: of this console's.
            details: With a column ``details``: the whole JSON of each entry as text, for ``json.loads``.
            limit: So many of the newest; a warning says of how many, if there are more.

        Raises:
            Invalid: ``since``, ``until``, ``status`` or ``limit`` can't be used.
            Unavailable: The database did not answer.
        """
        from opsdash.services.audit import frame  # here, and below: few processes need it

        given = {"user": user, "operation": operation, "status": status, "broker": broker}
        meant = self._meant(frame.narrowed(chosen, since, until, given))
        read, said = frame.of_log(self.engine, meant, details=details, limit=limit)
        if said:
            warnings.warn(said, stacklevel=2)
        return read

    def named(self, chosen: Filter, installed: Collection[str]) -> Filter:
        """With the operation as the log calls it; see `query.named`."""
        return query.named(self.engine, chosen, installed)

    def total(self, chosen: Filter = ALL, *, most: int | None = None) -> int | None:
        """How many entries; see `query.total`."""
        return query.total(self.engine, self._meant(chosen), most=most)

    def export(self, chosen: Filter = ALL, *, form: str = "csv") -> Iterator[str]:
        """Lines of ``csv``, ``flat`` (CSV with one column per fact) or ``jsonl``, newest entry first; streams."""
        from opsdash.services.audit import exports

        return exports.EXPORTS[form](self.engine, self._meant(chosen))

    def head(self) -> str:
        """``number:seal`` of the newest entry in the chain; keep copies of it. Cost: one query for one row."""
        with reading(self.engine) as connection:
            row = connection.execute(sa.select(audit_head.c.seq, audit_head.c.seal)).one_or_none()
        return "" if row is None else f"{row.seq}:{row.seal}"

    def verify(
        self, head: str | None = None, on_progress: Callable[[int, int], None] = lambda _at, _of: None
    ) -> Verification:
        """Walks the hash chain; see `opsdash.services.audit.verify`."""
        from opsdash.services.audit.verify import verify

        return verify(self.engine, self.signer, head, on_progress)

    def by_request(self, request_id: UUID) -> AuditEntry | None:
        """The entry of one request, if there is one."""
        with reading(self.engine) as connection:
            row = connection.execute(sa.select(audit_log).where(audit_log.c.request_id == request_id)).one_or_none()
        return None if row is None else entry_of_row(row)

    def in_progress(self, before: datetime, *, others_since: datetime) -> tuple[AuditEntry, ...]:
        """Entries begun before then and not finished, oldest first; see `query.in_progress`."""
        return query.in_progress(self.engine, before, self.here(), others_since)

    def is_here(self, entry: AuditEntry) -> bool:
        """Whether it is about this broker, or says of none and there is no other one in this log.

        Cost: none; where the entry says of none, one query that looks at two places of an index.
        """
        here = self.here()
        return entry.broker == here or (entry.broker is None and query.is_alone(self.engine, here))

    def drain(self) -> int:
        """Moves the outbox into the table; a second run changes nothing. Never raises for an outage.

        Returns:
            How many steps it moved.
        """
        if self.outbox is None or not self._one_drain.acquire(blocking=False):
            return 0
        moved = 0
        try:
            for position, kind, entry in self.outbox.waiting(self.signer):
                try:
                    self._write(kind, entry, again=True)
                except DuplicateRequest:  # it was an attempt, perhaps an operation: it has its own entry and id
                    log.warning("entry %s in the audit outbox repeats the request of another one", entry.id)
                    self._write(kind, replace(entry, request_id=uuid4()), again=True)
                self.outbox.remove(position)
                moved += 1
        except (Unavailable, Uncertain, redis.RedisError) as error:
            log.warning("the audit outbox is not empty yet: %s", explained(error))
        finally:
            self._one_drain.release()
        if moved:
            self.writing.answered()
            log.info("the database answers again: moved %d steps of the audit log from the outbox", moved)
        return moved

    def drain_soon(self) -> None:
        """As ``drain``, by the way: it goes on by itself where it takes longer than anybody waits."""
        if self.writing.hangs or not self.outbox_length():
            return
        try:
            self.draining.run(self.drain)
        except Unavailable as error:
            log.info("the audit outbox is emptied later: %s", error.explanation)

    def outbox_length(self) -> int | None:
        """Steps that wait in the outbox; None while Redis does not answer. Cost: one XLEN."""
        try:
            return 0 if self.outbox is None else self.outbox.count()
        except Unavailable:
            return None

    def prunable(self, before: datetime) -> audit_prune.Prunable:
        """What a prune would take away; see `audit_prune.prunable`."""
        return audit_prune.prunable(self.engine, before, self.here())

    def prune(self, before: datetime, audit_id: UUID) -> Pruned:
        """Takes away the beginning of the chain; see `audit_prune.prune`."""
        return audit_prune.prune(self.engine, before, audit_id)

    def _keep(self, kind: str, entry: AuditEntry) -> None:
        """The database, or else the outbox: soon in either case.

        Raises:
            Invalid: The other consoles have a key, and this console has none.
        """

        def write() -> None:
            if kind != "finish":
                self._check_key()
            self._write(kind, entry)

        try:
            self.writing.run(write, late=lambda _: self._took_late(kind, entry))
        except (Unavailable, Uncertain) as error:
            if self.outbox is None:
                raise
            log.warning("the audit log goes to the outbox in Redis: %s", error.explanation)
            self._put(self.outbox, kind, entry, error, write)

    def _put(self, outbox: Outbox, kind: str, entry: AuditEntry, why: OpsdashError, write: Callable[[], None]) -> None:
        try:
            if kind == "begin" and not outbox.claim(entry):
                raise DuplicateRequest(entry.request_id)
            outbox.put(kind, entry, self.signer)
        except redis.RedisError as failure:
            with suppress(Unavailable, Uncertain):  # the database, left alone for a moment, may answer again
                return self.writing.run(write, rested=False)
            raise Unavailable(f"{why.fault}, and Redis did not store the audit entry: {failure}") from failure

    def _took_late(self, kind: str, entry: AuditEntry) -> None:
        """An entry that is also in the outbox is stored once, by its id. Without one the operation was not done."""
        if self.outbox is None and kind == "begin":
            now = datetime.now(UTC)
            why = sentences("The database stored this too late, so it was not done.", NOTHING_CHANGED)
            ended = replace(
                entry, status=Status.FAILURE, finished_at=now, details={**entry.details, "message": why, "took_s": 0.0}
            )
            self._write("finish", ended)

    def _check_key(self) -> None:
        """Refuses to start without a key, if the other consoles have one.

        Raises:
            Invalid: The secret is missing here. Unavailable: The database did not answer.
        """
        if self.signer.keyed:
            return
        with answering(self.engine), self.engine.connect() as connection:
            if connection.scalar(sa.select(audit_head.c.unkeyed_seal)) is not None:
                raise Invalid(LOST_KEY, setting=KEY)

    def _write(self, kind: str, entry: AuditEntry, *, again: bool = False) -> None:
        """One transaction.

        Args:
            again: It may be there already, from before a crash: then it is left as it is.

        Raises:
            Duplicate: Another entry has this request id.
        """
        try:
            with (statement if kind == "begin" and not again else transaction)(self._writer) as connection:
                if kind != "begin":
                    rows.close(connection, kind, self.signer.next(connection, entry))
                elif not again or rows.status_of(connection, entry) is None:
                    rows.insert(connection, entry)
        except sa.exc.IntegrityError as error:  # the only other rules a whole entry can break are opsdash's own
            raise DuplicateRequest(entry.request_id) from error
        except sa.exc.SQLAlchemyError as error:  # as of a connection that is being closed: not taken, whatever it is
            raise Unavailable(f"The database did not store the audit entry ({error})") from error

    def _entry_of(
        self,
        operation: DeclaredOperation,
        actor: Actor,
        status: Status,
        details: Mapping[str, Any],
        request_id: UUID | None,
    ) -> AuditEntry:
        now = datetime.now(UTC)
        origin = {"client": actor.client} if actor.client else {}
        facts = {"params": operation.logged_params(), "surface": actor.surface, **origin, **begun_in(), **details}
        kept = stored(facts)
        return AuditEntry(
            id=uuid4(),
            timestamp=now,
            user=actor.name,
            operation=operation.name,
            status=status,
            details=self._here(kept),
            request_id=request_id or uuid4(),
            finished_at=None if status is Status.IN_PROGRESS else now,
        )

    def _here(self, details: Mapping[str, Any]) -> dict[str, Any]:
        """Details that say on which broker, and say it first: there the database looks for it."""
        here = self.here()
        return {**({"broker": here} if here else {}), **{name: details[name] for name in details if name != "broker"}}

    def _meant(self, chosen: Filter) -> Filter:
        return replace(chosen, broker=self.here()) if chosen.broker == THIS else chosen


class DuplicateRequest(Refused):
    """A request that was made before."""

    def __init__(self, request_id: UUID, message: str = "", *, hint: str = "") -> None:
        text = message or f"The request {request_id} was made before: it is in the audit log."
        super().__init__(text, hint=hint, field="request_id")
        self.request_id = request_id
