"""Dramatiq."""

import os
import sys

os.environ["BENCH_URL"] = sys.argv[1]
import dramatiq
from dramatiq_tasks import client, last, nothing
from protocol import ms, serve

# Copies of one message under new ids. KEYS: list and hash. ARGV: number, first, message, its id.
COPIES = """
for n = ARGV[2], ARGV[2] + ARGV[1] - 1 do
  local id = string.format('%08d-0000-4000-8000-000000000000', n)
  redis.call('HSET', KEYS[2], id, (string.gsub(ARGV[3], ARGV[4], id)))
  redis.call('RPUSH', KEYS[1], id)
end
"""
broker = dramatiq.get_broker()


def fill(number, size=600):
    client.flushall()
    nothing.send("x" * size)
    (task_id,) = client.lrange("dramatiq:default", 0, -1)
    text = client.hget("dramatiq:default.msgs", task_id)
    client.flushall()
    pattern = task_id.decode().replace("-", "%-")
    for first in range(0, number, 10_000):
        keys = ("dramatiq:default", "dramatiq:default.msgs")
        client.eval(COPIES, 2, *keys, min(10_000, number - first), first, text, pattern)


def waiting():
    return client.llen("dramatiq:default")


def clear():
    return ms(lambda: broker.flush("default"))


def send(number):
    """As many tasks that do nothing, and one behind them that says when it started."""
    for _ in range(number):
        nothing.send()
    last.send()


serve(globals())
