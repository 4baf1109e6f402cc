"""One browser session: what it knows, what it has pending, and how an operation gets from a click to the service."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import panel as pn
from panel.io import hold

from opsdash.errors import OpsdashError, Uncertain
from opsdash.model import Actor, Preview, Progress, Snapshot
from opsdash.operation import Operation
from opsdash.state import PendingConfirmation, SystemStatus
from opsdash.views.components import Signals

if TYPE_CHECKING:
    from bokeh.document import Document

    from opsdash.services.console import Console

log = logging.getLogger(__name__)

BEAT_MS = 3_000
LATER_MS = 200
FRESH_S = 10.0
SHOWN_S = 0.2
"""Long work tells its progress more often than anybody can read it."""


class Session:
    """Owned by one Document and gone with it: nothing process-wide keeps a reference once the session is destroyed.

    Args:
        console: The process's console; its poller reads for all sessions together.
        actor: Who looks, with the role found when the page was opened. ``Console.run`` checks it again.
    """

    def __init__(self, console: Console, actor: Actor) -> None:
        self.console = console
        self.actor = actor
        self.status = SystemStatus()
        self.pending = PendingConfirmation()
        self.signals = Signals()
        self._doc: Document | None = None
        self._unsubscribe: Callable[[], None] = _nothing
        self._beaten_at_s = self._shown_at_s = 0.0

    def may(self, operation: type[Operation]) -> bool:
        """Whether whoever looks has the role. A courtesy to the eye; ``Console.run`` is the guard."""
        return self.actor.role is not None and self.actor.role >= operation.minimum_role

    def attach(self) -> None:
        """Joins the poller, until the browser session is destroyed."""
        self._doc = pn.state.curdoc
        latest = self.console.poller.latest
        if latest is not None and _age_s(latest) < FRESH_S:
            self.status.update(latest)
        if self._doc is not None and self._doc.session_context is not None:
            # Bound methods of the package: by then a served script's own globals are gone.
            pn.state.on_session_destroyed(self._detach)
            self._doc.add_periodic_callback(self._beat, BEAT_MS)
        self._unsubscribe = self.console.poller.subscribe(self._deliver)

    def _detach(self, _context: object) -> None:
        self._unsubscribe()
        self._unsubscribe = _nothing

    def _deliver(self, snapshot: Snapshot) -> None:
        """Runs in the poller's thread: a Document may be touched in its own turn only."""
        if self._doc is None:
            self._take(snapshot)
        elif self._doc.session_context is not None:
            self._doc.add_next_tick_callback(partial(self._take, snapshot))

    def _take(self, snapshot: Snapshot) -> None:
        shown_at = self.status.updated_at
        if shown_at is not None and timedelta(0) < shown_at - snapshot.taken_at < timedelta(seconds=FRESH_S):
            return  # a refresh overtook it; by more than that, the clock was set back
        with hold(self._doc):
            self.status.update(snapshot)
            self._bump()

    def _beat(self) -> None:
        # Figures that come anyway are sign of life enough; this is for a poller that waits on a dead Redis.
        self.status.tick()
        if time.monotonic() - self._beaten_at_s > BEAT_MS / 2_000:
            self._bump()

    def _bump(self) -> None:
        self._beaten_at_s = time.monotonic()
        self.signals.beat += 1

    def later(self, focus: Callable[[], None]) -> None:
        """Moves the focus once the browser has drawn what was just changed: sent at once it would find nothing."""
        if self._doc is not None and self._doc.session_context is not None:
            self._doc.add_timeout_callback(focus, LATER_MS)

    async def refresh(self) -> None:
        """Reads now; the figures reach every other open page by the poller."""
        self._take(await asyncio.to_thread(self.console.poller.refresh))

    async def preview(self, operation: Operation) -> Preview | None:
        """What ``operation`` would do; None after telling the operator why that can't be said."""
        try:
            return await asyncio.to_thread(self.console.preview, operation)
        except OpsdashError as error:
            self.signals.say(str(error), "bad")
        except Exception:
            # The page must survive a bug in an operation, and the operator must hear of it.
            log.exception("previewing %s failed", operation.name)
            self.signals.say(
                f"{operation.title} could not be previewed: opsdash's log says why. Nothing was changed.", "bad"
            )
        return None

    def _on_progress(self, progress: Progress) -> None:
        """From the thread that works: shown at most every ``SHOWN_S``."""
        now = time.monotonic()
        if now - self._shown_at_s < SHOWN_S or self._doc is None or self._doc.session_context is None:
            return
        self._shown_at_s = now
        self._doc.add_next_tick_callback(partial(self.signals.progress, progress.message, progress.at, progress.of))

    async def run(self, operation: Operation, typed: str, reviewed: Preview | None) -> bool:
        """Runs a confirmed operation off the event loop, says how it ended, and reads again.

        Args:
            reviewed: The preview that was on the screen when it was confirmed.

        Returns:
            Whether it did all it was asked for.
        """
        done, cancelled = False, threading.Event()
        self.signals.on_cancel = cancelled.set
        try:
            effect = await asyncio.to_thread(
                self.console.run,
                operation,
                actor=self.actor,
                confirm=typed,
                reviewed=reviewed,
                on_progress=self._on_progress,
                cancelled=cancelled.is_set,
            )
        except OpsdashError as error:
            self.signals.say(str(error), "warn" if isinstance(error, Uncertain) else "bad")
        except Exception:
            # As above; run has written the outcome "unknown" into the audit log.
            log.exception("%s failed", operation.name)
            self.signals.say(f"{operation.title} broke off: opsdash's log says why. Look before trying again.", "bad")
        else:
            done = effect.ok
            undo = str(effect.details.get("trash_id") or "") if operation.name.startswith("clear") else ""
            self.signals.say(effect.message, "ok" if effect.ok else "bad", undo)
        finally:
            self.signals.progress("")
        await self.refresh()
        return done


def _age_s(snapshot: Snapshot) -> float:
    return time.time() - snapshot.taken_at.timestamp()


def _nothing() -> None:
    return None
