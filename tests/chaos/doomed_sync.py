"""Runs syncs that end by kill -9 at a chosen step. One process loads everything, each sync is a fork of it.

``python doomed_sync.py REDIS_URL DATABASE_URL SECRET_KEY LEASE_S``; on stdin, a line per sync: ``STEP before`` or
``STEP after``; on stdout, a line each: ``killed``, or ``survived`` where the sync had fewer steps.

A step is one message to Redis: a command, a script, or a pipeline. ``before``: dead before it was sent. ``after``:
sent, the answer never read.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from redis.connection import AbstractConnection

import opsdash
from opsdash.services.queues import lock
from opsdash.services.tenants import index


def die_at(step: int, when: str) -> None:
    """Counts what is sent from now on, and ends this process at the given one."""
    send, sent = AbstractConnection.send_packed_command, 0

    def counted(self: AbstractConnection, command: Any, *args: Any, **options: Any) -> None:
        nonlocal sent
        sent += 1
        if sent == step and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        send(self, command, *args, **options)
        if sent == step:
            os.kill(os.getpid(), signal.SIGKILL)

    AbstractConnection.send_packed_command = counted


def main(redis_url: str, database_url: str, secret_key: str, lease_s: str) -> None:
    lock.LEASE_S = index.LEASE_S = float(lease_s)
    for line in sys.stdin:
        step, when = line.split()
        pid = os.fork()
        if pid == 0:
            ops = opsdash.connect(redis_url=redis_url, database_url=database_url, secret_key=secret_key)
            ops.broker.ping()  # connected: what follows are the sync's own steps
            die_at(int(step), when)
            ops.run(opsdash.SyncTenantConfigs(remove_orphans=True), actor="doomed", confirm="YES")
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        print("killed" if killed else "survived" if status == 0 else f"failed {status}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
