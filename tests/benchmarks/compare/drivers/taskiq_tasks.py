"""What Taskiq's workers run. BENCH_URL: the broker."""

import os
import time

import redis
from taskiq_redis import ListQueueBroker

broker = ListQueueBroker(os.environ["BENCH_URL"])
client = redis.Redis.from_url(os.environ["BENCH_URL"])


@broker.task
def nothing():
    pass


@broker.task
def last():
    client.rpush("started", time.time())
