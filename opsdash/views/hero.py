"""The words of the status strip: what the deployment is doing, why, until when, and what needs a look."""

from __future__ import annotations

from typing import Any

from opsdash.model import Role
from opsdash.operation import heading_of
from opsdash.operations import ClearQueue, PauseProcessing, ResumeProcessing, SyncTenantConfigs
from opsdash.state.status import DEGRADED, PARTLY_PAUSED, PAUSED, RUNNING, UNKNOWN, SystemStatus
from opsdash.text import count
from opsdash.views import rows

MOST_CHIPS = 8
HEARD = {
    RUNNING: "Workers take tasks again.",
    PARTLY_PAUSED: "Some queues are held now.",
    PAUSED: "Workers are held now.",
    DEGRADED: "Something needs a look.",
    UNKNOWN: "The state is not known.",
}
LABELS = {
    "waiting": "Pending Tasks",
    "rate": "Throughput",
    "failed": "Failed, 15 min",
    "online": "Workers online",
    "busy": "Busy slots",
    "redis_ms": "Redis round trip",
}


def words(status: SystemStatus) -> dict[str, Any]:
    """Parameters of ``StatusStrip`` that follow from the status."""
    return {
        "word": status.condition,
        "heard": HEARD[status.condition],
        "tone": rows.status_tone(status),
        "story": rows.pause_story(status),
        "reason": status.pause_reason,
        "chips": chips(status),
        "until": status.pause_until.timestamp() if status.pause_until is not None else 0,
        "verdict": verdict(status),
        "notices": list(status.stale),
        "stale": status.redis_stale,
        "of": status.drain_workers,
        "stopped": status.drain_stopped,
    }


def verdict(status: SystemStatus) -> list[str]:
    """Tone and sentence of how far a pause has come; without one, what was done last. Empty: nothing is known."""
    if not status.drain:
        return last_operation(status)
    if status.redis_stale:  # why, the notice says
        return ["none", "How far the pause has come is not known now."]
    return ["ok" if status.safe else "warn", status.drain]


def last_operation(status: SystemStatus) -> list[str]:
    """Tone and sentence of the newest entry of the log: who looks at a quiet system asks that first.

    Where the log is not fresh nobody knows which entry is the last, or whether what was in progress has ended.
    """
    if status.database_error or status.stalled_s:
        return []
    for entry in status.operations[:1]:
        tone = rows.STATUS_TONES.get(entry.status, "warn")
        ended = "" if tone == "ok" else f", {entry.status.value.replace('_', ' ')}"
        at = rows.moment(entry.timestamp, status.updated_at)
        return ["none" if tone == "ok" else tone, f"Last: {heading_of(entry)} by {entry.user}, {at} UTC{ended}"]
    return []


def chips(status: SystemStatus) -> list[list[str]]:
    """Causes of the state in a few words each: ``[tone, text, help]``."""
    found = []
    for name, pause in sorted(status.paused_queues.items()):
        until = f" until {rows.moment(pause.expires_at, status.updated_at)}" if pause.expires_at else ""
        by = f"by {pause.by}" if pause.by else "outside opsdash"
        found.append(["warn", f"{name} paused{until}", f"{by}{f': {pause.reason}' if pause.reason else ''}"])
    tones = {"silent": "bad", "offline": "none"}
    for condition, number in status.needy_workers.items():
        names = ", ".join(sorted(w.hostname for w in status.workers if w.condition == condition)[:MOST_CHIPS])
        found.append([tones.get(condition, "warn"), f"{count(number, 'worker')} {condition}", names])
    if status.no_worker_takes_tasks:
        found.append(["bad", "no worker takes tasks", "New tasks wait."])
    if status.unread:
        found.append(["warn", f"{count(len(status.unread), 'key')} unreadable", status.unread[0].message])
    left = len(found) - MOST_CHIPS
    return [*found[:MOST_CHIPS], ["none", f"and {left} more", ""]] if left > 0 else found


def why_not(role: Role) -> str:
    """Why this role finds the buttons off; empty when it doesn't."""
    operations = (PauseProcessing, ResumeProcessing, ClearQueue, SyncTenantConfigs)
    needed = max(operation.minimum_role for operation in operations)
    if role >= needed:
        return ""
    return f"Your role is {role.name.lower()}: you see everything; operations need the role {needed.name.lower()}."
