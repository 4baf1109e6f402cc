"""Failed tasks for those who look: groups with their sums, the tasks of one, one task; the same as frames."""

from __future__ import annotations

import warnings
from datetime import datetime
from typing import TYPE_CHECKING, Any

from opsdash.model import Failure, FailureGroup, FailureOverview, FailurePage, TaskPlace, untrusted
from opsdash.services import dataframes
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker
from opsdash.services.failures.find_failed import FailedSearch, find_failed
from opsdash.services.failures.links import links
from opsdash.services.failures.store import FailureFilter, FailureStore
from opsdash.services.queues.task_message import Wanted
from opsdash.values import frozen

if TYPE_CHECKING:
    import pandas as pd

PAGE = 50
"""Failed tasks of one page."""


@frozen
class FailedTasks:
    """What workers have kept of failed tasks; changes nothing.

    Attributes:
        task_urls: Addresses with places in them, where else a task is shown.
    """

    broker: Broker
    task_urls: tuple[str, ...] = ()

    @property
    def store(self) -> FailureStore:
        """Where all of it is read."""
        return FailureStore(self.broker)

    @property
    def search(self) -> FailedSearch:
        """What a search of tasks looks at."""
        return FailedSearch(self.store)

    def groups(
        self, *, task: str = "", error: str = "", queue: str = "", kind: str = "", group: str = "", since: Any = None
    ) -> tuple[FailureGroup, ...]:
        """Failures by kind, task, error and place, those that came last first; all that is given must hold.

        Cost: two round trips, some 20 ms for 1,000 groups.

        Args:
            task: Name of the task, ``error`` of the exception's type; ``*`` matches any text.
            group: A group by its fingerprint.
            since: Failed last at this time or later: a datetime, ISO text, or an age such as ``2h``.

        Raises:
            Invalid: ``since`` is no time.
            Unavailable: Redis did not answer.
        """
        return self.overview(_filter(task, error, queue, kind, group, since)).groups

    def entries(
        self,
        *,
        task: str = "",
        error: str = "",
        queue: str = "",
        kind: str = "",
        group: str = "",
        since: Any = None,
        first: int = 1,
        number: int = PAGE,
    ) -> FailurePage:
        """Failed tasks one by one, those that came last first; chosen as in ``groups``.

        Args:
            first: 1 is the one that came last. ``number``: how many at most.

        Raises:
            Invalid: ``since`` is no time.
            Unavailable: Redis did not answer.
        """
        where = _filter(task, error, queue, kind, group, since)
        return self.store.page(where, first=max(1, first), number=max(0, number))

    def one(self, failure_id: str) -> Failure:
        """One failed task by its id. Cost: one round trip.

        Raises:
            Refused: None of that id is kept.
            Unavailable: Redis did not answer.
        """
        return self.store.find(failure_id)

    def find(self, wanted: Wanted) -> tuple[tuple[TaskPlace, ...], int]:
        """Failed tasks by their ids, as places of a task, and how many failed tasks there are at all.

        Raises:
            Unavailable: Redis did not answer.
        """
        return find_failed(self.store, wanted)

    def links(self, failure: Failure) -> tuple[str, ...]:
        """Where else this task is shown, by the settings' addresses. Each is safe to be a link."""
        return links(self.task_urls, failure)

    def overview(self, where: FailureFilter | None = None) -> FailureOverview:
        """Groups with their sums.

        Cost: as ``groups``; where a time is asked for, further three round trips, and where a queue is, one for every
        500 failures that can be meant.

        Raises:
            Unavailable: Redis did not answer.
        """
        where = where or FailureFilter()
        found, unread = self.store.groups(where)
        groups = tuple(group for group in found if group.open)
        one_by_one = where.queue or where.since is not None
        total = self.store.page(where, number=0).total if one_by_one else sum(group.kept for group in groups)
        return FailureOverview(
            total=total,
            not_kept=sum(group.not_kept for group in groups),
            groups=groups,
            problems=tuple(one.message for one in unread),
        )

    def size_bytes(self) -> int:
        """Bytes of Redis that the kept tasks take, as their workers reckon. Cost: one round trip.

        Raises:
            Unavailable: Redis did not answer.
        """
        with self.broker.reading():
            reply = bounded_reads.fields(self.broker.client, [self.broker.keys.failed_bytes], ["*"])
        return untrusted.whole(reply[0].get("*")) or 0

    def version(self) -> tuple[Any, ...]:
        """What is another one once something has failed, or was sent again or discarded. Cost: one round trip.

        Raises:
            Unavailable: Redis did not answer.
        """
        keys = self.broker.keys
        with self.broker.reading(), self.broker.client.pipeline(transaction=False) as pipe:
            pipe.zcount(keys.failed, "-inf", "+inf")
            for key in (keys.failed, keys.failed_groups):
                pipe.zrevrangebyscore(key, "+inf", "-inf", start=0, num=1, withscores=True)
            replies = pipe.execute(raise_on_error=False)
        return tuple(str(bounded_reads.typed(reply, None)) for reply in replies)

    def to_frame(self) -> pd.DataFrame:
        """One row per group as a typed pandas frame; warns of what is left out. Cost: as ``groups``."""
        seen = self.overview()
        for problem in seen.problems:
            warnings.warn(problem, stacklevel=2)
        return dataframes.of_failure_groups(seen.groups)

    def entries_to_frame(
        self, *, task: str = "", error: str = "", queue: str = "", kind: str = "", group: str = "", since: Any = None
    ) -> pd.DataFrame:
        """One row per failed task that is kept, those that came last first; chosen as in ``groups``.

        Args:
            since: A ``datetime``, ``date``, pandas ``Timestamp`` or ``numpy.datetime64``, ISO text, or an age.

        Raises:
            Invalid: ``since`` is no time.
            Unavailable: Redis did not answer.
        """
        where = _filter(task, error, queue, kind, group, dataframes.moment(since, "since"))
        return dataframes.of_failures(self.store.every(where))


def _filter(task: str, error: str, queue: str, kind: str, group: str, since: Any) -> FailureFilter:
    ready = since is None or (isinstance(since, datetime) and since.tzinfo is not None)
    at = since if ready else dataframes.moment(since, "since")
    return FailureFilter(task=task, error=error, queue=queue, kind=kind, fingerprint=group, since=at)
