"""Pauses, clears and restores on generated exchanges, bindings and workers: the same runs as without them."""

from __future__ import annotations

import contextlib
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import redis
from kombu import Exchange
from support.services import Valkey, until
from support.topology_app import TOLD, Topology, make_app
from support.workers import GREEN, Worker, eventually, worker

import opsdash
from opsdash.keys import SENT
from opsdash.services.console import Console

POOLS = ("prefork", "threads")
KEYS = ("order.new", "order.paid", "order.paid.twice", "stock.low", "mail")
PATTERNS = ("order.#", "order.*", "#", "*.low", "order.new", "*.*", "mail")
HEADERS = {"colour": "blue"}


@dataclass(frozen=True)
class Plan:
    """One generated run.

    Attributes:
        consumed: The queues of each worker.
        steps: What is done, in order: a name and its arguments.
    """

    topology: Topology
    consumed: tuple[tuple[str, ...], ...]
    steps: tuple[tuple[str, dict[str, Any]], ...]


def plan(seed: int) -> Plan:
    """The same for the same seed."""
    chance = random.Random(seed)
    exchanges = {f"x{n}": chance.choice(("topic", "topic", "direct")) for n in range(chance.randint(1, 3))}

    def bound() -> tuple[str, str]:
        exchange = chance.choice(list(exchanges))
        return exchange, chance.choice(PATTERNS if exchanges[exchange] == "topic" else KEYS)

    queues = {
        f"q{n}": list(dict.fromkeys(bound() for _ in range(chance.randint(1, 2)))) for n in range(chance.randint(2, 4))
    }
    if chance.random() < 0.5:
        queues["plain"] = [("", "plain")]
    addresses = [address for bindings in queues.values() for address in bindings]
    names = list(queues)
    chance.shuffle(names)
    cut = chance.randint(1, len(names) - 1)
    shared = chance.sample(names, 1) if chance.random() < 0.3 else []
    consumed = (tuple(dict.fromkeys([*names[:cut], *shared])), tuple(dict.fromkeys([*names[cut:], *shared])))

    def publish() -> tuple[str, dict[str, Any]]:
        to_plain = "plain" in queues and chance.random() < 0.3
        exchange, pattern = ("", "plain") if to_plain else chance.choice(addresses)
        return "publish", {
            "exchange": exchange,
            "key": pattern if pattern in KEYS or not exchange else chance.choice(KEYS),
            "number": chance.randint(1, 12),
            "name": chance.choice(("topology.early", "topology.early", "topology.late", "topology.limited")),
            "seconds": chance.choice((0.0, 0.02, 0.2)),
            "countdown": chance.choice((None, None, None, 0.5, 1.5)),
            "priority": chance.choice((0, 3, 9)),
        }

    def step() -> tuple[str, dict[str, Any]]:
        what = chance.random()
        queue = chance.choice([None, *names])
        if what < 0.45:
            return publish()
        if what < 0.65:
            return "pause", {"queue": queue}
        if what < 0.8:
            return "resume", {"queue": queue}
        if what < 0.92:
            return "clear", {"queue": chance.choice(names), "everything": chance.random() < 0.3}
        return "wait", {"seconds": chance.uniform(0.05, 0.6)}

    return Plan(
        Topology(exchanges, queues, {"worker_prefetch_multiplier": chance.choice((1, 4, 0))}),
        consumed,
        (publish(), publish(), *(step() for _ in range(chance.randint(8, 14)))),
    )


