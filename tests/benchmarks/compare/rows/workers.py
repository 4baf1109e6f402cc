"""Workers: pause and resume, health, all there is to see, metrics, throughput, memory of the server that looks."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import redis
from bench_pause_latency import FLOOR_MS, HOLD_S, RUN_S, one_round
from bench_throughput import WAYS
from stage import client as client_of
from stage import family, let_go, prepared, server
from stage import throughput as throughput_of
from support.sample_app import STARTED, make_app
from support.workers import Records, eventually, worker

import opsdash
from opsdash.keys import Keys
from opsdash.model.key_layout import Layout
from opsdash.services.queues.read import Queues

from .. import servers
from ..work import Bench, Contestant, Figure, Found, does_not, fetched, limit, ms, own, rival, scratch, work

HEARD = """
import sys, time, redis
client = redis.Redis.from_url(sys.argv[1])
heard = client.pubsub()
heard.subscribe("nudge")
client.set("ready", 1)
for message in heard.listen():
    if message["type"] == "message":
        client.rpush("heard", time.time())
"""
BARE = """
import asyncio, sys, tornado.web
class Answer(tornado.web.RequestHandler):
    def get(self):
        self.write(b"x" * int(sys.argv[2]))
async def main():
    tornado.web.Application([("/", Answer)]).listen(int(sys.argv[1]), "127.0.0.1")
    await asyncio.Event().wait()
asyncio.run(main())
"""
WORKERS, QUEUES, MESSAGES = 8, 20, 100_000
TOKEN = "a-token-of-the-benchmark"
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@work(
    Figure("pause", "the last start of a task after a pause; four slots busy with tasks of 10 ms", "ms"),
    Figure("resume", "the first start after the resume", "ms"),
)
def pause(bench: Bench) -> list[Contestant]:
    """Two workers of two slots each; RQ's four workers have one each."""
    broker = bench.broker()
    ops, records = bench.console(broker), bench.enter(contextlib.closing(Records(broker.url)))
    app = bench.enter(contextlib.closing(make_app(broker.url)))
    names = [bench.enter(worker(concurrency=2, env={"OPSDASH_REDIS_URL": broker.url})).hostname for _ in range(2)]
    eventually(lambda: len(ops.get_active_workers()) == 2, what="both workers report")

    def by(stop: Callable[[], Any], go: Callable[[], Any]) -> Callable[[], Found]:
        def once() -> Found:
            last_ms, first_ms = one_round(stop, go, app, records)
            Queues(ops.broker).clear("celery", by="bench", keep_s=0)
            go()
            return {"pause": last_ms, "resume": first_ms}

        return once

    def through_flower() -> Callable[[], Found]:
        running = bench.enter(servers.flower(bench.rivals, broker.url))
        servers.settled(lambda: all(name.encode() in fetched(running.port, "/api/workers") for name in names), "Flower")

        def each(what: str) -> Callable[[], None]:
            paths = [f"/api/worker/queue/{what}/{name}?queue=celery" for name in names]
            return lambda: [fetched(running.port, path, method="POST") for path in paths] and None

        return by(each("cancel-consumer"), each("add-consumer"))

    def act(operation: Any) -> Callable[[], Any]:
        return lambda: ops.run(operation, actor="bench", confirm="YES")

    return [
        own(
            "opsdash",
            "audited in SQLite",
            by(act(opsdash.PauseProcessing(reason="x")), act(opsdash.ResumeProcessing())),
        ),
        own(
            "the flag alone",
            "",
            by(
                lambda: ops.pause.pause(None, by="bench", reason="", ttl_s=600),
                lambda: ops.pause.resume(None),
            ),
        ),
        Contestant(
            "Celery",
            "rival",
            "`control cancel_consumer`, `add_consumer`",
            by(lambda: app.control.cancel_consumer("celery"), lambda: app.control.add_consumer("celery")),
        ),
        rival("Flower", "the same, a request for each worker", through_flower),
        rival("RQ", "`suspend`, `resume`", lambda: rq_paused(bench)),
        *does_not("Dramatiq", "Taskiq"),
        *does_not("Huey", why="`revoke_all` discards what waits"),
        limit("`PUBLISH`, until a subscriber has it", heard(bench)),
    ]


