"""What one browser session knows and has pending, as Param models without a widget in sight."""

from __future__ import annotations

from opsdash.state.confirmation import Confirmed, PendingConfirmation
from opsdash.state.status import SystemStatus

__all__ = ["Confirmed", "PendingConfirmation", "SystemStatus"]
