"""One worker by its name: what the operations on a single worker share."""

from __future__ import annotations

from dataclasses import dataclass

from opsdash.errors import Invalid
from opsdash.operation import argument


@dataclass(frozen=True, kw_only=True)
class OneWorker:
    """For an operation to derive from, before ``Operation``."""

    hostname: str = argument(
        default="",
        positional=True,
        help="The worker, as opsdash workers names it.",
        label="Worker",
        placeholder="For example celery@host",
    )

    def check_named(self) -> None:
        """Refuses an act on nobody.

        Raises:
            Invalid: No worker is named.
        """
        if not self.hostname:
            raise Invalid("name a worker.", field="hostname")
