"""The entries of beat's schedule, and what may be done to each."""

from __future__ import annotations

from typing import Any

import param
from panel.viewable import Viewable

from opsdash.errors import OpsdashError
from opsdash.model.schedule import Schedule
from opsdash.operations import PauseSchedule, ResumeSchedule, RunScheduleNow
from opsdash.services.threads import READS
from opsdash.state.changes import set_changed
from opsdash.text import count
from opsdash.views.components import KeyedTable, RowAction
from opsdash.views.rows import May, Row, act, known
from opsdash.views.view import View

COLUMNS = [
    {"field": "name", "title": "Schedule", "priority": 1},
    {"field": "state", "title": "State", "kind": "state", "priority": 1},
    {"field": "task", "title": "Task", "priority": 3},
    {"field": "schedule", "title": "When", "priority": 2},
    {"field": "last", "title": "Last run (UTC)", "kind": "time", "priority": 3},
    {"field": "next", "title": "Next run (UTC)", "kind": "time", "priority": 2},
    {"field": "acts", "title": "", "kind": "acts", "pin": True, "priority": 1},
]
TONES = {"runs": "ok", "paused": "warn", "silent": "bad", "disabled": "none"}


class Schedules(View):
    """What beat sends, and when; pause, resume and run one now. On the page it is there once a beat reports."""

    _table: KeyedTable | None = None

    def _build(self) -> Viewable:
        self._table = KeyedTable(
            title="Schedules",
            columns=self.shown_columns(COLUMNS),
            empty="No beat reports its entries.",
            theme=self.param.theme,
        )
        self._table.on_action(self._act)
        if not self._alone:
            self.visible = False
        self._read_soon()
        return self._table

    @param.depends("status.read_at", watch=True)
    def _read_soon(self) -> None:
        if self._table is not None:
            self._session.later(self._read)  # in the turn of the page or the notebook

    async def _read(self) -> None:
        async with self._session.turn("schedules") as mine:
            if not mine or self._table is None:
                return  # a newer one waits already
            try:
                found = await READS.run(self._session.console.schedules.read, caller=self._session.caller)
            except OpsdashError:
                return  # what is shown stays; the page says that Redis does not answer
            set_changed(self._table, rows=list(schedule_rows(found, self._session.may).values()), **self.clock())
            if not self._alone:
                self.visible = bool(found)

    async def _act(self, action: RowAction) -> None:
        await self._dialog.ask(action.name, {"schedule": action.key})


def schedule_rows(found: tuple[Schedule, ...], may: May) -> dict[str, Row]:
    """One row per entry, by name."""
    return {one.name: {**_row(one, may), "key": one.name} for one in found}


def _row(one: Schedule, may: May) -> Row:
    acts: list[dict[str, Any]] = []
    if one.pause is None and may(PauseSchedule):
        acts.append(act(PauseSchedule, "Pause", "Do not send its task for a while", usual=True))
    if one.pause is not None and may(ResumeSchedule):
        acts.append(act(ResumeSchedule, "Resume", "Send its task again when it is due", usual=True))
    if not one.silent and may(RunScheduleNow):
        acts.append(act(RunScheduleNow, "Run now", "Send its task once now"))
    return known(
        name=one.name,
        task=one.task,
        schedule=one.schedule,
        state=[TONES[one.state], one.state, _remark(one)],
        last=one.last_run_at.timestamp() if one.last_run_at else None,
        next=one.fires_at.timestamp() if one.fires_at else None,
        acts=acts or None,
    )


def _remark(one: Schedule) -> str:
    if one.pause is None:
        return "its beat does not report" if one.silent else ""
    parts = [f"by {one.pause.by}"] if one.pause.by else []
    parts += [f"until {one.pause.expires_at:%Y-%m-%d %H:%M} UTC"] if one.pause.expires_at else []
    parts += [f"missed {count(one.missed, 'run')}"] if one.missed else []
    parts += [one.pause.reason] if one.pause.reason else []
    return ", ".join(parts)
