"""Runs the steps of a run, each with its own audit entry, and takes back what is to be taken back whatever happens."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from opsdash.errors import OpsdashError, Refused, Uncertain, explained
from opsdash.model import Actor, Effect, Preview, Progress, Status, to_plain
from opsdash.operation import CONFIRMATION, Operation, undo_of
from opsdash.runs import command as commands
from opsdash.runs import everything
from opsdash.runs.command import SIGNALLED, Signals
from opsdash.runs.plan import Plan, taken_back_by
from opsdash.runs.records import Recorded, RecordedCommand, RecordedSnapshot, RecordedWait, StepFailedError
from opsdash.runs.state import RunState, RunStatus, StepState, StepStatus, next_step, to_take_back
from opsdash.runs.store import RunStore, TakenOverError
from opsdash.services.audit.details import part_of
from opsdash.services.audit.log import DuplicateRequest
from opsdash.services.authorization import PREVIEW_MAX_S
from opsdash.services.console import Console
from opsdash.text import format_duration

log = logging.getLogger(__name__)

LOOK_S = 0.2
AGREED_S = 6.0
"""Longer than one look for other workers is from the next: so long the same is known, and nothing will change it."""
RETRY_S = 120.0
"""So long an outage is waited for at the end of a run: what it has set must be taken back."""
MOST_EFFECT = 8_000
"""Characters of an effect's details that are kept; of longer ones only what takes it back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a run ended. ``exit_code``: of the command line."""

    run: RunState
    exit_code: int


