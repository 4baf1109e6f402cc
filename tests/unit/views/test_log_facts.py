"""The log's opened row, its filter of time, and the age of its verification."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from opsdash.errors import Invalid
from opsdash.model import AuditEntry, Status
from opsdash.services.audit.verify import Verification
from opsdash.views import rows
from opsdash.views.hash_chain import told
from opsdash.views.log_facts import facts
from opsdash.views.operations_log import chosen

NOW = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)


def entry(name: str = "clear_queue", **details: Any) -> AuditEntry:
    return AuditEntry(
        id=uuid.uuid4(),
        request_id=uuid.uuid4(),
        timestamp=NOW,
        user="maria",
        operation=name,
        status=Status.SUCCESS,
        details=details,
    )


def test_target_and_reason_are_fields_of_their_own() -> None:
    (row,) = rows.operation_rows([entry(params={"queue": "emails", "reason": "stuck"})]).values()
    assert (row["act"], row["target"], row["why"]) == ("Clear Queue", "emails", "stuck")
    assert entry("quiet_worker", params={"hostname": "celery@a"}).target == "celery@a"
    assert entry("pause_processing", params={"queue": None}).target == "all queues"
    assert entry("drain_build", params={"build": "1.41"}).target == "1.41"
    assert entry("run", params={"runbook": "deploy", "reason": ""}).target == "deploy"
    assert entry("hold_tenant", params={"tenant": "acme"}).target == "acme"
    assert entry("pause_schedule", params={"schedule": "nightly"}).target == "nightly"
    filtered = {"ids": "", "task": "shop.*", "queue": "", "group": ""}
    assert entry("retry_failed", params=filtered).target == "shop.*", "a filter that is not given is not all queues"
    assert entry("discard_failed", params={**filtered, "group": "b9cc8edd11a2897f"}).target == "b9cc8edd11a2897f"
    assert entry("retry_failed", params={**filtered, "task": "", "ids": "a b"}).target == ""
    assert entry("cancel_workflow", params={"root": "root-1"}).target == "root-1"
    assert entry("restore_queue", queue="emails", params={"trash_id": "4f5e"}).target == "emails"
    assert entry("sync_tenant_configs", params={}).target == ""


def test_details_are_facts_with_a_name_each_and_the_id_can_be_copied() -> None:
    told_of = entry(message="Cleared.", params={"queue": "emails", "everything": True}, took_s=0.25)
    seen = {row["name"]: row for row in facts(told_of)}
    assert seen["Id"]["value"] == seen["Id"]["whole"] == str(told_of.id)
    assert seen["Message"]["value"] == "Cleared."
    assert (seen["Queue"]["value"], seen["Everything"]["value"]) == ("emails", "yes")
    assert seen["Took, s"]["value"] == "0.25"
    assert [act["copies"] for row in seen.values() for act in row["acts"]] == ["whole"] * len(seen)


def test_what_was_asked_for_is_called_as_its_dialog_calls_it_also_in_an_undo() -> None:
    undo = {"operation": "prune_audit_log", "params": {"older_than_s": 60}}
    told_of = entry("quiet_worker", params={"hostname": "celery@a", "reason": ""}, undo=undo)
    names = {row["name"]: row["value"] for row in facts(told_of)}
    assert (names["Worker"], names["Undo: operation"], names["Undo: Older than, s"]) == (
        "celery@a",
        "prune_audit_log",
        "60",
    )
    assert not [name for name in names if "params" in name.lower()]
    foreign = {
        row["name"] for row in facts(entry("of_another_version", params={"its_own": 1}, undo={"params": {"x": 1}}))
    }
    assert {"Its own", "Undo: x"} <= foreign


def test_a_time_reads_as_everywhere_on_the_page_and_its_copy_is_exact() -> None:
    exact = "2026-11-24T13:30:00.123456+01:00"
    seen = {row["name"]: row for row in facts(entry(expires_at=exact, odd="2026-13-45T99:00:00Z"))}
    assert seen["Began"]["value"] == "2026-11-23 12:30:00 UTC"
    assert (seen["Expires at"]["value"], seen["Expires at"]["whole"]) == ("2026-11-24 12:30:00 UTC", exact)
    assert seen["Odd"]["value"] == "2026-13-45T99:00:00Z"


def test_two_hundred_tenants_of_a_sync_are_five_and_a_number_and_the_copy_has_them_all() -> None:
    synced = entry("sync_tenant_configs", tenants={f"tenant{i}": "written" for i in range(200)}, failed=["a" * 9] * 30)
    seen = {row["name"]: row for row in facts(synced)}
    assert seen["Tenants"]["value"].endswith("tenant4: written and 195 more")
    assert seen["Tenants"]["whole"].count("written") == 200
    assert seen["Failed"]["value"].endswith("and 25 more")
    (row,) = rows.operation_rows([synced]).values()
    assert len(str(row)) < 1_000, "nor do they travel with the row"


def test_the_time_of_the_filter_is_one_of_the_usual_ranges_or_any_two_times() -> None:
    assert chosen({"since": "3600"}, NOW).since == NOW - timedelta(hours=1)
    own = chosen({"since": "2026-11-20", "until": "2026-11-21T03:00+01:00"}, NOW)
    assert (own.since, own.until) == (datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 21, 2, tzinfo=UTC))
    assert chosen({"since": "2h"}, NOW).since is not None
    assert chosen({"since": "custom"}, NOW).since is None
    with pytest.raises(Invalid) as refused:
        chosen({"until": "soon"}, NOW)
    assert refused.value.field == "To"


def test_a_verification_says_how_old_it_is_and_what_is_wrong() -> None:
    assert told(None, NOW)[0][1] == "Not verified since this console started."
    lines = told((NOW, Verification(checked=12, head="12:ab")), NOW + timedelta(minutes=3, seconds=20))
    assert [tone for tone, _ in lines] == ["ok", "mute"]
    assert "12 entries" in lines[0][1]
    assert lines[1][1] == "Verified 3 min ago, at 12:30:00 UTC."
    broken = Verification(checked=12)
    broken.fault("Removed: entry 3 before 4.")
    assert [tone for tone, _ in told((NOW, broken), NOW)] == ["bad", "mute", "bad"]
