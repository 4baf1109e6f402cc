"""One pause. Its verdict is in ``verdict.py``."""

from __future__ import annotations

from datetime import datetime

from opsdash.values import frozen


@frozen(kw_only=True)
class PauseInfo:
    """One pause: of everything, or of one queue.

    A flag that was set by hand has no record: ``by`` is empty and ``at`` and ``epoch`` are None.

    Attributes:
        queue: None for everything.
        expires_at: When the flag's TTL ends, in UTC; None: it has none.
        epoch: The pause counter's value after this change.
    """

    queue: str | None
    by: str = ""
    reason: str = ""
    at: datetime | None = None
    expires_at: datetime | None = None
    epoch: int | None = None
