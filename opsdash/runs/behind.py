"""Runs whose process is gone: named, and in the way of a new one while something of theirs is still in force."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from opsdash.errors import Refused
from opsdash.runs import command as commands
from opsdash.runs.plan import still_in_force
from opsdash.runs.state import OPEN, RunState, RunStatus, command_is_left, for_continuing, refuse_ended
from opsdash.runs.store import RunStore
from opsdash.services.console import Console

LEFT = "left behind"
NAMED = 3
"""Runs that are named at once."""


def state_of(run: RunState, store: RunStore) -> str:
    """The status of a run, in words: a running one without a living process was left behind."""
    if run.status is RunStatus.RUNNING and store.holder(run.runbook)[0] != run.id:
        return LEFT
    return run.status.value.replace("_", " ")


def left(store: RunStore) -> list[RunState]:
    """Those that can be continued or rolled back, the newest first."""
    holders: dict[str, str] = {}
    found = []
    for run in store.newest():
        if run.status not in OPEN:
            continue
        if run.runbook not in holders:
            holders[run.runbook] = store.holder(run.runbook)[0]
        if holders[run.runbook] != run.id:
            found.append(run)
    return found


def told(store: RunStore) -> list[str]:
    """A sentence for each of them, and what can be done."""
    runs = left(store)
    more = [f"{len(runs) - NAMED} more runs were left behind: opsdash run --status"] if len(runs) > NAMED else []
    return [*(sentence(run) for run in runs[:NAMED]), *more]


def sentence(run: RunState) -> str:
    """Whose it is, and what can be done."""
    begun = f"run {run.id} of {run.runbook} by {run.by} on {run.host}, begun {run.at:%Y-%m-%d %H:%M:%S} UTC"
    if run.status is RunStatus.NOT_TAKEN_BACK:
        return f"{begun}, is not taken back: opsdash run --roll-back {run.id}"
    again = " -- COMMAND" if command_is_left(run) else ""
    return f"{begun}, was left behind: opsdash run --continue {run.id}{again}, or --roll-back {run.id}"


def not_in_the_way(store: RunStore, console: Console, runbook: str, host: str) -> list[RunState]:
    """Runs of this runbook that were left behind with nothing in force: a new one may begin. Changes nothing.

    Raises:
        Refused: What one of them did is still so, or its command still runs.
    """
    found = [run for run in left(store) if run.runbook == runbook]
    for run in found:
        refuse_alive(run, host)
        if any(still_in_force(run, console).values()):
            raise Refused(f"{sentence(run)[0].upper()}{sentence(run)[1:]}.")
    return found


def close(store: RunStore, runs: Iterable[RunState]) -> None:
    """Closes those that a new run has come after."""
    for run in runs:
        store.begin(run.closed(RunStatus.FAILED, "Broken off; nothing of it was in force any more.", datetime.now(UTC)))


def picked_up(store: RunStore, run_id: str, host: str) -> RunState:
    """A run that was left behind.

    Raises:
        Refused: There is none, it has ended, its process lives, or its command does.
    """
    run = store.find(run_id)
    refuse_ended(run)
    holder, who = store.holder(run.runbook)
    if holder == run.id:
        raise Refused(
            f"Run {run.id} is being run by {who}.", hint="If its process is gone, try again in 20 seconds.", retry=True
        )
    refuse_alive(run, host)
    return run


def refuse_alive(run: RunState, host: str) -> None:
    """Raises Refused while the command of a run still runs on this machine."""
    step = run.command_step
    if step is not None and run.host == host and commands.is_alive(step.pid, step.started):
        raise Refused(
            f"The command of run {run.id} still runs, as process {step.pid}: {run.command}",
            hint="Wait until it has ended, or end it.",
            retry=True,
        )


def as_left(run: RunState, console: Console) -> RunState:
    """What a continued run starts from; reads what of it is still in force."""
    return for_continuing(run, still_in_force(run, console))
