"""What is done with the messages of a queue: clear, restore, look, remove some, find one, send failed ones again."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable
from typing import Any

import redis
from bench_find_task import fill as fill_numbered
from bench_preview import count_all
from bench_preview import fill as fill_kinds
from bench_restore import ONE_SCRIPT
from bench_retry import fill as fill_failed
from celery import Celery
from support.failed_tasks import failed, message
from support.sample_app import make_app

import opsdash
from opsdash.services.queues.find_task import TaskFinder  # noqa: F401 - what `ops.find_task` runs
from opsdash.services.queues.read import Queues
from opsdash.services.queues.trash import Trash

from .. import servers
from ..work import Bench, Contestant, Figure, Found, does_not, fetched, limit, ms, own, rival, with_stall, work

NAMES = {"a": "shop.mail.send", "b": "shop.pay.charge"}
# So many messages as Celery writes them, every tenth of another task. ARGV: number, first, both messages.
FILL = """
for n = ARGV[2], ARGV[2] + ARGV[1] - 1 do
  local id = string.format('%08d-0000-4000-8000-000000000000', n)
  redis.call('LPUSH', KEYS[1], (string.gsub(n % 10 == 0 and ARGV[4] or ARGV[3], 'TASK%-ID', id)))
end
"""
# What one would write: all are read, what matches goes, the others are written again, in one step.
SOME = """
local all = redis.call('LRANGE', KEYS[1], 0, -1)
redis.call('DEL', KEYS[1])
for _, one in ipairs(all) do
  if not string.find(one, ARGV[1], 1, true) then redis.call('RPUSH', KEYS[1], one) end
end
"""
ALL = "100,000 messages of 0.9 kB"


def fill(client: redis.Redis, number: int, *, first: int = 0, key: str = "celery") -> None:
    """Messages behind each other, made by the server; every tenth is one of ``shop.pay.charge``."""
    texts = [message("TASK-ID", name, args=["x" * 60]).decode() for name in NAMES.values()]
    for start in range(first, first + number, 10_000):
        client.eval(FILL, 1, key, min(10_000, first + number - start), start, *texts)


def run(ops: Any, operation: Any) -> Callable[[], float]:
    """Milliseconds of a whole operation: rights, audit intent, the act, audit outcome."""
    phrase = operation.phrase(ops.services)
    return lambda: ms(lambda: ops.run(operation, actor="bench", confirm="YES", phrase=phrase))


def driven(bench: Bench, environment: str, number: int) -> Callable[[], Found]:
    """A rival's clear, in a process of its Python."""
    broker = bench.broker()
    driver = bench.driver(environment, broker)

    def once() -> Found:
        driver.ask("fill", number)
        if driver.ask("waiting") != number:
            raise RuntimeError("its queue was not filled")
        found = with_stall(broker.url, lambda: driver.ask("clear"), "clear", "clear-stall")
        if driver.ask("waiting"):
            raise RuntimeError("messages are left")
        return found

    return once


@work(
    Figure("clear", f"one queue cleared, {ALL}, by a program that runs", "ms"),
    Figure("clear-stall", "the longest a PING of another client waits meanwhile", "ms"),
    warm=True,
)
def clear(bench: Bench) -> list[Contestant]:
    """Opsdash keeps what it clears and records who did it; nobody else does either."""
    number, broker = bench.size(100_000, 5_000), bench.broker()
    ops, client = bench.console(broker), bench.enter(redis.Redis.from_url(broker.url))
    app = bench.enter(contextlib.closing(Celery(broker=broker.url, set_as_current=False)))

    def by(act: Callable[[], Callable[[], float]]) -> Callable[[], Found]:
        def once() -> Found:
            client.flushall()
            fill(client, number)
            found = with_stall(broker.url, act(), "clear", "clear-stall")
            if client.exists("celery"):
                raise RuntimeError("messages are left")
            return found

        return once

    def bare() -> Any:
        return ms(lambda: Queues(ops.broker).clear("celery", by="bench", keep_s=60))

    return [
        own("opsdash", "kept, and audited in SQLite", by(lambda: run(ops, opsdash.ClearQueue(queue="celery")))),
        own("the move alone", "", by(lambda: bare)),
        Contestant("Celery", "rival", "`app.control.purge()`", by(lambda: lambda: ms(app.control.purge))),
        rival("RQ", "`queue.empty()`", lambda: driven(bench, "rq", number)),
        rival("Dramatiq", "`broker.flush()`", lambda: driven(bench, "dramatiq", number)),
        rival("Huey", "`flush_queue()`", lambda: driven(bench, "huey", number)),
        *does_not("Flower", "Taskiq"),
        limit("`UNLINK`", by(lambda: lambda: ms(lambda: client.unlink("celery")))),
    ]


