"""Names of people: which of them mean the same person, and who acts in a shell."""

from __future__ import annotations

import os
import pwd
import re
import unicodedata

_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]"
)
"""Characters that take no room, beside those of Unicode's categories C: controls, formats, unassigned ones."""
_AROUND = re.compile(r"^[\s.]+|[\s.]+$")


def folded(name: str) -> str:
    """A name without what an eye may miss: case, width, invisible characters, blanks and dots around it.

    ``Maria``, ``maria.``, fullwidth letters and a zero-width space within make the same name.
    """
    shown = unicodedata.normalize("NFKC", _seen(name)).casefold()
    return " ".join(_AROUND.sub("", _seen(unicodedata.normalize("NFKC", shown))).split())


def same(one: str, other: str) -> bool:
    """Whether two names may be one person's. Who signs in with two unlike names is not found out by this."""
    return folded(one) == folded(other)


def _seen(text: str) -> str:
    return "".join(
        char for char in _UNSEEN.sub("", text) if char.isspace() or not unicodedata.category(char).startswith("C")
    )


def os_user() -> str:
    """The user of this process by the operating system's user id; ``LOGNAME`` and ``USER`` say what anybody wants.

    An id without a name, as in many containers, is ``uid-`` and its number.
    """
    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"
