"""Single tasks and single workers, by Celery's own remote control."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from opsdash.services.broker import Broker
from opsdash.services.fleet import ANSWER_S, Fleet


@dataclass(frozen=True, slots=True)
class Remote:
    """Asks and tells workers; each answer takes up to ``ANSWER_S``, and a busy solo worker gives none."""

    broker: Broker
    fleet: Fleet

    def holders(self, task_id: str) -> dict[str, tuple[str, str]]:
        """Hostname → state (``active``, ``reserved`` or ``ready``) and name of the task, on each worker that holds it.

        Raises:
            Unavailable: The broker did not answer.
        """
        with self.fleet.control() as (control, connection):
            answers = control.inspect(timeout=ANSWER_S, connection=connection).query_task(task_id) or {}
        found = {
            host: tasks[task_id] for host, tasks in answers.items() if isinstance(tasks, dict) and task_id in tasks
        }
        return {host: (str(state), str(about.get("name", ""))) for host, (state, about) in found.items()}

    def revoke(self, task_id: str, *, terminate: bool) -> list[str]:
        """Tells every worker; the hostnames of those that confirmed.

        Raises:
            Unavailable: The broker did not answer.
        """
        with self.fleet.control() as (control, connection):
            answers: list[dict[str, Any]] = (
                control.revoke(task_id, terminate=terminate, reply=True, timeout=ANSWER_S, connection=connection) or []
            )
        return sorted(host for answer in answers for host, said in answer.items() if "ok" in said)

    def consumed(self, hostname: str) -> list[str]:
        """The queues that a worker takes tasks from, broadcasts left out; none when it does not answer.

        Raises:
            Unavailable: The broker did not answer.
        """
        with self.fleet.control() as (control, connection):
            answers = control.inspect([hostname], timeout=ANSWER_S, connection=connection).active_queues() or {}
        queues = answers.get(hostname) or ()
        return [queue["name"] for queue in queues if (queue.get("exchange") or {}).get("type") != "fanout"]

    def quieted(self, hostname: str) -> list[str]:
        """The queues that ``quiet`` has taken from a worker."""
        with self.broker.reading():
            raw: Any = self.broker.client.hget(self.broker.keys.quiet, hostname)
        return [str(queue) for queue in json.loads(raw)] if raw else []

    def quiet(self, hostname: str, queues: list[str]) -> list[str]:
        """Has a worker stop consuming; written down first, so that ``wake`` undoes just that. What it has confirmed."""
        noted = sorted({*self.quieted(hostname), *queues})
        self.broker.client.hset(self.broker.keys.quiet, hostname, json.dumps(noted))
        return self.fleet.tell("cancel_consumer", {hostname: queues}).get(hostname, [])

    def wake(self, hostname: str) -> list[str]:
        """Has it consume again what ``quiet`` has taken from it. What it has confirmed; the rest stays written down."""
        queues = self.quieted(hostname)
        confirmed = self.fleet.tell("add_consumer", {hostname: queues}).get(hostname, [])
        if set(confirmed) >= set(queues):
            self.broker.client.hdel(self.broker.keys.quiet, hostname)
        return confirmed
