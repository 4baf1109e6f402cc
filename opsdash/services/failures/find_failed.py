"""Failed tasks as places of tasks: by their id, and for a search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from opsdash.model import Failure, TaskPlace
from opsdash.model.queue import FAILED_TASKS
from opsdash.services.failures.store import FailureStore
from opsdash.services.queues.task_message import Wanted
from opsdash.services.queues.trash import Trash

MOST = 20
"""Failed tasks that one beginning of an id finds: more are not shown."""


def find_failed(store: FailureStore, wanted: Wanted) -> tuple[tuple[TaskPlace, ...], int]:
    """Failed tasks with this id, or whose id begins so, those that failed last first; and how many there are at all.

    Those that were discarded come after those that are kept, as tasks in the trash.

    Cost: two round trips, three for each trash of failed tasks; the ids of 10,000 failed tasks are some 15 ms.

    Raises:
        Unavailable: Redis did not answer.
    """
    places: list[TaskPlace] = []
    number = 0
    for one in (store, *discarded(store)):
        ids = one.ids()
        meant = [failure_id for failure_id in ids if wanted(failure_id)][: MOST + 1 - len(places)]
        places += [_place(failure, one.trash_id) for failure in one.some(meant)]
        number += len(ids)
    return tuple(places), number


def discarded(store: FailureStore) -> list[FailureStore]:
    """Each trash of failed tasks that can be restored now, the newest first. Cost: as `Trash.look`.

    Raises:
        Unavailable: Redis did not answer.
    """
    entries, _ = Trash(store.broker).look()
    return [FailureStore(store.broker, entry.id) for entry in entries if entry.kind == FAILED_TASKS]


@dataclass(frozen=True, slots=True)
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


def _place(failure: Failure, trash_id: str = "") -> TaskPlace:
    return TaskPlace(
        id=failure.id,
        state="cleared" if trash_id else "failed",
        trash_id=trash_id,
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
