"""The last runs of runbooks: the state of each, and what can be done about one that was left behind."""

from __future__ import annotations

import param
from panel.viewable import Viewable

from opsdash.errors import OpsdashError
from opsdash.runs.overview import RunSummary, overview
from opsdash.runs.store import RunStore
from opsdash.services.threads import READS
from opsdash.state.changes import set_changed
from opsdash.views.components import KeyedTable
from opsdash.views.rows import Row, known
from opsdash.views.view import View

COLUMNS = [
    {"field": "name", "title": "Run", "priority": 1},
    {"field": "state", "title": "State", "kind": "state", "priority": 1},
    {"field": "step", "title": "Step", "priority": 2},
    {"field": "by", "title": "User", "priority": 2},
    {"field": "at", "title": "Begun (UTC)", "kind": "time", "priority": 2},
    {"field": "message", "title": "Result", "priority": 3},
]
TONES = {"running": "warn", "done": "ok", "rolled back": "none"}


class Runs(View):
    """What ``opsdash run`` did last, and does now. On the page it is there once there was a run."""

    _table: KeyedTable | None = None

    def _build(self) -> Viewable:
        self._table = KeyedTable(
            title="Runs", columns=self.shown_columns(COLUMNS), empty="No run is kept.", theme=self.param.theme
        )
        if not self._alone:
            self.visible = False
        self._read_soon()
        return self._table

    @param.depends("status.read_at", watch=True)
    def _read_soon(self) -> None:
        if self._table is not None:
            self._session.later(self._read)  # in the turn of the page or the notebook

    async def _read(self) -> None:
        async with self._session.turn("runs") as mine:
            if not mine or self._table is None:
                return  # a newer one waits already
            try:
                store = RunStore(self._session.console.broker)
                found = await READS.run(lambda: overview(store), caller=self._session.caller)
            except OpsdashError:
                return  # what is shown stays; the page says that Redis does not answer
            set_changed(self._table, rows=[run_row(one) for one in found], **self.clock())
            if not self._alone:
                self.visible = bool(found)


def run_row(one: RunSummary) -> Row:
    """One run; of one that was left behind it says what to type."""
    ways = " or ".join(way for way in (one.continued_by, one.rolled_back_by) if way)
    return known(
        key=one.id,
        name=f"{one.runbook} {one.id}",
        state=[TONES.get(one.state, "bad"), one.state, ways],
        step=f"{one.step} ({one.done} of {one.of} over)" if one.step and one.ended_at is None else one.step or None,
        by=f"{one.by} on {one.host}" if one.host else one.by,
        at=one.at.timestamp(),
        message=" ".join(part for part in (one.message, f"({one.reason})" if one.reason else "") if part) or None,
    )
