"""What the deployment is doing, with the operations that change it."""

from __future__ import annotations

from typing import Any

import panel as pn
import param
from panel.viewable import Viewable

from opsdash.operation import Operation
from opsdash.operations import ClearQueue, PauseProcessing, ResumeProcessing, SyncTenantConfigs
from opsdash.state.changes import set_changed
from opsdash.views.components import Card, StatusStrip
from opsdash.views.design import OpsDesign, button
from opsdash.views.hero import LABELS, why_not
from opsdash.views.view import View

_WIDE: dict[str, Any] = {"css_classes": ["wide"]}
"""On a phone it takes the whole width: a thumb finds it."""


class SystemState(View):
    """The status strip: state in a word, its causes, figures, and Pause, Resume and Extend."""

    _strip: StatusStrip | None = None

    def _build(self) -> Viewable:
        self._pause = button("Pause Processing", "pause", on_click=self._dialog.asks(PauseProcessing), **_WIDE)
        self._resume = button("Resume Processing", "play", on_click=self._dialog.asks(ResumeProcessing), **_WIDE)
        self._extend = button("Extend", "clock", on_click=self._dialog.asks(PauseProcessing), **_WIDE)
        self._failed = button("Failed tasks", "look", on_click=self._show_failed, **_WIDE)
        acts: list[Viewable] = [self._failed, self._pause, self._resume, self._extend]
        if note := why_not(self._session.role):  # our own words: nothing from outside is put into HTML
            styles = {"max-width": "330px", "font-size": "12px", "text-align": "right"}
            acts.append(pn.pane.HTML(f"<p>{note}</p>", margin=0, design=OpsDesign, styles=styles))
        self._strip = StatusStrip(
            labels=LABELS,
            actions=acts if self.actions else [],
            titled=not self._alone,
            theme=self.param.theme,
        )
        self._show()
        self._lead_to_failed()
        return self._strip

    def _show_failed(self, _event: object) -> None:
        self._session.location.tab = "failures"

    @param.depends("status.failures_card", watch=True)
    def _lead_to_failed(self) -> None:
        if self._strip is not None:  # alone it has no tabs
            set_changed(self._failed, visible=not self._alone and bool(self.status.failures_card.get("total")))

    @param.depends("status.hero", "status.figures", "status.sparks", watch=True)
    def _show(self) -> None:
        if self._strip is None:
            return
        status, may = self.status, self._session.may
        set_changed(self._strip, **status.hero, figures=status.figures, sparks=status.sparks, **self.clock_of_strip())
        set_changed(self._pause, disabled=not (status.can_pause and may(PauseProcessing)))
        set_changed(self._resume, disabled=not (status.can_resume and may(ResumeProcessing)))
        set_changed(self._extend, visible=bool(status.can_resume and may(PauseProcessing)))

    def clock_of_strip(self) -> dict[str, Any]:
        """The server's clock, where there is a countdown; without one it would go with every figure for nothing."""
        at = self.status.updated_at if self.status.pause_until is not None else None
        return {"now": at.timestamp() if at is not None else 0}


class OperationControls(View):
    """Pause, resume, clear the chosen queue and sync tenant configs: each previewed and confirmed by typing ``YES``."""

    _card: Card | None = None

    def _build(self) -> Viewable:
        operations: tuple[tuple[type[Operation], str], ...] = (
            (PauseProcessing, "pause"),
            (ResumeProcessing, "play"),
            (ClearQueue, "clear"),
            (SyncTenantConfigs, "sync"),
        )
        self._buttons = {kind: button(kind.title, look) for kind, look in operations}
        for kind, one in self._buttons.items():
            one.on_click(self._asks(kind))
        self._card = Card(title="Worker Control", theme=self.param.theme, actions=list(self._buttons.values()))
        self._show()
        return self._card

    def _asks(self, kind: type[Operation]) -> Any:
        async def ask(_event: object) -> None:
            await self._dialog.ask(kind.name, {"queue": self.queue} if kind is ClearQueue else {})

        return ask

    @param.depends("status.hero", "status.tenants_in_use", "queue", "actions", watch=True)
    def _show(self) -> None:
        if self._card is None:
            return
        status = self.status
        possible = {
            PauseProcessing: status.can_pause,
            ResumeProcessing: status.can_resume,
            ClearQueue: bool(self.queue) and not status.redis_stale,
            SyncTenantConfigs: status.tenants_in_use is not False,
        }
        for kind, one in self._buttons.items():
            set_changed(one, disabled=not (possible[kind] and self._session.may(kind)), visible=self.actions)
        set_changed(self._buttons[ClearQueue], label=f"{ClearQueue.title} {self.queue}".strip())
        set_changed(self._buttons[SyncTenantConfigs], visible=self.actions and status.tenants_in_use is not False)
        state = status.hero
        note = why_not(self._session.role)
        lines = [[state.get("tone", "none"), f"{state.get('word', 'UNKNOWN')}. {state.get('story', '')}".strip()]]
        if state.get("verdict"):
            lines.append(state["verdict"])
        lines += [["warn", text] for text in state.get("notices", ())]
        if self.actions and not self.queue:
            lines.append(["mute", f"{ClearQueue.title} needs a queue, and none is known yet."])
        set_changed(self._card, lines=[*lines, *([["mute", note]] if note else [])])
