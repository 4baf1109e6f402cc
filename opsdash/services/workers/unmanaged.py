"""Workers that are not managed by opsdash: found, and sent commands, through Celery's remote control."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import redis

from opsdash.config.broker_url import with_timeouts
from opsdash.config.settings import Settings
from opsdash.errors import OpsdashError, Unavailable, explained
from opsdash.keys import EPOCH_DIGITS, epoch_of
from opsdash.model import OtherWorker, UnmanagedLook, WorkerStats, untrusted
from opsdash.model.key_layout import Layout
from opsdash.services.broker import bounded_reads, connected_clients, writes
from opsdash.services.broker.client import TIMEOUT_S, Broker, address, celery_app, url_with_app
from opsdash.services.workers import control_once
from opsdash.services.workers.cancelled_consumers import Cancelled, Commands, merged
from opsdash.services.workers.reports import Workers

log = logging.getLogger(__name__)

ANSWER_S = 1.0
"""How long workers have to answer; `inspect` with less mostly hears nothing on a busy machine."""
FRESH_S = 10.0
PAUSED_FRESH_S = 4.0
"""While something is paused: whether it is safe depends on who is there."""
MOST_BOUND = 10_000
"""Mailboxes that are looked at."""
REPORT_S = 2.5
"""A worker that does not answer, and lives, has reported within so long."""
REMEMBER_S = 30.0
"""A busy solo worker answers nobody: who answered this recently still counts."""
UNPROVEN = "their separator is not known, and a question with another one could stop them"
"""Why workers are not asked."""
LONG_AGO_S = float("-inf")
"""What was found is out of date: the next one who wants to know has the workers asked again."""


class UnmanagedWorkers:
    """Knows the workers that consume from this broker and don't report to opsdash.

    Cost: while every worker has the plug-in, two round trips; else a question to the others, answered within
    ``ANSWER_S``. While something is paused everybody is asked, and those who heard it are counted. Asked in the
    background, at most every ``FRESH_S``, and ``PAUSED_FRESH_S`` while something is paused.
    """

    def __init__(self, broker: Broker, settings: Settings) -> None:
        self._broker, self._settings = broker, settings
        self._workers = Workers(broker)
        self._cancelled = Cancelled(broker)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._looking = threading.Lock()
        self._seen: dict[str, tuple[OtherWorker, float]] = {}
        self._found: UnmanagedLook | None = None
        self._looked_s: float | None = None
        self._failing = False

    def latest(self) -> tuple[OtherWorker, ...] | None:
        """What the last look found; None while nobody has been asked, or could be. Returns at once."""
        return _others(self.found())

    @property
    def last(self) -> tuple[OtherWorker, ...] | None:
        """As ``latest``, and has nobody asked."""
        return _others(self._found)

    def found(self, epoch: int | None = None, *, paused: bool = False) -> UnmanagedLook | None:
        """As ``latest``, with all that it found.

        Args:
            paused: Something is paused: then a look from before that, which is one with another ``epoch``, is old.
        """
        with self._lock:
            found = self._found
            old = paused and (found is None or not found.counted or found.epoch != epoch)
            fresh_s = PAUSED_FRESH_S if paused else FRESH_S
            due = old or self._looked_s is None or time.monotonic() - self._looked_s > fresh_s
            if due and (self._thread is None or not self._thread.is_alive()):
                self._thread = threading.Thread(target=self.look, name="opsdash-unmanaged", daemon=True)
                self._thread.start()
        return found

    def known(self) -> tuple[OtherWorker, ...] | None:
        """As ``latest``; waits for the first look."""
        return self.latest() if self._looked_s is not None else self.look()

    def look(self) -> tuple[OtherWorker, ...] | None:
        """Asks now, and undoes what ended pauses have left behind. Never raises for an outage."""
        with self._looking, writes.aside():
            try:
                self._found, self._looked_s = self._ask(), time.monotonic()
                self.release()
            except (OpsdashError, redis.RedisError) as error:
                text = explained(error)
                if not self._failing:  # once, not at every look of a long outage
                    log.warning("unmanaged workers can't be asked: %s", text)
                self._found, self._failing, self._looked_s = UnmanagedLook(error=text), True, time.monotonic()
            else:
                self._failing = False
            return _others(self._found)

    def cancel(self, queue: str | None) -> tuple[Commands, Commands]:
        """Sends ``cancel_consumer`` to every unmanaged worker, for one queue or all it consumes.

        The commands are stored first, so that a resume undoes exactly those.

        Returns:
            What was sent, and the part of it that workers have confirmed.

        Raises:
            Unavailable: The workers could not be asked; none got a command.
        """
        others = self.look()
        if others is None:
            raise Unavailable("Unmanaged workers could not be asked.")
        commands = {w.hostname: [q for q in w.queues if queue in (None, q)] for w in others}
        commands = {hostname: queues for hostname, queues in commands.items() if queues}
        if commands:
            self._cancelled.add(queue, commands)
        confirmed = self.send_commands("cancel_consumer", commands)
        self._looked_s = LONG_AGO_S
        return commands, confirmed

    def release(self) -> Commands:
        """Sends ``add_consumer`` for what a pause that is over had cancelled, unless another pause still holds it.

        Returns:
            What was sent. A second call changes nothing.
        """
        free = self._cancelled.begin_to_free()
        if not free:
            return {}
        self.send_commands("add_consumer", free, reply=False)
        if again := self._cancelled.end_to_free(free):  # a pause came meanwhile: it has the last word
            self.send_commands("cancel_consumer", again, reply=False)
        self._looked_s = LONG_AGO_S
        return free

    def recall(self, hostnames: Iterable[str], queue: str) -> dict[str, tuple[int, int]]:
        """Has workers with the plug-in put back a paused queue's ETA tasks, and asks what they still hold of it.

        Returns:
            Hostname → ETA tasks that go back now, tasks of the queue that are reserved and not back yet; a worker that
            did not answer is missing.

        Raises:
            Unavailable: The broker did not answer.
        """
        hosts = sorted(hostnames)
        if not hosts:
            return {}
        with self.control() as (control, connection):
            answers = control.broadcast(
                "opsdash_recall_eta",
                destination=hosts,
                reply=True,
                timeout=ANSWER_S,
                limit=len(hosts),
                connection=connection,
            )
        by_host = {hostname: one for answer in answers or () for hostname, one in answer.items()}
        return {
            hostname: (one["recalling"], int(one["unstarted"].get(queue, 0)))
            for hostname, one in by_host.items()
            if "recalling" in one and isinstance(one.get("unstarted"), dict)
        }

    def close(self) -> None:
        """Waits for a question under way: its connection closes by itself."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(3 * ANSWER_S)

    def _ask(self) -> UnmanagedLook:
        reports = self._workers.read()
        live = [w for w in reports if w.reports]
        epoch, paused = self._flags(live)
        found = UnmanagedLook(epoch=epoch, counted=paused, off=tuple(sorted(_without_remote_control(live))))
        if not self._bound() and not self.anybody_listens():
            self._seen.clear()  # nobody hears remote control
        elif not self._layout().proven:
            found = replace(found, error=UNPROVEN)
        else:
            with self.control() as (control, connection):
                found = (
                    self._ask_all(control, connection, found, live)
                    if paused
                    else self._ask_some(control, connection, found, live)
                )
        return self._connections(found, reports) if paused else found

    def _flags(self, live: Iterable[WorkerStats]) -> tuple[int | None, bool]:
        """The pause counter, and whether something is paused."""
        queues = dict.fromkeys([*self._broker.queues, *(queue for worker in live for queue in worker.queues)])
        keys = self._broker.keys
        with self._broker.reading(), self._broker.client.pipeline(transaction=False) as pipe:
            pipe.exists(keys.pause(), *(keys.pause(queue) for queue in queues))
            pipe.getrange(keys.pause_epoch, 0, EPOCH_DIGITS)
            number, epoch = pipe.execute(raise_on_error=False)
            if isinstance(number, redis.RedisError):
                raise number
        return epoch_of(epoch) if isinstance(epoch, str) else None, bool(number)

    def _ask_some(self, control: Any, connection: Any, found: UnmanagedLook, live: list[WorkerStats]) -> UnmanagedLook:
        """Asks those that do not report."""
        reporting = {worker.hostname for worker in live}
        bound = self._bound()
        hosts: list[str] | None = sorted(bound - reporting)
        if not reporting <= bound or (not bound and self.anybody_listens()):
            hosts = None  # flushed bindings: everybody is asked
        answers: Mapping[str, Any] = {}
        if hosts is None or hosts:
            answers = control.inspect(hosts, timeout=ANSWER_S, connection=connection).active_queues() or {}
        return self._with_unmanaged(control, connection, found, answers, reporting, None if hosts is None else bound)

    def _ask_all(self, control: Any, connection: Any, found: UnmanagedLook, live: list[WorkerStats]) -> UnmanagedLook:
        """Asks everybody, and counts who has heard it and said nothing."""
        bound = self._bound()
        expected = Counter(w.hostname for w in live if w.remote_control is not False)
        asked_at = datetime.now(UTC)
        replies, receivers = connected_clients.broadcast(control, connection, "active_queues", timeout_s=ANSWER_S)
        answered = Counter(host for reply in replies for host in reply)
        quiet = expected - answered
        reported = self._reported_since(asked_at, quiet) if quiet else quiet
        candidates = bound - answered.keys() - reported.keys()
        # If listeners can't be counted, a bound worker that does not answer may be there.
        silent = len(candidates) if receivers is None else receivers - len(replies) - reported.total()
        if silent <= 0 and receivers is not None:  # there is no other worker: those that answered lately have gone
            # One that ran a task and did not shut down, so is still bound, may only have lost its connection.
            self._seen = {
                host: (other, at_s)
                for host, (other, at_s) in self._seen.items()
                if host in answered or (other.active and host in bound)
            }
        found = replace(found, unanswered=max(0, silent), candidates=tuple(sorted(candidates)) if silent > 0 else ())
        answers = {host: queues for reply in replies for host, queues in reply.items()}
        return self._with_unmanaged(control, connection, found, answers, {w.hostname for w in live}, None)

    def _reported_since(self, at: datetime, expected: Counter[str]) -> Counter[str]:
        """Those that do not answer and report nevertheless, such as a busy solo worker: once for each process."""
        deadline = time.monotonic() + REPORT_S
        while True:
            fresh = Counter(w.hostname for w in self._workers.read() if w.heartbeat_at > at)
            reported = fresh & expected
            if reported == expected or time.monotonic() >= deadline:
                return reported
            time.sleep(0.2)

    def _with_unmanaged(
        self,
        control: Any,
        connection: Any,
        found: UnmanagedLook,
        answers: Mapping[str, Any],
        reporting: Container[str],
        bound: set[str] | None,
    ) -> UnmanagedLook:
        unmanaged = sorted(host for host in answers if host not in reporting)
        running: Mapping[str, Any] = {}
        if unmanaged:
            running = control.inspect(unmanaged, timeout=ANSWER_S, connection=connection).active() or {}
        now = time.monotonic()
        for hostname in unmanaged:
            queues = answers[hostname] if isinstance(answers[hostname], list) else []
            runs = running.get(hostname)
            other = OtherWorker(
                hostname=hostname, queues=_queues_in(queues), active=len(runs) if isinstance(runs, list) else 0
            )
            self._seen[hostname] = (other, now)
        recent = {h: s for h, s in self._seen.items() if now - s[1] < REMEMBER_S and h not in reporting}
        # A worker that shut down is unbound; a busy one is not.
        self._seen = {h: s for h, s in recent.items() if bound is None or h in bound}
        return replace(found, others=tuple(other for _, (other, _) in sorted(self._seen.items())))

    def _connections(self, found: UnmanagedLook, reports: Iterable[WorkerStats]) -> UnmanagedLook:
        # A silent worker is listed as such, and counted if it still listens: its connection says nothing more.
        known = {number for worker in reports for number in worker.clients or ()}
        unnamed = sum(worker.reports and worker.clients is None for worker in reports)
        try:
            connections = connected_clients.fetching(self._broker, known)
        except (redis.ConnectionError, redis.TimeoutError):
            raise
        except redis.RedisError as error:
            return replace(found, connections_error=connected_clients.refusal(error))
        return replace(found, connections=connections, unnamed=unnamed)

    def _bound(self) -> set[str]:
        """Hosts whose mailbox is bound. Source: kombu's Redis transport, ``Channel._queue_bind``."""
        layout = self._broker.layout
        exchange = f"{layout.control_exchange}.pidbox"
        with self._broker.reading():
            members = bounded_reads.set_members(self._broker.client, layout.binding(exchange), MOST_BOUND)
        queues = (member.rsplit(layout.separator, 1)[-1] for member in members)
        return {queue.removesuffix(f".{exchange}") for queue in queues if queue.endswith(f".{exchange}")}

    def anybody_listens(self) -> bool:
        """A client is subscribed to a pattern, as every worker with remote control is."""
        with self._broker.reading():
            return bool(self._broker.client.pubsub_numpat())

    def send_commands(self, command: str, commands: Commands, *, reply: bool = True) -> Commands:
        """Sends a command for each queue to the hosts that it names; what they have confirmed."""
        confirmed: Commands = {}
        if not commands:
            return confirmed
        with self.control() as (control, connection):
            for queue in sorted({q for queues in commands.values() for q in queues}):
                hosts = [hostname for hostname, queues in commands.items() if queue in queues]
                answers = getattr(control, command)(
                    queue, destination=hosts, reply=reply, timeout=ANSWER_S, connection=connection
                )
                for answer in answers or ():
                    for hostname, result in answer.items():
                        if isinstance(result, dict) and "ok" in result:
                            confirmed = merged(confirmed, {hostname: [queue]})
        return confirmed

    def askable(self) -> Layout:
        """The layout to ask by.

        A question binds a queue for its answers. With another separator than the workers' that stops workers of Celery
        5.6 for good, so nobody is asked while it is not known.

        Raises:
            Unavailable: It is not known, or Redis does not answer.
        """
        layout = self._layout()
        if not layout.proven:
            raise Unavailable(
                f"Workers can't be asked by remote control: {UNPROVEN}.",
                hint="Set OPSDASH_CELERY_APP or OPSDASH_SEPARATOR to what they use.",
            )
        return layout

    def _layout(self) -> Layout:
        with self._broker.reading():
            layout = self._broker.layouts.refresh().layout
            # Unknown a few seconds ago: a worker may have come meanwhile.
            return layout if layout.proven else self._broker.layouts.look().layout

    @contextmanager
    def control(self) -> Iterator[tuple[Any, Any]]:
        """Celery's remote control, and a connection for it that gives up soon.

        Raises:
            Unavailable: The broker does not answer, or ``askable`` says no. Invalid: It refuses the password.
        """
        from kombu.exceptions import KombuError

        app = celery_app(self._settings, self.askable())
        # Few retries: kombu's default is to try for ever while the broker is away.
        options: dict[str, Any] = {
            "max_retries": 1,
            "interval_start": 0.0,
            "client_name": connected_clients.CLIENT_NAME,
        }
        try:
            url = address(self._settings)
            if self._settings.celery_app is not None:
                url = url_with_app(url, app)
            transport = {**url.transport_options, **dict(app.conf.broker_transport_options or {})}
            options = {**url.transport_options, **options, **with_timeouts(transport, TIMEOUT_S)}
            with app.connection_for_write(url.kombu_url, ssl=url.kombu_ssl, transport_options=options) as connection:
                channel = connection.default_channel
                channel.Client = writes.counted(channel.Client)
                yield control_once.over(app.control, connection), connection
        except (KombuError, OSError) as error:
            raise Unavailable(f"Celery's remote control did not answer: {error}.") from error
        except redis.RedisError as error:
            raise self._broker.fault(error) from error
        finally:
            if self._settings.celery_app is None:
                app.close()


def _queues_in(answer: list[Any]) -> tuple[str, ...]:
    """The queues of an answer to ``active_queues``; fanout ones hold no tasks."""
    each = (untrusted.mapping(queue) for queue in answer[: untrusted.MANY])
    return untrusted.names(
        [queue.get("name") for queue in each if untrusted.mapping(queue.get("exchange")).get("type") != "fanout"]
    )


def _others(found: UnmanagedLook | None) -> tuple[OtherWorker, ...] | None:
    return None if found is None or found.error else found.others


def _without_remote_control(live: Iterable[WorkerStats]) -> Iterator[str]:
    return (worker.hostname for worker in live if worker.remote_control is False)
