"""Reclaim: workers put back their unstarted tasks of one queue, so that a clear can remove them.

The queue is paused for it. Workers then put back their prefetched tasks, and ETA tasks on a command; they
start nothing meanwhile, and running tasks continue.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import redis

from opsdash.errors import OpsdashError, Refused, Uncertain, explained
from opsdash.model import PauseInfo, Progress, WorkerStats
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker
from opsdash.services.broker.messages import delivery_tag, envelope
from opsdash.services.pause.flags import PauseFlags
from opsdash.services.workers.reports import Workers
from opsdash.services.workers.unmanaged import UnmanagedWorkers
from opsdash.text import count

WAIT_S = 60.0
"""How long workers have to give back what they hold."""
PAUSE_S = 180
"""The pause that is set for it ends by itself after so long, should this process die."""
LOOK_S = 0.2
REASON = "a clear of all tasks that do not run"
MOST_HELD = 100_000
"""Messages in workers' hands that a preview can tell from later ones."""
NEWEST = 500
"""Of what waits a preview remembers some too, the newest of each priority: workers may take them meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """The workers of one queue, by whether what they hold can be had back.

    Attributes:
        reached: They report, and can be paused.
        not_reached: Hostnames of those that can't: no plug-in, or why else. None among ``others_known``: not asked.
    """

    reached: tuple[WorkerStats, ...]
    not_reached: tuple[str, ...]
    others_known: bool = True

    def sentence(self) -> str:
        """Whom this leaves out; empty when it is nobody."""
        text = f" Not reached, so their tasks stay: {', '.join(self.not_reached)}." if self.not_reached else ""
        return text if self.others_known else f"{text} It is not known whether unmanaged workers run."


class Hold:
    """A queue that is paused, by this or already, until its messages were dealt with.

    Attributes:
        paused: The pause that this operation has set; None: the queue was paused already.
        recalled: ETA tasks that workers had to put back.
        reach: Whose messages came back.
        message: How it ended, in a sentence: known after the end.
    """

    def __init__(self, paused: PauseInfo | None) -> None:
        self.paused = paused
        self.recalled = 0
        self.reach = Reach(reached=(), not_reached=())
        self.message = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reclaim:
    """Has workers give back what they hold and do not run."""

    broker: Broker
    pause: PauseFlags
    workers: Workers
    unmanaged: UnmanagedWorkers

    def reach(self, queue: str, met: Container[str] = ()) -> Reach:
        """Which workers have messages of this queue. Cost: two round trips; a second if unmanaged workers run.

        Args:
            met: Workers that were there a moment ago: those that went silent are not reached.
        """
        workers = self.workers.read()
        online = [w for w in workers if w.reports and queue in w.queues]
        others = self.unmanaged.known()
        cannot = [w.hostname for w in online if w.pausing != "ready"]
        cannot += [w.hostname for w in workers if not w.reports and w.hostname in met]
        return Reach(
            reached=tuple(w for w in online if w.pausing == "ready"),
            not_reached=tuple(sorted([*cannot, *(w.hostname for w in others or () if queue in w.queues)])),
            others_known=others is not None,
        )

    def delivery_tags(self, queue: str) -> list[str]:
        """Names of all messages that workers hold, and of the newest that wait: what a preview has seen.

        Cost: one script that reads at most ``MOST_HELD`` names, and one LRANGE of ``NEWEST`` per priority step.

        Raises:
            Refused: Workers hold more than can be remembered.
        """
        with self.broker.reading():
            number = int(self.broker.client.hlen(self.broker.unacked))
            if number > MOST_HELD:
                raise Refused(f"Workers have {number:,} tasks; at most {MOST_HELD:,} can be separated from later ones.")
            with self.broker.client.pipeline(transaction=False) as pipe:
                bounded_reads.ask_names(pipe, self.broker.unacked, MOST_HELD)
                for key in self.broker.lists(queue).values():
                    bounded_reads.ask(pipe, key, 0, NEWEST)
                tags, *lists = pipe.execute(raise_on_error=False)
        waiting = [delivery_tag(envelope(text)) for texts in lists for text in bounded_reads.given(texts)]
        # A worker's entry for a message of a named exchange is ``tag/queue``: copies of one publish share the tag.
        reserved = [tag.partition("/")[0] for tag in tags] if isinstance(tags, list) else []
        return [*reserved, *filter(None, waiting)]

    @contextmanager
    def hold(self, queue: str, *, by: str) -> Iterator[Hold]:
        """Pauses the queue unless it is paused; at the end, whatever it was, lifts the pause that it has set.

        Raises:
            Uncertain: Something went wrong, and the pause could not be lifted either.
        """
        paused = self.pause.read([queue])
        own_pause = None if paused else self.pause.pause_if_not(queue, by=by, reason=REASON, ttl_s=PAUSE_S)
        hold = Hold(own_pause)
        try:
            yield hold
        except BaseException as error:
            lifted, message = self._lift(own_pause)
            if not lifted:
                why = explained(error)
                raise Uncertain(f"{why}{message}") from error
            raise
        hold.message = self._lift(own_pause)[1]

    def gather(
        self, queue: str, hold: Hold, *, on_progress: Callable[[Progress], None], cancelled: Callable[[], bool]
    ) -> bool:
        """Waits until every worker within reach has confirmed the pause, and holds nothing of the queue but what runs.

        Returns:
            False when it was cancelled.

        Raises:
            Uncertain: A worker did not within ``WAIT_S``, or the pause was ended: tasks may be back in the queue.
            Unavailable: Redis did not answer.
        """
        deadline, quiet, met = time.monotonic() + WAIT_S, 0, set[str]()
        while quiet < 2:  # twice: an answer may have crossed a message on its way to the worker
            if cancelled():
                return False
            hold.reach, late = self._look(queue, hold, met)
            quiet = 0 if late else quiet + 1
            if late:
                on_progress(Progress(done=False, message=f"Waiting for {late}"))
            if quiet < 2:
                if time.monotonic() > deadline:
                    raise Uncertain(  # tasks have gone back to the queue
                        f"Not all tasks were put back within {WAIT_S:g} s: {late or 'workers'}. Nothing was cleared.",
                        retry=True,
                    )
                time.sleep(LOOK_S)
        return True

    def _look(self, queue: str, hold: Hold, met: set[str]) -> tuple[Reach, str]:
        """Whom it reaches, and what keeps it waiting: nothing when all is back."""
        pauses = self.pause.read([queue])
        epoch = max((info.epoch or 0 for info in pauses.values()), default=None)
        if epoch is None:
            raise Uncertain(f"The pause of {queue} was ended meanwhile. Nothing was cleared.")
        reach = self.reach(queue, met)
        names = {w.hostname for w in reach.reached}
        met |= names
        unsure = [w.hostname for w in reach.reached if not _confirmed(w, queue, epoch)]
        if unsure:
            return reach, f"{_some(unsure)} to confirm the pause"
        answers = self.unmanaged.recall(names, queue)
        hold.recalled += sum(going for going, _ in answers.values())
        if silent := sorted(names - answers.keys()):
            return reach, f"an answer of {_some(silent)}"
        coming = sum(going + reserved for going, reserved in answers.values())
        return reach, f"{count(coming, 'task')} on the way back" if coming else ""

    def _lift(self, own_pause: PauseInfo | None) -> tuple[bool, str]:
        """Ends the pause of this operation. Returns whether it is ended, and a sentence about it."""
        if own_pause is None:
            return True, " The queue was paused before and stays so."
        try:
            if self.pause.resume(own_pause.queue, own_pause.epoch):
                return True, " The queue was paused for it, and works again."
        except (OpsdashError, redis.RedisError) as error:
            why = explained(error)
            return False, (
                f" Its pause of {own_pause.queue} could not be ended ({why}): it expires at"
                f" {own_pause.expires_at:%H:%M:%S} UTC, or with resume-processing --queue {own_pause.queue}."
            )
        return True, " The pause that was set for it had ended already."


def seen_in(tags: Any) -> Callable[[bytes], bool]:
    """Tells whether a message was seen by the preview that remembers these tags."""
    known = frozenset(tags)
    return lambda text: delivery_tag(envelope(text)) in known


def _confirmed(worker: WorkerStats, queue: str, epoch: int) -> bool:
    holds = worker.paused or queue in worker.paused_queues
    return holds and worker.epoch is not None and worker.epoch >= epoch


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
