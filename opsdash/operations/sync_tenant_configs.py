"""Sync: the tenants' configurations go from the database to Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import LOOK_AGAIN, Refused
from opsdash.model import Effect, Figure, Line, Preview, Progress
from opsdash.operation import Act, Operation, argument
from opsdash.text import count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opsdash.model import AuditEntry, Snapshot
    from opsdash.services.services import Services
    from opsdash.services.tenants.sync import SyncReport, TenantPlan  # SQLAlchemy: --help does without

NAMED = 10
"""Tenants named in a sentence; the details tell more."""
MOST = 0.5
"""Of all tenants with a key, the share of orphans above which their number must be typed."""


class SyncTenantConfigs(Operation):
    """Writes every row of ``tenant_config`` to its Redis key where it differs; a bad row fails alone."""

    name: ClassVar[str] = "sync_tenant_configs"
    title: ClassVar[str] = "Sync Tenant Configs"
    help: ClassVar[str] = "Copy every tenant's configuration from the database to Redis, without secrets."
    warning: ClassVar[str] = "Running tasks see the new configuration at their next read."
    layout: ClassVar[tuple[str, ...]] = ("prefix", "db")
    turn_on: ClassVar[str] = (
        "Tenants are used once tenant_config has rows, or OPSDASH_TENANT_TABLE or OPSDASH_TENANT_SOURCE names them."
    )

    remove_orphans: bool = argument(
        default=False,
        help="Also remove orphans: Redis keys of tenants that are no longer in the database.",
        label="Also remove orphans: Redis keys of tenants that are no longer in the database",
    )

    @classmethod
    def is_used(cls, snapshot: Snapshot) -> bool:
        """Unless it is known that there are none."""
        return snapshot.tenants_in_use is not False

    def preview(self, services: Services) -> Preview:
        """What would be added and changed, what stays, what is orphaned and what can't be read."""
        plan = services.tenants.plan()
        written = [
            f"{count(plan.seen.rows, 'tenant')} in the database: {plan.added:,} will be added, {plan.changed:,} will be"
            f" changed, {plan.seen.unchanged:,} do not change.",
            *(f"{tenant}: {'; '.join(fields) or 'written differently'}." for tenant, fields in plan.changes.items()),
        ]
        if plan.changed > len(plan.changes) > 0:
            written.append(f"… and {plan.changed - len(plan.changes):,} more that change.")
        told = ("tenants", "added", "changed", "unchanged")
        lines = [Line("will", text, repeats=() if at else told) for at, text in enumerate(written)]
        if unreadable := plan.seen.unreadable:
            left_out = f"{count(unreadable, 'row')} can't be read and will not be written: {_with_why(plan.seen)}."
            lines.append(Line("will_not", left_out))
        if plan.orphaned:
            lines += self._about_orphans(plan)
        replaced = "Keyed fingerprints replace the API key and every setting whose name or value looks like a secret."
        lines.append(Line("note", replaced))
        return Preview(
            button=f"Sync {count(plan.seen.rows, 'tenant')}",
            lines=tuple(lines),
            figures=(
                Figure(name="tenants", label="tenants", value=plan.seen.rows, unit="tenants"),
                Figure(name="added", label="would be added", value=plan.added, unit="tenants"),
                Figure(name="changed", label="would change", value=plan.changed, unit="tenants"),
                Figure(name="unchanged", label="stay as they are", value=plan.seen.unchanged, unit="tenants"),
                Figure(name="orphaned", label="orphaned keys", value=len(plan.orphaned), unit="keys"),
                Figure(name="unreadable", label="can't be read", value=plan.seen.unreadable, unit="rows"),
                Figure(name="keys", value=plan.known, unit="keys"),
            ),
            choices=("remove_orphans",) if plan.orphaned else (),
        )

    def phrase(self, services: Services) -> str:
        """The number of orphans where they are to be removed and more than half of all keys."""
        if not self.remove_orphans:
            return ""
        orphaned, known = services.tenants.orphans()
        return _number_to_type(len(orphaned), known)

    def execute(self, services: Services, act: Act) -> Effect:
        """Streams the rows and writes those that differ; cancelled, each tenant is either old or new."""

        def on_progress(at: int, of: int) -> None:
            act.on_progress(Progress(done=False, message=f"{at:,} of {count(of, 'tenant')}", at=at, of=of))

        def remove(orphans: int, known: int) -> None:
            # Counted again where they are removed: more may be gone since the number was typed.
            expected = _number_to_type(orphans, known)
            if expected and act.phrase != expected:
                raise Refused(
                    f"{orphans:,} of {count(known, 'tenant')} with a key are now orphans, more than"
                    " half, and another number was typed.",
                    hint=LOOK_AGAIN,
                )
            reviewed = act.reviewed.values().get("orphaned", 0) if act.reviewed else orphans
            if orphans > reviewed:
                raise Refused(
                    f"There are now {count(orphans, 'orphan')}; there were {reviewed:,} in the preview.",
                    hint=LOOK_AGAIN,
                )

        report = services.tenants.sync(
            by=act.actor.name,
            remove=remove if self.remove_orphans else None,
            on_progress=on_progress,
            cancelled=act.cancelled,
        )
        return Effect(
            affected=report.written + report.removed,
            message=_sentence(report),
            details={
                "written": report.written,
                "unchanged": report.unchanged,
                "removed": report.removed,
                "failed": report.unreadable,
                "tenants": report.results,
                "cancelled": report.cancelled,
            },
            ok=not report.unreadable and not report.cancelled,
        )

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """Of a sync whose process died: whether a later one has put everything right."""
        drift = services.tenants.drift()
        if drift.synced_at is not None and drift.synced_at > entry.timestamp and not drift.unfinished:
            return {"message": "Each tenant is old or new. A later sync has ended."}
        return {"message": "Each tenant is old or new. Run it again."}

    def _about_orphans(self, plan: TenantPlan) -> list[Line]:
        orphans = len(plan.orphaned)
        will = "will be removed" if self.remove_orphans else "will stay, unless you ask to remove them"
        gone = f"Gone from the database, with a key in Redis: {_some(plan.orphaned)}. {orphans:,} {will}."
        lines = [Line("will" if self.remove_orphans else "will_not", gone)]
        if number := _number_to_type(orphans, plan.known):
            text = f"That is more than half of all {plan.known:,}. To remove them, also type {number}."
            lines.append(Line("warning", text))
        return lines


def _number_to_type(orphans: int, known: int) -> str:
    return str(orphans) if orphans > known * MOST else ""


def _sentence(report: SyncReport) -> str:
    message = f"Synced {count(report.written, 'tenant config')}"
    if report.unchanged:
        message += f"; {report.unchanged:,} unchanged"
    if report.removed:
        message += f"; {report.removed:,} orphaned removed"
    if report.unreadable:
        message += f"; {report.unreadable:,} failed: {_with_why(report)}"
    return f"Cancelled. {message}. The rest was not read." if report.cancelled else f"{message}."


def _some(tenants: list[str]) -> str:
    return ", ".join(tenants[:NAMED]) + (", …" if len(tenants) > NAMED else "")


def _with_why(report: SyncReport) -> str:
    """The first that failed, those with one reason together."""
    by_reason: dict[str, list[str]] = {}
    for tenant, why in list(report.failed.items())[:NAMED]:
        by_reason.setdefault(why, []).append(tenant)
    reasons = [f"{', '.join(tenants)} ({why})" for why, tenants in by_reason.items()]
    return ", ".join(reasons) + (", …" if report.unreadable > NAMED else "")