class Run:
    """One plan on real workers."""

    def __init__(self, made: Plan, server: Valkey, console: Console) -> None:
        self.plan, self.console = made, console
        self.app = make_app(server.url, made.topology)
        self.app.conf.broker_pool_limit = 0
        self.redis = redis.Redis.from_url(server.url, decode_responses=True)
        self.expected: Counter[tuple[str, str]] = Counter()
        self.sent: dict[str, tuple[str, str]] = {}
        self.paused: set[str | None] = set()

    def do(self, what: str, given: dict[str, Any]) -> None:
        if what == "publish":
            self._publish(**given)
        elif what == "wait":
            time.sleep(given["seconds"])
        elif what == "pause":
            self._act(opsdash.PauseProcessing(queue=given["queue"]))
            self.paused.add(given["queue"])
        elif what == "resume" and given["queue"] in self.paused:
            self._act(opsdash.ResumeProcessing(queue=given["queue"]))
            self.paused.discard(given["queue"])
        elif what == "clear":
            effect = self._act(opsdash.ClearQueue(**given))
            if trash := effect.details["trash_id"]:
                self._act(opsdash.RestoreQueue(trash_id=trash))

    def _act(self, operation: Any) -> Any:
        return self.console.run(operation, actor="maria", confirm="YES")

    def _publish(
        self, exchange: str, key: str, number: int, name: str, seconds: float, countdown: float | None, priority: int
    ) -> None:
        where: dict[str, Any] = {"queue": key}
        if exchange:
            kind = self.plan.topology.exchanges[exchange]
            where = {"exchange": exchange, "routing_key": key, "declare": [Exchange(exchange, type=kind)]}
        with self.app.connection_for_write() as connection:
            for n in range(number):
                sent = self.app.send_task(
                    name,
                    [n, seconds],
                    **where,
                    countdown=countdown,
                    priority=priority,
                    headers=HEADERS,
                    connection=connection,
                )
                self.sent[sent.id] = (exchange, key)
                for queue in self.plan.topology.queues_of(exchange, key):
                    self.expected[(sent.id, queue)] += 1

    def finish(self) -> None:
        """Resumes all and waits until everything has run and nothing is held."""
        for queue in list(self.paused):
            self._act(opsdash.ResumeProcessing(queue=queue))
        total = sum(self.expected.values())
        until(lambda: self.redis.llen(TOLD) >= total, timeout_s=40)
        until(lambda: not self.redis.hlen("unacked"), timeout_s=10)
        time.sleep(0.3)  # a copy too many would run now

    def told(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.redis.lrange(TOLD, 0, -1)]

    def close(self) -> None:
        self.redis.close()
        self.app.close()


@contextlib.contextmanager
def running(made: Plan, server: Valkey, pools: tuple[str, str]) -> Iterator[list[Worker]]:
    env = {"OPSDASH_REDIS_URL": server.url, "TOPOLOGY": made.topology.to_env()}
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(
                worker("support.topology_app:app", pool, queues=queues, env=env, wait=False, concurrency=2)
            )
            for pool, queues in zip(pools, made.consumed, strict=True)
        ]
        for one in workers:
            one.wait_for_log(f"{one.hostname} ready.", timeout_s=40)
        yield workers


SEEDS = [3, *(pytest.param(seed, marks=[pytest.mark.slow, pytest.mark.timeout(240)]) for seed in range(100, 130))]


@pytest.mark.long
@pytest.mark.parametrize("seed", SEEDS)
def test_what_runs_is_what_would_have_run_without_pauses_clears_and_restores(
    valkey: Valkey, console_for: Callable[..., Console], seed: int
) -> None:
    made = plan(seed)
    pools = POOLS if seed % 2 else POOLS[::-1]
    with contextlib.closing(Run(made, valkey, console_for())) as run, running(made, valkey, pools) as workers:
        eventually(lambda: set(made.topology.queues) <= set(run.console.queue_names()), what="all queues are known")
        for what, given in made.steps:
            run.do(what, given)
        run.finish()
        records = run.told()
        by_worker = {one.hostname: set(queues) for one, queues in zip(workers, made.consumed, strict=True)}
        assert Counter(seen["id"] for seen in records) == _by_task(run.expected), made
        _check_each_queue(records, run.expected, by_worker)
        assert run.redis.hlen("unacked") == 0
        for seen in records:
            info = seen["delivery_info"]
            assert (info["exchange"], info["routing_key"]) == run.sent[seen["id"]]
            assert not info["redelivered"], "a pause leaves no mark"
            own = {name: value for name, value in seen["headers"].items() if name != SENT}  # as other tests install it
            assert (seen["retries"], own) == (0, HEADERS)
        assert not [one.log for one in workers if "Traceback" in one.log]


