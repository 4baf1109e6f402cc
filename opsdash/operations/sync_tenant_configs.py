"""Sync: the tenants' configurations go from the database to Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from opsdash.model import Effect, Preview, count
from opsdash.operation import Act, Operation

if TYPE_CHECKING:
    from opsdash.services.console import Console

NAMED = 10
"""Failed tenants named in the message; the details tell more."""


class SyncTenantConfigs(Operation):
    """Writes every row of ``tenant_config`` to its Redis key; a bad row fails alone."""

    name: ClassVar[str] = "sync_tenant_configs"
    title: ClassVar[str] = "Sync Tenant Configs"
    help: ClassVar[str] = "Copy every tenant's configuration from the database to Redis, without secrets."
    warning: ClassVar[str] = "Running tasks see the new configuration from their next read on."

    def preview(self, console: Console) -> Preview:
        """How many rows would be written."""
        tenants = console.tenants.count()
        lines = (
            f"{count(tenants, 'tenant')} will be written to Redis.",
            "Keyed fingerprints replace the API key and every setting whose name or value looks like a secret.",
            "A row that can't be read fails alone and is named.",
        )
        return Preview(title=self.title, warning=self.warning, lines=lines, figures={"tenants": tenants})

    def execute(self, console: Console, act: Act) -> Effect:
        """Streams the rows and writes them in pipelines."""
        report = console.tenants.sync()
        message = f"Synced {count(report.written, 'tenant config')}."
        if report.failed:
            named = ", ".join(list(report.failed)[:NAMED]) + (", …" if len(report.failed) > NAMED else "")
            message = f"Synced {count(report.written, 'tenant config')}; {len(report.failed):,} failed: {named}."
        return Effect(
            affected=report.written,
            message=message,
            details={"failed": len(report.failed), "tenants": report.results},
            ok=not report.failed,
        )
