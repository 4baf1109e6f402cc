"""What an operation tells: a preview before, how far it has come meanwhile, its effect afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar, Protocol
from uuid import UUID


class DeclaredOperation(Protocol):
    """What is known of an operation where it is recorded, kept or handed on, but not run."""

    name: ClassVar[str]
    title: ClassVar[str]

    def params(self) -> dict[str, Any]:
        """The parameters as plain values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What an operation would do, read without changing anything.

    Attributes:
        title: The operation's name for people, e.g. ``Clear Queue``.
        warning: One sentence: what this does to a running system.
        lines: What would happen and what would not, one sentence each.
        taken_at: When it was read, in UTC: a confirmation that comes much later is refused.
        figures: The same numbers for programs.
        choices: Names of the operation's yes-or-no arguments that matter now, for the dialog to ask.
        boundary: Where what was reviewed ends, in the operation's own terms: what comes later is left alone by it.
        phrase: What must be typed beside ``YES`` as things stood; empty: nothing.
    """

    title: str
    warning: str
    lines: tuple[str, ...]
    figures: Mapping[str, Any] = field(default_factory=dict)
    choices: tuple[str, ...] = ()
    boundary: Mapping[str, Any] = field(default_factory=dict)
    phrase: str = ""
    taken_at: datetime = field(default_factory=lambda: datetime.now(UTC), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What an operation did, counted where it was done.

    Attributes:
        affected: How many things changed (tasks, tenants, flags).
        message: One sentence for the operator, with the number.
        details: What the audit trail keeps beside the message.
        ok: False when a part failed; the audit entry then says ``failure``.
        followed: False when it was done, and nobody is known to act on it: whoever asked has to look.
        audit_id: The audit entry that records it; set by ``Console.run``.
    """

    affected: int
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)
    ok: bool = True
    followed: bool = True
    audit_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an operation has come: the act itself while it runs, or its effect afterwards.

    Attributes:
        done: It has come to its end.
        message: One sentence for the operator.
        final: It has not, and waiting alone changes nothing.
        stage: The same as long as nothing but figures and ages has changed; empty: nothing tells.
        at: Things dealt with so far; ``of``: things in all. None where there is nothing to count.
        todo: What somebody can do where time alone may not end it, one line each.
    """

    done: bool
    message: str
    final: bool = False
    at: int | None = None
    of: int | None = None
    todo: tuple[str, ...] = ()
    stage: str = ""
