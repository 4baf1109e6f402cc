"""Who else is there, by what Redis itself knows: how many heard a broadcast, and which connections fetch messages."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import redis

from opsdash.model import untrusted
from opsdash.model.worker import Connection
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker

CLIENT_NAME = "opsdash-asking"
"""The name of the connections by which consoles ask workers: they fetch answers as workers fetch tasks."""
FETCH = "brpop"
"""kombu's command for the next message. It has one connection for it per worker, and sends nothing else there."""
BLOCKED = "b"
MOST_CONNECTIONS = 30_000
"""Some 350 bytes each, and 2 µs in which Redis serves nobody else. A worker has about seven."""


class _Counting:
    """A Redis client that notes how many have heard what it publishes."""

    def __init__(self, client: Any, receivers: list[int]) -> None:
        self._client, self._receivers = client, receivers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def publish(self, *args: Any, **options: Any) -> Any:
        """As the client's; kombu drops the answer."""
        number = self._client.publish(*args, **options)
        if isinstance(number, int):
            self._receivers.append(number)
        return number


class _CompleteError(Exception):
    """Everybody who has heard the question has answered it."""


def broadcast(
    control: Any, connection: Any, command: str, *, timeout_s: float, arguments: Mapping[str, Any] | None = None
) -> tuple[list[dict[str, Any]], int | None]:
    """Asks every worker by remote control, until all who heard it have answered or nobody does for so long.

    Returns:
        One answer per process, hostname → what it said, also where two have one name; and how many connections have
        heard the question, None where that can't be counted.
    """
    channel = connection.default_channel
    receivers: list[int] = []
    if hasattr(channel, "conn_or_acquire"):
        acquire = channel.conn_or_acquire

        @contextmanager
        def counting(client: Any = None) -> Iterator[Any]:
            with acquire(client) as acquired:
                yield _Counting(acquired, receivers)

        channel.conn_or_acquire = counting
    replies: list[dict[str, Any]] = []

    def take(reply: dict[str, Any]) -> None:
        replies.append(reply)
        if receivers and len(replies) >= sum(receivers):
            raise _CompleteError

    mailbox = control.mailbox(connection)  # it publishes by this channel, which counts: see `control_once`
    with suppress(_CompleteError):
        mailbox._broadcast(command, arguments=arguments, reply=True, timeout=timeout_s, callback=take, channel=channel)
    return replies, sum(receivers) if receivers else None


def fetching(broker: Broker, known: Collection[int]) -> tuple[Connection, ...]:
    """Connections to this database whose last command fetched a message, and that nobody has named.

    Cost: one CLIENT LIST, O(connections), after one INFO that counts them.

    Raises:
        redis.RedisError: Redis does not tell: managed ones, and users without the right, refuse it. Or it has more than
            `MOST_CONNECTIONS`.
    """
    database = str(broker.client.connection_pool.connection_kwargs.get("db") or 0)
    return tuple(
        Connection(address=str(client.get("addr", "")), blocked=BLOCKED in str(client.get("flags", "")))
        for client in _fetchers(broker)
        if client.get("db") == database and not (str(client.get("id", "")).isdigit() and int(client["id"]) in known)
    )


def nobody(broker: Broker) -> bool:
    """Redis shows that no worker is connected, and that none has left anything behind that would be one's.

    No client fetches messages, in any database, or listens to remote control; no mailbox is bound, as one is until its
    worker shuts down; no message is unacknowledged. So a worker counts as present if a proxy closed its connections
    while it is busy. A worker that has done nothing since Redis started leaves no trace. False if Redis does not say.

    Cost: as ``fetching``, and one round trip.

    Raises:
        redis.ConnectionError: It does not answer.
    """
    layout = broker.layout
    try:
        with broker.client.pipeline(transaction=False) as pipe:
            pipe.pubsub_numpat()
            pipe.hlen(broker.unacked)
            pipe.exists(layout.binding(f"{layout.control_exchange}.pidbox"))
            patterns, *traces = pipe.execute(raise_on_error=False)
        found = [bounded_reads.typed(one, 0) for one in (patterns, *traces)]  # another type holds no message
        return not any(found) and not _fetchers(broker)
    except (redis.ConnectionError, redis.TimeoutError):
        raise
    except redis.RedisError:  # refused: not known
        return False


def _fetchers(broker: Broker) -> list[Mapping[str, Any]]:
    """Of all databases, those whose last command was `FETCH`, but for consoles that ask workers."""
    number = untrusted.whole(broker.client.info("clients").get("connected_clients"))
    if number is not None and number > MOST_CONNECTIONS:
        raise redis.ResponseError(f"{number:,} connections; {MOST_CONNECTIONS:,} at most are looked through")
    # As text: redis-py would make a mapping of thirty fields of each connection, of which few are looked at. Those that
    # listen to channels, three of each worker's, are left out: Redis lets them fetch nothing.
    with broker.client.pipeline(transaction=False) as pipe:
        pipe.execute_command("CLIENT", "LIST", "TYPE", "normal")  # type: ignore[no-untyped-call] # redis-py has no type
        (listed,) = pipe.execute()
    mark = f" cmd={FETCH} "
    found = (dict(part.partition("=")[::2] for part in line.split()) for line in listed.splitlines() if mark in line)
    return [client for client in found if client.get("name") != CLIENT_NAME]


def refusal(error: redis.RedisError) -> str:
    """Why Redis does not tell, in one line."""
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
