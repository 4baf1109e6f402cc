"""Consoles that die by ``kill -9`` at a chosen step: one process that has loaded everything, and a fork per console.

Reads one line of JSON per console from stdin and answers ``killed``, or its exit code. ``{"act": "restore", "url": …,
"database": …, "step": 7}`` is killed in place of its seventh command to Redis; since nothing happens there between two
commands, that is every state a console can leave behind.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import Any

import redis
from redis.client import Pipeline

import opsdash
import opsdash.services.console
from opsdash.bootstrap import assemble
from opsdash.config.settings import Settings
from opsdash.services.queues import lock, put_back, read, scan, take_out

QUEUE = "celery"
MATCHING = "shop.odd"


def operation(job: dict[str, Any]) -> opsdash.Operation:
    """What the console is to do."""
    made: dict[str, opsdash.Operation] = {
        "clear": opsdash.ClearQueue(queue=QUEUE),
        "big clear": opsdash.ClearQueue(queue=QUEUE),
        "clear everything": opsdash.ClearQueue(queue=QUEUE, everything=True),
        "selective clear": opsdash.ClearTasks(queue=QUEUE, task=MATCHING),
        "cancel workflow": opsdash.CancelWorkflow(root="root-1"),
        "remove task": opsdash.RemoveTask(task_id=job.get("task_id", "")),
        "restore": opsdash.RestoreQueue(trash_id=job.get("trash_id", "")),
        "retry": opsdash.RetryFailed(task="*"),
        "discard": opsdash.DiscardFailed(task="*"),
        "release": opsdash.ReleaseTasks(task="shop.*"),
        "clear held": opsdash.ClearHeld(task="shop.*"),
        "delete": opsdash.DeleteTrash(trash_id=job.get("trash_id", "")),
    }
    return made[job["act"]]


def die_at(step: int) -> None:
    """From now on, in place of what would be sent to Redis as number ``step``, the process is killed."""
    sent = [0]

    def counting(send: Any) -> Any:
        def instead(*args: Any, **options: Any) -> Any:
            sent[0] += 1
            if sent[0] == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return send(*args, **options)

        return instead

    redis.Redis.execute_command = counting(redis.Redis.execute_command)
    Pipeline.execute = counting(Pipeline.execute)


def live(job: dict[str, Any]) -> None:
    """One console's life."""
    lock.FIRST_STEP = lock.LARGEST_STEP = 2
    if job["act"] == "big clear":
        read.FEW = 1
    take_out.NEAR = job.get("near", take_out.NEAR)
    if job["act"] in ("cancel workflow", "restore"):
        scan.FIRST = scan.LARGEST_WINDOW = 2
        put_back.MOST_AT_ONCE, put_back.LAST = 1, job.get("last", put_back.LAST)
    settings = Settings.from_env(
        {}, redis_url=job["url"], database_url=job["database"], queues=(QUEUE,), secret_key="k" * 32
    )
    console = assemble(settings)
    reviewed = console.preview(operation(job))
    for key, newer in job.get("newer", {}).items():
        console.broker.client.lpush(key, *newer)
    die_at(job["step"])
    console.run(operation(job), actor="maria", confirm="YES", reviewed=reviewed)


def main() -> None:
    """Answers each line."""
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            live(json.loads(line))
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print("killed" if killed else os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
