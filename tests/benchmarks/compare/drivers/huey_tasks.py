"""What Huey's workers run. BENCH_URL: the broker."""

import os
import time

import redis
from huey import RedisHuey

huey = RedisHuey("tasks", url=os.environ["BENCH_URL"], results=False)
client = redis.Redis.from_url(os.environ["BENCH_URL"])


@huey.task()
def nothing():
    pass


@huey.task()
def last():
    client.rpush("started", time.time())
