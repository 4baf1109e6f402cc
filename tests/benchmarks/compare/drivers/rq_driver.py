"""RQ."""

import sys
import time

import redis
import rq_tasks
from protocol import ms, serve
from rq import Queue, Worker
from rq.job import Job
from rq.registry import FailedJobRegistry
from rq.suspension import resume, suspend

# Copies of one job: its hash under new ids, and the ids in the queue or in the failed ones. ARGV: number, first.
COPIES = """
local fields = redis.call('HGETALL', KEYS[1])
for n = ARGV[2], ARGV[2] + ARGV[1] - 1 do
  local id = string.format('%08d-0000-4000-8000-000000000000', n)
  redis.call('HSET', 'rq:job:' .. id, unpack(fields))
  if ARGV[3] == 'queue' then redis.call('RPUSH', KEYS[2], id) else redis.call('ZADD', KEYS[2], 4e9, id) end
end
"""
client = redis.Redis.from_url(sys.argv[1])
queue = Queue("default", connection=client)


def fill(number, failed=False, size=600):
    """As many jobs that wait, or that have failed."""
    client.flushall()
    template = queue.enqueue(rq_tasks.nothing, "x" * size)
    client.rename(template.key, "template")
    client.delete(queue.key)
    if failed:
        client.hset("template", "status", "failed")
    target = FailedJobRegistry(queue=queue).key if failed else queue.key
    for first in range(0, number, 10_000):
        client.eval(COPIES, 2, "template", target, min(10_000, number - first), first, "" if failed else "queue")
    client.delete("template")


def clear():
    return ms(queue.empty)


def waiting():
    return queue.count


def find(task_id):
    found = []
    took = ms(lambda: found.append(Job.fetch(task_id, connection=client).get_status()))
    if not found[0]:
        raise RuntimeError("not found")
    return took


def retry():
    def act():  # as `rq requeue --all` does
        registry = FailedJobRegistry(queue=queue)
        for job_id in registry.get_job_ids():
            registry.requeue(job_id)

    return ms(act)


def workers():
    found = []
    took = ms(lambda: found.extend((one.name, one.get_state()) for one in Worker.all(connection=client)))
    return [took, len(found)]


def everything():
    """What ``rq info`` prints: each queue's length, each worker with its state and queues."""
    found = []

    def act():
        found.append(sum(one.count for one in Queue.all(connection=client)))
        found.append([(one.name, one.get_state(), one.queue_names()) for one in Worker.all(connection=client)])

    took = ms(act)
    return [took, found[0], len(found[1])]


def enqueue(number, seconds):
    queue.enqueue_many([Queue.prepare_data(rq_tasks.short, (seconds,)) for _ in range(number)])


def stop():
    called = time.time()
    suspend(client)
    return called


def go():
    called = time.time()
    resume(client)
    return called


def send(number):
    """As many jobs that do nothing, and one behind them that says when it started."""
    queue.enqueue_many([Queue.prepare_data(rq_tasks.nothing) for _ in range(number)])
    queue.enqueue(rq_tasks.short, 0)


def fill_queues(queues, number):
    """So many queues, with as many ids in each; only their lengths are read."""
    for at in range(queues):
        one = Queue(f"queue-{at:02}", connection=client)
        client.sadd("rq:queues", one.key)
        client.rpush(one.key, *[f"{n:036}" for n in range(number)])


serve(globals())
