"""The newest runs as page and API show them: the state of each, and what can be done about one that was left behind."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from opsdash.runs.behind import LEFT, state_of
from opsdash.runs.state import OVER, RunState, RunStatus, StepStatus, command_is_left
from opsdash.runs.store import RunStore

MOST_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """One run.

    Attributes:
        state: ``running``, ``done``, ``failed``, ``not taken back``, ``rolled back``; ``left behind``: it is running as
            far as it knows, and its process is gone.
        step: Where it is, or the step that it ended at. ``done``: steps that are over, ``of`` so many.
        command: The words of its command, shown without what looks secret.
        message: How it ended, or what its step says.
        continued_by, rolled_back_by: The command to type; empty: it is not possible.
    """

    id: str
    runbook: str
    state: str
    by: str
    host: str
    at: datetime
    ended_at: datetime | None = None
    step: str = ""
    done: int = 0
    of: int = 0
    reason: str = ""
    command: str = ""
    message: str = ""
    continued_by: str = ""
    rolled_back_by: str = ""


def overview(store: RunStore, most: int = MOST_SHOWN) -> tuple[RunSummary, ...]:
    """The newest runs, newest first. Cost: two round trips, and one for each that is running.

    Raises:
        Unavailable: Redis did not answer.
    """
    return tuple(summary(run, state_of(run, store)) for run in store.newest(most))


def summary(run: RunState, state: str) -> RunSummary:
    """One run, with what ``state_of`` says of it."""
    known = [step for step in run.steps if step.status is not StepStatus.LEFT_OUT] or run.steps
    at = next((step for step in known if step.status not in OVER), known[-1] if known else None)
    left, back = state == LEFT, run.status is RunStatus.NOT_TAKEN_BACK
    again = " -- COMMAND" if command_is_left(run) else ""
    return RunSummary(
        id=run.id,
        runbook=run.runbook,
        state=state,
        by=run.by,
        host=run.host,
        at=run.at,
        ended_at=run.ended_at,
        step=at.name if at else "",
        done=sum(step.status in OVER for step in run.steps),
        of=len(run.steps),
        reason=run.reason,
        command=run.command,
        message=run.message or (at.message if at else ""),
        continued_by=f"opsdash run --continue {run.id}{again}" if left else "",
        rolled_back_by=f"opsdash run --roll-back {run.id}" if left or back else "",
    )
