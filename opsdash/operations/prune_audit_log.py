"""Prune: deletes the oldest entries of the audit log; the hash chain still verifies from there on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Invalid
from opsdash.model import AuditEntry, Effect, Figure, Line, Preview, Role, times
from opsdash.operation import Act, Operation, argument
from opsdash.text import format_duration, parse_duration

if TYPE_CHECKING:
    from opsdash.services.services import Services

DAY_S = 86_400


class PruneAuditLog(Operation):
    """Deletes entries older than an age; its own entry stores where the hash chain begins from then on."""

    name: ClassVar[str] = "prune_audit_log"
    title: ClassVar[str] = "Prune Audit Log"
    help: ClassVar[str] = "Delete the oldest entries of the audit log; the rest still verifies."
    warning: ClassVar[str] = "Deleted entries can't be restored. Export them first: opsdash audit export."
    danger: ClassVar[bool] = True
    minimum_role: ClassVar[Role] = Role.ADMIN
    layout: ClassVar[tuple[str, ...]] = ()

    older_than_s: int = argument(
        default=365 * DAY_S,
        positional=True,
        parse=parse_duration,
        help="Age of the entries to delete, e.g. 365d; at least one day.",
        label="Older than",
        placeholder="For example 90d or 365d",
    )

    def preview(self, services: Services) -> Preview:
        """How many entries go and how many stay."""
        before = self._before()
        found = services.audit.prunable(before)
        deleted = (
            f"{found.going:,} entries from before {before:%Y-%m-%d %H:%M:%S} UTC will be deleted;"
            f" {found.staying:,} stay."
        )
        others = f"{found.others:,} of them belong to other brokers: their consoles share this database."
        kept = "This operation's entry keeps number and HMAC of the last deleted entry, so that the rest verifies."
        lines = [Line("will", deleted), *([Line("warning", others)] if found.others else []), Line("note", kept)]
        figures = (
            Figure(name="going", label="would be deleted", value=found.going, unit="entries"),
            Figure(name="staying", label="stay", value=found.staying, unit="entries"),
            Figure(name="others", label="of other brokers", value=found.others, unit="entries"),
        )
        return Preview(lines=tuple(lines), figures=figures)

    def execute(self, services: Services, act: Act) -> Effect:
        """Deletes in one transaction, which also writes down where the chain begins from now on."""
        age = format_duration(self.older_than_s)
        pruned = services.audit.prune(self._before(), act.audit_id)
        return Effect(
            affected=pruned.count,
            message=f"Deleted {pruned.count:,} entries older than {age}."
            if pruned.count
            else "There were no entries to delete.",
            details={"removed_through": pruned.through, "seal_there": pruned.seal} if pruned.count else {},
        )

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """What it has written into its own entry, in the transaction that deleted."""
        if (through := entry.details.get("removed_through")) is None:
            return {"message": "It deleted nothing."}
        up_to = f"up to number {through}" if through else "that were not in the hash chain"
        return {"message": f"It deleted entries {up_to}."}

    def _before(self) -> datetime:
        if self.older_than_s < DAY_S:
            got = format_duration(self.older_than_s)
            raise Invalid(f"entries are kept for at least one day, got {got}", field="older_than_s")
        try:
            return times.ago(self.older_than_s)
        except ValueError:
            raise Invalid("there are no entries that old", field="older_than_s") from None
