"""Which messages are of a tenant, and of which one a message is."""

from __future__ import annotations

from dataclasses import dataclass

from opsdash.model.hold import kwargs_of, tenant_by
from opsdash.services.broker.messages import decoded, envelope, headers_of


@dataclass(frozen=True, slots=True)
class TenantFilter:
    """By the header ``key``, else by the keyword argument of that name. What can't be read is of nobody."""

    tenant: str
    key: str

    def __call__(self, raw: bytes) -> bool:
        """Whether a message is meant; see `tenant_of`."""
        return tenant_of(raw, self.key) == self.tenant


def tenant_of(raw: bytes, key: str) -> str:
    """The tenant that a message is of; empty where it names none, or can't be read.

    Cost: its JSON is read, and its body's where no header says it.
    """
    message = envelope(raw)
    return "" if message is None else tenant_by(headers_of(message), key, lambda: kwargs_of(decoded(message)))
