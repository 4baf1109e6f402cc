"""A master, a replica and three real sentinels that fail over between them within a second or two."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import redis
from redis.sentinel import MasterNotFoundError, Sentinel
from support.services import Valkey, until

MASTER = "mymaster"
DOWN_AFTER_MS = 500


class Replica(Valkey):
    """A server that starts as another one's replica."""

    def __init__(self, home: Path, of: Valkey) -> None:
        super().__init__(home)
        self._of = of

    def _command(self) -> list[str]:
        return [*super()._command(), "--replicaof", f"127.0.0.1 {self._of.port}", "--repl-diskless-sync-delay", "0"]


class Watcher(Valkey):
    """One sentinel."""

    def __init__(self, home: Path, master: Valkey) -> None:
        super().__init__(home)
        config = home / "sentinel.conf"  # sentinels write what they learn into it
        config.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {home}\n"
            f"sentinel monitor {MASTER} 127.0.0.1 {master.port} 2\n"
            f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {MASTER} 4000\n"
        )
        self._config = config

    def _command(self) -> list[str]:
        return [self.program, str(self._config), "--sentinel"]


class Watched:
    """The whole: two servers under three sentinels.

    Attributes:
        kombu_url: For Celery, together with the transport option ``master_name``.
        url: For opsdash.
    """

    def __init__(self, servers: list[Valkey], sentinels: list[Watcher]) -> None:
        self._servers, self._sentinels = servers, sentinels
        self.kombu_url = ";".join(f"sentinel://127.0.0.1:{sentinel.port}" for sentinel in sentinels) + "/0"
        self.url = f"{self.kombu_url}?master_name={MASTER}"
        self._asking = Sentinel([("127.0.0.1", sentinel.port) for sentinel in sentinels], socket_timeout=2)

    @property
    def master(self) -> Valkey:
        """The server that the sentinels name."""
        port = self._asking.discover_master(MASTER)[1]
        return next(server for server in self._servers if server.port == port)

    def client(self) -> redis.Redis:
        """Always the master of now."""
        client: redis.Redis = self._asking.master_for(MASTER, decode_responses=True)
        return client

    def fail_over(self, *, crash: bool) -> Valkey:
        """Kills the master, or tells the sentinels to change it; returns the one that was."""
        old = self.master
        with redis.Redis(port=old.port) as client:
            assert client.wait(1, 5_000) == 1, "the replica did not follow"
        if crash:
            old.kill()
        else:
            with redis.Redis(port=self._sentinels[0].port) as sentinel:
                sentinel.execute_command("SENTINEL FAILOVER", MASTER)
        assert until(lambda: self._is_another(old), timeout_s=30), "the sentinels did not fail over"
        return old

    def _is_another(self, old: Valkey) -> bool:
        with contextlib.suppress(MasterNotFoundError, StopIteration, redis.RedisError):
            new = self.master
            with redis.Redis(port=new.port, socket_timeout=2) as client:
                return new is not old and client.info("replication")["role"] == "master"
        return False

    def ready(self) -> bool:
        """Every sentinel knows the replica and both others."""
        for sentinel in self._sentinels:
            with redis.Redis(port=sentinel.port, decode_responses=True) as client:
                state = client.sentinel_master(MASTER)
                if state["num-slaves"] < 1 or state["num-other-sentinels"] < 2:
                    return False
        return True


@contextlib.contextmanager
def watched(home: Path) -> Iterator[Watched]:
    """Starts all five; they are gone at the end."""

    def place(name: str) -> Path:
        (home / name).mkdir()
        return home / name

    servers: list[Valkey] = [Valkey(place("a"))]
    servers.append(Replica(place("b"), servers[0]))
    sentinels: list[Watcher] = []
    try:
        for server in servers:
            server.start()
        for number in range(3):
            sentinels.append(Watcher(place(f"s{number}"), servers[0]))
            sentinels[-1].start()
        made = Watched(servers, sentinels)
        assert until(made.ready, timeout_s=30), "the sentinels did not find each other"
        yield made
    finally:
        for server in [*sentinels, *servers]:
            server.kill()
