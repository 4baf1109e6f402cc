"""Workers for tests that need none: they say what the test has them say."""

from __future__ import annotations

from collections.abc import Sequence

from opsdash.services.workers.task_holders import Answers, HeldTask


class Nobody:
    """No worker has anything, unless it is said so."""

    def __init__(self, *tasks: HeldTask, silent: Sequence[str] = ()) -> None:
        self.tasks, self.silent = tasks, tuple(silent)

    def have(self, ids: Sequence[str]) -> Answers:
        return Answers(tasks=tuple(t for t in self.tasks if t.id in ids), answered=1, silent=self.silent)

    def running(self, wanted: object = lambda _id: True, *, ask: bool = False) -> Answers:
        assert callable(wanted)
        return Answers(tasks=tuple(task for task in self.tasks if wanted(task.id)), answered=1, silent=self.silent)
