"""A master, a replica and three real sentinels that fail over between them within a second or two, guarded or not."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from redis.sentinel import MasterNotFoundError, Sentinel
from support.services import Valkey, until
from support.tls import Certificates, options, tls_program

MASTER = "mymaster"
DOWN_AFTER_MS = 500


@dataclass(frozen=True, kw_only=True)
class Guard:
    """What keeps others out.

    Attributes:
        tls: Servers and sentinels speak TLS alone, and want a client's certificate.
        password: Of the servers. ``sentinel_password``: of the sentinels.
    """

    tls: Certificates | None = None
    password: str = ""
    sentinel_password: str = ""

    @property
    def to_server(self) -> dict[str, Any]:
        """Arguments of a client of a server. ``to_sentinel``: of a sentinel."""
        return {**self._tls, **({"password": self.password} if self.password else {})}

    @property
    def to_sentinel(self) -> dict[str, Any]:
        return {**self._tls, **({"password": self.sentinel_password} if self.sentinel_password else {})}

    @property
    def _tls(self) -> dict[str, Any]:
        return {"ssl": True, **self.tls.as_client} if self.tls else {}


class Member(Valkey):
    """A server, or one that starts as another one's replica."""

    def __init__(self, home: Path, guard: Guard, of: Valkey | None = None) -> None:
        super().__init__(home)
        self._guard, self._of = guard, of
        if guard.tls:
            self.program = tls_program()

    def _command(self) -> list[str]:
        told = {**({"replicaof": f"127.0.0.1 {self._of.port}"} if self._of else {}), "repl-diskless-sync-delay": 0}
        if self._guard.tls:
            told |= options(self._guard.tls, self.port)
        if self._guard.password:
            told |= {"requirepass": self._guard.password, "masterauth": self._guard.password}
        return [*super()._command(), *(str(part) for name, value in told.items() for part in (f"--{name}", value))]

    def client(self, **more: Any) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=2, **self._guard.to_server, **more)

    def _answers(self) -> bool:
        with self.client(retry=None) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False


class Watcher(Valkey):
    """One sentinel."""

    def __init__(self, home: Path, master: Valkey, guard: Guard, quorum: int) -> None:
        super().__init__(home)
        self._guard = guard
        told: dict[str, object] = {"port": self.port, "bind": "127.0.0.1", "dir": home}
        if guard.tls:
            self.program = tls_program()
            told |= options(guard.tls, self.port)
        if guard.sentinel_password:
            told |= {"requirepass": guard.sentinel_password, "sentinel sentinel-pass": guard.sentinel_password}
        told[f"sentinel monitor {MASTER}"] = f"127.0.0.1 {master.port} {quorum}"
        if guard.password:
            told[f"sentinel auth-pass {MASTER}"] = guard.password
        told[f"sentinel down-after-milliseconds {MASTER}"] = DOWN_AFTER_MS
        told[f"sentinel failover-timeout {MASTER}"] = 4000
        self._config = home / "sentinel.conf"  # sentinels write what they learn into it
        self._config.write_text("".join(f"{name} {value}\n" for name, value in told.items()))

    def _command(self) -> list[str]:
        return [self.program, str(self._config), "--sentinel"]

    def client(self, **more: Any) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=2, decode_responses=True, **self._guard.to_sentinel, **more)

    def _answers(self) -> bool:
        with self.client(retry=None) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False


class Watched:
    """The whole: two servers under three sentinels.

    Attributes:
        kombu_url: For Celery, together with the transport option ``master_name``.
        url: For opsdash; of guarded sentinels an app has to say more, as it does to Celery.
        conf: What a Celery app says of them beside ``kombu_url``: ``broker_transport_options``, ``broker_use_ssl``.
    """

    def __init__(self, servers: list[Member], sentinels: list[Watcher], guard: Guard) -> None:
        self._servers, self.sentinels, self._guard = servers, sentinels, guard
        user = f":{guard.password}@" if guard.password else ""
        self.kombu_url = ";".join(f"sentinel://{user}127.0.0.1:{sentinel.port}" for sentinel in sentinels) + "/0"
        self.url = f"{self.kombu_url}?master_name={MASTER}"
        self.conf: dict[str, Any] = {"broker_transport_options": {"master_name": MASTER}}
        if guard.to_sentinel:
            self.conf["broker_transport_options"]["sentinel_kwargs"] = guard.to_sentinel
        if guard.tls:
            self.conf["broker_use_ssl"] = guard.tls.as_client
        self._asking = Sentinel(
            [("127.0.0.1", sentinel.port) for sentinel in sentinels],
            sentinel_kwargs={"socket_timeout": 2, **guard.to_sentinel},
            socket_timeout=2,
            **guard.to_server,
        )

    @property
    def master(self) -> Member:
        """The server that the sentinels name."""
        port = self._asking.discover_master(MASTER)[1]
        return next(server for server in self._servers if server.port == port)

    def client(self) -> redis.Redis:
        """Always the master of now."""
        client: redis.Redis = self._asking.master_for(MASTER, decode_responses=True)
        return client

    def fail_over(self, *, crash: bool) -> Member:
        """Kills the master, or tells the sentinels to change it; returns the one that was."""
        old = self.master
        with old.client() as client:
            assert client.wait(1, 5_000) == 1, "the replica did not follow"
        if crash:
            old.kill()
        else:
            with self.sentinels[0].client() as sentinel:
                sentinel.execute_command("SENTINEL FAILOVER", MASTER)
        assert until(lambda: self._is_another(old), timeout_s=30), "the sentinels did not fail over"
        return old

    def _is_another(self, old: Member) -> bool:
        with contextlib.suppress(MasterNotFoundError, StopIteration, redis.RedisError):
            new = self.master
            with new.client() as client:
                return new is not old and client.info("replication")["role"] == "master"
        return False

    def ready(self) -> bool:
        """Every sentinel knows the replica and the others."""
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                state = client.sentinel_master(MASTER)
                others = len(self.sentinels) - 1
                if state["num-slaves"] < len(self._servers) - 1 or state["num-other-sentinels"] < others:
                    return False
        return True


@contextlib.contextmanager
def watched(home: Path, guard: Guard = Guard(), *, alone: bool = False) -> Iterator[Watched]:
    """Starts all five; they are gone at the end.

    Args:
        guard: Passwords and TLS.
        alone: One server and one sentinel: enough to be found by, in a second.
    """

    def place(name: str) -> Path:
        (home / name).mkdir()
        return home / name

    servers = [Member(place("a"), guard)]
    if not alone:
        servers.append(Member(place("b"), guard, servers[0]))
    sentinels: list[Watcher] = []
    try:
        for server in servers:
            server.start()
        for number in range(1 if alone else 3):
            sentinels.append(Watcher(place(f"s{number}"), servers[0], guard, 1 if alone else 2))
            sentinels[-1].start()
        made = Watched(servers, sentinels, guard)
        assert until(made.ready, timeout_s=30), "the sentinels did not find each other"
        yield made
    finally:
        for server in [*sentinels, *servers]:
            server.kill()
