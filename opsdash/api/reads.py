"""``GET /api/v1/…``: what the page shows, for programs, at no more reads of Redis than the page makes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import msgspec

from opsdash.api.handler import Handler
from opsdash.api.problems import ProblemError, problem_error
from opsdash.api.requests import AuditQuery, NoQuery, TasksQuery, request_of
from opsdash.api.schemas import (
    AuditRead,
    OperationRead,
    OperationsRead,
    found_task_read,
    lasting,
    queues_read,
    status_read,
    worker_detail_read,
    workers_read,
    workflow_read,
)
from opsdash.errors import Invalid, Unavailable
from opsdash.model import FoundTask, Snapshot, TaskPage, Workflow
from opsdash.operation import registry
from opsdash.services.audit.query import Page
from opsdash.services.console import Console
from opsdash.services.threads import FINDS, READS, SEARCHES, caller_of
from opsdash.text import choices

FRESH_S = 10.0


class View:
    """One part of the latest snapshot as bytes: made once for each snapshot, however many ask for it."""

    def __init__(self, part: Callable[[Snapshot], Any]) -> None:
        self._part = part
        self._made: tuple[Snapshot, bytes, str] | None = None

    def of(self, snapshot: Snapshot) -> tuple[bytes, str]:
        """The JSON, and an ETag for the state: it stays the same while only time goes by."""
        if self._made is None or self._made[0] is not snapshot:
            state = msgspec.json.encode(self._part(lasting(snapshot)))
            tag = f'W/"{hashlib.sha256(state).hexdigest()[:32]}"'
            self._made = (snapshot, msgspec.json.encode(self._part(snapshot)), tag)
        return self._made[1:]


class Reader(Handler):
    """A route that may need a snapshot read now."""

    async def fresh(self) -> Snapshot:
        """A snapshot read now, shared with other waiting requests.

        Raises:
            ProblemError: Redis has never answered this console.
        """
        latest = await self.console.poller.refreshed()
        if latest.redis_age_s is None:
            raise problem_error(Unavailable(latest.redis_error))
        return latest


class Look(Reader):
    """A part of the latest snapshot."""

    def initialize(self, console: Console, view: View) -> None:  # type: ignore[override]
        """Tornado's constructor; ``view`` lasts as long as the server."""
        super().initialize(console)
        self.view = view

    async def get(self) -> None:
        """Answers from the poller's latest snapshot; reads one when there is none that is fresh."""
        self.query(NoQuery)
        snapshot = recent(self.console)
        if snapshot is None:
            snapshot = await self.fresh()
        body, self.etag = self.view.of(snapshot)
        self.set_header("Cache-Control", "private, no-cache")
        self.send(msgspec.Raw(body))


class OneWorker(Reader):
    """A worker by its name."""

    async def get(self, hostname: str) -> None:
        """Its figures from the latest snapshot, and what it runs, read now."""
        self.query(NoQuery)

        snapshot = recent(self.console) or await self.fresh()
        worker = next((worker for worker in snapshot.workers if worker.hostname == hostname), None)
        if worker is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "no-worker", "No worker of this name reported within a day.")
        running = await self.work(lambda: self.console.workers.running(hostname))
        self.set_header("Cache-Control", "private, no-cache")
        self.send(worker_detail_read(snapshot, worker, running))


class OneTask(Handler):
    """A task by its id."""

    async def get(self, task_id: str) -> None:
        """Where it is, looked for now: a second or two."""
        self.query(NoQuery)

        def find() -> FoundTask:
            try:
                return self.console.find_task(task_id)
            except Invalid as error:
                raise ProblemError(HTTPStatus.NOT_FOUND, "no-task", "No task can have this id.") from error

        self.send(found_task_read(await self.work(find, pool=(FINDS, caller_of(self.actor)))))


class OneWorkflow(Handler):
    """The workflow of a task."""

    async def get(self, task_id: str) -> None:
        """Its tasks as a tree, looked for now: a second or two."""
        self.query(NoQuery)

        def find() -> Workflow:
            try:
                return self.console.workflow(task_id)
            except Invalid as error:
                raise ProblemError(HTTPStatus.NOT_FOUND, "no-task", "No task can have this id.") from error

        self.send(workflow_read(await self.work(find, pool=(FINDS, caller_of(self.actor)))))


class Tasks(Handler):
    """A search through tasks."""

    async def get(self) -> None:
        """A page of those that match."""
        query = self.query(TasksQuery)

        def read() -> TaskPage:
            names = self.console.queue_names()
            if query.queue and query.queue not in names:
                known = choices(names, query.queue)
                raise ProblemError(HTTPStatus.NOT_FOUND, "no-queue", f"queue: there is none of this name, but {known}.")
            try:
                return self.console.tasks.page(query.asked(), after=query.after, limit=query.limit)
            except Invalid as error:
                why = "after: this is not the end of a page of tasks."
                raise ProblemError(HTTPStatus.NOT_FOUND, "no-page", why) from error

        self.send(await self.work(read, pool=(FINDS, caller_of(self.actor))))


class Audit(Handler):
    """The audit log."""

    async def get(self) -> None:
        """A page of it, newest first."""
        query = self.query(AuditQuery)
        after = query.after or None

        def read() -> tuple[Page | None, int | None]:
            self.console.audit.drain()
            try:
                chosen = self.console.audit.named(query.filter(), registry())
            except Invalid as error:
                raise ProblemError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", str(error), changed="nothing") from error
            try:
                page = self.console.audit.page(chosen, limit=query.limit, after=after)
            except Invalid:
                if after is None:
                    raise
                return None, 0
            return page, self.console.audit.outbox_length()

        threads = SEARCHES if query.text else READS
        page, in_outbox = await self.work(read, pool=(threads, caller_of(self.actor)))
        if page is None:
            raise ProblemError(HTTPStatus.NOT_FOUND, "no-page", "after: this is not the end of a page of this log.")
        self.set_header("Cache-Control", "private, no-cache")
        self.send(
            AuditRead(
                entries=page.entries, after=page.after, spooled=in_outbox, searched=page.searched, searched_of=page.of
            )
        )


class Operations(Handler):
    """What can be done."""

    async def get(self) -> None:
        """Every operation with the schema of its request, from the registry; those that are of use come first."""
        self.query(NoQuery)
        snapshot = recent(self.console) or await self.console.poller.refreshed()
        kinds = sorted(registry().values(), key=lambda kind: not kind.is_used(snapshot))
        self.set_header("Cache-Control", "private, no-cache")
        self.send(
            OperationsRead(
                operations=tuple(
                    OperationRead(
                        name=kind.name,
                        title=kind.title,
                        help=kind.help,
                        warning=kind.warning,
                        minimum_role=kind.minimum_role.name.lower(),  # type: ignore[arg-type]
                        danger=kind.danger,
                        settles=kind.settles,
                        used=kind.is_used(snapshot),
                        turn_on=kind.turn_on,
                        request=msgspec.json.schema(request_of(kind)),
                    )
                    for kind in kinds
                )
            )
        )


def recent(console: Console) -> Snapshot | None:
    """The poller's latest snapshot; None when there is none, or it is old."""
    latest = console.poller.latest
    fresh_enough = latest is not None and (datetime.now(UTC) - latest.taken_at).total_seconds() <= FRESH_S
    return latest if fresh_enough and latest is not None and latest.redis_age_s is not None else None


LOOKS: dict[str, Callable[[Snapshot], Any]] = {
    "status": status_read,
    "queues": queues_read,
    "workers": workers_read,
}
