"""When a session's views may be touched: in their document's turn, in the kernel's, or at once."""

from __future__ import annotations

import asyncio
import inspect
import weakref
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import panel as pn
from panel.io.state import set_curdoc

if TYPE_CHECKING:
    from bokeh.document import Document

    from opsdash.model import Snapshot
    from opsdash.services.monitoring.poller import Poller
    from opsdash.views.session import Session


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that calls this, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def later(what: Callable[[], Any], doc: Document | None, loop: asyncio.AbstractEventLoop | None) -> bool:
    """Calls, or awaits, something in a document's next turn; without one, in the kernel's; without either, now.

    Bokeh's ``add_next_tick_callback`` from another thread breaks on a Document that ends meanwhile, and leaves it
    behind as everybody's ``curdoc``: so it is called in the thread of the event loop, where Documents end.

    Returns:
        Whether there was such a turn: not, once the loop has ended.
    """
    if loop is not None and loop.is_closed():
        return False
    if doc is not None:
        if loop is None:
            _schedule(doc, what)
        else:
            loop.call_soon_threadsafe(_schedule, doc, what)
    elif loop is not None:
        loop.call_soon_threadsafe(partial(_begin, what))
    else:
        answer = what()
        if inspect.iscoroutine(answer):
            asyncio.run(answer)
    return True


def _schedule(doc: Document, what: Callable[[], Any]) -> None:
    context = doc.session_context
    if context is None or context.destroyed:
        return
    if is_loading(doc):
        with set_curdoc(doc):
            # Panel calls these until there are none, and says that the document is loaded afterwards: none may ask.
            pn.state.onload(partial(_next_tick, doc, what))
    else:
        doc.add_next_tick_callback(partial(_in_turn, doc, what))


def _in_turn(doc: Document, what: Callable[[], Any]) -> Any:
    if is_loading(doc):  # the browser has come between the call and its turn
        _schedule(doc, what)
        return None
    return what()


def _next_tick(doc: Document, what: Callable[[], Any]) -> None:
    doc.add_next_tick_callback(what)


def is_loading(doc: Document) -> bool:
    """A browser fetches the document, and has not said that it has it: Panel drops what changes in it meanwhile."""
    context: Any = doc.session_context  # a server's has its session
    session = context.session if context is not None else None
    if session is None or not session.connection_count:
        return False
    with set_curdoc(doc):
        return not pn.state.loaded


def _begin(what: Callable[[], Any]) -> None:
    answer = what()
    if inspect.iscoroutine(answer):
        task = asyncio.ensure_future(answer)
        _running.add(task)
        task.add_done_callback(_running.discard)


_running: set[asyncio.Future[Any]] = set()


def subscribe_weakly(poller: Poller, session: Session) -> Callable[[], None]:
    """The poller must not keep a widget alive. Its end is noticed at the next snapshot, never inside the collector."""
    held = weakref.ref(session)
    end: list[Callable[[], None]] = []

    def deliver(snapshot: Snapshot) -> None:
        alive = held()
        if alive is not None:
            alive.deliver(snapshot)
        else:
            for unsubscribe in end:
                unsubscribe()

    end.append(poller.subscribe(deliver))
    return end[0]


def beat_weakly(session: Session, loop: asyncio.AbstractEventLoop, every_s: float) -> None:
    """Calls ``session.beat`` from a kernel's loop until the session is closed or nobody holds it any more."""
    held = weakref.ref(session)

    def beat() -> None:
        alive = held()
        if alive is not None and not alive.closed:
            alive.beat()
            loop.call_later(every_s, beat)

    loop.call_later(every_s, beat)