@work(
    Figure("restore", "300,000 cleared messages back before 100,000 newer ones", "ms"),
    Figure("restore-stall", "the longest a PING of another client waits meanwhile", "ms"),
)
def restore(bench: Bench) -> list[Contestant]:
    """Nobody else keeps what it cleared."""
    cleared, newer, broker = bench.size(300_000, 6_000), bench.size(100_000, 2_000), bench.broker()
    ops, client = bench.console(broker), bench.enter(redis.Redis.from_url(broker.url))
    keys = [key for step, source in ops.broker.lists("celery").items() for key in (source, _trash(ops, step))]

    def by(act: Callable[[], Callable[[], float]]) -> Callable[[], Found]:
        def once() -> Found:
            client.flushall()
            fill(client, cleared)
            Queues(ops.broker).clear("celery", by="bench", keep_s=600, trash_id="one")
            fill(client, newer, first=cleared)
            found = with_stall(broker.url, act(), "restore", "restore-stall")
            if client.llen("celery") != cleared + newer:
                raise RuntimeError("messages are lost or doubled")
            return found

        return once

    def script() -> Any:
        return ms(lambda: client.eval(ONE_SCRIPT, len(keys), *keys))

    def bare() -> Any:
        return ms(lambda: Trash(ops.broker).restore("one", by="bench"))

    return [
        own("opsdash", "audited in SQLite", by(lambda: run(ops, opsdash.RestoreQueue(trash_id="one")))),
        own("the move alone", "", by(lambda: bare)),
        *does_not("Celery", "Flower", "RQ", "Dramatiq", "Taskiq", "Huey", why="nothing is kept"),
        limit("one script, which all others wait for", by(lambda: script)),
    ]


def _trash(ops: Any, step: int) -> str:
    return str(ops.broker.keys.trash("one", str(step)))


@work(
    Figure("preview", "before a clear: what 1,000,000 messages in one list are made of", "ms"),
    Figure("preview-error", "the greatest error of a task's share", "points"),
    warm=True,
)
def preview(bench: Bench) -> list[Contestant]:
    """Opsdash estimates; who wants it exact reads all."""
    number, broker = bench.size(1_000_000, 20_000), bench.broker()
    ops = bench.console(broker)
    truth = fill_kinds(ops.broker, number)
    looked = [1_000]

    def estimated() -> Found:
        seen: list[Any] = []
        took = ms(lambda: seen.append(ops.preview(opsdash.ClearQueue(queue="celery")).values()))
        looked[0] = seen[0]["looked_at"]
        off = [abs(seen[0]["by_task"].get(name, 0) - waiting) for name, waiting in truth.items()]
        return {"preview": took, "preview-error": 100 * max(off) / number}

    def all_of_it() -> Found:
        return {"preview": ms(lambda: count_all(ops.broker))}

    def as_many() -> Found:
        return {"preview": ms(lambda: ops.broker.client.lrange("celery", 0, looked[0] - 1))}

    return [
        own("opsdash", "estimated, with its error", estimated),
        Contestant("a script", "rival", "`LRANGE` of all and a count", all_of_it),
        *does_not("Celery", "Flower", "RQ", "rq-dashboard", "Dramatiq", "Taskiq", "Huey", why="a length at most"),
        limit("one `LRANGE` of as many as opsdash looks at, all from one end", as_many),
    ]


@work(
    Figure("selective-clear", f"every tenth of {ALL}, by the task's name", "ms"),
    Figure("selective-stall", "the longest a PING of another client waits meanwhile", "ms"),
)
def selective_clear(bench: Bench) -> list[Contestant]:
    """Nobody else removes by name."""
    number, broker = bench.size(100_000, 5_000), bench.broker()
    ops, client = bench.console(broker), bench.enter(redis.Redis.from_url(broker.url))

    def by(act: Callable[[], Callable[[], float]]) -> Callable[[], Found]:
        def once() -> Found:
            client.flushall()
            fill(client, number)
            found = with_stall(broker.url, act(), "selective-clear", "selective-stall")
            if client.llen("celery") != number - number // 10:
                raise RuntimeError("others were removed")
            return found

        return once

    some = opsdash.ClearTasks(queue="celery", task="shop.pay.*")

    def script() -> Any:
        return ms(lambda: client.eval(SOME, 1, "celery", '"task": "shop.pay.'))

    return [
        own("opsdash", "kept, and audited in SQLite", by(lambda: run(ops, some))),
        *does_not("Celery", "Flower", "RQ", "Dramatiq", "Taskiq", "Huey"),
        limit("one script, which all others wait for", by(lambda: script)),
    ]


