"""Whether an operation may run: what it is, who asks, and whether it was confirmed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from opsdash.config.settings import Settings
from opsdash.errors import Invalid, Refused
from opsdash.model import Actor, Preview
from opsdash.operation import CONFIRMATION, Operation

PREVIEW_MAX_S = 15 * 60
"""A confirmation is valid for the previewed data; an older preview is refused."""


def checked(operation: object) -> Operation:
    """The operation itself; raises Invalid for anything else."""
    if not isinstance(operation, Operation):
        got = type(operation).__name__
        raise Invalid(f"expected an operation such as ClearQueue(queue='emails'), got {got}.")
    return operation


def check_approval(settings: Settings, operations: Mapping[str, type[Operation]]) -> None:
    """Raises Invalid where a second person is asked for something that can't have one."""
    if not settings.approval:
        return
    known = [name for name, kind in operations.items() if kind.approvable]
    for name in settings.approval:
        if name not in known:
            raise Invalid(
                f"there is no operation {name!r}; expected some of {', '.join(known)}", setting="OPSDASH_APPROVAL"
            )
    settings.secret()  # a request must not be possible in another user's name


def lacks_role(operation: Operation, actor: Actor) -> Refused | None:
    """Why the actor may not run it; None: they may."""
    if actor.role is not None and actor.role >= operation.minimum_role:
        return None
    has = f"the role {actor.role.name.lower()}" if actor.role else "no role"
    needs = operation.minimum_role.name.lower()
    return Refused(f"{actor.name} has {has}; {operation.title} needs {needs}.")


def objection(operation: Operation, actor: Actor, confirm: str, reviewed: Preview | None) -> Refused | None:
    """Why it is refused before anything is read: the role, the confirmation, or a preview that has expired."""
    if lacking := lacks_role(operation, actor):
        return lacking
    if confirm != CONFIRMATION:
        return Refused(f"{operation.title} was not confirmed with {CONFIRMATION}.", field="confirm")
    if reviewed is not None:
        age_s = (datetime.now(UTC) - reviewed.taken_at).total_seconds()
        if age_s > PREVIEW_MAX_S:
            return Refused(f"The preview expired ({age_s / 60:.0f} min).", hint="Open a new one.")
    return None
