"""How a queue is worked off, in words."""

from __future__ import annotations

from opsdash.model.time_in_queue import ObjectiveStatus, QueuePace, Wait
from opsdash.text import typed_duration

UNSTAMPED = "call opsdash.worker.install(app) where tasks are sent"


def short(seconds: float) -> str:
    """A time as exact as it is known: ``0.25 s``, ``45 s``, ``12 min``, ``3 h``."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.0f} h"


def about(seconds: float) -> str:
    """An estimate, which looks like one: ``about 12 min``."""
    if seconds < 60:
        return "under a minute"
    if seconds < 5_400:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3_600:.0f} h" if seconds < 2 * 86_400 else f"about {seconds / 86_400:.0f} days"


def percent(share: float) -> str:
    """Rounded down, so that a promise never looks kept that is not: ``99.1 %``."""
    return f"{int(share * 1_000 + 1e-9) / 10:g} %"


def promise(one: ObjectiveStatus) -> str:
    """``95 % within 30s over 1h``."""
    over, within = typed_duration(one.over_s), typed_duration(int(one.within_s))
    return f"{round(one.wanted * 100, 4):g} % within {within} over {over}"


def objective(one: ObjectiveStatus) -> str:
    """``95 % within 30s over 1h: 99.1 %``."""
    return f"{promise(one)}: {'not known' if one.share is None else percent(one.share)}"


def wait(one: Wait | None) -> str:
    """``p95 2.3 s``; ``not known`` where tasks were started and none says when it was sent; empty: none was."""
    if one is None:
        return ""
    if one.p95_s is not None:
        return f"p95 {short(one.p95_s)}"
    return "not known" if one.unknown else ""


def trend(pace: QueuePace, waiting: int) -> str:
    """``falling behind``, or ``drained in about 12 min``; empty where there is nothing to say."""
    if pace.falling_behind:
        return "falling behind"
    if waiting and pace.drained_in_s:
        return f"drained in {about(pace.drained_in_s)}"
    return ""


def remarks(pace: QueuePace, waiting: int) -> list[str]:
    """What there is to say of a queue beside its wait, what matters most first: a row shows the first of it."""
    found = [objective(pace.objective)] if pace.objective is not None else []
    found += filter(None, [trend(pace, waiting)])
    recent = pace.recent
    if recent is not None:
        if recent.unknown:
            found.append(f"{recent.unknown:,} without a time: {UNSTAMPED}")
        if recent.clock:
            found.append(f"{recent.clock:,} began before they were sent: clocks differ")
        if recent.p95_s is not None:
            found.append(f"p50 {short(recent.p50_s or 0)}, p99 {short(recent.p99_s or 0)}")
    return found
