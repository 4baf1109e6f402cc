"""What can go wrong, in the operator's words: each error says whether anything changed.

The exit code of the command line belongs to the class (``exit_code``), so every surface agrees on it.
"""

from __future__ import annotations

import re
from typing import ClassVar


class OpsdashError(Exception):
    """Base of every error opsdash raises on purpose; its text is one line written for an operator."""

    exit_code: ClassVar[int] = 1

    @property
    def fault(self) -> str:
        """What went wrong alone, for whoever only read: that nothing was changed goes without saying there."""
        return re.sub(r"[;.] nothing was changed\b", "", str(self), flags=re.IGNORECASE)


class Invalid(OpsdashError):
    """A setting or an argument is wrong. Nothing was changed."""

    exit_code = 2


class Refused(OpsdashError):
    """opsdash would not do it: role, confirmation, or a rule of the operation. Nothing was changed."""

    exit_code = 3


class PhraseMissing(Refused):
    """What must be typed beside ``YES`` was not. Nothing was changed.

    Attributes:
        expected: What must be typed.
    """

    def __init__(self, title: str, expected: str) -> None:
        super().__init__(f"{title} also needs {expected!r} typed beside YES. Nothing was changed.")
        self.expected = expected


class NeedsApproval(Refused):
    """It waits for a second person now. Nothing was changed.

    Attributes:
        approval_id: What ``opsdash approve`` takes.
    """

    def __init__(self, title: str, approval_id: str, until: str) -> None:
        super().__init__(
            f"{title} waits for a different operator's YES until {until}: opsdash approve {approval_id}."
            " Nothing was changed."
        )
        self.approval_id = approval_id


class Unavailable(OpsdashError):
    """Redis or the database did not answer before anything was done. Nothing was changed; try again."""

    exit_code = 4


class Uncertain(OpsdashError):
    """The act was begun and its end is not known, or not recorded. Look before trying again."""

    exit_code = 5
