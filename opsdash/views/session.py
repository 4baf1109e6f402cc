"""One browser session: what it has pending, and how an operation gets from a click to the service."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import panel as pn

from opsdash.errors import NeedsApproval, OpsdashError, Refused, Uncertain
from opsdash.model import Actor, Effect, Preview, Progress, Role, Snapshot
from opsdash.operation import Operation
from opsdash.services.queues.receipt import receipt_text
from opsdash.services.threads import ACTS, FIGURES, PREVIEWS, by_right, caller_of
from opsdash.state import PendingConfirmation
from opsdash.state.status import STALE_AFTER_S
from opsdash.text import without_folders
from opsdash.views.components import Channel
from opsdash.views.form import asking
from opsdash.views.page_state import PageState, bulletins

if TYPE_CHECKING:
    from bokeh.document import Document

    from opsdash.services.console import Console

log = logging.getLogger(__name__)

BEAT_MS = 3_000
FRESH_S = 10.0
SHOWN_S = 0.2
"""Long work tells its progress more often than anybody can read it."""


class Session:
    """Owned by one Document and gone with it: nothing process-wide keeps a reference once the session is destroyed.

    Args:
        console: The process's console; its poller reads for all sessions together.
        actor: Who looks, with the role found when the page was opened. ``Console.run`` checks it again.
        channel: The component that shows it.
    """

    def __init__(self, console: Console, actor: Actor, channel: Channel) -> None:
        self.console = console
        self.actor = actor
        self.role = actor.role or Role.VIEWER
        self.caller = caller_of(actor)
        self.channel = channel
        self.pending = PendingConfirmation()
        self.followers: list[Callable[[], None]] = []
        self._bulletins = bulletins(console)
        self._doc: Document | None = None
        self._loop = running_loop()
        self._unsubscribe: Callable[[], None] = _nothing
        self._told_at_s = self._shown_at_s = 0.0
        self._shown: Snapshot | None = None
        self._joining = self._drawn = False
        self._cancelled = threading.Event()

    def attach(self) -> None:
        """Joins the poller, until the browser session is destroyed."""
        self._doc = pn.state.curdoc
        latest = self._bulletins.latest(self.role)
        if latest is not None and time.time() - latest.snapshot.taken_at.timestamp() < FRESH_S:
            self._shown = latest.snapshot
            self.channel.param.update(state=latest.state, seq=latest.seq)
        else:
            self.channel.state = self._bulletins.blank(self.role)
        if self._doc is not None and self._doc.session_context is not None:
            # Bound methods of the package: by then a served script's own globals are gone.
            pn.state.on_session_destroyed(self._detach)
            self._doc.add_periodic_callback(self._beat, BEAT_MS)
        self._joining = True
        self._unsubscribe = self.console.poller.subscribe(self._deliver)
        self._joining = False

    def _detach(self, _context: object) -> None:
        self._unsubscribe()
        self._unsubscribe = _nothing

    def _deliver(self, snapshot: Snapshot) -> None:
        """Runs in the poller's thread: the page state is made there, and a Document is touched in its own turn only."""
        if self._doc is None or self._doc.session_context is None:
            return
        if self._joining:  # called by subscribe, on the event loop: nothing may be read there
            if snapshot is not self._shown:
                later: Any = partial(self._catch_up, snapshot)  # Bokeh awaits coroutines too
                self._doc.add_next_tick_callback(later)
            return
        self.later(partial(self._take, self._bulletins.of(snapshot, self.role)))

    async def _catch_up(self, snapshot: Snapshot) -> None:
        self._take(await FIGURES.run(lambda: self._bulletins.of(snapshot, self.role)))

    def _take(self, bulletin: PageState) -> None:
        if bulletin.snapshot is self._shown:
            return
        self._shown = bulletin.snapshot
        if self._drawn:
            self._tell("patch", seq=bulletin.seq, patch=bulletin.patch)
        else:  # it is drawn with these at once, and does not jump
            self.channel.param.update(state=bulletin.state, seq=bulletin.seq)
        for follow in self.followers:
            follow()

    def tell_all(self) -> None:
        """Sends the whole state: to a page that has missed something."""
        latest = self._bulletins.latest(self.role)
        if latest is not None:
            self._tell("all", seq=latest.seq, state=latest.state)

    def hello(self, seq: object) -> None:
        """A page has been drawn with the state of this number; it may be an old one, or none."""
        self._drawn = True
        latest = self._bulletins.latest(self.role)
        if latest is not None and latest.seq != seq:
            self.tell_all()

    def _tell(self, kind: str, **fields: Any) -> None:
        self._told_at_s = time.monotonic()
        self.channel.tell(kind, **fields)

    def _beat(self) -> None:
        # Figures that come anyway are sign of life enough; this is for a poller that waits on a dead Redis.
        if time.monotonic() - self._told_at_s < BEAT_MS / 2_000:
            return
        age_s = time.time() - self._shown.taken_at.timestamp() if self._shown else 0.0
        old = age_s > max(STALE_AFTER_S, 2 * self.console.poller.interval_s)
        said = f"No new figures for {age_s:.0f} s; the page may be out of date" if old else ""
        self._tell("beat", silence=said)

    def later(self, what: Callable[[], Any]) -> None:
        """Calls, or awaits, something in the document's next turn; never, where that has ended. From any thread.

        Bokeh's ``add_next_tick_callback`` from another thread breaks on a Document that ends meanwhile, and leaves it
        behind as everybody's ``curdoc``: so it is called in the thread of the event loop, where Documents end.
        """
        if self._loop is None:
            self._schedule(what)
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._schedule, what)

    def _schedule(self, what: Callable[[], Any]) -> None:
        context = self._doc.session_context if self._doc is not None else None
        if self._doc is not None and context is not None and not context.destroyed:
            self._doc.add_next_tick_callback(what)

    async def refresh(self) -> None:
        """Reads now; the figures reach this and every other open page by the poller."""
        await self.console.poller.refreshed()

    def say(self, text: str, tone: str, undo: dict[str, Any] | None = None) -> None:
        """Shows one message for three seconds. ``tone`` is ok, bad or warn; ``undo``: what its Undo button asks for."""
        self._tell("say", text=without_folders(text), tone=tone, undo=undo)

    async def preview(self, operation: Operation) -> Preview:
        """What ``operation`` would do.

        Raises:
            OpsdashError: Why that can't be said; a bug is one too here, because the page must survive it.
        """
        try:
            pool, caller = by_right(self.actor, operation.minimum_role, PREVIEWS)
            return await pool.run(lambda: self.console.preview(operation), caller=caller)
        except OpsdashError:
            raise
        except Exception as error:
            log.exception("previewing %s failed", operation.name)
            raise Refused(f"{operation.title} could not be previewed: opsdash's log says why.") from error

    def stop(self) -> None:
        """Long work ends at its next whole step."""
        self._cancelled.set()

    def _on_progress(self, progress: Progress) -> None:
        """From the thread that works: shown at most every ``SHOWN_S``."""
        now = time.monotonic()
        if now - self._shown_at_s < SHOWN_S:
            return
        self._shown_at_s = now
        self.later(partial(self._tell, "work", text=progress.message, at=progress.at, of=progress.of))

    def _undo(self, effect: Effect) -> dict[str, Any] | None:
        """What the Undo button of a result asks for; None where there is none, or this role may not."""
        undo = effect.undo
        if not isinstance(undo, Operation) or self.role < undo.minimum_role:
            return None
        return asking(undo)

    async def run(self, operation: Operation, typed: str, phrase: str, reviewed: Preview | None) -> None:
        """Runs a confirmed operation off the event loop, says how it ended, and reads again.

        Args:
            typed: For ``YES``. ``phrase``: for what the preview asks to be typed beside it.
            reviewed: The preview that was on the screen when it was confirmed.
        """
        self._cancelled = threading.Event()
        try:
            act = partial(
                self.console.run,
                operation,
                actor=self.actor,
                confirm=typed,
                phrase=phrase,
                reviewed=reviewed,
                on_progress=self._on_progress,
                cancelled=self._cancelled.is_set,
            )
            pool, caller = by_right(self.actor, operation.minimum_role, ACTS)
            effect = await pool.run(act, caller=caller)
        except OpsdashError as error:
            self.say(str(error), "warn" if isinstance(error, Uncertain | NeedsApproval) else "bad")
        except Exception:
            # As above; run has written the outcome "unknown" into the audit log.
            log.exception("%s failed", operation.name)
            self.say(f"{operation.heading()} failed: opsdash's log says why. Look before trying again.", "bad")
        else:
            told = " ".join(filter(None, [effect.message, receipt_text(effect.details)]))
            self.say(told, "ok" if effect.ok else "bad", self._undo(effect))
        finally:
            self._tell("work", text="", at=None, of=None)
        try:
            await self.refresh()
        except Exception:  # whatever it is: what was done is done, and has been said
            log.exception("the refresh after an operation failed; the operation is done")


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop that calls this, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _nothing() -> None:
    return None
