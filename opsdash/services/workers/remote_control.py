"""Single tasks and single workers, by Celery's own remote control."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from opsdash.errors import Unavailable, Uncertain
from opsdash.model import untrusted
from opsdash.services.broker import bounded_reads, writes
from opsdash.services.broker.client import Broker
from opsdash.services.workers.reports import Workers, no_worker
from opsdash.services.workers.unmanaged import ANSWER_S, UnmanagedWorkers
from opsdash.values import frozen

QUIET_KEPT_S = 30 * 86_400
"""How long it is remembered which queues were taken from workers, since the last time one was quieted."""

CANNOT_TERMINATE = frozenset({"threads", "solo"})
"""Pools of Celery's that have no way to end a running task."""
_EXCEPTION = re.compile(r"""\w+\((["'])(.+)\1,?\)""")
TERMINATES = "terminate: "
"""How a worker's answer begins."""


@frozen(kw_only=True)
class Answers:
    """What workers said to a command, by hostname.

    Attributes:
        confirmed: They will do it. ``ended``: they were running or holding the task, and end it; ``ended_ids``: which
            tasks.
        failed: Hostname → why it can't. ``unable``: they run the task, and their pool can't end one.
        silent: They report, but did not answer: a worker without a free loop does it later, or never.
    """

    confirmed: tuple[str, ...]
    ended: tuple[str, ...] = ()
    ended_ids: tuple[str, ...] = ()
    failed: dict[str, str]
    unable: tuple[str, ...] = ()
    silent: tuple[str, ...]


