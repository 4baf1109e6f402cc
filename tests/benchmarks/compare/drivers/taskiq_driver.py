"""Taskiq."""

import asyncio
import os
import sys

os.environ["BENCH_URL"] = sys.argv[1]
import taskiq_tasks
from protocol import serve


def send(number):
    """As many tasks that do nothing, and one behind them that says when it started."""

    async def act():
        await taskiq_tasks.broker.startup()
        for _ in range(number):
            await taskiq_tasks.nothing.kiq()
        await taskiq_tasks.last.kiq()
        await taskiq_tasks.broker.shutdown()

    asyncio.run(act())


serve(globals())
