"""What the card of tenants says of a comparison."""

from __future__ import annotations

from opsdash.services.tenants.sync import SyncReport, TenantPlan
from opsdash.views.tenants import compared


def test_a_comparison_is_a_sentence_of_what_differs_and_names_no_zeros() -> None:
    plan = TenantPlan(added=2, orphaned=["gone"], seen=SyncReport(rows=200, unchanged=198))
    lines, rows = compared(plan)
    assert lines == [["text", "200 tenants in the database: 2 would be added, 198 unchanged, 1 orphaned key."]]
    assert [row["name"] for row in rows] == ["gone", "2 new tenants"]
    assert compared(TenantPlan(seen=SyncReport(rows=1)))[0][0][1] == "1 tenant in the database: nothing would change."
