"""The console's notifier: of all consoles the one with the lease looks, writes messages down, and then sends them.

A message is in Redis before it is sent, and leaves it after it was taken. If its console dies in between, another one
sends it again, with the same id: at least once. While Redis is away, the console that had the lease goes on by what it
remembers, so that this outage is a message, too.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

import redis

from opsdash.config.settings import Settings
from opsdash.errors import OpsdashError
from opsdash.model import Snapshot
from opsdash.model.notification import Notification, NotificationFigures
from opsdash.services.audit.log import AuditLog
from opsdash.services.broker.client import Broker
from opsdash.services.broker.lease import Lease
from opsdash.services.failures.reading import FailedTasks
from opsdash.services.monitoring.poller import Poller
from opsdash.services.notify import outbox, targets
from opsdash.services.notify.delivery import Delivery, Outcome
from opsdash.services.notify.facts import Alarm, Facts, step
from opsdash.services.notify.heartbeat import Heartbeat
from opsdash.services.notify.looking import Looking
from opsdash.services.notify.observe import AWAY_S, Rules, observe
from opsdash.services.notify.outbox import Message, Waiting, now_utc
from opsdash.services.notify.store import NotificationStore

log = logging.getLogger(__name__)

TICK_S, RENEW_S = 1.0, 2.0
FIGURES_S = 10.0
"""Figures are written down at least this often, while there is something to say."""
ENDING_S = 5.0
"""At its end a console waits so long for what is on its way: a message that was taken must leave the outbox."""
STUCK_S = 900.0
"""An address that did not take a message for so long stops the heartbeat."""
UNSEEN_S = 60.0
"""And so does a console that has not looked for so long."""
REDIS = "service:redis"


class Notifier:
    """Runs in its own thread; never raises into another one, and no operation waits for it."""

    def __init__(
        self, settings: Settings, *, broker: Broker, audit: AuditLog, failed: FailedTasks, poller: Poller
    ) -> None:
        self._settings, self._poller = settings, poller
        self._rules = Rules.of(settings)
        self._urgent = frozenset(settings.notify_urgent)
        self._lease = Lease(broker, lambda: broker.keys.notify_lease)
        self._store = NotificationStore(broker, audit.signer)
        self._looking = Looking(audit, failed)
        self._wake = threading.Event()
        self._delivery = Delivery(self._wake.set)
        found, self.problems = targets.targets(settings)
        self._targets = {self._store.target_id(target.address): target for target in found}
        self._heartbeat = Heartbeat(settings)
        self._facts = Facts()
        self._waiting = Waiting()
        self._figures = NotificationFigures()
        self._unsaved: set[str] = set()  # messages that Redis has not taken yet
        self._taken: set[str] = set()  # fields of messages that were sent, and are in Redis yet
        self._outage: Alarm | None = None
        self._sends = False
        self._loaded = 0
        self._looked_at: datetime | None = None
        self._looked_s = float("-inf")  # monotonic
        self._renewed_s = self._figures_s = float("-inf")  # monotonic
        self._thread: threading.Thread | None = None
        self._ending = False
        self._unsubscribe: Callable[[], None] = lambda: None

    @property
    def needed(self) -> bool:
        """There is an address to be notified, or one for the heartbeat."""
        return bool(self._settings.notify_urls or self._settings.heartbeat_url)

    def start(self) -> None:
        """Begins, if it is needed."""
        if not self.needed or self._thread is not None:
            return
        for problem in self.problems:
            log.error("notifications: %s", problem)
        self._unsubscribe = self._poller.subscribe(lambda _: self._wake.set())
        self._thread = threading.Thread(target=self._run, name="opsdash-notifier", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends it and gives the lease back, after what is on its way has ended, ``ENDING_S`` at most."""
        if self._thread is None:
            return
        self._ending = True
        self._wake.set()
        self._thread.join(ENDING_S + 2 * TICK_S)
        self._unsubscribe()
        self._lease.release()

    def _run(self) -> None:
        ends_s = float("inf")
        while time.monotonic() < ends_s:
            self._wake.clear()
            if self._ending and ends_s == float("inf"):
                ends_s = time.monotonic() + ENDING_S
            try:
                self.tick()
            except Exception:  # a bug: the next look may go well
                log.exception("looking for notifications failed")
            if self._ending and not self._delivery.under_way:
                return
            self._wake.wait(TICK_S)

    def tick(self) -> None:
        """One look, and what follows from it. Cost: one script every ``RENEW_S``; two more for each message."""
        if self._poller.latest is None:
            return  # nor is the key prefix known, where workers alone say it
        now = now_utc()
        self._hold()
        for outcome in self._delivery.collect():
            self._end(outcome, now)
        snapshot = self._poller.latest
        if snapshot is not None and snapshot.taken_at != self._looked_at:
            self._looked_at = snapshot.taken_at
            self._look(snapshot, now)
            self._looked_s = time.monotonic()
        if not self._ending:
            self._send(now)
        if self._may_send and self._is_well(now):
            self._heartbeat.beat()

    def _hold(self) -> None:
        now_s = time.monotonic()
        if now_s - self._renewed_s < RENEW_S:
            return
        self._renewed_s = now_s
        try:
            held = self._lease.hold()
            if held and self._loaded != self._lease.taken:
                self._load()
                self._loaded = self._lease.taken
            self._sends = held
        except OpsdashError as error:
            log.debug("the lease of notifications is not renewed: %s", error)

    def _load(self) -> None:
        """After this console got the lease: what is known in Redis, unless it has written that itself."""
        left = self._store.load()
        if self._loaded and left.facts is None:  # Redis has lost all, but this console had it
            self._unsaved |= self._waiting.messages.keys()
        own = [message for name, message in self._waiting.messages.items() if name in self._unsaved]
        messages = [message for message in left.messages if message.field not in self._taken]
        self._taken.update(left.foreign)
        self._waiting.load([*messages, *own])
        self._figures = left.figures if left.figures.sent >= self._figures.sent else self._figures
        if left.facts is not None and left.writer != self._lease.who:
            self._facts = left.facts
            if self._outage is not None:  # the console before can't have written down how it ends
                self._facts = replace(self._facts, alarms={**self._facts.alarms, REDIS: self._outage})

    def _look(self, snapshot: Snapshot, now: datetime) -> None:
        away = bool(snapshot.redis_error)
        self._outage, _ = step(self._outage, away, now, AWAY_S, AWAY_S)
        if not self._sends or (not away and not self._lease.held):
            return
        seen = self._looking.look(snapshot, self._facts.number, now)
        facts, found = observe(self._facts, seen, self._rules)
        if facts != self._facts or found:
            self._put(facts, found, now)
        elif self._unsaved or self._taken or time.monotonic() - self._figures_s > FIGURES_S:
            self._put(facts, (), now)

    def _put(self, facts: Facts, notifications: Iterable[Notification], now: datetime) -> None:
        new = self._waiting.add(notifications, self._targets, now)
        self._unsaved |= {message.field for message in new}
        self._facts = facts
        for message in [*self._waiting.surplus(), *self._ownerless(now)]:
            self._give_up(message, "too many wait" if message.target in self._targets else "its address is gone", now)
        self._write(facts)

    def _write(self, facts: Facts | None = None, put: Iterable[Message] = ()) -> None:
        """Brings to Redis what it does not have yet; what it does not take now it is brought again."""
        unsaved = [self._waiting.messages[name] for name in self._unsaved if name in self._waiting.messages]
        self._figures = replace(
            self._figures, waiting=len(self._waiting.messages), oldest_s=self._waiting.oldest_s(now_utc())
        )
        taken = set(self._taken)
        try:
            done = self._store.save(
                self._lease,
                facts=facts,
                figures=self._figures,
                put=[*unsaved, *put],
                remove=taken,
            )
        except redis.RedisError as error:
            log.debug("notifications are not written down yet: %s", type(error).__name__)
            return
        if not done:
            self._lease.lost()
            return
        self._figures_s = time.monotonic()
        self._unsaved.clear()
        self._taken -= taken

    def _send(self, now: datetime) -> None:
        for target_id, target in self._targets.items():
            if not self._delivery.free(target_id):
                continue
            message = self._waiting.next_of(
                target_id,
                now,
                urgent=self._urgent,
                quiet=self._settings.notify_quiet,
                among=lambda message: self._may_send or message.field in self._unsaved,
            )
            if message is None:
                continue
            message = outbox.tried(message)
            self._waiting.messages[message.field] = message
            if self._lease.held:
                self._write(put=[message])
            if not self._may_send and message.field not in self._unsaved:
                continue  # another console has it now
            try:
                ready = targets.ready(
                    message.notification,
                    message.id,
                    attempt=message.attempts,
                    environment=self._settings.environment,
                )
            except Exception:  # a bug: it must not be in the way of all the others for ever
                log.exception("a notification can't be put into words")
                self._give_up(message, "it can't be put into words", now)
                continue
            self._delivery.begin(target, message, ready)

    @property
    def _may_send(self) -> bool:
        return self._sends and self._lease.held

    def _end(self, outcome: Outcome, now: datetime) -> None:
        message = outcome.message
        label = self._targets[message.target].label
        if not outcome.problem:
            self._remove(message)
            self._figures = replace(self._figures, sent=self._figures.sent + 1, problem="")
        else:
            if self._figures.problem != (problem := f"{label}: {outcome.problem}"):
                log.warning("a notification was not taken by %s, and is tried again", problem)
            self._figures = replace(self._figures, problem=problem)
            if outbox.is_given_up(message, now, refused=outcome.refused):
                self._give_up(message, outcome.problem, now)
        if self._lease.held:
            self._write()

    def _remove(self, message: Message) -> None:
        self._waiting.messages.pop(message.field, None)
        self._unsaved.discard(message.field)
        self._taken.add(message.field)

    def _give_up(self, message: Message, why: str, now: datetime) -> None:
        target = self._targets.get(message.target)
        log.error(
            "a notification (%s, id %s) is given up after %d attempts at %s: %s",
            message.notification.kind,
            message.id,
            message.attempts,
            target.label if target else "an address that is not set here",
            why,
        )
        self._remove(message)
        self._figures = replace(self._figures, given_up=self._figures.given_up + 1, given_up_at=now)

    def _ownerless(self, now: datetime) -> list[Message]:
        """Messages for addresses that are not set here, once their time is over."""
        return [
            message
            for message in self._waiting.messages.values()
            if message.target not in self._targets and outbox.is_given_up(message, now, refused=False)
        ]

    def _is_well(self, now: datetime) -> bool:
        """What happens is looked at, and arrives; else silence must be noticed."""
        if self.problems or time.monotonic() - self._looked_s > UNSEEN_S:
            return False
        if any(self._delivery.failing_s(target) > STUCK_S for target in self._targets):
            return False
        quiet = self._settings.notify_quiet
        silent = quiet is not None and quiet.within(now)
        return not any(  # another console may have begun with it
            (now - message.created_at).total_seconds() > STUCK_S
            for message in self._waiting.messages.values()
            if message.attempts
            and self._delivery.failing(message.target)
            and outbox.is_due(message, silent=silent, urgent=self._urgent)
        )
