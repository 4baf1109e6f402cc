"""Which workers have a task: asked by Celery's remote control, and where they don't answer, as they have reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import Any, Literal

from opsdash.model import untrusted
from opsdash.model.signatures import Unsent
from opsdash.redaction import masked
from opsdash.redaction.arguments import shown_arguments
from opsdash.services.broker import connected_clients, writes
from opsdash.services.workers.remote_control import Remote
from opsdash.services.workers.reports import Workers
from opsdash.services.workers.unmanaged import ANSWER_S
from opsdash.values import frozen

WorkerState = Literal["active", "reserved", "scheduled"]

Wanted = Callable[[str], bool]

MOST_TASKS = 10_000
"""Running tasks of one worker's answer that are looked at."""


@frozen(kw_only=True)
class HeldTask:
    """One task that a worker has.

    Attributes:
        state: ``active`` (running), ``reserved`` (fetched, not started), ``scheduled`` (waits for its time).
        queue: Its routing key, which is the queue's name as a rule; empty: not known.
        since: When it began to run, in UTC, by the worker's clock; None where the worker does not say.
        arguments: Without what looks secret.
        root, parent, group, chord, unsent, cut: Of its workflow, where a worker reports them; ``linked``: it does.
    """

    id: str
    worker: str
    state: WorkerState
    name: str = ""
    queue: str = ""
    since: datetime | None = None
    arguments: str = ""
    root: str = ""
    parent: str = ""
    group: str = ""
    chord: bool = False
    unsent: tuple[Unsent, ...] = ()
    cut: bool = False
    linked: bool = False


@frozen(kw_only=True)
class Answers:
    """What workers said.

    Attributes:
        answered: How many did. ``silent``: those that are known and did not.
    """

    tasks: tuple[HeldTask, ...] = ()
    answered: int = 0
    silent: tuple[str, ...] = ()


@frozen
class TaskHolders:
    """Asks every worker; waits until all who heard it have answered, ``ANSWER_S`` at most for each question.

    A busy worker of the solo pool answers nobody: of it counts what it has reported to run.

    Attributes:
        redact: Regular expression: arguments that it finds are hidden as well; empty: none.
    """

    remote: Remote
    redact: str = ""

    @property
    def workers(self) -> Workers:
        """Their reports."""
        return Workers(self.remote.broker, redact=self.redact)

    def have(self, ids: Sequence[str]) -> Answers:
        """Who has one of these tasks.

        Raises:
            Unavailable: The broker did not answer, or workers can't be asked.
        """
        return self._ask("query_task", {"ids": list(ids)}, set(ids).__contains__)

    def running(self, wanted: Wanted = lambda _id: True, *, ask: bool = False) -> Answers:
        """What all workers run.

        Args:
            wanted: Called with each id; others are left out.
            ask: All of them. Else those that report are not asked, and what they run is as they reported it, two
                seconds ago at most and 20 tasks of each; their answers would have all arguments in full.

        Raises:
            Unavailable: The broker did not answer, or workers can't be asked.
        """
        if ask:
            return self._ask("active", {"safe": False}, wanted)
        reporting = [worker.hostname for worker in self.workers.read() if worker.reports]
        told = self._reported(reporting, wanted)
        others = self.remote.unmanaged.known()
        if others is not None and not others:
            return Answers(tasks=told, answered=len(reporting))
        asked = self._ask("active", {"safe": False}, wanted)
        known = {task.id for task in asked.tasks}
        more = tuple(task for task in told if task.id not in known)
        return Answers(tasks=(*asked.tasks, *more), answered=asked.answered, silent=asked.silent)

    def _ask(self, command: str, arguments: Mapping[str, Any], wanted: Wanted) -> Answers:
        expected = self.remote.hostnames()
        if not expected and not self.remote.unmanaged.anybody_listens():
            self.remote.unmanaged.askable()
            return Answers()
        with ExitStack() as stack:
            stack.enter_context(writes.aside())  # a question is published, too
            control, connection = stack.enter_context(self.remote.unmanaged.control())
            replies, _ = connected_clients.broadcast(
                control, connection, command, timeout_s=ANSWER_S, arguments=arguments
            )
        found: list[HeldTask] = []
        answered = set[str]()
        for host, answer in ((str(host), answer) for reply in replies for host, answer in reply.items()):
            answered.add(host)
            found += (task for task in self._tasks(host, answer) if wanted(task.id))
        silent = sorted(expected - answered)
        found += self._reported(silent, wanted)
        return Answers(tasks=tuple(found), answered=len(answered), silent=tuple(silent))

    def _tasks(self, host: str, answer: Any) -> Iterable[HeldTask]:
        """From an answer to ``query_task``, id → [state, about], or to ``active``, a list of those."""
        if isinstance(answer, dict):
            pairs = [(state, about) for state, about in map(_pair, answer.values())]
        else:
            pairs = [("active", about) for about in answer[:MOST_TASKS]] if isinstance(answer, list) else []
        for state, about in pairs:
            if isinstance(about, dict) and isinstance(about.get("id"), str):
                yield self._task(host, state, about)

    def _task(self, host: str, state: str, about: Mapping[str, Any]) -> HeldTask:
        delivery = untrusted.mapping(about.get("delivery_info"))
        started = untrusted.instant(about.get("time_start")) if about.get("time_start") else None
        # Before Celery 5.7 one that waits for its time is "ready".
        known: WorkerState = "active" if state == "active" else "reserved" if state == "reserved" else "scheduled"
        return HeldTask(
            id=untrusted.words(about["id"], 255),
            worker=untrusted.words(host),
            state=known,
            name=masked(untrusted.words(about.get("name"))),
            queue=untrusted.words(delivery.get("routing_key")),
            since=started,
            arguments=shown_arguments(about.get("args"), about.get("kwargs"), self.redact),
        )

    def _reported(self, hosts: Iterable[str], wanted: Wanted) -> tuple[HeldTask, ...]:
        return tuple(
            HeldTask(
                id=task.task_id,
                worker=host,
                state="active",
                name=task.name,
                queue=task.queue,
                since=task.started_at,
                arguments=task.arguments,
                root=task.root,
                parent=task.parent,
                group=task.group,
                chord=task.chord,
                unsent=task.unsent,
                cut=task.cut,
                linked=bool(task.root),
            )
            for host in hosts
            for task in self.workers.running(host)
            if wanted(task.task_id)
        )


def _pair(value: Any) -> tuple[str, Any]:
    return (str(value[0]), value[1]) if isinstance(value, (list, tuple)) and len(value) == 2 else ("", None)
