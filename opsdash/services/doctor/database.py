"""The database: is it there, has it this opsdash's tables, is the audit log whole and complete."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import sqlalchemy as sa

from opsdash.errors import Invalid, Unavailable
from opsdash.services.audit import chain_head
from opsdash.services.database import migrations
from opsdash.services.database.engine import answering, label
from opsdash.services.doctor.finding import Examined, Findings, error, ok, skew, warning
from opsdash.text import count

NEWEST = 1_000
"""Entries that are checked without --full: about 20 ms."""
UPGRADE = "Run: opsdash db upgrade"


def reachable(patient: Examined) -> Findings:
    """Database: does it answer."""
    engine = patient.console.engine
    began = time.perf_counter()
    with answering(engine), engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))
    took_ms = (time.perf_counter() - began) * 1_000
    yield ok("database", f"{engine.dialect.name} at {label(engine.url)} answers in {took_ms:.1f} ms.")


def migrated(patient: Examined) -> Findings:
    """Tables: are they this opsdash's."""
    found, newest = migrations.revision(patient.console.engine), migrations.head()
    if found == newest:
        yield ok("tables", f"At revision {newest}, the newest.")
    elif migrations.is_newer(found):
        text = f"At revision {found}, of a newer opsdash; this one knows up to {newest} and works with it."
        yield warning("tables", text, "Update this console too.")
    else:
        yield error("tables", f"At revision {found or 'none'}; this opsdash expects {newest}.", UPGRADE)


def clock(patient: Examined) -> Findings:
    """Clocks: the database's beside this console's."""
    engine = patient.console.engine
    if engine.dialect.name != "postgresql":
        return  # SQLite has the console's own
    with answering(engine), engine.connect() as connection:
        connection.execute(sa.text("SELECT 1"))  # the connection's own beginning is not counted
        before = datetime.now(UTC)
        database_time = connection.scalar(sa.text("SELECT clock_timestamp()"))
        after = datetime.now(UTC)
    yield skew("the database", "this console", (database_time - before - (after - before) / 2).total_seconds())


def outbox(patient: Examined) -> Findings:
    """Audit outbox: steps that wait in Redis for the database."""
    if patient.console.audit.outbox is None:
        yield ok("audit spool", "Not used: OPSDASH_AUDIT=strict.")
        return
    try:
        waiting = patient.console.audit.outbox.count()
    except Unavailable:  # the broker's own line says why; the outbox can't be read
        yield warning("audit spool", "Not known: it is in Redis.", "Run the doctor again when Redis answers.")
        return
    if waiting:
        todo = (
            "opsdash audit moves them into the table now; what stays was not written by opsdash, or with another key."
        )
        yield warning("audit spool", f"{count(waiting, 'step')} of the audit log wait in Redis.", todo)
    else:
        yield ok("audit spool", "Empty.")


def chain(patient: Examined) -> Findings:
    """Audit chain: is the log whole."""
    audit = patient.console.audit
    if patient.full:
        verified = audit.verify()
        checked, found = verified.checked, verified.problems
        text = f"all {checked:,} entries"
    else:
        checked, found = chain_head.problems(audit.engine, audit.signer, NEWEST)
        text = f"the newest {checked:,} entries; --full checks all"
    if found:
        todo = "opsdash audit verify names each. Do not change the database."
        yield error("audit chain", f"NOT whole: {'; '.join(found[:3])} ({text}).", todo)
    else:
        yield ok("audit chain", f"Whole: {text}.")
    try:
        patient.console.settings.secret()
    except Invalid as missing:
        text = "New entries are written without a key: the hash chain shows accidents, but no attack."
        yield warning("audit chain", text, str(missing))
        return
    if through := chain_head.unkeyed_through(audit.engine, audit.signer):
        text = f"Entries up to {through:,} were written before there was a secret: an attack on them can't be shown."
        todo = "If the secret was set at another number, it was rewritten: opsdash audit verify --head NUMBER:SEAL."
        yield warning("audit chain", text, todo)


CHECKS = (migrated, clock, outbox, chain)
