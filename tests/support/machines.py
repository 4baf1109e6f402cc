"""What the state machines of tests/property share: a queue of two priorities in a Redis, and how a step dies."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from opsdash.model.key_layout import Layout
from opsdash.services.broker.client import Broker
from opsdash.services.broker.key_layout import Layouts
from opsdash.services.pause.flags import PauseFlags
from opsdash.services.queues import lock

PRIORITIES = (0, 9)
STEPS = st.sampled_from(PRIORITIES)
Lists = dict[int, list[str]]


def name_of(text: str | bytes) -> str:
    """Of a message: its delivery tag."""
    return str(json.loads(text)["properties"]["delivery_tag"])


def empty() -> Lists:
    """A list for each priority."""
    return {step: [] for step in PRIORITIES}


class Killed(BaseException):
    """Stands for ``kill -9``: nothing is tidied up."""


class QueuesMachine(RuleBasedStateMachine):
    """One queue in a Redis of its own, and the model of what waits in it, next to run first."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__()
        self.client = client
        self.patch = pytest.MonkeyPatch()

    def begin(self, step: int) -> None:
        """An empty Redis; what is moved in steps moves so many messages in each."""
        self.patch.setattr(lock, "FIRST_STEP", step)
        self.patch.setattr(lock, "LARGEST_STEP", step)
        self.patch.setattr(lock, "STEP_S", 60.0)  # a slow moment must not make another number of steps
        self.client.flushall()
        self.broker = Broker(self.client, Layouts.fixed(self.client, Layout()), "test", ("celery",))
        self.lists = self.broker.lists("celery")
        self.waiting = empty()
        self.numbers = count()

    def set_pause(self, pause: bool) -> None:
        """Of the queue."""
        flags = PauseFlags(self.broker)
        if pause:
            flags.pause("celery", by="maria", reason="", ttl_s=600)
        else:
            flags.resume("celery")

    def read(self, key: str) -> list[str]:
        """Names in a list, the next to run first."""
        return [name_of(text) for text in self.client.lrange(key, 0, -1)[::-1]]

    def teardown(self) -> None:
        self.patch.undo()


@contextlib.contextmanager
def dying(call: int, *steps: tuple[Any, str], also: tuple[type[BaseException], ...] = ()) -> Iterator[None]:
    """What runs in it is killed in place of its step of this number; 0: it lives on.

    Args:
        steps: Owner and name of each function that is a step. ``also``: what else ends it well.
    """
    calls = count(1)

    def deadly(run: Any) -> Any:
        def dies(*args: Any, **options: Any) -> Any:
            if next(calls) == call:
                raise Killed
            return run(*args, **options)

        return dies

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in steps:
            patch.setattr(owner, name, deadly(getattr(owner, name)))
        with contextlib.suppress(Killed, *also):
            yield
