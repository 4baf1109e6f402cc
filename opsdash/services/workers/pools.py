"""Workers' pools: how large each is, what it can do, and what each has said to a command."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from typing import Any

import redis

from opsdash.errors import Invalid, Refused, Unavailable, Uncertain
from opsdash.model import untrusted
from opsdash.services.broker import writes
from opsdash.services.workers.remote_control import Answers, Remote
from opsdash.services.workers.reports import Workers, no_worker
from opsdash.text import count
from opsdash.values import frozen

ALL = "all"
"""In place of a worker's name; a worker of Celery's always has an ``@`` in its own."""
KINDS = {"thread": "threads"}
RESIZABLE = frozenset({"prefork", "gevent", "eventlet"})
"""Pools of Celery's that grow and shrink while they run."""
LEAVES_S = 5.0
"""So long a shutdown waits for workers that run nothing to leave the list."""
LOOK_S = 0.2


@frozen(kw_only=True)
class Pool:
    """One worker's pool, as the worker answers.

    Attributes:
        kind: ``prefork``, ``threads``, …; empty: it does not say.
        size: Processes, threads or green threads that it has now; None: not known.
        active: Tasks that run; None: not known.
        autoscale: Most and least of its autoscaler; None: it has none.
        restarts: ``worker_pool_restarts`` is on; None: not known.
        pid: Of its main process; None: not known. ``uptime_s``: seconds since it started.
    """

    hostname: str
    kind: str = ""
    size: int | None = None
    active: int | None = None
    autoscale: tuple[int, int] | None = None
    restarts: bool | None = None
    pid: int | None = None
    uptime_s: float = 0.0

    @property
    def has_plugin(self) -> bool:
        """It has the plug-in, of this version or a later one."""
        return self.restarts is not None

    @property
    def fixed(self) -> str:
        """Why its size can't be changed; empty: it can."""
        if self.autoscale is not None:
            most, least = self.autoscale
            return f"it autoscales between {least:,} and {most:,}: opsdash autoscale changes that"
        if self.kind and self.kind not in RESIZABLE:
            return f"a pool of {self.kind} can't grow or shrink"
        return "it does not say how large its pool is" if self.size is None else ""


@frozen(kw_only=True)
class Chosen:
    """The workers that an operation is about.

    Attributes:
        pools: Those that have answered, by name. ``silent``: those that have not: they get no command.
    """

    pools: tuple[Pool, ...]
    silent: tuple[str, ...] = ()

    @property
    def hosts(self) -> tuple[str, ...]:
        """Names of those that have answered."""
        return tuple(pool.hostname for pool in self.pools)

    @property
    def active(self) -> int | None:
        """Tasks that they run; None where one of them does not say."""
        known = [pool.active for pool in self.pools if pool.active is not None]
        return sum(known) if len(known) == len(self.pools) else None


@frozen(kw_only=True)
class Left:
    """What became of workers that got the command to shut down.

    Attributes:
        gone: They have left the list of workers. ``mute``: they were never on it, and answer no more.
        finishing: Hostname → tasks that still run there.
        there: They answer as if nothing had been said. ``unsure``: they don't answer, and report nothing of it.
    """

    gone: tuple[str, ...]
    mute: tuple[str, ...]
    finishing: Mapping[str, int]
    there: tuple[str, ...]
    unsure: tuple[str, ...]


