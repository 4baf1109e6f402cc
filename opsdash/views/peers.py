"""Other deployments: a row for each, as its own console says it; what is done there is done there."""

from __future__ import annotations

from html import escape
from typing import Any

import panel as pn
import param
from panel.viewable import Viewable

from opsdash.config.peers import Peer
from opsdash.model.peer import PeerReading
from opsdash.state.changes import set_changed
from opsdash.views.components import KeyedTable
from opsdash.views.design import OpsDesign, stack
from opsdash.views.view import View

COLUMNS = [
    {"field": "name", "title": "Deployment", "priority": 1},
    {"field": "state", "title": "State", "kind": "state", "priority": 1},
    {"field": "waiting", "title": "Pending Tasks", "kind": "number", "priority": 1},
    {"field": "oldest", "title": "Oldest", "kind": "since", "least": "oldest_at_least", "priority": 2},
    {"field": "workers", "title": "Workers", "kind": "number", "priority": 2},
    {"field": "silent", "title": "Silent", "kind": "number", "priority": 3},
    {"field": "failures", "title": "Failures", "kind": "number", "priority": 2},
    {"field": "verdict", "title": "Verdict", "priority": 2},
    {"field": "read", "title": "Read", "kind": "since", "help": "How old these figures are", "priority": 2},
]
TONES = {"running": "ok", "paused": "warn", "unknown": "bad"}


class OtherDeployments(View):
    """What `OPSDASH_PEERS` names; it has no buttons, and a link to each page."""

    _table: KeyedTable | None = None

    def _build(self) -> Viewable:
        self._table = KeyedTable(
            title="Other deployments",
            columns=self.shown_columns(COLUMNS),
            empty="OPSDASH_PEERS names none.",
            theme=self.param.theme,
        )
        self._show()
        return stack(self._table, links_pane(self._session.console.settings.peers))

    @param.depends("status.updated_at", "status.stalled_s", watch=True)
    def _show(self) -> None:
        if self._table is not None:
            now = {**self.clock(), "frozen": bool(self.status.stalled_s)}  # our own Redis has nothing to do with it
            set_changed(self._table, rows=[row_of(one) for one in self._session.console.peers.read()], **now)


def row_of(reading: PeerReading) -> dict[str, Any]:
    """A row; what is not known is not in it."""
    stale, read_at = reading.stale(), reading.read_at
    row: dict[str, Any] = {"key": reading.name, "name": reading.name, "state": _state(reading, stale=stale)}
    if read_at is None:
        return row
    as_of_s = read_at.timestamp() - reading.behind_s
    row["read"] = int(as_of_s)
    figures = {name: getattr(reading, name) for name in ("waiting", "workers", "silent", "failures")}
    row |= {name: value for name, value in figures.items() if value is not None}
    if reading.oldest_s is not None and not stale:  # it would age on here, whatever happens there
        row |= {"oldest": int(as_of_s - reading.oldest_s), "oldest_at_least": reading.oldest_at_least}
    if reading.verdict:
        row["verdict"] = reading.verdict.replace("_", " ")
    return row


def _state(reading: PeerReading, *, stale: bool) -> list[str]:
    if reading.read_at is None:
        return ["bad", "unknown", reading.error] if reading.error else ["none", "not read yet", ""]
    if stale:
        return ["bad", "stale", f"was {reading.state}; {reading.error or 'no newer figures'}"]
    return [TONES[reading.state], reading.state, reading.error]


def links_pane(peers: tuple[Peer, ...]) -> Viewable:
    """A link to each page. Names and addresses are of the settings, never of an answer, and all is escaped."""
    shown = " · ".join(
        f'<a href="{escape(peer.page)}" target="_blank" rel="noopener noreferrer">Open {escape(peer.name)}</a>'
        for peer in peers
    )
    return pn.pane.HTML(f"<p>{shown}</p>", margin=(0, 16), design=OpsDesign, sizing_mode="stretch_width")
