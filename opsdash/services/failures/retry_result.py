"""What a retry has done, in numbers: at its end, and for an act whose process has died."""

from __future__ import annotations

from typing import Any

from opsdash.model import AuditEntry, Effect
from opsdash.services.broker.client import Broker
from opsdash.services.failures.retry import Retry, Sent
from opsdash.services.failures.selection import RetryPlan
from opsdash.text import count


def effect(chosen: RetryPlan, sent: Sent) -> Effect:
    """The result in numbers."""
    message = f"Sent {count(sent.total, 'failed task')} to {'its queue' if sent.total == 1 else 'their queues'}."
    notes = {
        f"{sent.changed:,} had changed meanwhile: retried or discarded by another act, or failed again": sent.changed,
        f"{sent.unable:,} can't be changed and stay as they are": sent.unable,
        f"{sent.as_it_was:,} of them could not be read and were sent as they were": sent.as_it_was,
        f"{sent.no_list:,} stay: the key of their queue is not a list": sent.no_list,
        f"{sent.left:,} are still kept as failed": sent.left if sent.cancelled else 0,
    }
    message = " ".join([message, *(f"{text}." for text, number in notes.items() if number)])
    return Effect(
        affected=sent.total,
        message=f"Cancelled. {message}" if sent.cancelled else message,
        details={
            "by_queue": dict(sent.by_queue),
            "changed": sent.changed,
            "left": sent.left,
            "left_out": {why: len(failures) for why, failures in chosen.left_out.items()},
            "ids": [one.id for one in chosen.going[:20]],
        },
        ok=not (sent.cancelled or sent.unable or sent.no_list),
    )


def evidence(broker: Broker, entry: AuditEntry) -> dict[str, Any]:
    """For an act without an outcome: what it has sent, as Redis counted it in the steps that sent it."""
    by_queue = Retry(broker).sent_by(str(entry.id))
    number = sum(by_queue.values())
    if not number:
        return {"message": "It sent no task: all are still kept as failed."}
    message = f"It sent {count(number, 'failed task')}, each once; the others are still kept as failed. Run it again."
    return {"message": message, "count": number, "by_queue": by_queue}