@frozen
class Remote:
    """Asks and tells workers; an answer takes up to ``ANSWER_S``, and a busy solo worker gives none."""

    broker: Broker
    unmanaged: UnmanagedWorkers

    def revoke(self, *task_ids: str, terminate: bool) -> Answers:
        """Tells every worker of one or more tasks. Source of the answers' words: ``celery.worker.control.revoke``.

        Raises:
            Unavailable: Workers can't be asked. Uncertain: The broker did not answer.
        """
        self._check()
        expected = self.hostnames()
        with _as_command("Workers"), self.unmanaged.control() as (control, connection):
            answers: list[dict[str, dict[str, Any]]] = (
                control.revoke(list(task_ids), terminate=terminate, reply=True, timeout=ANSWER_S, connection=connection)
                or []
            )
        by_host = {host: answer for one in answers for host, answer in one.items()}
        failed = {host: str(answer.get("error", answer)) for host, answer in by_host.items() if "ok" not in answer}
        # Celery's words for a pool that has no ``terminate_job``: the task is revoked by then, and goes on.
        unable = {host for host, why in failed.items() if why.startswith("NotImplementedError")}
        ended = {host: _ended(answer.get("ok"), task_ids) for host, answer in by_host.items()}
        return Answers(
            confirmed=tuple(sorted(host for host, answer in by_host.items() if "ok" in answer or host in unable)),
            ended=tuple(sorted(host for host, ids in ended.items() if ids)),
            ended_ids=tuple(sorted({task_id for ids in ended.values() for task_id in ids})),
            failed={host: why for host, why in failed.items() if host not in unable},
            unable=tuple(sorted(unable)),
            silent=tuple(sorted(expected - by_host.keys())),
        )

    def ask(self, question: str, hosts: Collection[str], *words: str) -> dict[str, Any]:
        """What each of these workers answers to one of Celery's ``inspect`` commands; who is silent is missing.

        Raises:
            Unavailable: Workers can't be asked.
        """
        if not hosts:
            return {}
        with _as_question(), self.unmanaged.control() as (control, connection):
            inspect = control.inspect(sorted(hosts), timeout=ANSWER_S, connection=connection)
            return getattr(inspect, question)(*words) or {}

    def tell(self, command: str, arguments: Mapping[str, Mapping[str, Any]], *, reply: bool = True) -> Answers:
        """Sends a command to workers, each with its own arguments, and counts who has said what.

        Args:
            arguments: Hostname → arguments of the command.
            reply: False: nobody answers this command, and nobody is silent.

        Raises:
            Unavailable: Workers can't be asked. Uncertain: The broker did not answer.
        """
        if not arguments:
            return Answers(confirmed=(), failed={}, silent=())
        self._check()
        alike: dict[str, list[str]] = {}
        for host, own in sorted(arguments.items()):
            alike.setdefault(json.dumps(own, sort_keys=True), []).append(host)
        by_host: dict[str, Any] = {}
        with _as_command("Workers"), self.unmanaged.control() as (control, connection):
            for own_text, hosts in alike.items():
                answers = control.broadcast(
                    command,
                    arguments=json.loads(own_text),
                    destination=hosts,
                    reply=reply,
                    timeout=ANSWER_S,
                    limit=len(hosts),
                    connection=connection,
                )
                by_host |= {host: untrusted.mapping(said) for one in answers or () for host, said in one.items()}
        return Answers(
            confirmed=tuple(sorted(host for host, said in by_host.items() if "ok" in said)),
            failed={host: _why(said) for host, said in sorted(by_host.items()) if "ok" not in said},
            silent=tuple(sorted(arguments.keys() - by_host.keys())) if reply else (),
        )

    def hostnames(self) -> set[str]:
        """Workers that live, with the plug-in or without, as far as is known."""
        others = self.unmanaged.known() or ()
        return {w.hostname for w in Workers(self.broker).read() if w.reports} | {w.hostname for w in others}

    def consumed(self, hostname: str) -> list[str]:
        """The queues that a worker takes tasks from, broadcasts left out.

        Raises:
            Refused: There is no such worker.
            Unavailable: It does not answer.
        """
        with _as_question(), self.unmanaged.control() as (control, connection):
            answers = control.inspect([hostname], timeout=ANSWER_S, connection=connection).active_queues() or {}
        if (queues := answers.get(hostname)) is None:
            if hostname not in (known := self.hostnames()):
                raise no_worker(hostname, known)
            raise Unavailable(f"{hostname} does not answer; a busy worker of the solo pool can't answer.", silent=True)
        return _names(queues)

    def consumed_by(self, hosts: Collection[str]) -> dict[str, list[str]]:
        """The same of several workers; one that does not answer is missing.

        Raises:
            Unavailable: Workers can't be asked.
        """
        return {host: _names(queues) for host, queues in self.ask("active_queues", hosts).items() if host in hosts}

    def quieted(self, hostname: str) -> list[str]:
        """The queues that ``quiet`` has taken from a worker."""
        return self.quieted_of([hostname])[hostname]

    def quieted_of(self, hosts: Sequence[str]) -> dict[str, list[str]]:
        """The same of several workers. Cost: one round trip."""
        with self.broker.reading():
            (fields,) = bounded_reads.fields(self.broker.client, [self.broker.keys.quiet], hosts) if hosts else ({},)
        return {host: list(untrusted.names(untrusted.parsed(fields.get(host)))) for host in hosts}

    def quiet(self, hostname: str, queues: list[str]) -> list[str]:
        """Has a worker stop consuming; written down first, so that ``wake`` undoes just that. What it has confirmed.

        Raises:
            Unavailable: Workers can't be asked. Uncertain: The broker did not answer.
        """
        return self.quiet_each({hostname: queues}).get(hostname, [])

    def quiet_each(self, queues: Mapping[str, list[str]]) -> Mapping[str, list[str]]:
        """The same of several workers, by hostname."""
        if not queues:
            return {}
        self._check()
        before = self.quieted_of(list(queues))
        stopped: dict[Any, Any] = {host: json.dumps(sorted({*before[host], *names})) for host, names in queues.items()}
        with writes.aside(), self.broker.client.pipeline(transaction=True) as pipe:
            pipe.hset(self.broker.keys.quiet, mapping=stopped)
            pipe.expire(self.broker.keys.quiet, QUIET_KEPT_S)
            pipe.execute()
        with _as_command(_whom(queues)):
            return self.unmanaged.send_commands("cancel_consumer", dict(queues))

    def wake(self, hostname: str) -> list[str]:
        """Has it consume again what ``quiet`` has taken from it. What it has confirmed; the rest stays written down.

        Raises:
            Unavailable: Workers can't be asked. Uncertain: The broker did not answer.
        """
        return self.wake_each({hostname: self.quieted(hostname)}).get(hostname, [])

    def wake_each(self, queues: Mapping[str, list[str]]) -> Mapping[str, list[str]]:
        """The same of several workers, with what ``quieted_of`` says of them."""
        self._check()
        with _as_command(_whom(queues)):
            confirmed = self.unmanaged.send_commands("add_consumer", dict(queues))
        done = [host for host, names in queues.items() if set(confirmed.get(host, ())) >= set(names)]
        if done:
            self.broker.client.hdel(self.broker.keys.quiet, *done)
        return confirmed

    def _check(self) -> None:
        with _as_question():
            self.unmanaged.askable()


def _names(queues: Collection[Mapping[str, Any]]) -> list[str]:
    """What ``active_queues`` names, broadcasts left out."""
    return sorted(queue["name"] for queue in queues if (queue.get("exchange") or {}).get("type") != "fanout")


def _whom(queues: Mapping[str, Any]) -> str:
    return next(iter(queues)) if len(queues) == 1 else "Workers"


def _why(said: Mapping[str, Any]) -> str:
    """A worker's own words why not; of an exception its text alone: ``ValueError('Autoscale not enabled')``."""
    words = untrusted.words(str(said.get("error", dict(said))))
    return found[2] if (found := _EXCEPTION.fullmatch(words)) else words


def _ended(answer: Any, task_ids: Collection[str]) -> list[str]:
    """Which tasks a worker says that it ends: ``terminate: id, id``."""
    text = answer.removeprefix(TERMINATES) if isinstance(answer, str) and answer.startswith(TERMINATES) else ""
    return [one for one in text.split(", ") if one in task_ids]


@contextmanager
def _as_question() -> Iterator[None]:
    with writes.aside():  # a question is published, too
        yield


@contextmanager
def _as_command(whom: str) -> Iterator[None]:
    try:
        yield
    except Unavailable as error:
        if not writes.possible():
            raise
        raise Uncertain(f"{whom} may have received the command or not: {error.explanation}") from error
