"""One browser session, or one widget: what it knows and has pending, and how a click gets to the service."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import panel as pn

from opsdash.errors import NeedsApproval, OpsdashError, Refused, Uncertain
from opsdash.model import Actor, Effect, Preview, Progress, Role, Snapshot
from opsdash.operation import Operation
from opsdash.services.queues.receipt import receipt_text
from opsdash.services.threads import ACTS, FIGURES, PREVIEWS, by_right, caller_of
from opsdash.state import PendingConfirmation
from opsdash.state.location import Location
from opsdash.text import without_folders
from opsdash.views import turns
from opsdash.views.components import Messages
from opsdash.views.components.panel_private import forget_defaults
from opsdash.views.readings import PageStatus, Reading, readings
from opsdash.views.request_queue import Turns

if TYPE_CHECKING:
    from bokeh.document import Document

    from opsdash.services.console import Console

log = logging.getLogger(__name__)

BEAT_MS = 3_000
FRESH_S = 10.0
SHOWN_S = 0.2
"""Long work tells its progress more often than anybody can read it."""


class Session:
    """What the views of one page, or of one widget, share. Nothing process-wide keeps it alive: it ends with them.

    Args:
        console: The process's console; its poller reads for all sessions together.
        actor: Who looks, with the role found when the page was opened. ``Console.run`` checks it again.
        status: Its state, where that exists already.
    """

    def __init__(self, console: Console, actor: Actor, status: PageStatus | None = None) -> None:
        self.console = console
        self.actor = actor
        self.role = actor.role or Role.VIEWER
        self.caller = caller_of(actor)
        self.status = status or PageStatus()
        self.location = Location()
        self.pending = PendingConfirmation()
        self.messages = Messages()
        self.dialog: Any = None  # the one of the page or widget; it needs the session first
        self.closed = False
        self.turn = Turns().turn
        self._readings = readings(console)
        self._doc: Document | None = None
        self._loop = turns.running_loop()
        self._unsubscribe: Callable[[], None] = _nothing
        self._newest: Reading | None = None
        self._taken: Snapshot | None = None
        self._taken_at_s = 0.0
        self._taking = threading.RLock()
        self._joining = False
        self._shown_at_s = 0.0
        self._cancelled = threading.Event()
        self._steps: deque[Callable[[], Any]] = deque()
        self.messages.param.watch(self._stop, "stopped")

    @property
    def served(self) -> bool:
        """It belongs to one browser session of a server."""
        return self._doc is not None

    @property
    def has_turns(self) -> bool:
        """There is an event loop, a server's or a kernel's, in which timers run."""
        return self._doc is not None or self._loop is not None

    def may(self, operation: type[Operation]) -> bool:
        """Whether who looks may run it. A courtesy: the service is the guard."""
        return bool(self.role >= operation.minimum_role)

    def attach(self) -> None:
        """Joins the poller until its browser session or its widget ends.

        In a server nothing is read here: it begins with the last reading, if that is fresh. Elsewhere it reads now.

        Raises:
            OpsdashError: Never; what can't be read is in the status.
        """
        doc = pn.state.curdoc
        if doc is not None and doc.session_context is not None:
            self._doc = doc
            latest = self._readings.latest(self.role)
            if latest is not None and time.time() - latest.snapshot.taken_at.timestamp() < FRESH_S:
                self._take_over(latest)
            # Bound methods of the package: by then a served script's own globals are gone.
            pn.state.on_session_destroyed(self._ended)
            # Bokeh's own: Panel's counts each call as busy, and twenty pages pay for it as for half of a reading.
            doc.add_periodic_callback(self.beat, BEAT_MS)
        else:
            self._take_over(self._readings.of(self._fresh(), self.role))
            if self._loop is not None:
                turns.beat_weakly(self, self._loop, BEAT_MS / 1000)
        self.messages.beat = time.time()
        self._joining = True
        self._unsubscribe = turns.subscribe_weakly(self.console.poller, self)
        self._joining = False

    def close(self) -> None:
        """Ends the subscription: nothing is read for it, and it shows nothing new. A second call does nothing."""
        self.closed = True
        self._unsubscribe()
        self._unsubscribe = _nothing

    def _ended(self, _context: object) -> None:
        self.close()

    def _fresh(self) -> Snapshot:
        latest = self.console.poller.latest
        if latest is None or time.time() - latest.taken_at.timestamp() > FRESH_S:
            return self.console.poller.refresh()
        return latest

    def deliver(self, snapshot: Snapshot) -> None:
        """From the poller's thread: what is shown is made there, and a Document is touched in its own turn only."""
        if self.closed or snapshot is self._taken:
            return
        if self._joining and self._doc is not None:  # on the event loop: nothing may be read there
            self.later(partial(self._catch_up, snapshot))
            return
        self._queue(self._readings.of(snapshot, self.role))

    async def _catch_up(self, snapshot: Snapshot) -> None:
        self._queue(await FIGURES.run(lambda: self._readings.of(snapshot, self.role)))

    def _queue(self, reading: Reading) -> None:
        """On a busy machine turns must not pile up: one waits, and takes the newest."""
        with self._taking:
            waits, self._newest = self._newest, reading
        if waits is None:
            self.later(self._take)

    def _take(self) -> None:
        with self._taking:
            reading, self._newest = self._newest, None
            if reading is None or self.closed:
                return
            with pn.io.hold():  # one message to the browser, not one for each parameter
                self._take_over(reading)

    def _take_over(self, reading: Reading) -> None:
        if reading.snapshot is self._taken:
            return
        self._taken, self._taken_at_s = reading.snapshot, time.monotonic()
        try:
            self.status.take(reading)
        except Exception:
            # Of a user's own watcher: ours come first (Param runs depends before watch), and the next reading comes.
            log.exception("a watcher of a widget's status failed; the widget goes on")
        self.messages.beat = time.time()

    def beat(self) -> None:
        """Notices that readings have stopped, and says that the server or the kernel is there."""
        if self.closed or (self._doc is not None and turns.is_loading(self._doc)):
            return
        if self._doc is not None:
            forget_defaults(self._doc)
        if time.monotonic() - self._taken_at_s < BEAT_MS / 2000:
            return  # a reading was the sign of life
        with pn.io.hold():
            self.status.tick(old_s=2 * self.console.poller.interval_s)
            self.messages.beat = time.time()

    def later(self, what: Callable[[], Any]) -> None:
        """Calls, or awaits, something in the turn of the document or the kernel; without either, here and now."""
        if not turns.later(what, self._doc, self._loop):
            self.close()

    def one_by_one(self, steps: Iterable[Callable[[], Any]]) -> None:
        """Does each step in its own turn, in order: in between, a server goes on for its other visitors.

        Outside of a server all of them are done before it returns.
        """
        if self._doc is None:
            for step in steps:
                step()
            return
        idle = not self._steps
        self._steps.extend(steps)
        if idle and self._steps:
            self.later(self._step)

    def _step(self) -> None:
        if self.closed:
            self._steps.clear()
            return
        try:
            with pn.io.hold():
                self._steps[0]()
        finally:
            self._steps.popleft()
            if self._steps:
                self.later(self._step)

    async def refresh(self) -> None:
        """Reads now; the figures reach this and every other open page by the poller."""
        async with self.turn("refresh") as mine:
            if mine:
                await self.console.poller.refreshed()

    def say(self, text: str, tone: str, undo: Operation | None = None) -> None:
        """Shows one message for some seconds. ``tone`` is ok, bad or warn; ``undo``: what its Undo button asks for."""
        asks = partial(self.dialog.ask_for, undo) if undo is not None else None
        self.messages.say(without_folders(text), tone, undo=asks)

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

    def _stop(self, _event: object) -> None:
        """Long work ends at its next whole step."""
        self._cancelled.set()

    def _on_progress(self, progress: Progress) -> None:
        """From the thread that works: shown at most every ``SHOWN_S``."""
        now = time.monotonic()
        if now - self._shown_at_s < SHOWN_S:
            return
        self._shown_at_s = now
        work = {"text": progress.message, "at": progress.at, "of": progress.of}
        self.later(partial(self.messages.param.update, work=work))

    async def run(self, operation: Operation, typed: str, phrase: str, reviewed: Preview | None) -> Effect | None:
        """Runs a confirmed operation off the event loop, says how it ended, and reads again.

        Args:
            typed: For ``YES``. ``phrase``: for what the preview asks to be typed beside it.
            reviewed: The preview that was on the screen when it was confirmed.

        Returns:
            The effect; None where there was none, which has been said.
        """
        self._cancelled = threading.Event()
        effect = None
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
            undo = effect.undo if isinstance(effect.undo, Operation) and self.may(type(effect.undo)) else None
            self.say(told, "ok" if effect.ok else "bad", undo)
        finally:
            self.messages.work = {}
        try:
            await self.refresh()
        except Exception:  # whatever it is: what was done is done, and has been said
            log.exception("the refresh after an operation failed; the operation is done")
        return effect


def _nothing() -> None:
    return None
