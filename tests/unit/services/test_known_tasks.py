"""A name that was mistyped: warned of where workers have answered and no such task waits, and only there."""

from __future__ import annotations

from typing import Any

import pytest

from opsdash.errors import Unavailable
from opsdash.services.queues.known_tasks import unknown_task
from opsdash.services.queues.sampling import TaskSample

REGISTERED = ["emails.send", "emails.digest [rate_limit=10/s]", 7, "invoices.render"]
NONE, SOME = TaskSample(looked_at=1_204), TaskSample(number=1, looked_at=1_204)


class Workers:
    """Answers as ``Remote`` does; None: they can't be asked."""

    def __init__(self, answers: dict[str, Any] | None) -> None:
        self.answers, self.asked = answers, 0

    def hostnames(self) -> set[str]:
        return {"w1@h", "w2@h"}

    def ask(self, question: str, hosts: set[str]) -> dict[str, Any]:
        assert (question, hosts) == ("registered", {"w1@h", "w2@h"})
        self.asked += 1
        if self.answers is None:
            raise Unavailable("They can't be asked.")
        return self.answers


def warned(workers: Workers, name: str, matching: TaskSample = NONE) -> list[str]:
    remote: Any = workers
    return [line.text for line in unknown_task(remote, name, matching) if line.kind == "warning"]


def test_a_name_that_nobody_knows_is_warned_of_with_the_one_that_is_like_it() -> None:
    workers = Workers({"w1@h": REGISTERED, "w2@h": "nonsense"})
    assert warned(workers, "emails.sedn") == [
        "No worker that answered registers a task named emails.sedn,"
        " and none of the 1,204 waiting tasks looked at has it. Did you mean emails.send?"
    ]
    assert warned(workers, "shop.*", TaskSample(looked_at=1))[0].endswith("and the one waiting task has another.")
    assert warned(workers, "zzz", TaskSample())[0].endswith("and none waits.")


@pytest.mark.parametrize("name", ["emails.send", "emails.digest", "emails.*", "celery.backend_cleanup"])
def test_a_name_that_a_worker_registers_is_not(name: str) -> None:
    assert warned(Workers({"w1@h": REGISTERED}), name) == []


def test_workers_are_not_asked_while_such_a_task_waits() -> None:
    workers = Workers({"w1@h": REGISTERED})
    assert warned(workers, "emails.sedn", SOME) == []
    assert workers.asked == 0


@pytest.mark.parametrize("answers", [None, {}, {"w1@h": []}, {"w1@h": None}])
def test_where_nobody_has_answered_nothing_is_claimed(answers: dict[str, Any] | None) -> None:
    assert warned(Workers(answers), "emails.sedn") == []
