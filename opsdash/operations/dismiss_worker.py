"""Dismiss: a worker whose reports have stopped is known to be gone, and is forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from opsdash.errors import Refused
from opsdash.model import AuditEntry, Effect, Figure, Line, Preview, WorkerStats
from opsdash.operation import Act, Operation
from opsdash.operations.one_worker import OneWorker
from opsdash.services.workers.reports import no_worker
from opsdash.text import count, format_duration

if TYPE_CHECKING:
    from opsdash.services.services import Services


class DismissWorker(OneWorker, Operation):
    """Removes the last reports of a silent worker. The user confirms that its process has ended."""

    name: ClassVar[str] = "dismiss_worker"
    title: ClassVar[str] = "Dismiss Worker"
    help: ClassVar[str] = "Forget a silent worker, once you know that its process has ended."
    warning: ClassVar[str] = "If the process only hangs, it may continue its tasks later, and no pause waits for it."
    layout: ClassVar[tuple[str, ...]] = ("prefix", "db")

    def heading(self) -> str:
        """Which worker."""
        return f"Dismiss worker {self.hostname}".rstrip()

    def preview(self, services: Services) -> Preview:
        """When it reported last, and what it ran and held then."""
        silent = self._silent(services)
        lines = tuple(
            Line(
                "will",
                f"{w.hostname} (pid {w.pid}) is silent for {format_duration(w.silent_s)}; in its last report it ran"
                f" {count(w.active, 'task')} and had {w.reserved + w.scheduled:,} more.",
            )
            for w in silent
        )
        silent_s = max(w.silent_s for w in silent)
        figures = (
            Figure(name="reports", value=len(silent), unit="reports"),
            Figure(
                name="active",
                label="running",
                value=sum(w.active for w in silent),
                unit="tasks",
                exactness="old",
                age_s=silent_s,
            ),
            Figure(name="pids", value=tuple(w.pid for w in silent)),
        )
        stays = (
            "This changes no task. Its tasks stay unacknowledged, and keep a pause from being called safe, until"
            " the visibility timeout puts them back into their queue."
        )
        return Preview(lines=(*lines, Line("will_not", stays)), figures=figures)

    def execute(self, services: Services, act: Act) -> Effect:
        """Removes its reports in one step; one that has come back meanwhile stays."""
        silent = self._silent(services)
        gone = services.workers.dismiss([worker.record for worker in silent])
        if not gone:
            raise Refused(f"{self.hostname} reports again.", field="hostname")
        active = sum(worker.active for worker in silent if worker.record in gone)
        return Effect(
            affected=len(gone),
            message=f"Dismissed {self.hostname}; in its last report it ran {count(active, 'task')}.",
            details={"records": gone, "active": active},
        )

    def evidence(self, services: Services, entry: AuditEntry) -> Mapping[str, Any]:
        """Whether it is on the list of workers."""
        known = any(worker.hostname == self.hostname for worker in services.workers.read())
        return {"message": f"{self.hostname} is {'on' if known else 'off'} the list of workers."}

    def _silent(self, services: Services) -> list[WorkerStats]:
        self.check_named()
        known = [w for w in services.workers.read() if self.hostname in (w.hostname, w.record)]
        if not known and any(other.hostname == self.hostname for other in services.unmanaged.known() or ()):
            raise Refused(
                f"{self.hostname} is not managed by opsdash and answers: it leaves the list when it is stopped."
            )
        if not known:
            raise no_worker(self.hostname, {worker.hostname for worker in services.workers.read()})
        silent = [worker for worker in known if not worker.reports]
        if not silent:
            raise Refused(f"{self.hostname} still reports.", hint="Stop it first.", field="hostname")
        return silent
