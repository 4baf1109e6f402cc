"""The tables: who works, what was cleared, and who did what."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from panel.viewable import Viewer

from opsdash.errors import OpsdashError
from opsdash.operations import DeleteTrash, RestoreQueue
from opsdash.services.trash import time_left
from opsdash.views import rows
from opsdash.views.components import LiveTable
from opsdash.views.confirmation import ConfirmationDialog
from opsdash.views.session import Session

PIECE_CHARS = 200_000


class WorkerHealth(Viewer):
    """Every worker that reported within the last day, and when the page last heard."""

    def __init__(self, session: Session, **params: Any) -> None:
        super().__init__(**params)
        self._status = session.status
        self._table = LiveTable(
            heading="Worker Health",
            columns=rows.WORKER_COLUMNS,
            action="Refresh",
            on_action=session.refresh,
            sizing_mode="stretch_width",
            margin=0,
        )
        self._status.param.watch(self._follow, ["workers", "others", "updated_at", "known", "paused"])
        self._follow()

    def __panel__(self) -> LiveTable:
        return self._table

    def _follow(self, *_events: Any) -> None:
        status = self._status
        read_at = status.redis_read_at
        nobody = status.known and not status.others and all(w.state == "offline" for w in status.workers)
        self._table.param.update(
            rows=rows.worker_rows(status.workers, status.others or (), paused=status.paused),
            note=f"Last updated {read_at:%H:%M:%S} UTC" if read_at else "Not read yet",
            empty=rows.NO_WORKERS if nobody else "",
        )


class ClearedTasks(Viewer):
    """What was cleared and can be restored or deleted for good; not there while there is nothing."""

    def __init__(self, session: Session, dialog: ConfirmationDialog, **params: Any) -> None:
        super().__init__(**params)
        self._session, self._status, self._dialog = session, session.status, dialog
        self._table = LiveTable(
            heading="Cleared Tasks",
            columns=rows.TRASH_COLUMNS,
            on_row=self._ask,
            sizing_mode="stretch_width",
            margin=0,
            visible=False,
        )
        session.signals.on_undo = self.undo
        self._status.param.watch(self._follow, ["trash", "updated_at"])
        self._follow()

    def __panel__(self) -> LiveTable:
        return self._table

    def _follow(self, *_events: Any) -> None:
        may = self._session.may(RestoreQueue)
        self._table.param.update(
            rows=rows.trash_rows(self._status.trash, datetime.now(UTC), may=may), visible=bool(self._status.trash)
        )

    async def undo(self, trash_id: str) -> None:
        """Asks whether one clear is to be undone."""
        await self._dialog.ask(RestoreQueue(trash_id=trash_id))

    async def _ask(self, trash_id: str, name: str) -> None:
        if name == "delete":
            await self._dialog.ask(DeleteTrash(trash_id=trash_id))
        else:
            await self.undo(trash_id)


class RecentOperations(Viewer):
    """The last 20 audit entries, and the whole log as CSV; a clear can be undone from its entry."""

    def __init__(self, session: Session, cleared: ClearedTasks, **params: Any) -> None:
        super().__init__(**params)
        self._session, self._status, self._cleared = session, session.status, cleared
        self._table = LiveTable(
            heading="Recent Operations",
            columns=rows.OPERATION_COLUMNS,
            details="json",
            action="Export Logs",
            on_action=self._export,
            on_row=self._undo,
            sizing_mode="stretch_width",
            margin=0,
        )
        self._status.param.watch(self._follow, ["operations", "database_age_s", "trash"])
        self._follow()

    def __panel__(self) -> LiveTable:
        return self._table

    def _follow(self, *_events: Any) -> None:
        status = self._status
        read = status.database_age_s is not None
        may = self._session.may(RestoreQueue)
        undoable = {entry.id: time_left(entry) for entry in status.trash if may and entry.state == "kept"}
        self._table.param.update(
            rows=rows.operation_rows(status.operations, undoable),
            empty=rows.NO_OPERATIONS if read and not status.operations else "",
        )

    async def _undo(self, key: str, _name: str) -> None:
        await self._cleared.undo(key.replace("-", ""))

    async def _export(self) -> None:
        try:
            pieces = await asyncio.to_thread(self._read)
        except OpsdashError as error:
            self._session.signals.say(str(error), "bad")
            return
        self._table.download(f"opsdash-operations-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.csv", pieces)

    def _read(self) -> list[str]:
        """The CSV in pieces that each fit one websocket message."""
        pieces, piece, size = [], [], 0
        for line in self._session.console.audit.export():
            piece.append(line)
            size += len(line)
            if size > PIECE_CHARS:
                pieces.append("".join(piece))
                piece, size = [], 0
        return [*pieces, "".join(piece)]
