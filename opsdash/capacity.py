"""How many of something may be open at once: in total, for each client, with places reserved for users who may operate.

Standard library only.
"""

from __future__ import annotations

import enum
from collections import Counter

from opsdash.model import Role

SHARES = {Role.ADMIN: 1.0, Role.OPERATOR: 0.8, Role.VIEWER: 0.6, None: 0.1}
"""Up to which part of all places a role may fill them: a fifth is kept for admins, another for operators and them."""


class Full(enum.Enum):
    """Why there was no place."""

    ALL = "all"
    """As many are open as this role may fill."""
    OWN = "own"
    """The client has as many open as one client may have."""


class Capacity:
    """Places of one kind. Used from one thread, that of the event loop.

    Args:
        total: How many there are.
        each: How many of them one holder may have.
    """

    def __init__(self, total: int, each: int) -> None:
        self.total = total
        self.each = each
        self._taken = 0
        self._by_holder: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """How many are taken now."""
        return self._taken

    def take(self, role: Role | None, *holders: str) -> Full | None:
        """Takes one place; None when there was one. Cost: O(1).

        Args:
            role: Decides how many others may be open; None: a client without a role.
            holders: Who opens it: a user, a token, an address. Each has its own share.
        """
        if any(self._by_holder[holder] >= self.each for holder in holders):
            return Full.OWN
        if self._taken >= max(1, int(self.total * SHARES[role])):
            return Full.ALL
        self._taken += 1
        self._by_holder.update(holders)
        return None

    def leave(self, *holders: str) -> None:
        """Gives a place back, with the holders that it was taken for."""
        self._taken -= 1
        self._by_holder.subtract(holders)
        for holder in holders:
            if self._by_holder[holder] <= 0:
                del self._by_holder[holder]
