"""The page state: built, compared and written as JSON once per snapshot, however many pages are open."""

from __future__ import annotations

import functools
import json
import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from opsdash.errors import OpsdashError
from opsdash.model import HistoryPoint, Role, Snapshot
from opsdash.operation import Operation
from opsdash.operations import (
    ApproveOperation,
    ClearQueue,
    PauseProcessing,
    PruneAuditLog,
    RestoreQueue,
    ResumeProcessing,
    RevokeTask,
    SyncTenantConfigs,
)
from opsdash.state import SystemStatus
from opsdash.views import rows, strip, worker_rows

if TYPE_CHECKING:
    from opsdash.services.console import Console

log = logging.getLogger(__name__)

CLOCK_S = 10.0
HISTORY_EVERY_S = 10.0
"""The history gets a point so often: reading it more often tells nothing new."""


@dataclass(frozen=True, slots=True)
class PageState:
    """One state of the page for one role.

    Attributes:
        seq: Its number. ``state``: all of it as JSON; ``patch``: as a JSON merge patch from the number before.
        snapshot: What it was made from.
    """

    seq: int
    state: str
    patch: str
    snapshot: Snapshot


class Bulletins:
    """Makes them, one chain per role, for one console."""

    def __init__(self, console: Console) -> None:
        self._history, self._broker = console.history, console.broker
        self._lock = threading.Lock()
        self._status = SystemStatus()
        self._recent: tuple[HistoryPoint, ...] = ()
        self._recent_read_s = -HISTORY_EVERY_S
        self._chains: dict[Role, tuple[PageState, dict[str, Any]]] = {}

    def latest(self, role: Role) -> PageState | None:
        """The last one for this role, if there was any; reads nothing."""
        made = self._chains.get(role)
        return made[0] if made else None

    @functools.cache  # noqa: B019 - one per role, and as long-lived as the console
    def blank(self, role: Role) -> str:
        """The state of a page that nothing is known for yet, as JSON; its number is 0."""
        return _json(plain_state(SystemStatus(), (), role))

    def of(self, snapshot: Snapshot, role: Role) -> PageState:
        """The page state of a snapshot. Never on an event loop: every ten seconds it reads the history from Redis."""
        with self._lock:
            last = self._chains.get(role)
            if last is not None and _no_news(last[0].snapshot, snapshot):
                return last[0]
            if self._status.updated_at != snapshot.taken_at:
                self._status.update(snapshot)
            self._read_history(snapshot)
            before = last[1] if last else {}
            state = plain_state(self._status, self._recent, role, before, self._broker.identity)
            made = PageState(
                seq=last[0].seq + 1 if last else 1,
                state=_json(state),
                patch=_json(difference(before, state)),
                snapshot=snapshot,
            )
            self._chains[role] = (made, state)
            return made

    def _read_history(self, snapshot: Snapshot) -> None:
        now_s = time.monotonic()
        if snapshot.redis_error or now_s - self._recent_read_s < HISTORY_EVERY_S:
            return
        try:
            self._recent = self._history.read(strip.RECENT_S)
        except OpsdashError as error:
            log.warning("the history can't be read: %s", error)  # the lines stay as they were, and end where they end
        self._recent_read_s = now_s


_bulletins: WeakKeyDictionary[Console, Bulletins] = WeakKeyDictionary()
_making = threading.Lock()


def bulletins(console: Console) -> Bulletins:
    """The one maker of a console."""
    with _making:
        if console not in _bulletins:
            _bulletins[console] = Bulletins(console)
        return _bulletins[console]


def plain_state(
    status: SystemStatus,
    recent: tuple[HistoryPoint, ...],
    role: Role,
    before: Mapping[str, Any] | None = None,
    here: str = "",
) -> dict[str, Any]:
    """Everything that a page shows to a user of this role, as plain values without None.

    Args:
        before: What it showed last. ``here``: what the audit log calls this console's broker.
    """

    def may(operation: type[Operation]) -> bool:
        return role >= operation.minimum_role

    read_at = status.redis_read_at
    nobody = status.known and not status.others and not any(w.reports for w in status.workers)
    no_log = status.database_age_s is not None and not status.operations
    told = {
        "word": status.processing_status,
        "tone": rows.status_tone(status),
        "story": rows.pause_story(status),
        "why": status.pause_reason,
        "drain": status.drain,
        "stopped": status.drain_stopped,
        "of": status.drain_workers,
        "notices": list(status.stale),
        "stale": status.redis_stale,
        "nobody": rows.NO_WORKERS if nobody else "",
        "no_log": rows.NO_OPERATIONS if no_log else "",
    }
    if read_at is not None:
        told["read_at"] = int(read_at.timestamp())
    return {
        "now": (status.updated_at or datetime.now(UTC)).timestamp(),
        "status": told,
        "figures": strip.figures(status, recent),
        "sparks": strip.sparks(recent),
        "controls": {
            "pause": status.can_pause and may(PauseProcessing),
            "resume": status.can_resume and may(ResumeProcessing),
            "clear": may(ClearQueue),
            "sync": may(SyncTenantConfigs),
            "revoke": may(RevokeTask),
            "prune": may(PruneAuditLog),
            "note": why_not(role),
        },
        "queues": rows.queue_rows(status.queues, status, recent, may, (before or {}).get("queues", {})),
        "workers": worker_rows.worker_rows(
            status.workers,
            status.others or (),
            may=may,
            paused=status.paused,
            now=read_at,
            before=(before or {}).get("workers", {}),
        ),
        "tenants": rows.tenants_card(status),
        "trash": rows.trash_rows(status.trash, may=may(RestoreQueue)),
        "approvals": rows.approval_rows(status.approvals, may=may(ApproveOperation)),
        "log": rows.operation_rows(status.operations, rows.undos(status.operations, status.snapshot, may), here),
    }


def why_not(role: Role) -> str:
    """Why this role finds the buttons off; empty when it doesn't."""
    operations = (PauseProcessing, ResumeProcessing, ClearQueue, SyncTenantConfigs)
    needed = max(operation.minimum_role for operation in operations)
    if role >= needed:
        return ""
    return f"Your role is {role.name.lower()}: you see everything; operations need the role {needed.name.lower()}."


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7386) that turns one into the other; neither may hold None."""
    patch: dict[str, Any] = {}
    for key, value in after.items():
        old = before.get(key)
        if old == value and key in before:
            continue
        patch[key] = difference(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return patch | dict.fromkeys(before.keys() - after.keys())


def _no_news(shown: Snapshot, snapshot: Snapshot) -> bool:
    """It is the same, or a newer one overtook it; by more than ten seconds, the clock was set back."""
    ahead_s = (shown.taken_at - snapshot.taken_at).total_seconds()
    return shown is snapshot or 0 < ahead_s < CLOCK_S


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
