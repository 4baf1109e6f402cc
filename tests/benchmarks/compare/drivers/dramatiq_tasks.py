"""What Dramatiq's workers run. BENCH_URL: the broker."""

import os
import time

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker

dramatiq.set_broker(RedisBroker(url=os.environ["BENCH_URL"]))
client = redis.Redis.from_url(os.environ["BENCH_URL"])


@dramatiq.actor(queue_name="default")
def nothing(*_):
    pass


@dramatiq.actor(queue_name="default")
def last():
    client.rpush("started", time.time())
