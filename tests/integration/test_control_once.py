"""A command to workers goes out once, by a connection that gives up, and what is said of it is true."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import redis
from celery import Celery

from opsdash.errors import Unavailable, Uncertain
from opsdash.services.broker import writes
from opsdash.services.console import Console
from opsdash.services.workers import control_once

GROW = {"a@h": {"n": 1}}


@pytest.fixture
def console(console_for: Callable[..., Console]) -> Console:
    """Of a broker on which somebody answers remote control, as far as one can see."""
    made = console_for()
    layout = made.broker.layout
    member = layout.separator.join(["", "", "a@h.celery.pidbox"])
    made.broker.client.sadd(layout.binding("celery.pidbox"), member)
    return made


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The connections that commands went by; the answer to each is lost."""
    seen: list[Any] = []

    def publish(self: redis.Redis, *_: Any, **__: Any) -> Any:
        seen.append(self.connection_pool.connection_kwargs)
        raise redis.TimeoutError("Timeout reading from socket")

    monkeypatch.setattr(redis.Redis, "publish", publish)
    return seen


@pytest.mark.timeout(20)
def test_a_command_whose_answer_is_lost_is_not_sent_again_and_its_end_is_uncertain(
    console: Console, published: list[Any]
) -> None:
    with writes.watching(), pytest.raises(Uncertain, match="may have received the command or not"):
        console.services.remote.tell("pool_grow", GROW)
    (connection,) = published
    assert (connection["socket_timeout"], connection["retry_on_timeout"]) == (2.0, False)


@pytest.mark.timeout(20)
def test_a_question_whose_answer_is_lost_is_an_outage_and_changes_nothing(
    console: Console, published: list[Any]
) -> None:
    with pytest.raises(Unavailable, match="no answer within 2 s"):
        console.services.remote.ask("stats", ["a@h"])
    assert len(published) == 1


def test_the_apps_own_remote_control_stays_as_it_is() -> None:
    app = Celery("t", broker="memory://", set_as_current=False)
    with app.connection_for_write() as connection:
        made = control_once.over(app.control, connection)
        assert made.mailbox(connection).producer_pool is not app.control.mailbox.producer_pool
        assert made.inspect(["a@h"]).app.control is made
        assert app.control.inspect(["a@h"]).app is app
    app.close()
