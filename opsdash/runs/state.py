"""The state of one run of a runbook, and what follows from it: pure, so each step can be tested without a server."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, cast, get_args

from opsdash.errors import Refused
from opsdash.model import to_plain, untrusted
from opsdash.runs.runbook import MAX_STEPS, Kind

LARGEST = 256 * 1024
"""Characters of a stored run that are looked into."""
LONGEST_TEXT = 2_000


class RunStatus(enum.StrEnum):
    """The status of a run."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    """A step failed, or it was stopped; what it was to take back is taken back."""
    NOT_TAKEN_BACK = "not_taken_back"
    """It has ended, and something that was to be taken back could not be."""
    ROLLED_BACK = "rolled_back"


OPEN = frozenset({RunStatus.RUNNING, RunStatus.NOT_TAKEN_BACK})
"""Those that can be continued or rolled back."""


class StepStatus(enum.StrEnum):
    """The status of a step.

    ``begun``: it may have been done, in part or as a whole. ``skipped``: what it would do was so already. ``left_out``:
    the value that it needs was not given.
    """

    PENDING = "pending"
    BEGUN = "begun"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    LEFT_OUT = "left_out"
    TAKEN_BACK = "taken_back"


OVER = frozenset({StepStatus.DONE, StepStatus.SKIPPED, StepStatus.LEFT_OUT, StepStatus.TAKEN_BACK})
NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """One step of a run, with its values filled in, and its status.

    Attributes:
        params: An operation's, as the audit log has them: without what looks secret.
        attempt: How often it was begun; part of the id of its request.
        since: When it was begun last. ``by``: by whom.
        before: What the operation was to change, as it was then. ``effect``: the details of what it did.
        message: What it did, or why it failed or was left out.
        exit_code: The command's. ``digest``: the keyed digest of its words.
        pid: The command's process, on ``RunState.host``; ``started``: what tells it from a later one of that number.
    """

    name: str
    kind: Kind
    does: str = ""
    params: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    timeout_s: int = 0
    take_back: bool = False
    take_back_if_failed: bool = False
    go_on: bool = False
    status: StepStatus = StepStatus.PENDING
    attempt: int = 0
    since: datetime | None = None
    by: str = ""
    before: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    effect: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    message: str = ""
    exit_code: int | None = None
    digest: str = ""
    pid: int | None = None
    started: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """One run of a runbook.

    Attributes:
        by: Who began it. ``host``: on which machine its process runs, or ran.
        command: The words of its command, shown without what looks secret; empty: it has none.
    """

    id: str
    runbook: str
    by: str
    host: str
    at: datetime
    steps: tuple[StepState, ...]
    status: RunStatus = RunStatus.RUNNING
    reason: str = ""
    command: str = ""
    message: str = ""
    ended_at: datetime | None = None

    def step(self, name: str) -> StepState:
        """The step of this name."""
        return next(step for step in self.steps if step.name == name)

    def with_step(self, name: str, **changes: Any) -> RunState:
        """The same with one step changed."""
        steps = tuple(replace(step, **changes) if step.name == name else step for step in self.steps)
        return replace(self, steps=steps)

    def begun(self, name: str, now: datetime, **facts: Any) -> RunState:
        """A step is about to be done: from here on it may have been."""
        attempt = self.step(name).attempt + 1
        return self.with_step(name, status=StepStatus.BEGUN, attempt=attempt, since=now, message="", **facts)

    def ended(self, name: str, status: StepStatus, message: str, **facts: Any) -> RunState:
        """A step has come to its end."""
        return self.with_step(name, status=status, message=untrusted.words(message, LONGEST_TEXT), **facts)

    def closed(self, status: RunStatus, message: str, now: datetime) -> RunState:
        """The run has come to its end."""
        return replace(self, status=status, message=untrusted.words(message, LONGEST_TEXT), ended_at=now)

    @property
    def command_step(self) -> StepState | None:
        """The step that runs a command, if it has one."""
        return next((step for step in self.steps if step.kind == "command"), None)


def next_step(run: RunState) -> StepState | None:
    """The first that is not over; a failed one is, where the run goes on. None: there is none."""
    for step in run.steps:
        if step.status not in OVER and not (step.status is StepStatus.FAILED and step.go_on):
            return step
    return None


def to_take_back(run: RunState, *, failed: bool = True, everything: bool = False) -> tuple[StepState, ...]:
    """Operations to take back, the last first: those that are so declared, or all that may have changed something.

    Args:
        failed: The run has failed, or may; then also what is taken back for that alone.
    """
    return tuple(
        step
        for step in reversed(run.steps)
        if step.kind == "operation"
        and step.status in {StepStatus.DONE, StepStatus.BEGUN, StepStatus.FAILED}
        and (step.take_back or everything or (failed and step.take_back_if_failed))
    )


def for_continuing(run: RunState, in_force: Mapping[str, bool]) -> RunState:
    """What a continued run starts from, when its process is gone.

    A step that is still in force is not done again. One that no longer is, is; and then, or before a command that has
    not ended, everything that was waited for is waited for again. A command that has ended is not run again.

    Args:
        in_force: For each step to take back: what it did is still so, and its own.

    Raises:
        Refused: It has come to its end.
    """
    refuse_ended(run)
    command = run.command_step
    if command is not None and command.exit_code is not None:
        return run  # only the taking back is left
    for name, so in in_force.items():
        run = run.with_step(name, status=StepStatus.DONE if so else StepStatus.PENDING)
    for step in run.steps:
        awaited = step.kind == "wait_for" and step.status is not StepStatus.LEFT_OUT
        if awaited or step.status in {StepStatus.SKIPPED, StepStatus.TAKEN_BACK}:
            run = run.with_step(step.name, status=StepStatus.PENDING)
    return run


def refuse_ended(run: RunState) -> None:
    """Raises Refused for a run that has come to its end."""
    if run.status not in OPEN:
        raise Refused(f"Run {run.id} of {run.runbook} has ended: {run.status.value.replace('_', ' ')}.")


def command_is_left(run: RunState) -> bool:
    """It has a command that is still to be run, or whose end nobody saw."""
    step = run.command_step
    return step is not None and step.exit_code is None and step.status not in OVER


def to_json(run: RunState) -> str:
    """As it is stored."""
    return json.dumps(to_plain(run), ensure_ascii=False)


def from_json(text: str) -> RunState | None:
    """A stored run; None for what is none: anybody may write there."""
    found = untrusted.mapping(untrusted.parsed(text, LARGEST))
    at = untrusted.moment(found.get("at"))
    steps = found.get("steps")
    if at is None or found.get("status") not in list(RunStatus) or not isinstance(steps, list):
        return None  # a list: what can't be hashed is in no set, and raises
    read = tuple(_steps(steps[:MAX_STEPS]))
    if len(read) != len(steps) or len({step.name for step in read}) != len(read):
        return None
    words = {name: untrusted.words(found.get(name)) for name in ("id", "runbook", "by", "host")}
    if not all(words[name] for name in ("id", "runbook")):
        return None
    return RunState(
        **words,
        at=at,
        steps=read,
        status=RunStatus(found["status"]),
        reason=untrusted.words(found.get("reason"), LONGEST_TEXT),
        command=untrusted.words(found.get("command"), LONGEST_TEXT),
        message=untrusted.words(found.get("message"), LONGEST_TEXT),
        ended_at=untrusted.moment(found.get("ended_at")),
    )


def _steps(values: list[Any]) -> Iterator[StepState]:
    for value in values:
        step = untrusted.mapping(value)
        name, kind, status = untrusted.words(step.get("name")), step.get("kind"), step.get("status")
        if not name or kind not in get_args(Kind) or status not in list(StepStatus):
            return
        exit_code = step.get("exit_code")
        yield StepState(
            name=name,
            kind=cast(Kind, kind),
            does=untrusted.words(step.get("does"), LONGEST_TEXT),
            params=dict(untrusted.mapping(step.get("params"))),
            timeout_s=untrusted.whole(step.get("timeout_s")) or 0,
            take_back=step.get("take_back") is True,
            take_back_if_failed=step.get("take_back_if_failed") is True,
            go_on=step.get("go_on") is True,
            status=StepStatus(status),
            attempt=untrusted.whole(step.get("attempt")) or 0,
            since=untrusted.moment(step.get("since")),
            by=untrusted.words(step.get("by")),
            before=dict(untrusted.mapping(step.get("before"))),
            effect=dict(untrusted.mapping(step.get("effect"))),
            message=untrusted.words(step.get("message"), LONGEST_TEXT),
            exit_code=exit_code if type(exit_code) is int and -256 < exit_code < 65_536 else None,
            digest=untrusted.words(step.get("digest")),
            pid=untrusted.whole(step.get("pid")),
            started=untrusted.words(step.get("started")),
        )
