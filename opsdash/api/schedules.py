"""``GET /api/v1/schedules``: the entries of beat's schedule."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

import msgspec

from opsdash.api.handler import Handler
from opsdash.api.requests import NoQuery
from opsdash.model import Schedule

_HINTS = typing.get_type_hints(Schedule)
ScheduleRead = msgspec.defstruct(
    "ScheduleRead",
    [*((field.name, _HINTS[field.name]) for field in dataclasses.fields(Schedule)), ("state", str)],
    kw_only=True,
    namespace={"__doc__": "One entry of beat's schedule. ``state``: ``runs``, ``paused``, ``disabled`` or ``silent``."},
)


class SchedulesRead(msgspec.Struct, kw_only=True):
    """The entries of beat's schedule that were reported within a day, by name."""

    schedules: tuple[ScheduleRead, ...]  # type: ignore[valid-type] # made at run time


class Schedules(Handler):
    """The entries of beat's schedule."""

    async def get(self) -> None:
        """What beat reported of them, read now."""
        self.query(NoQuery)
        found = await self.work(self.console.schedules.read)
        self.set_header("Cache-Control", "private, no-cache")
        self.send(SchedulesRead(schedules=tuple(_read(one) for one in found)))


def _read(one: Schedule) -> Any:
    values = {field.name: getattr(one, field.name) for field in dataclasses.fields(one)}
    return ScheduleRead(**values, state=one.state)
