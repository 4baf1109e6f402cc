"""Edit and retry: one failed task goes back to its queue with other arguments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import LOOK_AGAIN, Invalid, Refused
from opsdash.model import AuditEntry, Effect, Figure, Line, Preview, Role, untrusted
from opsdash.model.failure import Failure
from opsdash.operation import Act, Operation, argument
from opsdash.redaction import HIDDEN
from opsdash.redaction.arguments import shown_arguments
from opsdash.redaction.errors import hidden_values, without
from opsdash.services.broker.messages import LARGEST
from opsdash.services.failures import retry_preview
from opsdash.services.failures.message_edit import Change, NotEditableError, arguments_of
from opsdash.services.failures.retry import Retry
from opsdash.services.failures.retry_result import effect, evidence
from opsdash.services.failures.selection import WAITING, Meant, RetryPlan, plan
from opsdash.services.failures.store import FailureStore

if TYPE_CHECKING:
    from opsdash.services.services import Services

LONGEST = 8_000
"""Characters of new arguments."""


class EditFailed(Operation):
    """Replaces arguments in the message of one failed task, and moves it to its queue."""

    name: ClassVar[str] = "edit_failed"
    title: ClassVar[str] = "Edit Failed Task"
    help: ClassVar[str] = "Send one failed task to its queue again, with other arguments."
    warning: ClassVar[str] = "The task runs again with arguments that its producer did not send."
    minimum_role: ClassVar[Role] = Role.ADMIN
    danger: ClassVar[bool] = True

    failure_id: str = argument(
        default="", positional=True, help="The task's id, as opsdash failed shows it.", label="Task"
    )
    args: str = argument(
        default="",
        longest=LONGEST,
        help="The positional arguments as a JSON array; without it they stay.",
        label="Positional arguments",
        placeholder='JSON, for example [17, "EUR"]; empty: as they are',
    )
    kwargs: str = argument(
        default="",
        longest=LONGEST,
        help="The keyword arguments as a JSON object, all of them; without it they stay.",
        label="Keyword arguments",
        placeholder='JSON, for example {"retry": true}; empty: as they are',
    )
    new_id: bool = argument(default=False, help="Give the task a new id.", label="Give the task a new id")

    def heading(self) -> str:
        """Which task."""
        return f"Edit and retry {self.failure_id}".rstrip()

    def logged_params(self) -> dict[str, Any]:
        """Without the arguments: the figures and the outcome have them, before and after, without what looks secret."""
        return {name: value for name, value in self.params().items() if name not in ("args", "kwargs")}

    def preview(self, services: Services) -> Preview:
        """The arguments before and after, without what looks secret, and where the task goes."""
        self._check()
        failure, chosen, before, after = self._read(services)
        pauses = services.pause.read([failure.queue])
        lines = [
            Line("will", f"{failure.task} will be sent to queue {failure.queue} with other arguments."),
            Line("note", f"Before: {before or '(none)'}"),
            Line("will", f"After: {after or '(none)'}"),
            *retry_preview.changes(chosen, self._change(), new_ids=self.new_id),
            *retry_preview.queues(chosen, pauses, services.workers.read(), services.unmanaged.known()),
            Line("note", "The audit log keeps both, without what looks secret."),
            Line("note", chosen.looked.text),
        ]
        return Preview(
            button="Send with these arguments",
            lines=tuple(lines),
            figures=(
                Figure(name="task", value=failure.task),
                Figure(name="queue", value=failure.queue),
                Figure(name="before", value=before),
                Figure(name="after", value=after),
            ),
            choices=("new_id",),
            boundary={"version": failure.version},
        )

    def suggest(self, services: Services) -> Mapping[str, tuple[str, ...]]:
        """The arguments as they are, where nothing in them looks secret."""
        failure = FailureStore(services.broker).find(self.failure_id, "failure_id")
        args, kwargs = self._arguments(services, failure)
        shown = _shown(services, args, kwargs)
        if HIDDEN in shown or max(len(args), len(kwargs)) > LONGEST:
            return {}
        return {"args": (args,), "kwargs": (kwargs,)}

    def execute(self, services: Services, act: Act) -> Effect:
        """One step."""
        self._check()
        failure, chosen, before, after = self._read(services)
        reviewed = act.reviewed.boundary.get("version") if act.reviewed else failure.version
        if reviewed != failure.version:
            raise Refused(f"{failure.id} has failed again after the preview.", hint=LOOK_AGAIN)
        sent = Retry(services.broker).send(chosen, self._change(), audit_id=str(act.audit_id), new_ids=self.new_id)
        done = effect(chosen, sent)
        message = f"Sent {failure.id} to {failure.queue} with other arguments." if sent.total else done.message
        details = {**done.details, "task": failure.task, "queue": failure.queue, "before": before, "after": after}
        return Effect(affected=sent.total, message=message, details=details, ok=done.ok and bool(sent.total))

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """Whether it was sent."""
        return evidence(services.broker, entry)

    def _check(self) -> None:
        if not self.args and not self.kwargs:
            raise Invalid("Say the new arguments: positional ones, keyword arguments or both.")
        for name, text, kind, what in (
            ("args", self.args, list, "array"),
            ("kwargs", self.kwargs, dict, "object"),
        ):
            if not text:
                continue
            if HIDDEN in text:
                raise Invalid(f"has {HIDDEN}: write what is meant there.", field=name)
            if not isinstance(untrusted.parsed(text), kind) or not _is_exact(text):
                raise Invalid(f"expected a JSON {what}.", field=name)

    def _read(self, services: Services) -> tuple[Failure, RetryPlan, str, str]:
        failure = FailureStore(services.broker).find(self.failure_id, "failure_id")
        chosen = plan(
            services.broker,
            Meant(ids=(failure.id,)),
            [failure],
            known=services.queue_names(),
            workers=services.workers.read(),
            chords=True,  # named by its id, and the preview says it
            waiting=self.new_id,
        )
        if WAITING in chosen.left_out:
            raise Refused(
                f"{failure.id} {chosen.looked.found[failure.task_id or failure.id]}: it would run twice by one id.",
                hint="With a new id it can be sent.",
            )
        if not chosen.going:
            (line, *_) = retry_preview.left_out(chosen)
            raise Refused(line.text, field="failure_id")
        args, kwargs = self._arguments(services, failure)
        before, after = (args, kwargs), (self.args or args, self.kwargs or kwargs)
        redact = services.settings.redact
        # A copy of what has a secret name may be an argument without a name.
        found = {value for one in (before, after) for value in hidden_values(*_parsed(*one), redact) or ()}
        hidden = sorted(found, key=len, reverse=True)
        return (
            failure,
            chosen,
            without(_shown(services, *before), hidden),
            without(_shown(services, *after), hidden),
        )

    def _arguments(self, services: Services, failure: Failure) -> tuple[str, str]:
        (kept, *_) = [*FailureStore(services.broker).messages([failure.id]), None]
        try:
            return arguments_of(kept.message if kept else b"")
        except NotEditableError as error:
            raise Refused(f"The message of {failure.id} {error}.", field="failure_id") from None

    def _change(self) -> Change:
        return Change(retries=True, times=True, args=self.args or None, kwargs=self.kwargs or None)


def _is_exact(text: str) -> bool:
    """JSON as its standard has it: Python also reads NaN and Infinity, which other consumers refuse."""
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(name: str) -> None:
    raise ValueError(name)


def _shown(services: Services, args: str, kwargs: str) -> str:
    return shown_arguments(*_parsed(args, kwargs), services.settings.redact)


def _parsed(args: str, kwargs: str) -> tuple[Any, Any]:
    return untrusted.parsed(args, LARGEST), untrusted.parsed(kwargs, LARGEST)
