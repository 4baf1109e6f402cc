"""Entry point of the service layer. ``Console.run`` is the ONE place that authorizes, confirms, audits and executes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

import redis

from opsdash.config.settings import Settings
from opsdash.errors import (
    Invalid,
    NeedsApproval,
    OpsdashError,
    PhraseMissing,
    Refused,
    Unavailable,
    Uncertain,
    explained,
)
from opsdash.model import (
    Act,
    Actor,
    Approval,
    AuditEntry,
    DeclaredOperation,
    Effect,
    Preview,
    Progress,
    Status,
    times,
    usernames,
)
from opsdash.operation import Operation, undo_details, with_recorded_undo
from opsdash.redaction import HIDDEN
from opsdash.services.authorization import check_approval, checked, lacks_role, objection
from opsdash.services.best_effort import Listener, best_effort
from opsdash.services.broker import writes
from opsdash.services.broker.client import connect
from opsdash.services.database import plain
from opsdash.services.once import Once, made
from opsdash.services.queries import Reads
from opsdash.services.services import Services
from opsdash.text import without_folders

if TYPE_CHECKING:
    from opsdash.services.audit.approvals import PendingApproval
    from opsdash.services.audit.log import DuplicateRequest
    from opsdash.services.monitoring.poller import Poller

log = logging.getLogger(__name__)

T = TypeVar("T")


class Console(Reads):
    """Everything opsdash can read and do, for one deployment. It knows no operation: `opsdash.bootstrap` hands them in.

    Args:
        operations: Those that may be run, by name; so that what was asked for or left behind under a name is found.

    Attributes:
        services: What an operation gets to work with.
    """

    def __init__(self, settings: Settings, *, operations: Mapping[str, type[Operation]]) -> None:
        check_approval(settings, operations)
        self.settings = settings
        self._operations = operations
        self.broker = connect(settings)
        self.services = Services(
            settings,
            self.broker,
            operations=operations,
            evidence=self._evidence,
            carry_out=self.carry_out,
            queue_names=self.queue_names,
        )
        if not plain.is_usual(settings.database_url):  # perhaps it is wrong: that is said now
            _ = self.engine

    @Once
    def poller(self) -> Poller:
        """Reads for every page, widget and waiting command of this process."""
        from opsdash.services.monitoring.poller import Poller

        again_s = self.services.snapshots.expiry_keeper.again_s
        return Poller(self.snapshot, self.settings.poll_interval_s, again_s)

    def preview(self, operation: DeclaredOperation) -> Preview:
        """What ``operation`` would do now; changes nothing.

        Raises:
            Invalid: It is no operation.
            Refused: The operation's parameters name a thing that does not exist, or app, settings and workers
                disagree on how it is stored in Redis.
            Unavailable: Redis or the database did not answer.
        """
        found = checked(operation)
        self._check_layout(found)
        preview = found.preview(self.services)
        return replace(
            preview,
            title=preview.title or found.heading(),
            warning=preview.warning or found.warning,
            phrase=found.phrase(self.services),
        )

    def suggest(self, operation: DeclaredOperation) -> Mapping[str, tuple[str, ...]]:
        """Texts to offer for the operation's parameters, by name; raises as ``preview`` does."""
        return checked(operation).suggest(self.services)

    def run(
        self,
        operation: DeclaredOperation,
        *,
        actor: Actor | str,
        confirm: str,
        phrase: str = "",
        request_id: UUID | None = None,
        reviewed: Preview | None = None,
        on_progress: Callable[[Progress], None] = lambda _progress: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Effect:
        """Does it: role, typed confirmation, audit intent committed, act, audit outcome.

        Args:
            actor: Who; a name alone is given its role by the settings.
            confirm: What was typed: exactly ``YES``.
            phrase: The second typed text: exactly what ``operation.phrase`` now returns.
            request_id: The caller's id for this one act.
            reviewed: The preview that was confirmed: what arrived after it is left alone.
            on_progress: Called by a long operation with its progress, in its own thread.
            cancelled: Called between two steps of a long operation; true stops it, and its result so far is audited.

        Raises:
            Invalid: It is no operation, or nobody does it; nothing was changed.
            Refused: Role, confirmation or a rule of the operation; audited; nothing was changed.
            Unavailable: Something did not answer before anything was done; nothing was changed.
            Uncertain: It was begun, and how it ended is not known or not recorded.
        """
        from opsdash.services.audit.log import DuplicateRequest  # SQLAlchemy: what only reads does without

        operation = checked(operation)
        if not isinstance(actor, str | Actor) or not str(getattr(actor, "name", actor)).strip():
            raise Invalid(f"expected the name of a user, got {actor!r}.", field="actor")
        if isinstance(actor, str):
            actor = self.settings.actor(actor, surface="python")
        else:
            actor = self.settings.at_this_moment(actor)
        facts: dict[str, Any] = {"previewed": reviewed.values()} if reviewed is not None else {}
        if refused := objection(operation, actor, confirm, reviewed):
            self._record_refusal(operation, actor, refused, request_id, facts)
            raise refused
        if needs_approval := operation.name in self.settings.approval:
            facts |= {"approval": "needed", "message": "Needs a different operator's YES."}
        try:
            entry = self.audit.begin(operation, actor, request_id, **facts)
        except DuplicateRequest as error:
            return self._answered(operation, actor, error)
        listener = Listener(on_progress, cancelled)
        act = Act(
            actor=actor,
            audit_id=entry.id,
            reviewed=reviewed,
            phrase=phrase,
            on_progress=listener.on_progress,
            cancelled=listener.cancelled,
        )
        with self.reaper.running(entry):
            if needs_approval:
                pending = self._recording(operation, entry, lambda: self._request_approval(operation, act, entry))
                raise NeedsApproval(operation.title, pending.id, times.clock(pending.expires_at))
            effect = self._done(operation, act, entry)
        best_effort("the audit outbox", self.audit.drain_soon)
        return replace(effect, audit_id=entry.id)

    def carry_out(self, approval_id: str, act: Act) -> Effect:
        """Runs a pending approval, with the YES of a second user, who has an audit entry of ``run`` for it.

        Raises:
            Refused: It does not wait, or by these two it may not be done; nothing was changed.
            Unavailable: Nothing was changed. Uncertain: something may have been.
        """
        request = self.pending_approvals.find(approval_id)
        operation, entry, requester = (
            checked(request.operation),
            request.entry,
            self.settings.at_this_moment(request.actor),
        )
        if usernames.same(act.actor.name, requester.name):  # however each of them signed in
            raise Refused(f"{requester.name} made the request, so another user must approve it.")
        for who in (act.actor, requester):
            if lacking := lacks_role(operation, who):
                raise lacking
        self.pending_approvals.take(request, act.actor.name)
        with self.reaper.running(entry):
            effect = self._done(
                operation,
                replace(act, actor=requester, audit_id=entry.id, reviewed=request.reviewed),
                entry,
                approved_by=act.actor.name,
                approved_in=str(act.audit_id),
            )
        return replace(
            effect,
            message=f"Approved for {requester.name}: {effect.message}",
            details={
                **effect.details,
                "operation": operation.name,
                "asked_by": requester.name,
                "asked_in": str(entry.id),
                "asked_params": operation.logged_params(),
            },
        )

    def approvals(self) -> tuple[Approval, ...]:
        """What waits for a different operator's YES, the oldest first, read now."""
        return self.pending_approvals.waiting()

    def _request_approval(self, operation: Operation, act: Act, entry: AuditEntry) -> PendingApproval:
        self._check(operation, act)
        # Read now even where one was reviewed: what its rules refuse must not wait for anybody.
        now = operation.preview(self.services)
        return self.pending_approvals.add(operation, act.actor, entry, act.reviewed or now)

    def _done(self, operation: Operation, act: Act, entry: AuditEntry, **facts: Any) -> Effect:
        """Does it, and writes the outcome into its entry."""

        def execute() -> Effect:
            self._check(operation, act)
            with self.broker.layouts.kept():
                return operation.execute(self.services, act)

        effect = self._recording(operation, entry, execute, **facts)
        self._finish(
            entry,
            Status.SUCCESS if effect.ok else Status.FAILURE,
            {
                "message": effect.message,
                "affected": effect.affected,
                **({} if effect.followed else {"followed": False}),
                **effect.details,
                **undo_details(effect),
                **facts,
            },
            done=effect.message,
        )
        return effect

    def _recording(self, operation: Operation, entry: AuditEntry, act: Callable[[], T], **facts: Any) -> T:
        """Whatever goes wrong is the entry's outcome before it goes on its way."""
        try:
            with writes.watching() as writing:
                try:
                    return act()
                except (redis.RedisError, Unavailable, Invalid) as error:
                    if writing.possible:  # whatever a read says, which knows nothing of what was written before it
                        raise writes.broken_off(operation.heading(), error) from error
                    if isinstance(error, redis.RedisError):  # refused, or lost before anything was written
                        raise self.broker.fault(error) from error
                    raise
        except OpsdashError as error:
            outcome = {"message": str(error), "error": type(error).__name__, "changed": error.changed}
            self._finish(entry, Status(error.status), {**outcome, **facts})
            raise
        except BaseException as error:
            # A bug, Ctrl-C, an exit: the trail says so before the error goes on its way.
            log.exception("%s failed", operation.name)
            self._finish(
                entry,
                Status.UNKNOWN,
                {"message": f"Broken off: {without_folders(repr(error))}", "error": type(error).__name__} | facts,
            )
            raise

    def _check(self, operation: Operation, act: Act) -> None:
        self.broker.ping()
        self._check_layout(operation)
        # Not with the other objections: it may ask Redis or the database, whose silence is to be audited as such.
        if (expected := operation.phrase(self.services)) and act.phrase != expected:
            raise PhraseMissing(operation.title, expected)

    def _check_layout(self, operation: Operation) -> None:
        """Reads the layout again: workers may have started since, or with other options."""
        if operation.layout:
            with self.broker.reading():
                self.broker.layouts.look()
            self.broker.layouts.check(operation.title, operation.layout)

    def _answered(self, operation: Operation, actor: Actor, error: DuplicateRequest) -> Effect:
        """The same request, sent again by who made it: what it did the first time."""
        from opsdash.services.audit.idempotency import ElsewhereRequest, TakenRequest, answered

        try:
            return with_recorded_undo(answered(self.audit, operation, actor, error), self.snapshot)
        except (TakenRequest, ElsewhereRequest) as taken:
            self._record_refusal(operation, actor, taken, None, {})
            raise

    def close(self) -> None:
        """Ends the poller and gives back connections. Raises nothing."""
        for part in (made(self, "poller"), made(self.services, "unmanaged"), self.broker.client):
            if part is not None:
                best_effort("closing", part.close)
        if (engine := made(self.services, "engine")) is not None:
            best_effort("closing", engine.dispose)

    def _record_refusal(
        self, operation: Operation, actor: Actor, error: Refused, request_id: UUID | None, facts: dict[str, Any]
    ) -> None:
        try:
            self.audit.refuse(operation, actor, str(error), request_id, **facts)
        except (Unavailable, Uncertain) as away:
            # Refused in any case; the log must at least say that the audit log has no entry of it.
            log.error("refused %s to %s, not audited: %s", operation.name, actor.name, away)

    def _evidence(self, entry: AuditEntry) -> Mapping[str, Any]:
        kind = self._operations.get(entry.operation)
        if kind is None:
            return {}
        params = entry.details.get("params", {})
        if HIDDEN in json.dumps(params):
            return {"message": "Its effects can't be checked: a parameter is hidden."}
        try:
            return kind(**params).evidence(self.services, entry)
        except (OpsdashError, TypeError) as error:  # an entry of another version may have other parameters
            why = explained(error)
            return {"message": f"Its effects can't be read: {why}"}

    def _finish(self, entry: AuditEntry, status: Status, details: dict[str, Any], *, done: str = "") -> None:
        try:
            self.audit.finish(entry, status, details)
        except OpsdashError as error:
            log.error("the result %s of %s is not recorded: %s", status, entry.id, error.fault)
            if done:
                raise Uncertain(
                    f"{done} But the database did not store the result: audit entry {entry.id} still says in progress."
                ) from error
