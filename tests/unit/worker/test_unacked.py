"""A full Redis that refuses kombu's acknowledgement too, as up to 7.2: the tests' own server does not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import redis

from opsdash.worker import unacked


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> Any:
    """One whose Redis refuses all transactions; ``asked`` are the scripts' keys and arguments, ``done`` the tags."""
    done: list[str] = []

    def refuse(*_: Any, **__: Any) -> None:
        raise redis.OutOfMemoryError("command not allowed when used memory > 'maxmemory'")

    qos = SimpleNamespace(
        append=refuse, ack=refuse, reject=refuse, unacked_key="unacked", unacked_index_key="unacked_index"
    )
    made = SimpleNamespace(qos=qos, global_keyprefix="team:", asked=[], done=done)
    client = SimpleNamespace(eval=lambda _script, _keys, *rest: made.asked.append(rest))
    monkeypatch.setattr(unacked, "client_of", lambda _channel: client)
    monkeypatch.setattr(unacked, "_FORGET", lambda _qos, tag: done.append(tag))
    unacked.FullRedis(made)
    return made


def test_what_is_done_is_acknowledged_and_what_is_rejected_is_taken_away(channel: Any) -> None:
    channel.qos.ack("one")
    channel.qos.reject("two")
    assert channel.asked == [("team:unacked", "team:unacked_index", tag) for tag in ("one", "two")]
    assert channel.done == ["one", "two"]


def test_what_is_to_be_put_back_stays_unacknowledged(channel: Any) -> None:
    with pytest.raises(redis.OutOfMemoryError):
        channel.qos.reject("one", requeue=True)
    assert (channel.asked, channel.done) == ([], [])
