"""How a widget is fed: in a server by its browser session's turns, elsewhere by the kernel's loop or the poller."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import panel as pn

from opsdash.model import Actor, Snapshot
from opsdash.state import SystemStatus
from opsdash.views.embedded import Embedded, Fragment, cut
from opsdash.views.page_requests import Desk
from opsdash.views.page_state import PageState
from opsdash.views.session import FRESH_S, Session

if TYPE_CHECKING:
    from opsdash.services.console import Console


class FedStatus(SystemStatus):
    """A widget's data. It is updated as long as there is a reference to it, with the widget or without."""

    fed_by: object = None


class WidgetSession(Session):
    """Feeds one widget and its ``SystemStatus``. The poller holds it weakly: it ends with its widget.

    Args:
        console: Whose poller reads for all widgets together.
        actor: Who looks and acts.
        channel: The component that shows the widget.
        status: What an analyst binds to; it is updated as long as there is a reference to it.
    """

    channel: Embedded

    def __init__(self, console: Console, actor: Actor, channel: Embedded, status: FedStatus) -> None:
        super().__init__(console, actor, channel)
        self.status = status
        status.fed_by = self
        self._closed = False
        self._order = threading.RLock()
        self._drawn = True  # in a notebook: at once, and in several places

    def attach(self) -> None:
        """Joins the poller until the widget is closed or nobody holds it any more, or its browser session ends."""
        self._doc = pn.state.curdoc
        if self._doc is not None and self._doc.session_context is not None:
            self.channel.served = True
            pn.state.on_session_destroyed(self._detach)
            self.channel.state = self._cut(self._bulletins.blank(self.role))
        else:
            self._doc = None
            self._begin_with(self._fresh())
        self._joining = True
        self._unsubscribe = _subscribe_weakly(self)
        self._joining = False

    def close(self) -> None:
        """Ends the subscription: nothing is read for it, and it shows nothing new."""
        self._closed = True
        self._detach(None)

    def _fresh(self) -> Snapshot:
        """Outside a server a widget shows figures from its first moment: one read, if there is no fresh one."""
        latest = self.console.poller.latest
        if latest is None or time.time() - latest.taken_at.timestamp() > FRESH_S:
            return self.console.poller.refresh()
        return latest

    def _begin_with(self, snapshot: Snapshot) -> None:
        bulletin = self._bulletins.of(snapshot, self.role)
        self._shown = snapshot
        self.status.update(snapshot)
        self.channel.param.update(state=self._cut(bulletin.state), seq=bulletin.seq)

    def _cut(self, state: str) -> str:
        return cut(state, self.channel.part) if isinstance(self.channel, Fragment) else state

    def _deliver(self, snapshot: Snapshot) -> None:
        if self._closed or snapshot is self._shown:
            return
        if self._joining and self._doc is not None:  # on the event loop: nothing may be read there
            self.later(partial(self._catch_up, snapshot))
            return
        self.later(partial(self._take, self._bulletins.of(snapshot, self.role)))

    def _take(self, bulletin: PageState) -> None:
        if self._closed or bulletin.snapshot is self._shown:
            return
        with self._order:
            self.status.update(bulletin.snapshot)
            super()._take(bulletin)

    def later(self, what: Callable[[], Any]) -> None:
        """Calls, or awaits, something in the turn of the document or the kernel; without either, here and now."""
        if self._doc is not None:
            super().later(what)
        elif self._loop is None:
            answer = what()
            if inspect.iscoroutine(answer):
                asyncio.run(answer)
        elif self._loop.is_closed():
            self.close()
        else:
            self._loop.call_soon_threadsafe(partial(_begin, what))


class WidgetDesk(Desk):
    """Answers a widget's browser as the page's, and follows the queue that is chosen in it."""

    def __init__(self, session: WidgetSession, **params: Any) -> None:
        super().__init__(session, **params)
        self._answers["choose"] = self._choose
        self._status = session.status

    async def _choose(self, message: Mapping[str, Any]) -> None:
        queue = message.get("queue")
        if isinstance(queue, str) and self._status.queue(queue) is not None:
            self._status.selected_queue = queue


def _subscribe_weakly(session: WidgetSession) -> Callable[[], None]:
    """The poller must not keep a widget alive. Its end is noticed at the next snapshot, never inside the collector."""
    held = weakref.ref(session)
    end: list[Callable[[], None]] = []

    def deliver(snapshot: Snapshot) -> None:
        alive = held()
        if alive is not None:
            alive._deliver(snapshot)
        else:
            for unsubscribe in end:
                unsubscribe()

    end.append(session.console.poller.subscribe(deliver))
    return end[0]


def _begin(what: Callable[[], Any]) -> None:
    answer = what()
    if inspect.iscoroutine(answer):
        task = asyncio.ensure_future(answer)
        _running.add(task)
        task.add_done_callback(_running.discard)


_running: set[asyncio.Future[Any]] = set()