class Runner:
    """Runs one plan in this process.

    Args:
        say: Gets one sentence for each thing that happens. It must not fail.
        out: Where a command's output goes; None: where ours goes.
        reviewed: The previews that were confirmed, by step.
    """

    def __init__(
        self,
        console: Console,
        store: RunStore,
        actor: Actor,
        signals: Signals,
        *,
        say: Callable[[str], None],
        out: Any = None,
        reviewed: Mapping[str, Preview] | None = None,
    ) -> None:
        self._console, self._store, self._actor, self._signals = console, store, actor, signals
        self._say, self._out, self._reviewed = say, out, reviewed or {}

    def start(self, plan: Plan, how: str = "begin") -> Outcome:
        """Runs what is left of it.

        Args:
            how: ``begin`` or ``continue``, for the audit log.

        Raises:
            TakenOverError: Another process has it by now; nothing was taken back by this one.
        """
        self._plan, self._run = plan, plan.run
        given = {
            "runbook": plan.run.runbook,
            "run": plan.run.id,
            "how": how,
            "command": plan.run.command,
            "reason": plan.run.reason,
        }
        with self._recorded(Recorded(given), None) as outcome:
            self._store.begin(self._run)
            code, message = 0, "Done."
            broken: BaseException | None = None
            try:
                self._steps()
            except TakenOverError:
                raise
            except StepFailedError as failed:
                code, message = failed.code, str(failed)
            except OpsdashError as error:
                code, message = error.exit_code, str(error)
            except BaseException as error:  # a bug: what was set must be taken back anyway
                log.exception("run %s failed", self._run.id)
                code, message, broken = 1, f"Broken off: {type(error).__name__}", error
            if code:
                self._say(message)
            left, told = self._take_back(failed=code != 0)
            lacks = "" if code else self._lacking()
            if lacks:
                self._say(lacks)
            message = " ".join([lacks or message, *told])
            status = RunStatus.NOT_TAKEN_BACK if left else RunStatus.FAILED if code else RunStatus.DONE
            code = code or (Uncertain.exit_code if left or lacks else 0)
            self._close(status, message)
            outcome.update(status=Status.FAILURE if code else Status.SUCCESS, message=message, exit_code=code)
            if broken is not None:
                raise broken
        return Outcome(run=self._run, exit_code=code)

    def roll_back(self, plan: Plan) -> Outcome:
        """Takes back everything of a run that was left behind, as far as something does, the last first."""
        self._plan, self._run = plan, plan.run
        given = {"runbook": plan.run.runbook, "run": plan.run.id, "how": "roll back"}
        with self._recorded(Recorded(given), None) as outcome:
            self._store.begin(self._run)
            left, told = self._take_back(everything=True)
            message = " ".join(["Rolled back." if not left else "Not rolled back.", *told])
            self._close(RunStatus.NOT_TAKEN_BACK if left else RunStatus.ROLLED_BACK, message)
            code = Uncertain.exit_code if left else 0
            outcome.update(status=Status.FAILURE if left else Status.SUCCESS, message=message, exit_code=code)
        return Outcome(run=self._run, exit_code=code)

    def _lacking(self) -> str:
        """What a run lacks whose steps all came to their end: those that failed, or may have had no effect."""
        awaited = {step.does for step in self._run.steps if step.kind == "wait_for"}
        unsure = [s.name for s in self._run.steps if s.effect.get("followed") is False and s.name not in awaited]
        failed = [step.name for step in self._run.steps if step.status is StepStatus.FAILED]
        parts = [f"failed: {', '.join(failed)}"] if failed else []
        parts += [f"not known to have taken effect: {', '.join(unsure)}"] if unsure else []
        return f"Done, but {'; '.join(parts)}." if parts else ""

    def _steps(self) -> None:
        self._check_command()
        while (step := next_step(self._run)) is not None:
            self._check_signals()
            try:
                self._do(step)
            except (TakenOverError, KeyboardInterrupt):
                raise
            except (OpsdashError, StepFailedError) as error:
                text = str(error)
                self._run = self._run.ended(step.name, StepStatus.FAILED, text)
                self._store.save(self._run)
                if not step.go_on or self._signals.received:
                    if isinstance(error, StepFailedError):
                        raise
                    raise StepFailedError(error.exit_code, f"Step {step.name}: {text}") from error
                self._say(f"{step.name} failed, and the run goes on: {text}")

    def _check_command(self) -> None:
        """A command that has failed is not run again: only the end of the run is left."""
        if (command := self._run.command_step) is not None and command.exit_code:
            raise StepFailedError(command.exit_code, command.message)

    def _check_signals(self) -> None:
        if number := self._signals.received:
            raise StepFailedError(SIGNALLED + number, f"Stopped by signal {number}.")

    def _do(self, step: StepState) -> None:
        match step.kind:
            case "operation":
                self._operate(step)
            case "wait_for":
                self._wait(step)
            case "command":
                self._command(step)
            case "snapshot":
                self._snapshot(step)
            case "link":
                self._say(f"{step.name}: {step.does}")
                self._end(step.name, StepStatus.DONE, step.does)

    def _operate(self, step: StepState) -> None:
        operation = self._plan.operations[step.name]
        if step.status is not StepStatus.BEGUN:
            if standing := operation.standing(self._console.services):
                self._say(f"{step.name}: {standing}")
                self._end(step.name, StepStatus.SKIPPED, standing)
                return
            self._begin(step.name, before=to_plain(operation.before(self._console.services)))
        try:
            effect = self._run_once(step.name, operation)
        except DuplicateRequest:  # of a run that was interrupted here: nobody knows how it went
            self._begin(step.name)
            effect = self._run_once(step.name, operation)
        kept = {**effect.details, "undo": undo_of(effect), "followed": effect.followed, "audit_id": effect.audit_id}
        plain = to_plain(kept)
        if len(str(plain)) > MOST_EFFECT:
            plain = {name: plain[name] for name in ("undo", "followed", "audit_id")}
        self._say(f"{step.name}: {effect.message}")
        self._end(step.name, StepStatus.DONE, effect.message, effect=plain)
        if not effect.ok:
            raise StepFailedError(Uncertain.exit_code, f"Step {step.name}: {effect.message}")

    def _run_once(self, name: str, operation: Operation) -> Effect:
        request = request_id(self._run.id, self._run.step(name))
        reviewed = self._reviewed.get(name)
        if reviewed is not None and (datetime.now(UTC) - reviewed.taken_at).total_seconds() > PREVIEW_MAX_S - 60:
            reviewed = None  # what was waited for took longer than a preview lasts
        return self._act(operation, name, request_id=request, reviewed=reviewed)

    def _act(self, operation: Operation, step: str, **options: Any) -> Effect:
        with part_of(run=self._run.id, step=step):
            return self._console.run(
                operation,
                actor=self._actor,
                confirm=CONFIRMATION,
                cancelled=lambda: bool(self._signals.received),
                **options,
            )

    def _wait(self, step: StepState) -> None:
        operation = self._plan.operations[step.does]
        self._begin(step.name)
        given = {"step": step.does, "timeout_s": step.timeout_s}
        with self._recorded(RecordedWait(given), step.name) as outcome:
            progress, why = self._awaited(operation, step.timeout_s)
            outcome.update(status=Status.SUCCESS if progress.done else Status.FAILURE, message=progress.message)
        self._check_signals()
        if not progress.done:
            todo = f" {' '.join(progress.todo)}" if progress.todo else ""
            raise StepFailedError(Uncertain.exit_code, f"Step {step.name}: not reached {why}: {progress.message}{todo}")
        self._say(f"{step.name}: {progress.message}")
        self._end(step.name, StepStatus.DONE, progress.message)

    def _awaited(self, operation: Operation, timeout_s: int) -> tuple[Progress, str]:
        """The last look, and why it was the last."""
        deadline, said, final, since_s = time.monotonic() + timeout_s, "", "", 0.0
        while True:
            progress = operation.progress(self._console.snapshot())
            now_s = time.monotonic()
            if not progress.final:
                final = ""
            elif progress.message != final:
                final, since_s = progress.message, now_s
            if (progress.done and not progress.final) or self._signals.received:
                return progress, "before it was stopped"
            if now_s >= deadline:
                return progress, f"after {format_duration(timeout_s)}"
            if final and now_s - since_s >= AGREED_S:
                return progress, "and waiting does not help"
            if (stage := progress.stage or progress.message) != said:
                said = stage
                self._say(progress.message)
            time.sleep(LOOK_S)

    def _command(self, step: StepState) -> None:
        self._begin(step.name)
        with self._recorded(RecordedCommand({"command": self._run.command}), step.name) as outcome:
            self._say(f"{step.name}: {self._run.command}")
            code = commands.run(self._plan.words, self._signals, self._started(step.name), self._out)
            message = f"The command ended with exit code {code}."
            outcome.update(status=Status.FAILURE if code else Status.SUCCESS, message=message, exit_code=code)
        status = StepStatus.FAILED if code else StepStatus.DONE
        self._end(step.name, status, message, exit_code=code, pid=None, started="")
        if code:
            raise StepFailedError(code, message)  # who catches it says so
        self._say(message)
        self._signals.received = 0  # it was the command's, and the command has ended as if it had not been

    def _started(self, name: str) -> Callable[[int, str], None]:
        def note(pid: int, started: str) -> None:
            self._run = self._run.with_step(name, pid=pid, started=started)
            try:
                self._store.save(self._run)
            except OpsdashError as error:  # the command runs: what comes after it meets the same fault, and says so
                log.warning("the command's process could not be noted: %s", error)

        return note

    def _snapshot(self, step: StepState) -> None:
        self._begin(step.name)
        path = Path(step.does).expanduser()
        if step.attempt and path.exists():  # it was interrupted when this was written, or just after
            path = path.with_stem(f"{path.stem}-{step.attempt + 1}")
        with self._recorded(RecordedSnapshot({"file": path.name}), step.name) as outcome:
            facts = {
                "run": self._run.id,
                "runbook": self._run.runbook,
                "by": self._actor.name,
                "reason": self._run.reason,
            }
            size = everything.write(path, everything.collect(self._console, **facts))
            message = f"Wrote {path} ({size:,} bytes)."
            outcome.update(status=Status.SUCCESS, message=f"Wrote {path.name} ({size:,} bytes).")
        self._say(message)
        self._end(step.name, StepStatus.DONE, message)

    def _take_back(self, *, failed: bool = True, everything: bool = False) -> tuple[bool, list[str]]:
        """Takes back what is to be; whether something is left, and what was done, in sentences."""
        left, told = False, []
        for step in to_take_back(self._run, failed=failed, everything=everything):
            try:
                message, done = self._taken_back(step)
            except TakenOverError:
                raise
            except OpsdashError as error:
                left, done, message = True, False, f"Step {step.name} is not taken back: {explained(error)}"
            if message:
                told.append(message)
                self._say(message)
            if done:
                self._run = self._run.with_step(step.name, status=StepStatus.TAKEN_BACK)
        return left, told

    def _taken_back(self, step: StepState) -> tuple[str, bool]:
        """What was done, and whether; an outage is waited for.

        Raises:
            OpsdashError: It could not be done, and trying again would not help, or did not.
        """
        deadline = time.monotonic() + RETRY_S
        operation = self._plan.operations.get(step.name)
        if operation is None:
            raise Refused("A parameter looked secret and was not kept.")
        while True:
            try:
                return self._take_back_now(step, operation)
            except OpsdashError as error:
                if not error.retry or time.monotonic() >= deadline:
                    raise
                self._say(f"{step.name} is not taken back yet: {explained(error)}")
            time.sleep(1.0)  # what is in its way may be gone by then

    def _take_back_now(self, step: StepState, operation: Operation) -> tuple[str, bool]:
        self._store.save(self._run)  # not where another process has the run
        found = taken_back_by(operation, step, self._run, self._console)
        if isinstance(found, str):
            failed = step.status is StepStatus.FAILED  # then there may be nothing, and nothing to say
            return "" if failed else found, not failed
        with part_of(run=self._run.id, step=step.name):
            effect = self._console.run(found, actor=self._actor, confirm=CONFIRMATION)
        return effect.message, True

    def _begin(self, name: str, **facts: Any) -> None:
        self._run = self._run.begun(name, datetime.now(UTC), by=self._actor.name, **facts)
        self._store.save(self._run)

    def _end(self, name: str, status: StepStatus, message: str, **facts: Any) -> None:
        self._run = self._run.ended(name, status, message, **facts)
        self._store.save(self._run)

    def _close(self, status: RunStatus, message: str) -> None:
        self._run = self._run.closed(status, message, datetime.now(UTC))
        try:
            self._store.save(self._run)
        except OpsdashError as error:
            self._say(f"How run {self._run.id} ended is not kept: {explained(error)}")

    @contextmanager
    def _recorded(self, what: Recorded, step: str | None) -> Iterator[dict[str, Any]]:
        """One audit entry around something that is no operation; its outcome is put into the mapping."""
        audit = self._console.audit
        with part_of(run=self._run.id, **({"step": step} if step else {})):
            entry = audit.begin(what, self._actor)
        outcome: dict[str, Any] = {}
        with self._console.reaper.running(entry):
            try:
                yield outcome
            except OpsdashError as error:
                audit.finish(entry, Status(error.status), {"message": str(error), "error": type(error).__name__})
                raise
            except BaseException as error:  # a signal or a bug: the entry must not stay open
                audit.finish(entry, Status.UNKNOWN, {"message": f"Broken off: {type(error).__name__}"})
                raise
            status = outcome.pop("status")
            try:
                audit.finish(entry, status, outcome)
            except OpsdashError as error:  # it is done, and the run must come to its end
                log.error("the result of %s is not recorded: %s", entry.id, error)


def request_id(run_id: str, step: StepState) -> UUID:
    """The id of a step's request: the same for the same attempt, so that it is not done twice."""
    return uuid5(NAMESPACE_URL, f"opsdash:run:{run_id}:{step.name}:{step.attempt}")
