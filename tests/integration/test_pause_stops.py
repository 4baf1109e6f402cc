"""Paused workers on a topic exchange that stop, die, wait too long or fetch in other ways: each copy runs once."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from kombu import Exchange
from support.services import Valkey, until
from support.topology_app import TOLD, Topology, make_app
from support.workers import Worker, eventually, worker

from opsdash.services.console import Console

POOLS = ("prefork", "threads")
ORDERS = Exchange("orders", type="topic")


class Orders:
    """Two queues bound with one key; each order goes to both."""

    def __init__(self, server: Valkey, console: Console, **options: Any) -> None:
        queues = {name: [("orders", "order.#")] for name in ("billing", "stock")}
        self.topology = Topology({"orders": "topic"}, queues, options)
        self.env = {"OPSDASH_REDIS_URL": server.url, "TOPOLOGY": self.topology.to_env()}
        self.app = make_app(server.url, self.topology)
        self.app.conf.broker_pool_limit = 0
        self.redis = redis.Redis.from_url(server.url, decode_responses=True)
        self.flags, self.workers = console.pause, console.workers
        self.sent: list[str] = []

    def worker(self, pool: str, **options: Any) -> contextlib.AbstractContextManager[Worker]:
        return worker("support.topology_app:app", pool, queues=["billing", "stock"], env=self.env, **options)

    def send(self, number: int, name: str = "topology.early", seconds: float = 0.05, **options: Any) -> None:
        with self.app.connection_for_write() as connection:
            for n in range(number):
                sent = self.app.send_task(
                    name,
                    [n, seconds],
                    exchange="orders",
                    routing_key="order.new",
                    declare=[ORDERS],
                    connection=connection,
                    **options,
                )
                self.sent.append(sent.id)

    def pause(self, running: Worker) -> None:
        """Returns when this worker has confirmed it and runs nothing."""
        epoch = self.flags.pause(None, by="maria", reason="", ttl_s=600).epoch

        def stopped() -> bool:
            reports = [w for w in self.workers.read() if w.hostname == running.hostname]
            return bool(reports) and reports[0].epoch == epoch and reports[0].active == reports[0].reserved == 0

        eventually(stopped, what=f"{running.hostname} has stopped", timeout_s=20)

    def resume(self) -> None:
        self.flags.resume(None)

    def waiting(self) -> int:
        return int(self.redis.llen("billing") + self.redis.llen("stock"))

    def unacked(self) -> int:
        return int(self.redis.hlen("unacked"))

    def begun(self) -> int:
        return int(self.redis.llen(TOLD))

    def check_each_copy_once(self, *, starts: int = 1) -> None:
        """Each copy has begun once, or so often as its task makes it."""
        total = 2 * len(self.sent) * starts
        until(lambda: self.begun() >= total and not self.unacked(), timeout_s=40)
        time.sleep(0.3)  # a copy too many would run now
        records = list(self.redis.lrange(TOLD, 0, -1))
        ran = Counter(sent for line in records for sent in self.sent if sent in line)
        assert ran == dict.fromkeys(self.sent, 2 * starts)
        assert (self.waiting(), self.unacked()) == (0, 0)

    def close(self) -> None:
        self.redis.close()
        self.app.close()


@pytest.fixture
def orders_for(valkey: Valkey, console_for: Callable[..., Console]) -> Iterator[Callable[..., Orders]]:
    with contextlib.ExitStack() as stack:

        def make(**options: Any) -> Orders:
            return stack.enter_context(contextlib.closing(Orders(valkey, console_for(), **options)))

        yield make


WAYS = {"warm": signal.SIGTERM, "cold": signal.SIGQUIT, "killed": signal.SIGKILL}


@pytest.mark.long
@pytest.mark.parametrize(
    ("pool", "way"),
    [
        ("prefork", "warm"),
        ("threads", "killed"),
        *(
            pytest.param(pool, way, marks=pytest.mark.slow)
            for pool in POOLS
            for way in WAYS
            if (pool, way) not in (("prefork", "warm"), ("threads", "killed"))
        ),
    ],
)
def test_a_worker_that_stops_while_paused_leaves_every_copy_in_its_own_queue(
    orders_for: Callable[..., Orders], pool: str, way: str
) -> None:
    orders = orders_for()
    with orders.worker(pool) as running:
        orders.send(30)
        eventually(lambda: orders.begun() >= 4, what="some have begun")
        orders.pause(running)
        begun = orders.begun()
        os.killpg(running.pid, WAYS[way]) if way == "killed" else os.kill(running.pid, WAYS[way])
        eventually(lambda: not running.running, what="it has ended", timeout_s=20)
    assert (orders.waiting() + begun, orders.unacked()) == (60, 0)
    with orders.worker(pool) as successor:
        orders.pause(successor)
        assert orders.begun() == begun, "the next worker starts paused"
        orders.resume()
        orders.check_each_copy_once()


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("name", ["topology.early", "topology.late"])
def test_a_worker_that_is_stopped_warmly_amid_its_work_gives_back_what_it_had_not_begun(
    orders_for: Callable[..., Orders], pool: str, name: str
) -> None:
    orders = orders_for(worker_prefetch_multiplier=8)
    with orders.worker(pool) as running:
        orders.send(40, name)
        eventually(lambda: orders.begun() >= 4, what="some have begun")
        running.stop()
    with orders.worker(pool):
        orders.check_each_copy_once()


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
def test_a_soft_shutdown_during_a_pause_loses_nothing(orders_for: Callable[..., Orders], pool: str) -> None:
    orders = orders_for(worker_soft_shutdown_timeout=2.0, worker_enable_soft_shutdown_on_idle=True)
    with orders.worker(pool) as running:
        orders.send(30)
        eventually(lambda: orders.begun() >= 4, what="some have begun")
        orders.pause(running)
        os.kill(running.pid, signal.SIGQUIT)
        eventually(lambda: not running.running, what="it has ended", timeout_s=20)
    with orders.worker(pool):
        orders.resume()
        orders.check_each_copy_once()


@pytest.mark.long
@pytest.mark.parametrize("pool", ["threads", pytest.param("prefork", marks=pytest.mark.slow)])
def test_a_visibility_timeout_that_ends_during_a_pause_doubles_no_scheduled_task(
    orders_for: Callable[..., Orders], pool: str
) -> None:
    options = {"visibility_timeout": 2, "priority_steps": [0, 3, 6, 9], "queue_order_strategy": "priority"}
    orders = orders_for(broker_transport_options=options)
    with orders.worker(pool) as running:
        orders.send(5, countdown=7)
        eventually(lambda: orders.unacked() == 10, what="they wait in the worker's timer")
        orders.pause(running)
        time.sleep(2.1)
        with orders.worker(pool):  # kombu looks for what is overdue when a worker starts
            eventually(lambda: orders.waiting() == 10, what="they are in their own queues again", timeout_s=20)
            eventually(
                lambda: _scheduled(orders, running) == 0, what="the first worker has met the pause", timeout_s=20
            )
            assert (orders.waiting(), orders.begun()) == (10, 0), "not once more"
            orders.resume()
            orders.check_each_copy_once()


def _scheduled(orders: Orders, running: Worker) -> int:
    return next(w.scheduled for w in orders.workers.read() if w.hostname == running.hostname)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pool", "options", "arguments"),
    [
        ("prefork", {"worker_disable_prefetch": True}, []),
        ("threads", {"worker_disable_prefetch": True}, []),
        ("prefork", {"worker_prefetch_multiplier": 1, "task_acks_late": True}, ["-O", "fair"]),
        ("prefork", {}, ["--max-tasks-per-child", "3"]),
        ("prefork", {}, ["--max-memory-per-child", "1"]),
        ("prefork", {"worker_prefetch_multiplier": 0}, []),
        ("solo", {}, []),
    ],
    ids=str,
)
def test_other_ways_to_fetch_and_to_replace_children_lose_and_double_nothing(
    orders_for: Callable[..., Orders], pool: str, options: dict[str, Any], arguments: list[str]
) -> None:
    orders = orders_for(**options)
    with orders.worker(pool, arguments=arguments) as running:
        orders.send(40, seconds=0.02)
        for number in (6, 30, 50):
            eventually(lambda number=number: orders.begun() >= number, what=f"{number} have begun", timeout_s=30)
            orders.pause(running)
            before = orders.begun()
            assert orders.waiting() + before == 80
            time.sleep(0.3)
            assert orders.begun() == before
            orders.resume()
        orders.check_each_copy_once()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("pool", POOLS)
def test_worker_direct_and_bindings_that_are_deleted_change_nothing(
    orders_for: Callable[..., Orders], pool: str
) -> None:
    orders = orders_for(worker_direct=True, worker_prefetch_multiplier=8)
    with orders.worker(pool) as running:
        orders.send(20)
        direct = f"{running.hostname}.dq2"
        with orders.app.connection_for_write() as connection:
            for n in range(20):
                orders.app.send_task(
                    "topology.early", [n, 0.05], exchange="C.dq2", routing_key=running.hostname, connection=connection,
                    declare=[Exchange("C.dq2", type="direct")],
                )  # fmt: skip
        eventually(lambda: orders.begun() >= 4, what="some have begun")
        orders.redis.delete("_kombu.binding.orders", "_kombu.binding.C.dq2")
        orders.pause(running)
        assert orders.waiting() + orders.redis.llen(direct) + orders.begun() == 60
        orders.resume()
        eventually(lambda: orders.begun() == 60 and not orders.unacked(), what="all have run", timeout_s=30)
        orders.check_each_copy_once()


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
def test_a_copy_that_its_task_gives_back_goes_to_its_own_queue_before_and_after_a_pause(
    orders_for: Callable[..., Orders], pool: str
) -> None:
    orders = orders_for(worker_prefetch_multiplier=4)
    with orders.worker(pool) as running:
        orders.send(20, "topology.again")
        for number in (4, 30):
            eventually(lambda number=number: orders.begun() >= number, what=f"{number} have begun", timeout_s=30)
            orders.pause(running)
            before = orders.begun()
            time.sleep(0.3)
            assert (orders.begun(), orders.unacked()) == (before, 0), "one that was given back is not fetched again"
            orders.resume()
        orders.check_each_copy_once(starts=2)


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
def test_messages_in_pickle_and_compressed_come_back_and_run_once(orders_for: Callable[..., Orders], pool: str) -> None:
    orders = orders_for(worker_prefetch_multiplier=16, accept_content=["json", "pickle"])
    orders.env["C_FORCE_ROOT"] = "yes"  # Celery refuses pickle as root
    with orders.worker(pool) as running:
        orders.send(30, seconds=0.1, serializer="pickle", compression="zlib")
        eventually(lambda: orders.begun() >= 4, what="some have begun")
        orders.pause(running)
        assert orders.waiting() + orders.begun() == 60
        orders.resume()
        orders.check_each_copy_once()
