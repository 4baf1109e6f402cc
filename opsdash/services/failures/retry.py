"""Sends failed tasks again: in steps, at a pace, each exactly once whatever is killed in between.

An entry leaves the store in the script that puts its message into its queue, and only if it is still the entry that was
read. So it is either kept as failed or waits in its queue, never both, never neither.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import redis

from opsdash import lua
from opsdash.errors import Unavailable, Uncertain
from opsdash.model.failure import Failure
from opsdash.services.broker import bounded_reads, writes
from opsdash.services.broker.client import Broker
from opsdash.services.failures.message_edit import Change, NotEditableError, edited
from opsdash.services.failures.selection import RetryPlan
from opsdash.services.failures.store import FailureStore
from opsdash.services.queues.lock import Pace
from opsdash.values import frozen

_SEND = lua.load(__name__, "retry_send")
REMEMBERED_S = 7 * 86_400
"""So long it is known what an act has sent, should its process have died."""
STEP_BYTES = 512 * 1024
"""Of messages in one step: 1 to 2 ms of Redis's time."""
MOST_STEP = 100
"""Messages of one step: 2 ms, since each is taken off four keys."""
SLICE_S = 0.1
"""A pace is kept in slices of this time, and a cancel is heard as soon."""


@dataclass(slots=True, kw_only=True)
class Sent:
    """What a retry has done so far.

    Attributes:
        by_queue: Queue → tasks sent to it.
        changed: Were retried or discarded by another act meanwhile, or failed again.
        unable: Are still kept: they have no id that could be a new one.
        as_it_was: Sent as they are: what was to be reset can't be read in them.
        no_list: Are still kept: the key of their queue is no list.
        left: Were not come to.
    """

    by_queue: Counter[str] = field(default_factory=Counter)
    changed: int = 0
    unable: int = 0
    as_it_was: int = 0
    no_list: int = 0
    left: int = 0
    cancelled: bool = False

    @property
    def total(self) -> int:
        """Tasks that are in their queues now, or were."""
        return self.by_queue.total()


@frozen
class Retry:
    """Moves failed tasks back into their queues."""

    broker: Broker

    def send(
        self,
        plan: RetryPlan,
        change: Change,
        *,
        audit_id: str,
        new_ids: bool = False,
        per_s: float | None = None,
        on_progress: Callable[[int, int], None] = lambda _at, _of: None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Sent:
        """Sends what is planned, the oldest failure first. Cost: about 0.1 ms each, in steps of about 4 ms.

        Args:
            change: What each message gets; with ``new_ids`` each a new id as well.
            audit_id: Under which Redis counts what was sent.
            per_s: So many a second at most.
            cancelled: Called between two steps; true stops there.

        Raises:
            Uncertain: The connection was lost, and something was sent or may have been.
            Unavailable: It was lost before. ``redis.RedisError``: as well.
        """
        sent, pace, at, next_s = Sent(), Pace(), 0, time.monotonic()
        of = len(plan.going)
        try:
            while at < of:
                if cancelled():
                    sent.cancelled = True
                    break
                number = min(pace.messages, MOST_STEP)
                if per_s is not None:
                    if (wait_s := next_s - time.monotonic()) > 0:
                        time.sleep(min(wait_s, SLICE_S))
                        continue
                    number = min(number, max(1, int(per_s * SLICE_S)))
                part = plan.going[at : at + number]
                done = self._step(part, plan, change, audit_id, sent, pace, new_ids=new_ids)
                at += done
                if per_s is not None:  # no burst after a delay
                    next_s = max(next_s, time.monotonic() - SLICE_S) + done / per_s
                on_progress(at, of)
        except (redis.ConnectionError, redis.TimeoutError, Unavailable) as error:  # the latter of a read in between
            if not sent.total and (isinstance(error, Unavailable) or not writes.possible()):
                raise
            raise Uncertain(
                f"Lost the connection to Redis after {sent.total:,} of {of:,} tasks had been sent. Each other one is"
                " either in its queue or still kept as failed, not both.",
                hint="Run it again for those that are still kept.",
                retry=True,
            ) from error
        sent.left = of - at
        return sent

    def _step(
        self,
        part: Sequence[Failure],
        plan: RetryPlan,
        change: Change,
        audit_id: str,
        sent: Sent,
        pace: Pace,
        *,
        new_ids: bool,
    ) -> int:
        """One script. Returns how many were dealt with: fewer than given where their messages are large."""
        kept = {one.id: one for one in FailureStore(self.broker).messages([failure.id for failure in part])}
        lists = list(dict.fromkeys(plan.lists[failure.id] for failure in part))
        words: list[str | bytes | int] = []
        going: list[Failure] = []
        size = done = 0
        for failure in part:
            one = kept.get(failure.id)
            if one is not None and one.message and going and size + len(one.message) > STEP_BYTES:
                break
            done += 1
            if one is None or one.version != failure.version:
                sent.changed += 1
                continue
            message = self._message(one.message, change, failure, plan, sent, new_ids=new_ids)
            if message is None:
                continue
            size += len(message)
            going.append(failure)
            words += [failure.id, one.version, lists.index(plan.lists[failure.id]) + 1, failure.queue, message]
        if going:
            keys = [self.broker.keys.failed, self.broker.keys.failed_act(audit_id), *lists]
            answers: Any = pace.timed(
                lambda _number: self.broker.client.eval(_SEND, len(keys), *keys, REMEMBERED_S, *words)
            )
            for failure, answer in zip(going, answers, strict=True):
                if answer == 1:
                    sent.by_queue[failure.queue] += 1
                elif answer == 0:
                    sent.changed += 1
                else:
                    sent.no_list += 1
        return done

    def _message(
        self, message: bytes, change: Change, failure: Failure, plan: RetryPlan, sent: Sent, *, new_ids: bool
    ) -> bytes | None:
        """What is sent; None where it can't be."""
        if not message:
            sent.unable += 1
            return None
        twice = (failure.task_id or failure.id) in plan.looked.found
        own = replace(
            change, new_id=str(uuid4()) if new_ids else "", new_tag=change.new_tag or twice, sent_s=time.time()
        )
        try:
            return edited(message, own)
        except NotEditableError:
            if new_ids or change.args is not None or change.kwargs is not None:
                sent.unable += 1
                return None
            sent.as_it_was += 1
            return message

    def sent_by(self, audit_id: str) -> dict[str, int]:
        """Queue → tasks that the act of this audit entry has sent there, as Redis has counted them."""
        with self.broker.reading():
            found = bounded_reads.some_fields(self.broker.client, self.broker.keys.failed_act(audit_id), 1_000, 20)
        return {queue: int(number) for queue, number in found.items() if number.isascii() and number.isdigit()}
