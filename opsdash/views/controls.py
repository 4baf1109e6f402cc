"""What an operator can do: buttons that follow the state and the role."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import panel_material_ui as pmui
from panel.viewable import Viewer

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
        self._pause_queue = _button(PauseProcessing, "pause", self._ask_pause_queue, label="Pause Queue")
        self._resume_queue = _button(ResumeProcessing, "play_arrow", self._ask_resume_queue, label="Resume Queue")
        self._clear = _button(ClearQueue, "delete_sweep", self._ask_clear, color="error")
        self._sync = _button(SyncTenantConfigs, "sync", self._ask_sync)
        self._deck = ControlDeck(
            pause=self._pause,
            resume=self._resume,
            pause_queue=self._pause_queue,
            resume_queue=self._resume_queue,
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

    def _why_not(self) -> str:
        operations = (PauseProcessing, ResumeProcessing, ClearQueue, SyncTenantConfigs)
        if all(self._session.may(operation) for operation in operations):
            return ""
        role = self._session.actor.role or Role.VIEWER
        needed = max(operation.minimum_role for operation in operations)
        return f"Your role is {role.name.lower()}: you see everything; operations need the role {needed.name.lower()}."

    def _follow(self, *_events: Any) -> None:
        status = self._status
        self._pause.disabled = not (status.can_pause and self._session.may(PauseProcessing))
        self._resume.disabled = not (status.can_resume and self._session.may(ResumeProcessing))
        chosen, held = status.selected_queue, status.selected_queue in status.paused_queues
        self._pause_queue.disabled = not (status.known and chosen and not held and self._session.may(PauseProcessing))
        self._resume_queue.disabled = not (status.known and held and self._session.may(ResumeProcessing))
        self._clear.disabled = not (status.selected_queue and self._session.may(ClearQueue))
        self._sync.disabled = not self._session.may(SyncTenantConfigs)
        self._deck.param.update(
            queues=[
                [queue.name, queue.error or f"{queue.waiting:,}", queue.name in status.paused_queues]
                for queue in status.queues
            ],
            selected=status.selected_queue,
            tenants=NOT_KNOWN if status.tenants is None else f"{status.tenants:,}",
            tenants_unit="tenant" if status.tenants == 1 else "tenants",
        )

    def _on_selected(self, event: Any) -> None:
        if self._status.queue(event.new) is not None:
            self._status.selected_queue = event.new

    async def _ask_pause(self, _event: Any) -> None:
        await self._dialog.ask(PauseProcessing(), self._pause, self._focus(self._pause, self._resume))

    async def _ask_resume(self, _event: Any) -> None:
        await self._dialog.ask(ResumeProcessing(), self._resume, self._focus(self._resume, self._pause))

    async def _ask_pause_queue(self, _event: Any) -> None:
        operation = PauseProcessing(queue=self._status.selected_queue)
        await self._dialog.ask(operation, self._pause_queue, self._focus(self._pause_queue, self._resume_queue))

    async def _ask_resume_queue(self, _event: Any) -> None:
        operation = ResumeProcessing(queue=self._status.selected_queue)
        await self._dialog.ask(operation, self._resume_queue, self._focus(self._resume_queue, self._pause_queue))

    def _focus(self, opener: pmui.Button, other: pmui.Button) -> Callable[[], None]:
        """After the act: an opener that is disabled by it can't hold the focus any more."""
        return lambda: self._session.later(other.focus) if opener.disabled else None

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


def _button(
    operation: type[Operation], icon: str, on_click: Any, color: str = "default", label: str = ""
) -> pmui.Button:
    return pmui.Button(
        label=label or operation.title,
        icon=icon,
        variant="outlined",
        color=color,
        size="small",
        margin=0,
        disabled=True,
        on_click=on_click,
        sx=_SHAPE if color != "default" else {**_SHAPE, "&:not(.Mui-disabled)": {"color": "text.primary"}},
    )
