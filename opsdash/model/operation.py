"""What an operation tells: how far it has come while it runs, and its effect afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol
from uuid import UUID

from opsdash.model.actor import Actor
from opsdash.model.preview import Preview


class DeclaredOperation(Protocol):
    """What is known of an operation where it is recorded, kept or handed on, but not run."""

    name: ClassVar[str]
    title: ClassVar[str]

    def params(self) -> dict[str, Any]:
        """The parameters as plain values."""

    def logged_params(self) -> dict[str, Any]:
        """The same for the audit log, less those that not all may read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What an operation did, counted where it was done.

    Attributes:
        affected: How many things changed (tasks, tenants, flags).
        message: One sentence for the operator, with the number.
        details: What the audit trail keeps beside the message.
        ok: False when a part failed; the audit entry then says ``failure``.
        followed: False when it was done, but no worker is known to follow it: the user must check.
        undo: The operation that takes it back; None: nothing does, or there is nothing to take back.
        undo_s: So long it can, in seconds; None: as long as nothing else has changed it.
        audit_id: The audit entry that records it; set by ``Console.run``.
    """

    affected: int
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)
    ok: bool = True
    followed: bool = True
    undo: DeclaredOperation | None = None
    undo_s: float | None = None
    audit_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an operation has come: the act itself while it runs, or its effect afterwards.

    Attributes:
        done: It has come to its end.
        message: One sentence for the operator.
        final: It has not, and waiting alone changes nothing. With ``done``: it has, as nobody is left to say otherwise;
            that counts once it stays so, as Redis may have lost who was there.
        stage: The same as long as nothing but figures and ages has changed; empty: nothing tells.
        at: Things dealt with so far; ``of``: things in all. None where there is nothing to count.
        todo: What the user can do if waiting does not help, one line each.
    """

    done: bool
    message: str
    final: bool = False
    at: int | None = None
    of: int | None = None
    todo: tuple[str, ...] = ()
    stage: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One run of an operation: who, and under which audit entry.

    Attributes:
        reviewed: The preview that was confirmed; None when nobody looked at one.
        phrase: What was typed beside ``YES``.
        on_progress: Long work tells it, now and then, how far it has come.
        cancelled: Long work asks it between two steps; true means: stop at the next whole step, and say what is done.
    """

    actor: Actor
    audit_id: UUID
    reviewed: Preview | None = None
    phrase: str = ""
    on_progress: Callable[[Progress], None] = lambda _progress: None
    cancelled: Callable[[], bool] = lambda: False
