"""Users of a Redis-protocol server with just so many rights, and what they were refused."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

import redis
from support.services import Valkey

from opsdash.services.broker.acl import Right

PASSWORD = "pw"
HANDSHAKE = {"client|setinfo"}
"""What redis-py tells of itself at each connection: a refusal is no matter to it."""


@contextlib.contextmanager
def user(server: Valkey, name: str, *rules: str) -> Iterator[str]:
    """The URL of a user with these rights, gone at the end."""
    with redis.Redis.from_url(server.url) as client:
        client.execute_command("ACL", "SETUSER", name, "reset", "on", f">{PASSWORD}", *rules)
        client.execute_command("ACL", "LOG", "RESET")
        try:
            yield server.url.replace("redis://", f"redis://{name}:{PASSWORD}@")
        finally:
            client.execute_command("ACL", "DELUSER", name)


def only(rights: Iterable[Right]) -> list[str]:
    """The rules that give these rights."""
    return [right.grant for right in rights]


def refused(server: Valkey, name: str) -> set[str]:
    """Commands, keys and channels that the server has refused to a user."""
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        entries: list[Any] = client.acl_log(500)
    return {str(entry["object"]).lower() for entry in entries if entry["username"] == name} - HANDSHAKE