def rq_paused(bench: Bench) -> Callable[[], Found]:
    """RQ's own pause. A worker looks between two jobs, so the jobs run when it is told."""
    broker = bench.broker()
    driver, client = bench.driver("rq", broker), bench.enter(client_of(broker))
    for at in range(4):
        bench.enter(servers.rq_worker(bench.rivals, broker.url, f"w{at}"))
    servers.settled(lambda: driver.ask("workers")[1] == 4, "RQ's workers")

    def starts() -> list[float]:
        return [float(at) for at in client.lrange("started", 0, -1)]

    def once() -> Found:
        client.delete("started")
        driver.ask("enqueue", 400, 0.01)
        servers.settled(starts, "RQ's first job")
        time.sleep(RUN_S)  # tasks start all the while
        stopped = driver.ask("stop")
        time.sleep(HOLD_S)  # whatever starts in spite of it
        before = starts()
        if len(before) == 400:
            raise RuntimeError("the pause was not in their middle")
        resumed = driver.ask("go")
        servers.settled(lambda: len(starts()) > len(before), "RQ's first job after it resumed")
        first_ms = (starts()[len(before)] - resumed) * 1_000
        driver.ask("clear")
        return {"pause": max(FLOOR_MS, (max(before) - stopped) * 1_000), "resume": first_ms}

    return once


def heard(bench: Bench) -> Callable[[], Found]:
    """How long a message needs to another process."""
    broker = bench.broker()
    client = bench.enter(client_of(broker))
    bench.enter(servers.program([sys.executable, "-c", HEARD, broker.url]))
    servers.settled(lambda: client.exists("ready"), "the subscriber")

    def once() -> Found:
        client.delete("heard")
        called = time.time()
        client.publish("nudge", "1")
        took_ms = (float(client.blpop(["heard"], timeout=10)[1]) - called) * 1_000
        return {"pause": took_ms, "resume": took_ms}

    return once


