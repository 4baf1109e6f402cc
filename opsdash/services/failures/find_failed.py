"""Failed tasks as places of tasks: by their id, and for a search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from opsdash.model import Failure, TaskPlace
from opsdash.services.failures.store import FailureStore
from opsdash.services.queues.task_message import Wanted
from opsdash.values import frozen

MOST = 20
"""Failed tasks that one beginning of an id finds: more are not shown."""


def find_failed(store: FailureStore, wanted: Wanted) -> tuple[tuple[TaskPlace, ...], int]:
    """Failed tasks with this id, or whose id begins so, those that failed last first; and how many there are at all.

    Cost: two round trips; the ids of 10,000 failed tasks are some 15 ms.

    Raises:
        Unavailable: Redis did not answer.
    """
    ids = store.ids()
    meant = [one for one in ids if wanted(one)][: MOST + 1]
    return tuple(map(_place, store.some(meant))), len(ids)


@frozen
class FailedSearch:
    """Failed tasks for a search by name and argument text."""

    store: FailureStore

    def ids(self) -> list[str]:
        """Of all that are kept, those that failed last first. Cost: as `FailureStore.ids`.

        Raises:
            Unavailable: Redis did not answer.
        """
        return self.store.ids()

    def places(self, ids: Sequence[str]) -> Iterator[TaskPlace]:
        """Those of these that are kept still. Cost: as `FailureStore.shown`.

        Raises:
            Unavailable: Redis did not answer.
        """
        return map(_place, self.store.shown(ids))


def _place(failure: Failure) -> TaskPlace:
    return TaskPlace(
        id=failure.id,
        state="failed",
        name=failure.task,
        queue=failure.queue,
        ended_at=failure.at,
        retries=failure.retries,
        arguments=failure.arguments,
        error=failure.error or failure.kind.replace("_", " "),
        sendable=failure.sendable,
        chord=failure.chord,
        group=bool(failure.group_id),
        size_bytes=failure.message_bytes or None,
    )
