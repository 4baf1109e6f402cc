"""Notes, approvals, the audit log's oldest entries and tenants: what an operator reads, word for word."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from uuid import UUID

import pytest
import sqlalchemy as sa
from support import tenants
from support.desk import Desk

from opsdash.errors import NeedsApproval
from opsdash.model import Actor, Role
from opsdash.operations import AddNote, ApproveOperation, ClearQueue, PruneAuditLog, SyncTenantConfigs
from opsdash.services.audit.chain import BEFORE
from opsdash.services.database.tables import audit_log

OTTO = Actor(name="otto", role=Role.ADMIN, surface="python")


def test_a_note_is_kept_without_what_looks_secret(desk: Desk) -> None:
    for text in ("", "  ", "payments fail since 14:02", "password=hunter2-planted"):
        note = AddNote(text=text)
        desk.both(note)
        desk.said.append(f"  logged: {note.logged_params()}")
    desk.evidence(AddNote(text="x"))


def test_a_request_is_approved_by_another_user(desk_for: Callable[..., Desk]) -> None:
    desk = desk_for(approval=("clear_queue",), environment="production")
    desk.wait(2)
    reviewed = desk.console.preview(ClearQueue(queue="celery"))
    with pytest.raises(NeedsApproval) as asked:
        desk.console.run(
            ClearQueue(queue="celery", reason="stale"), actor=OTTO, confirm="YES", phrase="celery", reviewed=reviewed
        )
    approval = ApproveOperation(approval_id=asked.value.approval_id)
    reviewed = desk.preview(approval)
    desk.evidence(approval)
    desk.act(approval, reviewed, phrase="celery")
    desk.evidence(approval)
    desk.preview(approval)
    entries = desk.console.get_recent_operations(limit=5)
    names = {asked.value.approval_id: "REQUEST", **{str(one.id): "ENTRY" for one in entries}}
    for known, name in names.items():
        desk.said = [line.replace(known, name).replace(known.replace("-", ""), name) for line in desk.said]


def test_the_oldest_entries_of_the_audit_log_are_deleted(desk: Desk) -> None:
    now = datetime.now(UTC)
    row = {"user": "maria", "key_id": BEFORE, "operation": "clear_queue", "status": "success", "details": {}}
    rows = [
        row | {"id": UUID(int=100 + at), "request_id": UUID(int=100 + at), "timestamp": now - timedelta(days=at)}
        for at in range(5)
    ]
    rows[3]["details"] = {"broker": "redis://elsewhere:6379/0"}
    with desk.console.engine.begin() as connection:
        connection.execute(sa.insert(audit_log), rows)
    for seconds in (86_399, 3_153_600_000, 86_400):
        desk.preview(PruneAuditLog(older_than_s=seconds))
    desk.evidence(PruneAuditLog())
    desk.both(PruneAuditLog(older_than_s=2 * 86_400 + 60))
    desk.both(PruneAuditLog(older_than_s=2 * 86_400 + 60))
    for through in (None, 0, 7):
        entry = SimpleNamespace(details={} if through is None else {"removed_through": through})
        desk.said.append(f"  {PruneAuditLog().evidence(desk.services, entry)['message']}")


def test_tenants_are_synced_and_orphans_removed_with_their_number(desk: Desk) -> None:
    desk.preview(SyncTenantConfigs())
    tenants.add(desk.console, *(f"t-{at:02}" for at in range(14)))
    desk.both(SyncTenantConfigs())
    desk.both(SyncTenantConfigs())
    tenants.change(desk.console, "t-03", name="Other", settings={"limit": 7})
    tenants.add(desk.console, "new")
    tenants.remove(desk.console, "t-01")
    desk.preview(SyncTenantConfigs())
    desk.both(SyncTenantConfigs(remove_orphans=True))
    desk.evidence(SyncTenantConfigs())
    desk.note("more than half are gone")
    tenants.remove(desk.console, *(f"t-{at:02}" for at in range(2, 13)))
    gone = SyncTenantConfigs(remove_orphans=True)
    desk.said.append(f"  phrase: {gone.phrase(desk.services)}; {SyncTenantConfigs().phrase(desk.services) or 'none'}")
    reviewed = desk.preview(gone)
    desk.act(gone, reviewed)
    desk.act(gone, reviewed, phrase="11", after=0)
    tenants.remove(desk.console, "t-13")
    desk.act(gone, reviewed, phrase="12")
    desk.act(gone, reviewed, phrase="11")
    desk.act(gone, phrase="12")
    desk.preview(SyncTenantConfigs())
