"""Roles in a file: read again when it changes, so that a role given or taken away counts without a restart."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from opsdash.model import Role

log = logging.getLogger(__name__)

NAMES = {"admins": Role.ADMIN, "operators": Role.OPERATOR, "viewers": Role.VIEWER}
Lists = dict[Role, tuple[str, ...]]
NOBODY: Lists = dict.fromkeys(Role, ())

_known: dict[str, tuple[tuple[int, int, int], Lists]] = {}


def lists(path: str | None) -> Lists:
    """Who has which role by the file. Cost: one stat as long as it does not change.

    A file that can't be read, or has a mistake in it, gives nobody a role: the log says why.
    """
    if path is None:
        return NOBODY
    try:
        found = os.stat(path)
        version = (found.st_mtime_ns, found.st_size, found.st_ino)
        known = _known.get(path)
        if known is None or known[0] != version:
            known = version, _or_nobody(path)
            _known[path] = known
    except OSError as error:
        log.error("OPSDASH_ROLES_FILE gives no user a role: %s", error)
        return NOBODY
    return known[1]


def read(path: str) -> Lists:
    """The lists of one file: lines ``admins: ann, group:ops``; ``#`` begins a comment.

    Raises:
        ValueError: With a sentence for the author of the file.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} can't be read: {error}") from None
    found: dict[Role, list[str]] = {role: [] for role in Role}
    for number, line in enumerate(text.splitlines(), 1):
        rule = line.partition("#")[0].strip()
        if not rule:
            continue
        name, colon, members = rule.partition(":")
        if not colon or name.strip() not in NAMES:
            raise ValueError(f"{path}, line {number}: expected admins:, operators: or viewers: and names, got {rule!r}")
        found[NAMES[name.strip()]] += [part.strip() for part in members.split(",") if part.strip()]
    return {role: tuple(members) for role, members in found.items()}


def _or_nobody(path: str) -> Lists:
    try:
        return read(path)
    except ValueError as error:
        log.error("OPSDASH_ROLES_FILE gives no user a role: %s", error)
        return NOBODY
