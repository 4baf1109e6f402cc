"""``GET /api/v1/failures``: failed tasks by group, the tasks of one group, and one task."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus

import msgspec

from opsdash.api.handler import Handler
from opsdash.api.problems import ProblemError
from opsdash.api.requests import FailuresQuery, NoQuery
from opsdash.api.schemas import FailureRead, FailuresRead
from opsdash.errors import Refused
from opsdash.services.failures.facts import failure_facts, group_facts


class Failures(Handler):
    """Failed tasks by group."""

    async def get(self) -> None:
        """Groups and their sums, read now; of one group that is named its tasks too."""
        query = self.query(FailuresQuery)

        def read() -> FailuresRead:
            failed, where, now = self.console.failed, query.filter(), datetime.now(UTC)
            seen = failed.overview(where)
            if query.group and not seen.groups:
                why = "group: there is none of this fingerprint that the other filters leave."
                raise ProblemError(HTTPStatus.NOT_FOUND, "no-group", why)
            page = failed.store.page(where, first=query.first, number=query.limit) if query.group else None
            entries = None if page is None else [failure_facts(failed, one) for one in page.failures]
            facts = {
                "total": seen.total,
                "not_kept": seen.not_kept,
                "groups": [group_facts(group, now) for group in seen.groups],
                "entries": entries,
                "problems": list(seen.problems),
            }
            return msgspec.convert(facts, FailuresRead)

        answer = await self.work(read)
        self.set_header("Cache-Control", "private, no-cache")
        self.send(answer)


class OneFailure(Handler):
    """A failed task by its id."""

    async def get(self, failure_id: str) -> None:
        """What is kept of it, read now."""
        self.query(NoQuery)

        def read() -> msgspec.Struct:
            try:
                failure = self.console.failed.one(failure_id)
            except Refused as error:
                why = "No failed task of this id is kept."
                raise ProblemError(HTTPStatus.NOT_FOUND, "no-failure", why) from error
            return msgspec.convert(failure_facts(self.console.failed, failure), FailureRead)

        answer = await self.work(read)
        self.set_header("Cache-Control", "private, no-cache")
        self.send(answer)
