"""What an operator can do: four buttons that follow the state and the role."""

from __future__ import annotations

from typing import Any

import panel_material_ui as pmui
from panel.viewable import Viewer

from opsdash.errors import Invalid
from opsdash.model import Role
from opsdash.operation import Operation
from opsdash.operations import ClearQueue, PauseProcessing, ResumeProcessing, SyncTenantConfigs
from opsdash.views.components import NOT_KNOWN, ControlDeck
from opsdash.views.confirmation import ConfirmationDialog
from opsdash.views.session import Session


class OperationControls(Viewer):
    """Worker Control, Queue Operations and Tenant Configuration. Every button opens the dialog, none acts by itself."""

    def __init__(self, session: Session, dialog: ConfirmationDialog, **params: Any) -> None:
        super().__init__(**params)
        self._session, self._status, self._dialog = session, session.status, dialog
        self._pause = _button(PauseProcessing, "pause", self._ask_pause)
        self._resume = _button(ResumeProcessing, "play_arrow", self._ask_resume)
        self._clear = _button(ClearQueue, "delete_sweep", self._ask_clear, color="error")
        self._sync = _button(SyncTenantConfigs, "sync", self._ask_sync)
        self._deck = ControlDeck(
            pause=self._pause,
            resume=self._resume,
            clear=self._clear,
            sync=self._sync,
            note=self._why_not(),
            sizing_mode="stretch_width",
            margin=0,
        )
        self._deck.param.watch(self._on_selected, "selected")
        watched = ["can_pause", "can_resume", "queues", "selected_queue", "paused_queues", "tenants"]
        self._status.param.watch(self._follow, watched)
        self._follow()

    def __panel__(self) -> ControlDeck:
        return self._deck

    def _may(self, operation: type[Operation]) -> bool:
        role = self._session.actor.role
        return role is not None and role >= operation.minimum_role

    def _why_not(self) -> str:
        operations = (PauseProcessing, ResumeProcessing, ClearQueue, SyncTenantConfigs)
        if all(self._may(operation) for operation in operations):
            return ""
        role = self._session.actor.role or Role.VIEWER
        needed = max(operation.minimum_role for operation in operations)
        return f"Your role is {role.name.lower()}: you see everything; operations need the role {needed.name.lower()}."

    def _follow(self, *_events: Any) -> None:
        status = self._status
        self._pause.disabled = not (status.can_pause and self._may(PauseProcessing))
        self._resume.disabled = not (status.can_resume and self._may(ResumeProcessing))
        self._clear.disabled = not (status.selected_queue and self._may(ClearQueue))
        self._sync.disabled = not self._may(SyncTenantConfigs)
        self._deck.param.update(
            queues=[
                [queue.name, queue.error or f"{queue.waiting:,}", queue.name in status.paused_queues]
                for queue in status.queues
            ],
            selected=status.selected_queue,
            tenants=NOT_KNOWN if status.tenants is None else f"{status.tenants:,}",
            tenants_unit="tenant" if status.tenants == 1 else "tenants",
            reason_enabled=not self._pause.disabled,
        )

    def _on_selected(self, event: Any) -> None:
        if self._status.queue(event.new) is not None:
            self._status.selected_queue = event.new

    async def _ask_pause(self, _event: Any) -> None:
        try:
            operation = PauseProcessing(reason=self._deck.reason.strip())
        except Invalid as error:
            self._session.signals.say(str(error), "bad")
            return
        await self._dialog.ask(operation, self._pause, self._paused)

    def _paused(self) -> None:
        if self._pause.disabled:
            self._deck.reason = ""
            self._session.later(self._resume.focus)  # the opener can't hold the focus any more

    async def _ask_resume(self, _event: Any) -> None:
        await self._dialog.ask(ResumeProcessing(), self._resume, self._resumed)

    def _resumed(self) -> None:
        if self._resume.disabled:
            self._session.later(self._pause.focus)

    async def _ask_clear(self, _event: Any) -> None:
        await self._dialog.ask(ClearQueue(queue=self._status.selected_queue), self._clear)

    async def _ask_sync(self, _event: Any) -> None:
        await self._dialog.ask(SyncTenantConfigs(), self._sync)


_SHAPE = {
    "height": "34px",
    "padding": "0 14px",
    "whiteSpace": "nowrap",
    "borderColor": "color-mix(in srgb, currentColor 22%, transparent)",
}


def _button(operation: type[Operation], icon: str, on_click: Any, color: str = "default") -> pmui.Button:
    return pmui.Button(
        label=operation.title,
        icon=icon,
        variant="outlined",
        color=color,
        size="small",
        margin=0,
        disabled=True,
        on_click=on_click,
        sx=_SHAPE if color != "default" else {**_SHAPE, "&:not(.Mui-disabled)": {"color": "text.primary"}},
    )
