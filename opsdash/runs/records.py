"""What a run does beside operations, as the audit log has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar


@dataclass(frozen=True)
class Recorded:
    """A run as a whole. It is no operation: no other surface can ask for it."""

    name: ClassVar[str] = "run"
    title: ClassVar[str] = "Run"
    given: Mapping[str, Any] = field(default_factory=dict)

    def params(self) -> dict[str, Any]:
        """As it was asked for."""
        return dict(self.given)

    def logged_params(self) -> dict[str, Any]:
        """The same: what looks secret is left out before."""
        return self.params()


class RecordedWait(Recorded):
    """Waiting for an operation to have taken effect."""

    name: ClassVar[str] = "run_wait"
    title: ClassVar[str] = "Run: Wait"


class RecordedCommand(Recorded):
    """A command of the machine that a run was begun on."""

    name: ClassVar[str] = "run_command"
    title: ClassVar[str] = "Run: Command"


class RecordedSnapshot(Recorded):
    """A file with everything there is to see."""

    name: ClassVar[str] = "run_snapshot"
    title: ClassVar[str] = "Run: Snapshot"


class StepFailedError(Exception):
    """A step that ends the run, with the exit code of the run."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
