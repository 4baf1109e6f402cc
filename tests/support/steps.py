"""Makes something happen at one step of ``Console.run``. As a program: runs one operation and kills itself there.

    python steps.py OPERATION PARAMS WATCHED STEP

The product knows nothing of this: the steps are the audit log's and the operation's own methods, wrapped.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from opsdash.bootstrap import connect
from opsdash.model import Actor, Role
from opsdash.operation import Operation, registry
from opsdash.services.audit.log import AuditLog

STEPS = ("before the intent", "after the intent", "after the act", "after the outcome")
BOB = Actor(name="bob", role=Role.ADMIN, surface="page")

Patch = Callable[[Any, str, Any], None]


def install(watched: type[Operation], step: str, fault: Callable[[], None], patch: Patch = setattr) -> None:
    """From now on ``fault`` is called, once, when an act of this kind comes to this step."""
    fired = []

    def fire(here: str, operation: str) -> None:
        if (here, operation) == (step, watched.name) and not fired:
            fired.append(step)
            fault()

    begin, finish, execute = AuditLog.begin, AuditLog.finish, watched.execute

    def beginning(self: AuditLog, operation: Operation, *args: Any, **more: Any) -> Any:
        fire("before the intent", operation.name)
        entry = begin(self, operation, *args, **more)
        fire("after the intent", operation.name)
        return entry

    def executing(self: Operation, *args: Any) -> Any:
        effect = execute(self, *args)
        fire("after the act", self.name)
        return effect

    def finishing(self: AuditLog, entry: Any, *args: Any) -> Any:
        done = finish(self, entry, *args)
        fire("after the outcome", entry.operation)
        return done

    patch(AuditLog, "begin", beginning)
    patch(AuditLog, "finish", finishing)
    patch(watched, "execute", executing)


def main(name: str, params: str, watched: str, step: str) -> None:
    """Runs it, and dies."""
    install(registry()[watched], step, lambda: os.kill(os.getpid(), signal.SIGKILL))
    connect().run(registry()[name](**json.loads(params)), actor=BOB, confirm="YES")


if __name__ == "__main__":
    main(*sys.argv[1:])
