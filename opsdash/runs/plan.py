"""A run before it is begun: its steps with their values, its preview as a whole, and what speaks against it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from opsdash.errors import Invalid, Refused
from opsdash.model import Actor, Line, Preview, Role
from opsdash.operation import Operation, TakenBack, recorded
from opsdash.redaction import masked
from opsdash.runs import command as commands
from opsdash.runs.runbook import Runbook, Step, filled, operation
from opsdash.runs.state import OVER, RunState, StepState, StepStatus, command_is_left, to_take_back
from opsdash.services.audit.details import public_params
from opsdash.services.authorization import lacks_role
from opsdash.services.console import Console
from opsdash.text import format_duration

TAKEN_BACK_BY = {"pause_processing": "resume_processing", "drain_build": "wake_build"}
"""Operations that a run can take back only if nobody else must approve what does it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A run, and what its state must not hold.

    Attributes:
        operations: Of each step that has one, with all its parameters.
        words: Of its command; empty: none is to be run.
    """

    run: RunState
    operations: Mapping[str, Operation]
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPreview:
    """What one step would do."""

    name: str
    preview: Preview


def planned(
    book: Runbook,
    console: Console,
    values: Mapping[str, str],
    *,
    by: str,
    host: str,
    words: Sequence[str],
    wait_s: int | None,
) -> Plan:
    """A new run of a runbook. Changes nothing, and reads nothing but the settings.

    Raises:
        Invalid: A value or the command is missing, unknown or wrong.
    """
    given = {name: value for name, value in values.items() if name != "reason"}
    if unknown := sorted(given.keys() - book.values):
        known = ", ".join(sorted(book.values)) or "none"
        raise Invalid(f"runbook {book.name} takes no value {unknown[0][:80]!r}; expected some of {known}")
    if words and not book.takes_command:
        raise Invalid(f"runbook {book.name} takes no command")
    run_id = secrets.token_hex(4)
    reason = masked(values.get("reason", "").strip())
    why = f"{reason} (run {run_id} of {book.name})" if reason else f"run {run_id} of {book.name}"
    settings = console.settings
    filling = {"link": settings.page_url} if settings.page_url else {}
    filling |= {**given, **({"reason": reason} if reason else {})}
    steps, operations = [], {}
    command: tuple[str, ...] = ()
    for step in book.steps:
        state = _state(step, filling, wait_s)
        if step.kind == "operation" and state.status is not StepStatus.LEFT_OUT:
            try:
                made = operation(step.does, step.params, filling)
            except Invalid as error:
                raise Invalid(f"step {step.name}: {error.fault}") from error
            made = made if made.reason else replace(made, reason=why[:1_000])
            operations[step.name] = made
            state = replace(state, params=public_params(made.logged_params()))
        if step.kind == "command" and state.status is not StepStatus.LEFT_OUT:
            command = commands.checked(step.command or words)
            state = replace(state, digest=commands.digest(command, settings))
        if step.kind == "snapshot" and not state.does:
            state = replace(state, does=f"{book.name}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{run_id}.json")
        steps.append(state)
    shown = commands.shown(command, settings.redact) if command else ""
    run = RunState(
        id=run_id,
        runbook=book.name,
        by=by,
        host=host,
        at=datetime.now(UTC),
        steps=tuple(steps),
        reason=reason,
        command=shown,
    )
    return Plan(run=run, operations=operations, words=command)


def _state(step: Step, values: Mapping[str, str], wait_s: int | None) -> StepState:
    lacking = bool(step.only_with) and step.only_with not in values
    other = bool(step.only_without) and step.only_without in values
    return StepState(
        name=step.name,
        kind=step.kind,
        does=step.does if step.kind in {"operation", "wait_for"} else filled(step.does, values) or "",
        timeout_s=step.timeout_s if wait_s is None else wait_s,
        take_back=step.take_back,
        take_back_if_failed=step.take_back_if_failed,
        go_on=step.go_on,
        status=StepStatus.LEFT_OUT if lacking or other else StepStatus.PENDING,
        message=f"No {step.only_with} was given." if lacking else f"{step.only_without} was given." if other else "",
    )


def again(run: RunState, console: Console, words: Sequence[str], book: Runbook | None) -> Plan:
    """A run that was left behind, as it is to be continued: from its state, and with the command said again.

    Raises:
        Refused: Its command is missing or another one, or a parameter was not kept since it looked secret.
    """
    operations = {}
    for step in run.steps:
        if step.kind == "operation" and step.status is not StepStatus.LEFT_OUT:
            made = recorded(step.does, step.params)
            if made is None:
                raise Refused(f"Step {step.name} can't be made again: a parameter looked secret and was not kept.")
            operations[step.name] = made
    if not command_is_left(run):
        if words:
            raise Refused(f"The command of run {run.id} has ended: it is not run again.", hint="Leave it out.")
        return Plan(run=run, operations=operations)
    declared = next((step.command for step in book.steps if step.kind == "command"), ()) if book else ()
    given, begun = tuple(words) or declared, run.command_step
    if not given:
        ran = begun is not None and begun.status is not StepStatus.PENDING
        told, when = ("is not known to have ended", " again") if ran else ("has not run yet", "")
        raise Refused(
            f"The command of run {run.id} {told}, and its words are not kept.",
            hint=f"To run it{when}: opsdash run --continue {run.id} -- COMMAND. Or: opsdash run --roll-back {run.id}",
        )
    now = commands.digest(given, console.settings)
    if begun is not None and begun.digest and now and begun.digest != now:
        raise Refused(f"That is not the command that run {run.id} was begun with: {run.command}")
    return Plan(run=run, operations=operations, words=commands.checked(given))


def check(plan: Plan, console: Console, actor: Actor) -> None:
    """Raises Refused for what a run could not do: before anything is done, not in the middle."""
    if actor.role is None or actor.role < Role.OPERATOR:
        has = f"the role {actor.role.name.lower()}" if actor.role else "no role"
        raise Refused(f"{actor.name} has {has}; a run needs operator.")
    approval = console.settings.approval
    for step in plan.run.steps:
        made = plan.operations.get(step.name)
        if made is None:
            continue
        if lacking := lacks_role(made, actor):
            raise lacking
        back = step.take_back or step.take_back_if_failed
        for name in (made.name, TAKEN_BACK_BY.get(made.name, "") if back else ""):
            if name in approval:
                raise Refused(
                    f"Step {step.name}: {name} needs a different operator's YES, and a run can't wait for it."
                )


def previews(plan: Plan, console: Console) -> list[StepPreview]:
    """What each step that is left would do, with its figures, read now. Changes nothing.

    Raises:
        Refused: A step would be refused. Unavailable: Redis or the database does not answer.
    """
    found, back, if_failed = [], [], []
    command = plan.run.command_step
    ended = command is not None and bool(command.exit_code)  # then only the taking back is left
    for step in plan.run.steps:
        made = plan.operations.get(step.name)
        standing = made.standing(console.services) if made is not None and step.status is StepStatus.PENDING else ""
        if not standing and step.status not in OVER - {StepStatus.DONE}:
            back += [step.name] if step.take_back else []
            if_failed += [step.name] if step.take_back_if_failed and not step.take_back else []
        if ended or step.status in {StepStatus.DONE, StepStatus.TAKEN_BACK}:
            continue
        if step.status in {StepStatus.LEFT_OUT, StepStatus.SKIPPED}:
            shown = Preview(title="Left out", lines=(Line("note", step.message),))
        elif standing and made is not None:
            shown = Preview(title=made.heading(), lines=(Line("will_not", standing),))
        elif made is not None:
            shown = _of_operation(step, made, console)
        else:
            shown = Preview(title=_title(step), lines=tuple(_lines(step, plan)))
        found.append(StepPreview(name=step.name, preview=shown))
    texts = [f"At the end, however it ends, this is taken back: {', '.join(reversed(back))}."] if back else []
    texts += [f"If it fails, this is taken back: {', '.join(reversed(if_failed))}."] if if_failed else []
    if texts:
        lines = tuple(Line("will", text) for text in texts)
        found.append(StepPreview(name="end", preview=Preview(title="Take back", lines=lines)))
    return found


def _of_operation(step: StepState, made: Operation, console: Console) -> Preview:
    shown = console.preview(made)
    if shown.phrase:
        raise Refused(
            f"Step {step.name}: {made.title} needs {shown.phrase!r} typed beside YES, which a run can't ask for."
        )
    return shown


def _title(step: StepState) -> str:
    match step.kind:
        case "wait_for":
            return f"Wait for {step.does}"
        case "command":
            return "Run a command"
        case "snapshot":
            return "Write a snapshot"
        case _:
            return "Show a link"


def _lines(step: StepState, plan: Plan) -> Iterator[Line]:
    match step.kind:
        case "wait_for":
            awaited = plan.operations.get(step.does)
            what = awaited.heading() if awaited else step.does
            text = f"Waits up to {format_duration(step.timeout_s)} until “{what}” has taken effect everywhere"
            yield Line("will", f"{text}; if it has not by then, no later step is done.")
        case "command":
            yield Line("will", f"Runs here, without a shell: {plan.run.command}")
            if step.status is StepStatus.BEGUN:
                yield Line("warning", "It was begun before, and nobody saw its end: it is run again.")
        case "snapshot":
            yield Line("will", f"Writes {step.does}: pauses, queues, workers, failures and the recent audit log.")
        case _:
            yield Line("will", f"Shows {step.does}")


def still_in_force(run: RunState, console: Console) -> dict[str, bool]:
    """For each step that a run takes back: whether what it did is still so, and its own. Reads the deployment."""
    found = {}
    for step in to_take_back(run):
        made = recorded(step.does, step.params)
        found[step.name] = made is not None and not isinstance(taken_back_by(made, step, run, console), str)
    return found


def taken_back_by(operation: Operation, step: StepState, run: RunState, console: Console) -> Operation | str:
    """What takes a step back now, or why nothing does."""
    done = TakenBack(user=step.by or run.by, since=step.since or run.at, before=step.before, effect=step.effect)
    return operation.take_back(console.services, done)


def for_rolling_back(run: RunState) -> Plan:
    """A run that is to be rolled back, from its state alone."""
    made = {step.name: recorded(step.does, step.params) for step in to_take_back(run, everything=True)}
    return Plan(run=run, operations={name: operation for name, operation in made.items() if operation is not None})


def roll_back_previews(plan: Plan, console: Console) -> list[StepPreview]:
    """What would be taken back, the last first. Reads; changes nothing."""
    found = []
    for step in to_take_back(plan.run, everything=True):
        made = plan.operations.get(step.name)
        by = (
            "A parameter looked secret and was not kept."
            if made is None
            else taken_back_by(made, step, plan.run, console)
        )
        nothing = Preview(title="Nothing", lines=(Line("will_not", str(by)),))
        shown = nothing if isinstance(by, str) else console.preview(by)
        found.append(StepPreview(name=step.name, preview=shown))
    return found
