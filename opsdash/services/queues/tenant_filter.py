"""Which waiting messages are of a tenant."""

from __future__ import annotations

from dataclasses import dataclass

from opsdash.model.hold import kwargs_of, tenant_in
from opsdash.services.broker.messages import decoded, envelope, headers_of


@dataclass(frozen=True, slots=True)
class TenantFilter:
    """By the header ``key``, else by the keyword argument of that name. What can't be read is of nobody."""

    tenant: str
    key: str

    def __call__(self, raw: bytes) -> bool:
        """Whether a message is meant. Cost: its JSON is read, and its body's where no header says it."""
        message = envelope(raw)
        if message is None:
            return False
        found = tenant_in(headers_of(message), self.key) or tenant_in(kwargs_of(decoded(message)), self.key)
        return found == self.tenant
