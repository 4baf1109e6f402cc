"""Huey."""

import os
import sys

os.environ["BENCH_URL"] = sys.argv[1]
import huey_tasks
import redis
from huey import RedisHuey
from protocol import ms, serve

client = redis.Redis.from_url(sys.argv[1])
huey = RedisHuey("bench", url=sys.argv[1])


@huey.task()
def nothing(*_):
    pass


def fill(number, size=600):
    """Messages as Huey writes them, each with an id of its own."""
    client.flushall()
    task = nothing.s("x" * size)
    for first in range(0, number, 5_000):
        texts = []
        for at in range(first, min(number, first + 5_000)):
            task.id = f"{at:08d}-0000-4000-8000-000000000000"
            texts.append(huey.serialize_task(task))
        client.lpush(huey.storage.queue_key, *texts)


def waiting():
    return huey.pending_count()


def clear():
    return ms(huey.storage.flush_queue)


def find(task_id):
    """There is no call for one of them: all are read."""
    found = []
    took = ms(lambda: found.extend(one for one in huey.pending() if one.id == task_id))
    if len(found) != 1:
        raise RuntimeError("not found")
    return took


def send(number):
    """As many tasks that do nothing, and one behind them that says when it started."""
    for _ in range(number):
        huey_tasks.nothing()
    huey_tasks.last()


serve(globals())