@work(
    Figure("health", f"the health of {WORKERS} workers", "ms"),
    Figure("snapshot", f"all there is to see: {WORKERS} workers, {QUEUES} queues with {MESSAGES:,} messages", "ms"),
    Figure("metrics", f"a scrape of `/metrics`, {WORKERS} workers", "ms"),
    warm=True,
)
def watch(bench: Bench) -> list[Contestant]:
    """All look at the same workers; RQ's has as many of its own."""
    number, broker = bench.size(WORKERS, 2), bench.broker()
    queues = tuple(f"queue-{at:02}" for at in range(QUEUES))
    ops, client = bench.console(broker, *queues), bench.enter(redis.Redis.from_url(broker.url))
    app = bench.enter(contextlib.closing(make_app(broker.url)))
    page = bench.enter(
        servers.opsdash(broker.url, bench.enter(scratch()), QUEUES=",".join(queues), API_TOKENS=f"bench:viewer:{TOKEN}")
    )
    hosts = [
        bench.enter(worker(pool="solo", concurrency=1, env={"OPSDASH_REDIS_URL": broker.url})).hostname
        for _ in range(number)
    ]
    eventually(lambda: len(ops.get_active_workers()) == number, what="all workers report", timeout_s=30)
    lists, keys = [key for queue in queues for key in Layout().lists(queue).values()], Keys()
    for key in lists:
        client.rpush(key, *["x" * 900] * (MESSAGES // len(lists)))

    def found(figure: str, read: Callable[[], int], expected: int) -> Callable[[], Found]:
        def once() -> Found:
            seen: list[int] = []
            took = ms(lambda: seen.append(read()))
            if seen[0] != expected:
                raise RuntimeError(f"found {seen[0]}, expected {expected}")
            return {figure: took}

        return once

    def own_of(path: str) -> Callable[[], int]:
        def read() -> int:
            body = fetched(page.port, path, headers=BEARER)
            return sum(host.encode() in body for host in hosts)

        return read

    def asked() -> int:
        inspect = app.control.inspect()
        for read in (inspect.active, inspect.reserved):
            read()
        return len(inspect.stats() or ()) + sum(client.llen(key) for key in lists)

    def read_hashes(*, lengths: bool) -> int:
        with client.pipeline(transaction=False) as pipe:
            for host in hosts:
                pipe.hgetall(keys.worker(host))
            for key in lists if lengths else ():
                pipe.llen(key)
            answers = pipe.execute()
        return sum(bool(one) if isinstance(one, dict) else one for one in answers)

    running: list[servers.Served] = []

    def flower_of(path: str, *, workers: int) -> Callable[[], int]:
        if not running:
            running.append(bench.enter(servers.flower(bench.rivals, broker.url)))
            port = running[0].port
            servers.settled(lambda: all(host.encode() in fetched(port, "/api/workers") for host in hosts), "Flower")
        return lambda: len(fetched(running[0].port, path)) and workers

    def flower_all() -> int:
        for path in ("/api/workers", "/api/queues/length"):
            fetched(running[0].port, path)
        return number

    def by_rq() -> Any:
        apart = bench.broker()
        driver = bench.driver("rq", apart)
        for at in range(number):
            bench.enter(servers.rq_worker(bench.rivals, apart.url, f"w{at}"))
        servers.settled(lambda: driver.ask("workers")[1] == number, "RQ's workers")
        driver.ask("fill_queues", QUEUES, MESSAGES // QUEUES)
        return driver

    drivers: list[Any] = []

    def rq_of(what: str, figure: str) -> Callable[[], Found]:
        drivers[:] = drivers or [by_rq()]
        return lambda: {figure: float(drivers[0].ask(what)[0])}

    metrics = len(fetched(page.port, "/metrics", headers=BEARER))
    port = servers.services.free_port()
    bench.enter(servers.served([sys.executable, "-c", BARE, str(port), str(metrics)], port, "/", "/"))
    total = number + MESSAGES // len(lists) * len(lists)
    return [
        own("opsdash", "", found("health", lambda: len(ops.get_worker_stats()), number)),
        own("over HTTP", "`/api/v1/workers`", found("health", own_of("/api/v1/workers"), number)),
        Contestant(
            "Celery",
            "rival",
            "`inspect().stats()`",
            found("health", lambda: len(app.control.inspect().stats()), number),
        ),
        rival(
            "Flower",
            "`/api/workers`, as kept, over HTTP",
            lambda: found("health", flower_of("/api/workers", workers=number), number),
        ),
        rival(
            "Flower, read now",
            "`?refresh=1`",
            lambda: found("health", flower_of("/api/workers?refresh=1", workers=number), number),
        ),
        rival("RQ", "`Worker.all()`", lambda: rq_of("workers", "health")),
        *does_not("Dramatiq", "Taskiq", "Huey", only="health"),
        limit("one pipeline of `HGETALL`", found("health", lambda: read_hashes(lengths=False), number)),
        own("opsdash", "`ops.snapshot()`", found("snapshot", lambda: everything(ops), total)),
        own("over HTTP", "`/api/v1/status`", found("snapshot", own_of("/api/v1/status"), number)),
        Contestant(
            "Celery",
            "rival",
            "`inspect()` stats, active, reserved, and `LLEN` of each list",
            found("snapshot", asked, total),
        ),
        rival(
            "Flower",
            "`/api/workers` as kept, `/api/queues/length` of the queues that workers take from",
            lambda: found("snapshot", flower_all, number),
        ),
        rival("RQ", "what `rq info` reads", lambda: rq_of("everything", "snapshot")),
        *does_not("Dramatiq", "Taskiq", "Huey", only="snapshot"),
        limit("one pipeline of `HGETALL` and `LLEN`", found("snapshot", lambda: read_hashes(lengths=True), total)),
        own("opsdash", "", found("metrics", lambda: len(fetched(page.port, "/metrics", headers=BEARER)) > 0, 1)),
        rival("Flower", "", lambda: found("metrics", flower_of("/metrics", workers=1), 1), only="metrics"),
        *does_not("Celery", "RQ", "rq-dashboard", "Taskiq", "Huey", only="metrics"),
        *does_not("Dramatiq", why="each worker process has its own", only="metrics"),
        limit(
            "as many bytes of Tornado, without any meaning",
            found("metrics", lambda: len(fetched(port, "/")), metrics),
        ),
    ]


def everything(ops: Any) -> int:
    """Workers online and messages that wait, of one snapshot."""
    snapshot = ops.snapshot()
    return sum(found.state == "online" for found in snapshot.workers) + sum(queue.waiting for queue in snapshot.queues)


@work(
    Figure("throughput", "tasks that do nothing, two slots; Celery's pool is prefork", "tasks/s", more=True),
    Figure("worker-processor", "the same, for each second of the worker's processor time", "tasks/s", more=True),
    warm=True,
)
def throughput(bench: Bench) -> list[Contestant]:
    """The plug-in's cost. The rivals promise other things than Celery; they show the order of magnitude."""
    tasks = bench.size(3_000, 300)
    return [
        own("opsdash", "Celery with the plug-in", celery(bench, "prefork", WAYS["plug-in"], tasks)),
        rival("RQ", "two workers, a fork per job", lambda: frozen(bench, "rq", tasks // 15)),
        rival("Dramatiq", "one process, two threads", lambda: frozen(bench, "dramatiq", tasks)),
        rival("Taskiq", "one process, two tasks at once", lambda: frozen(bench, "taskiq", tasks)),
        rival("Huey", "one process, two threads", lambda: frozen(bench, "huey", tasks)),
        limit("plain Celery", celery(bench, "prefork", WAYS["none"], tasks)),
    ]


@work(
    Figure("throughput-threads", "the same with Celery's pool of threads", "tasks/s", more=True),
    Figure("worker-processor-threads", "for each second of the worker's processor time", "tasks/s", more=True),
    warm=True,
)
def throughput_threads(bench: Bench) -> list[Contestant]:
    """The plug-in's cost in a pool of threads."""
    tasks = bench.size(3_000, 300)
    names = ("throughput-threads", "worker-processor-threads")
    return [
        own("opsdash", "Celery with the plug-in", celery(bench, "threads", WAYS["plug-in"], tasks, names)),
        Contestant(
            "a script",
            "rival",
            "Celery and one `EXISTS` before each task",
            celery(bench, "threads", WAYS["EXISTS per task"], tasks, names),
        ),
        limit("plain Celery", celery(bench, "threads", WAYS["none"], tasks, names)),
    ]


def celery(
    bench: Bench,
    pool: str,
    env: dict[str, str],
    tasks: int,
    names: tuple[str, str] = ("throughput", "worker-processor"),
) -> Callable[[], Found]:
    """A worker with a broker of its own, as in the benchmark ``throughput``."""
    broker = bench.enter(server())
    client = bench.enter(client_of(broker))
    running = bench.enter(worker(pool=pool, concurrency=2, env={"OPSDASH_REDIS_URL": broker.url, **env}))
    return lambda: dict(zip(names, throughput_of(broker, client, running.pid, tasks), strict=True))


def frozen(bench: Bench, name: str, tasks: int) -> Callable[[], Found]:
    """A rival's workers, which stand still until all tasks wait."""
    broker = bench.broker()
    driver, client = bench.driver(name, broker), bench.enter(client_of(broker))
    commands = {
        "dramatiq": ["dramatiq", "dramatiq_tasks", "-p", "1", "-t", "2"],
        "taskiq": ["taskiq", "worker", "taskiq_tasks:broker", "-w", "1", "--max-async-tasks", "2"],
        "huey": ["huey_consumer", "huey_tasks.huey", "-w", "2", "-k", "thread"],
    }
    if name == "rq":
        running = [bench.enter(servers.rq_worker(bench.rivals, broker.url, f"w{at}")) for at in range(2)]
    else:
        program, *arguments = commands[name]
        path = {"BENCH_URL": broker.url, "PYTHONPATH": str(servers.DRIVERS)}
        running = [bench.enter(servers.program([bench.rivals.program(name, program), *arguments], **path))]
    driver.ask("send", 1)
    servers.settled(lambda: client.exists("started"), f"a first task of {name}")

    def signalled(which: signal.Signals) -> None:
        for pid in [pid for process in running for pid in family(process.pid)]:
            with contextlib.suppress(ProcessLookupError):  # RQ's forks come and go
                os.kill(pid, which)

    def once() -> Found:
        client.delete("started")
        signalled(signal.SIGSTOP)
        driver.ask("send", tasks)
        began = time.time()
        signalled(signal.SIGCONT)
        servers.settled(lambda: client.exists("started"), f"the last task of {name}", timeout_s=120)
        return {"throughput": tasks / (float(client.lindex("started", 0)) - began)}

    return once


@work(
    Figure("memory-seen", "the server that looks on grows, while a worker runs {tasks} tasks", "MB"),
    Figure("memory-after", "its memory then", "MB"),
    rounds=7,
)
def memory_seen(bench: Bench) -> list[Contestant]:
    """Both look at the same worker at the same time. ``--tasks`` says how many tasks."""
    left: dict[str, Found] = {}
    tasks = bench.size(bench.tasks, 500)

    def both() -> dict[str, Found]:
        with contextlib.ExitStack() as stack:
            broker = stack.enter_context(server())
            client = stack.enter_context(client_of(broker))
            home = stack.enter_context(scratch())
            looking = {
                "opsdash": stack.enter_context(servers.opsdash(broker.url, home)),
                "Flower": stack.enter_context(servers.flower(bench.rivals, broker.url)),
            }
            env = {"OPSDASH_REDIS_URL": broker.url}
            stack.enter_context(worker(pool="threads", concurrency=2, env=env, arguments=["-E"]))
            prepared(broker, client, 50, "sample.nothing", last="sample.short")
            let_go(client)
            servers.settled(lambda: client.llen(STARTED) > 0, "the first tasks")
            time.sleep(5)  # caches of the first tasks are there
            before = {name: servers.resident_mb(one.process.pid) for name, one in looking.items()}
            client.delete(STARTED)
            prepared(broker, client, tasks, "sample.nothing", last="sample.short", first=1_000)
            let_go(client)
            servers.settled(lambda: client.llen(STARTED) > 0, "the last task", timeout_s=300)
            time.sleep(3)  # it has heard of the last ones
            after = {name: servers.resident_mb(one.process.pid) for name, one in looking.items()}
        return {name: {"memory-seen": after[name] - before[name], "memory-after": after[name]} for name in looking}

    def turn(name: str) -> Callable[[], Found]:
        def once() -> Found:
            if name not in left:
                left.update(both())
            return left.pop(name)

        return once

    return [
        own("opsdash", "it reads counters", turn("opsdash")),
        rival("Flower", "it keeps each task that it hears of, up to 100,000", lambda: turn("Flower")),
        *does_not("Celery", "RQ", "rq-dashboard", "Dramatiq", "Taskiq", "Huey", why="no such server"),
    ]