@work(Figure("find-task", "one task found by its id, in the middle of 100,000 that wait", "ms"), warm=True)
def find_task(bench: Bench) -> list[Contestant]:
    """RQ has a key per job; Flower knows what it has heard an event of."""
    number, broker = bench.size(100_000, 8_000), bench.broker()
    ops = bench.console(broker)
    middle = fill_numbered(ops.broker, "celery", number)
    client, wanted = bench.enter(redis.Redis.from_url(broker.url)), middle.encode()
    lists = list(ops.broker.lists("celery").values())

    def opsdash_finds() -> Found:
        found: list[Any] = []
        took = ms(lambda: found.append(ops.find_task(middle)))
        if found[0].state != "waiting":
            raise RuntimeError(f"it is {found[0].state}")
        return {"find-task": took}

    def bare() -> None:
        for key in lists:
            at = 0
            while texts := client.lrange(key, at, at + 1_999):
                if any(wanted in text for text in texts):
                    return
                at += len(texts)
        raise RuntimeError("not found")

    def driven_find(environment: str) -> Callable[[], Found]:
        driver = bench.driver(environment, bench.broker())
        driver.ask("fill", number)
        task_id = f"{number // 2:08d}-0000-4000-8000-000000000000"
        return lambda: {"find-task": driver.ask("find", task_id)}

    def flower_finds() -> Callable[[], Found]:
        apart = bench.broker()
        running = bench.enter(servers.flower(bench.rivals, apart.url))
        app = bench.enter(contextlib.closing(make_app(apart.url)))
        app.conf.task_send_sent_event = True
        path = f"/api/task/info/{(task_id := str(uuid.uuid4()))}"

        def heard() -> bool:
            app.send_task("sample.nothing", task_id=task_id)
            with contextlib.suppress(RuntimeError):
                return task_id in fetched(running.port, path).decode()
            return False

        servers.settled(heard, "Flower hears of the task")
        return lambda: {"find-task": ms(lambda: fetched(running.port, path))}

    return [
        own("opsdash", "wherever it is: queues, workers, trash, failed, results", opsdash_finds),
        rival("Flower", "of what it has heard events of since its start, here one task", flower_finds),
        rival("RQ", "`Job.fetch()`, a key per job", lambda: driven_find("rq")),
        rival("Huey", "`pending()` and a look at each", lambda: driven_find("huey")),
        *does_not("Celery", "Dramatiq", "Taskiq", why="not what waits"),
        limit("`LRANGE` until it is there", lambda: {"find-task": ms(bare)}),
    ]


@work(Figure("retry", "2,000 failed tasks sent to their queue again", "ms"), warm=True)
def retry(bench: Bench) -> list[Contestant]:
    """Celery itself keeps no message of what failed."""
    number, broker = bench.size(2_000, 200), bench.broker()
    ops, client = bench.console(broker), bench.enter(redis.Redis.from_url(broker.url))
    texts = [failed(f"{at:08d}")["message"] for at in range(number)]

    def sent_again(act: Callable[[], float]) -> Found:
        client.flushall()
        fill_failed(ops.broker, number)
        took = act()
        if client.llen("celery") != number:
            raise RuntimeError(f"{client.llen('celery')} of {number} wait again")
        return {"retry": took}

    def bare() -> Found:
        client.flushall()
        with client.pipeline(transaction=False) as pipe:
            for text in texts:
                pipe.lpush("celery", text)
            return {"retry": ms(pipe.execute)}

    def by_rq() -> Callable[[], Found]:
        driver = bench.driver("rq", bench.broker())

        def once() -> Found:
            driver.ask("fill", number, True)
            took = driver.ask("retry")
            if driver.ask("waiting") != number:
                raise RuntimeError("not all wait again")
            return {"retry": took}

        return once

    return [
        own(
            "opsdash",
            "retries and ETA reset, each exactly once, audited in SQLite",
            lambda: sent_again(run(ops, opsdash.RetryFailed(task="*"))),
        ),
        rival("RQ", "as `rq requeue --all`", by_rq),
        *does_not("Celery", "Flower", "Dramatiq", "Taskiq", "Huey"),
        limit("one pipeline of `LPUSH`", bare),
    ]
