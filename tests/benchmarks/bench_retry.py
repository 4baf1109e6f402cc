"""Sending failed tasks again, discarding and restoring them, and how long another client waits meanwhile.

Beside it what one would write: each entry read, its message pushed and the entry deleted, three commands for each. That
way loses or doubles what it was at when it is killed.
"""

from __future__ import annotations

from collections.abc import Callable

from stage import server
from stall import timed
from support.failed_tasks import failed, keep, message

from opsdash.config.settings import Settings
from opsdash.services.broker.client import Broker, connect
from opsdash.services.failures.discard import Discarded
from opsdash.services.failures.message_edit import Change
from opsdash.services.failures.retry import Retry
from opsdash.services.failures.selection import Meant, RetryPlan, plan, redis_now
from opsdash.services.failures.store import FailureFilter, FailureStore

ALL = Meant(where=FailureFilter(task="*"))
RESET = Change(retries=True, times=True)


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], str]:
    """Milliseconds of each way, and the longest PING of another client while it ran."""
    number, rounds = (2_000, 2) if quick else (10_000, 7)
    figures: dict[str, list[float]] = {}
    with server() as made:
        broker = connect(Settings.from_env({}, redis_url=made.url, queues=("celery",)))
        run = Run(broker, made.url, figures)
        for _ in range(rounds):
            for way in (run.retry, run.one_by_one, run.discard_and_restore):
                broker.client.flushall()
                run.ids = fill(broker, number)
                run.record(f"preview of {number:,}", run.look)
                way()
                waits, kept = broker.client.llen("celery"), FailureStore(broker).page().total
                if (waits, kept) not in {(number, 0), (0, number)}:
                    raise RuntimeError(f"{way.__name__}: {waits:,} wait and {kept:,} are kept, of {number:,}")
        broker.client.close()
    pairs = {"one by one / opsdash": ("one by one", "opsdash retry")}
    return figures, pairs, "ms"


class Run:
    """One set of failures, and the ways to deal with them."""

    def __init__(self, broker: Broker, url: str, figures: dict[str, list[float]]) -> None:
        self.broker, self.url, self.figures = broker, url, figures
        self.ids: list[str] = []
        self.planned: RetryPlan

    def record(self, name: str, act: Callable[[], object]) -> None:
        """Runs it; notes both figures."""
        took = timed(act, self.url)
        self.figures.setdefault(name, []).append(took.ms)
        self.figures.setdefault(f"{name}, longest stall", []).append(took.stall_ms)

    def look(self) -> None:
        """What a preview reads."""
        failures = ALL.read(FailureStore(self.broker), redis_now(self.broker))
        self.planned = plan(self.broker, ALL, failures, known=("celery",), workers=())

    def retry(self) -> None:
        """With retries and ETA to reset in each."""
        self.record("opsdash retry", lambda: Retry(self.broker).send(self.planned, RESET, audit_id="a"))

    def one_by_one(self) -> None:
        """As one would write it."""

        def act() -> None:
            keys = self.broker.keys
            for kept in FailureStore(self.broker).messages(self.ids):
                self.broker.client.lpush(kept.list, kept.message)
                self.broker.client.delete(keys.failed_entry(kept.id))
                self.broker.client.zrem(keys.failed, kept.id)

        self.record("one by one", act)

    def discard_and_restore(self) -> None:
        """Into the trash and back."""
        discarded, going = Discarded(self.broker), self.planned.going
        self.record("opsdash discard", lambda: discarded.take(going, by="b", keep_s=600, trash_id="t"))
        self.record("opsdash restore", lambda: discarded.restore("t", by="b"))


def fill(broker: Broker, number: int) -> list[str]:
    """As many failures, each with a message of about 1 kB that has something to reset, and a traceback."""
    ids = [f"{at:08d}-0000-4000-8000-000000000000" for at in range(number)]
    for start in range(0, number, 1_000):
        keep(
            broker,
            (
                failed(
                    one,
                    message=message(one, kwargs={"note": "x" * 100}, retries=2, eta="2026-01-01T00:00:00+00:00"),
                    retries="2",
                    traceback="Traceback …" * 100,
                )
                for one in ids[start : start + 1_000]
            ),
            most=20_000,
        )
    return ids
