"""What one browser session knows and has pending, as Param models without a widget in sight. Public.

`SystemStatus` is a widget's ``status``: bind to its parameters, or watch them. `PendingConfirmation` is the operation
that waits for its typed ``YES``. Neither needs Panel, Redis or a database: docs/testing-with-param.md.
"""

from __future__ import annotations

from opsdash.state.confirmation import Confirmed, PendingConfirmation
from opsdash.state.status import DEGRADED, PARTLY_PAUSED, PAUSED, RUNNING, UNKNOWN, SystemStatus

__all__ = [
    "DEGRADED",
    "PARTLY_PAUSED",
    "PAUSED",
    "RUNNING",
    "UNKNOWN",
    "Confirmed",
    "PendingConfirmation",
    "SystemStatus",
]