def _by_task(expected: Counter[tuple[str, str]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for (task_id, _), number in expected.items():
        found[task_id] += number
    return found


def _check_each_queue(
    records: list[dict[str, Any]], expected: Counter[tuple[str, str]], by_worker: dict[str, set[str]]
) -> None:
    """Where only one worker consumes a queue, that worker ran the queue's own copy."""
    once = [queue for queue in set().union(*by_worker.values()) if sum(queue in q for q in by_worker.values()) == 1]
    ran = Counter((seen["id"], seen["worker"]) for seen in records)
    for host, queues in by_worker.items():
        least: Counter[str] = Counter()
        for (task_id, queue), number in expected.items():
            if queue in queues and queue in once:
                least[task_id] += number
        assert all(ran[(task_id, host)] >= number for task_id, number in least.items())


TWO_QUEUES = Topology(
    {"orders": "topic"},
    {"billing": [("orders", "order.#")], "stock": [("orders", "order.#")]},
    {"worker_prefetch_multiplier": 4},
)


@pytest.mark.long
@pytest.mark.parametrize("pool", [*POOLS, *(pytest.param(pool, marks=pytest.mark.slow) for pool in ("solo", *GREEN))])
def test_a_paused_queue_that_shares_its_key_with_an_open_one_waits_and_nothing_multiplies(
    valkey: Valkey, console_for: Callable[..., Console], pool: str
) -> None:
    made = Plan(TWO_QUEUES, (("billing", "stock"), ()), ())
    env = {"OPSDASH_REDIS_URL": valkey.url, "TOPOLOGY": TWO_QUEUES.to_env()}
    with (
        contextlib.closing(Run(made, valkey, console_for())) as run,
        worker("support.topology_app:app", pool, queues=["billing", "stock"], env=env) as one,
    ):
        eventually(lambda: "billing" in run.console.queue_names(), what="it reports")
        run.do("pause", {"queue": "billing"})
        eventually(lambda: "billing" in run.console.get_worker_stats()[0].paused_queues, what="it has confirmed")
        given = {"name": "topology.early", "seconds": 0.01, "countdown": None, "priority": 0}
        run.do("publish", {"exchange": "orders", "key": "order.new", "number": 5, **given})
        eventually(lambda: run.redis.llen(TOLD) == 5 and run.redis.hlen("unacked") == 0, what="stock's have run")
        pushed = run.redis.info("commandstats").get("cmdstat_rpush", {}).get("calls", 0)
        time.sleep(1.5)
        again = run.redis.info("commandstats").get("cmdstat_rpush", {}).get("calls", 0)
        assert pushed == again, "nothing goes to and fro"
        assert run.console.get_queue_length("billing") == 5
        run.do("resume", {"queue": "billing"})
        run.finish()
        assert Counter(seen["id"] for seen in run.told()) == dict.fromkeys(run.sent, 2)
        assert "Traceback" not in one.log


@pytest.mark.long
@pytest.mark.parametrize("name", ["topology.early", "topology.late"])
@pytest.mark.parametrize("pool", [*POOLS, *(pytest.param(pool, marks=pytest.mark.slow) for pool in GREEN)])
def test_a_task_sees_no_mark_of_a_pause_and_deduplication_loses_none(
    valkey: Valkey, console_for: Callable[..., Console], pool: str, name: str
) -> None:
    options = {"worker_deduplicate_successful_tasks": True, "result_backend": valkey.url, "task_ignore_result": False}
    topology = Topology(TWO_QUEUES.exchanges, TWO_QUEUES.queues, {**TWO_QUEUES.options, **options})
    made = Plan(topology, (("billing",), ()), ())
    env = {"OPSDASH_REDIS_URL": valkey.url, "TOPOLOGY": topology.to_env()}
    with (
        contextlib.closing(Run(made, valkey, console_for())) as run,
        worker("support.topology_app:app", pool, queues=["billing"], env=env, concurrency=1) as one,
    ):
        given = {"exchange": "orders", "key": "order.new", "countdown": None, "priority": 0, "name": name}
        run.do("publish", {"number": 6, "seconds": 0.5, **given})
        eventually(lambda: run.redis.hlen("unacked") >= (1 if pool in GREEN else 3), what="it has fetched some")
        before = run.redis.llen("billing")
        run.do("pause", {"queue": None})
        eventually(lambda: run.redis.llen("billing") > before, what="they are back")
        run.do("resume", {"queue": None})
        until(lambda: run.redis.llen(TOLD) >= 6, timeout_s=20)
        assert Counter(seen["id"] for seen in run.told()) == dict.fromkeys(run.sent, 1)
        assert {seen["delivery_info"]["redelivered"] for seen in run.told()} == {False}
        assert "Traceback" not in one.log