@frozen
class Pools:
    """Asks workers for their pools. A question takes up to a second where one of them is silent."""

    remote: Remote

    def choose(self, names: str) -> Chosen:
        """Those that a user has named, or all that live, as they answer now.

        Args:
            names: Hostnames with blanks between them, or ``all``.

        Raises:
            Invalid: None is named. Refused: There is no such worker, or none at all.
            Unavailable: Workers can't be asked, or nobody answers.
        """
        words = tuple(dict.fromkeys(names.replace(",", " ").split()))
        known = self.remote.hostnames()
        if not words:
            raise Invalid(f"name a worker, or {ALL}.", field="hostname")
        if ALL in words and len(words) > 1:
            raise Invalid(f"name workers, or {ALL} alone.", field="hostname")
        if not known:
            raise Refused("There is no worker.", field="hostname")
        wanted = tuple(sorted(known)) if words == (ALL,) else words
        for name in wanted:
            if name not in known:
                raise no_worker(name, known)
        pools = self.read(wanted)
        if not pools:
            who = wanted[0] if len(wanted) == 1 else f"None of {count(len(wanted), 'worker')}"
            raise Unavailable(
                f"{who} {'does not answer' if len(wanted) == 1 else 'answers'};"
                " a busy worker of the solo pool can't answer.",
                silent=True,
            )
        return Chosen(pools=pools, silent=tuple(name for name in wanted if name not in {p.hostname for p in pools}))

    def read(self, hosts: Collection[str]) -> tuple[Pool, ...]:
        """The pools of these workers, by name; one that is silent is missing.

        Raises:
            Unavailable: Workers can't be asked.
        """
        answers = self.remote.ask("stats", hosts)
        others = {other.hostname: other.active for other in self.remote.unmanaged.known() or ()}
        return tuple(_pool(host, answers[host], others.get(host)) for host in sorted(hosts) if host in answers)

    def resize(self, pools: Collection[Pool], size: int) -> tuple[Answers, dict[str, int | None]]:
        """Sends ``pool_grow`` or ``pool_shrink``. What workers have said, and how large each pool is afterwards.

        A size is None where the worker does not say. An unmanaged one counts its processes late: it is believed. One
        whose answer was late has the new size nevertheless: making many processes takes it longer than an answer may.

        Raises:
            Unavailable: Workers can't be asked. Uncertain: The broker did not answer the commands.
        """
        by = {pool.hostname: size - (pool.size or 0) for pool in pools}
        grown = self.remote.tell("pool_grow", {host: {"n": n} for host, n in by.items() if n > 0})
        shrunk = self.remote.tell("pool_shrink", {host: {"n": -n} for host, n in by.items() if n < 0})
        confirmed = {*grown.confirmed, *shrunk.confirmed}
        try:
            after = {pool.hostname: pool.size for pool in self.read(by)}
        except Unavailable:  # the commands were sent, and some have confirmed: that is what is known now
            after = {}
        for pool in pools:
            if not pool.has_plugin:
                after[pool.hostname] = size if pool.hostname in confirmed else None
        unmoved = {pool.hostname: pool.size for pool in pools if pool.size == after.get(pool.hostname)}
        failed = {h: f"it confirmed, and has {count(n or 0, 'slot')}" for h, n in unmoved.items() if h in confirmed}
        failed |= grown.failed | shrunk.failed
        confirmed = (confirmed | {host for host, now in after.items() if now == size}) - failed.keys()
        answers = Answers(
            confirmed=tuple(sorted(confirmed)),
            failed=failed,
            silent=tuple(sorted({*grown.silent, *shrunk.silent} - confirmed)),
        )
        return answers, {pool.hostname: after.get(pool.hostname) for pool in pools}

    def shut_down(self, pools: Collection[Pool]) -> Left:
        """Sends Celery's ``shutdown``, and looks who has heard it. Nobody answers this command itself.

        Raises:
            Unavailable: Workers can't be asked. Uncertain: The broker did not answer the command, or was restarted.
        """
        hosts = [pool.hostname for pool in pools]
        before, server = {w.instance: w for w in self._reports() if w.hostname in hosts}, self._server()
        self.remote.tell("shutdown", {host: {} for host in hosts}, reply=False)
        there, deadline = set[str](), time.monotonic() + LEAVES_S
        unsure = set(hosts)  # one whose connection was lost just then has not heard it, and answers a moment later
        while True:
            there |= {host for host in self.remote.ask("ping", unsure) if not self._restarted(host, pools)}
            stay = {w.hostname: w for w in self._reports() if w.instance in before and w.hostname not in there}
            unsure = {host for host, w in stay.items() if not w.draining or before[w.instance].draining}
            if (not unsure and all(w.active for w in stay.values())) or time.monotonic() >= deadline:
                break
            if not unsure:
                time.sleep(LOOK_S)
        if self._server() != server:  # it may have lost their reports, so that who is missing may live
            raise Uncertain(
                f"Redis was restarted meanwhile: it is not known who of {count(len(hosts), 'worker')} ends."
            )
        heard = [host for host in hosts if host not in there and host not in unsure]
        known = {worker.hostname for worker in before.values()}
        return Left(
            gone=tuple(host for host in heard if host in known and host not in stay),
            mute=tuple(host for host in heard if host not in known),
            finishing={host: stay[host].active for host in heard if host in stay},
            there=tuple(sorted(there)),
            unsure=tuple(sorted(unsure)),
        )

    def _server(self) -> Any:
        """Which start of Redis this is; None: it does not tell us."""
        with suppress(redis.ResponseError), writes.aside():
            return self.remote.broker.client.info("server").get("run_id")
        return None

    def _reports(self) -> Iterator[Any]:
        return (worker for worker in Workers(self.remote.broker).read() if worker.reports)

    def _restarted(self, host: str, pools: Collection[Pool]) -> bool:
        """It answers because a supervisor has started it again already."""
        (before,) = (pool for pool in pools if pool.hostname == host)
        now = next(iter(self.read([host])), before)
        return now.pid != before.pid or now.uptime_s < before.uptime_s


def _pool(hostname: str, answer: Any, active: int | None) -> Pool:
    """A worker's answer to ``stats``. Source: ``celery.worker.worker.WorkController.stats``."""
    told = untrusted.mapping(answer)
    pool, ours = untrusted.mapping(told.get("pool")), untrusted.mapping(told.get("opsdash"))
    scaler = untrusted.mapping(told.get("autoscaler"))
    most, least = untrusted.whole(scaler.get("max")), untrusted.whole(scaler.get("min"))
    module = untrusted.words(pool.get("implementation")).partition(":")[0].rpartition(".")[2]
    processes, restarts = pool.get("processes"), ours.get("pool_restarts")
    size = untrusted.whole(ours.get("concurrency"))
    if size is None:
        size = len(processes) if isinstance(processes, list) else untrusted.whole(pool.get("max-concurrency"))
    runs = untrusted.whole(ours.get("active"))
    return Pool(
        hostname=hostname,
        kind=KINDS.get(module, module),
        size=size,
        active=active if runs is None else runs,
        autoscale=(most, least) if most is not None and least is not None else None,
        restarts=restarts if isinstance(restarts, bool) else None,
        pid=untrusted.whole(told.get("pid")),
        uptime_s=untrusted.figure(told.get("uptime")) or 0.0,
    )
