"""Who acts, and what they may do."""

from __future__ import annotations

import enum
from dataclasses import field

from opsdash.text import as_text
from opsdash.values import frozen


class Role(enum.IntEnum):
    """What an actor may do. Each role includes the ones below it."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3


@frozen(kw_only=True)
class Actor:
    """The user, with role and surface.

    Attributes:
        name: User name as the proxy, the operating system or the caller gives it.
        role: None means: known, but may do and see nothing.
        surface: ``page``, ``cli``, ``api``, ``notebook`` or ``python``.
        client: The address it came from, as a trusted proxy gives it; empty where there is none.
        groups: As the proxy gives them: the role is looked up again at the moment of each act.
    """

    name: str
    role: Role | None
    surface: str = "python"
    client: str = ""
    groups: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        """A name from outside may have characters that no database accepts; the attempt must be audited anyway."""
        object.__setattr__(self, "name", as_text(self.name))
        object.__setattr__(self, "client", as_text(self.client))
