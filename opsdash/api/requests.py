"""Requests as the API takes them: bodies made from the operations' declarations, and queries."""

from __future__ import annotations

import dataclasses
import typing
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from opsdash.api.schemas import NO_NUL, Moment, Text, Whole
from opsdash.model import (
    Status,
    times,
)
from opsdash.operation import CONFIRMATION, MAX_TEXT, Operation, parameters
from opsdash.services.audit.query import MAX_PAGE, Filter
from opsdash.services.failures.store import MOST_FAILURES, FailureFilter
from opsdash.services.queues.search_tasks import MOST_PAGE, SEARCHED, SearchState, TaskQuery

MAX_CURSOR = 2_000
"""Characters of where a search goes on: it has a queue's name in it."""


class NoQuery(msgspec.Struct, forbid_unknown_fields=True):
    """No parameter at all."""


class RunQuery(msgspec.Struct, forbid_unknown_fields=True):
    """How an operation is asked for."""

    dry_run: Annotated[bool, Meta(description="1: only the preview; nothing is changed.")] = False


class AuditQuery(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Filters and pages of the audit log."""

    user: Annotated[Text, Meta(description="Only this user.")] = ""
    operation: Annotated[Text, Meta(description="Only this operation.")] = ""
    status: Annotated[Status | UnsetType, Meta(description="Only this outcome.")] = UNSET
    since: Annotated[Moment | UnsetType, Meta(description="Begun at or after this time.")] = UNSET
    until: Annotated[Moment | UnsetType, Meta(description="Begun before this time.")] = UNSET
    text: Annotated[Text, Meta(description="Only entries whose details contain this, whatever the case.")] = ""
    broker: Annotated[Text, Meta(description="Only acts on this broker; ``this``: on the one of this console.")] = ""
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE, description="Entries in a page.")] = 50
    after: Annotated[str | UnsetType, Meta(description="The ``after`` of the page before.")] = UNSET

    def __post_init__(self) -> None:
        """A time that no calendar reckons with is not what the schema means by one.

        Raises:
            ValueError: Which msgspec makes a ``ValidationError``.
        """
        at, is_position, _ = (self.after or "").partition("~")
        for name, value in (("since", self.since), ("until", self.until), ("after", at if is_position else UNSET)):
            try:
                if value is not UNSET:
                    times.in_utc(datetime.fromisoformat(value) if isinstance(value, str) else value)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None

    def filter(self) -> Filter:
        """As the services take it."""
        return Filter(
            user=self.user,
            operation=self.operation,
            status=self.status or "",
            since=self.since or None,
            until=self.until or None,
            text=self.text,
            broker=self.broker,
        )


class TasksQuery(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Which tasks a search means, and its pages."""

    name: Annotated[Text, Meta(description="Name of the task; ``*`` matches any text.")] = ""
    text: Annotated[Text, Meta(description="A text in the id, the name or the arguments, as they are shown.")] = ""
    queue: Annotated[Text, Meta(description="Only of this queue.")] = ""
    state: Annotated[SearchState | UnsetType, Meta(description="Only tasks in this state.")] = UNSET
    limit: Annotated[int, Meta(ge=1, le=MOST_PAGE, description="Tasks in a page, about.")] = 50
    after: Annotated[
        str, Meta(max_length=MAX_CURSOR, pattern=r"^[A-Za-z0-9_-]*$", description="The ``after`` of the page before.")
    ] = ""

    def asked(self) -> TaskQuery:
        """As the services take it."""
        states = SEARCHED if self.state is UNSET else (self.state,)
        return TaskQuery(name=self.name, text=self.text, queue=self.queue, states=states)


class FailuresQuery(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Which failed tasks are meant; all that is given must hold."""

    task: Annotated[Text, Meta(description="Name of the task; ``*`` matches any text.")] = ""
    error: Annotated[Text, Meta(description="Type of the error; ``*`` matches any text.")] = ""
    queue: Annotated[Text, Meta(description="Only from this queue.")] = ""
    kind: Annotated[Text, Meta(description="How they failed: ``failed``, ``rejected``, ``time_limit`` …")] = ""
    since: Annotated[Moment | UnsetType, Meta(description="Failed last at or after this time.")] = UNSET
    group: Annotated[Text, Meta(description="A group by its fingerprint: its tasks are the ``entries``.")] = ""
    first: Annotated[
        int, Meta(ge=1, le=MOST_FAILURES, description="The first entry; 1 is the one that failed last.")
    ] = 1
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE, description="Entries in a page.")] = 50

    def __post_init__(self) -> None:
        """The same for failed tasks.

        Raises:
            ValueError: Which msgspec makes a ``ValidationError``.
        """
        try:
            if self.since is not UNSET:
                times.in_utc(self.since)
        except ValueError as error:
            raise ValueError(f"since: {error}") from None

    def filter(self) -> FailureFilter:
        """As the services take it."""
        since = None if self.since is UNSET else times.in_utc(self.since)
        return FailureFilter(
            task=self.task, error=self.error, queue=self.queue, kind=self.kind, fingerprint=self.group, since=since
        )


_requests: dict[str, type[msgspec.Struct]] = {}


def request_of(kind: type[Operation]) -> type[msgspec.Struct]:
    """The body that runs or previews an operation. What is positional on the command line must be said here too."""
    if kind.name not in _requests:
        _requests[kind.name] = _request_of(kind)
    return _requests[kind.name]


def _request_of(kind: type[Operation]) -> type[msgspec.Struct]:
    hints = typing.get_type_hints(kind)
    fields: list[Any] = []
    for field in parameters(kind):
        meta = field.metadata
        text = meta["help"] + (" In seconds." if field.name.endswith("_s") else "")
        described: Any = Annotated[_bounded(hints[field.name], meta["longest"]), Meta(description=text)]
        required = (meta["positional"] and not meta["several"]) or field.default is dataclasses.MISSING
        fields.append((field.name, described) if required else (field.name, described, field.default))
    named = "".join(part.title() for part in kind.name.split("_"))
    params = msgspec.defstruct(
        f"{named}Params",
        fields,
        kw_only=True,
        forbid_unknown_fields=True,
        namespace={"__doc__": f"Parameters of {kind.name}."},
    )
    needed = any(len(field) == 2 for field in fields)
    confirm = Annotated[str, Meta(max_length=MAX_TEXT, description=f"Exactly {CONFIRMATION}; not for a dry run.")]
    phrase = Annotated[Text, Meta(description="The words that some operations ask for besides.")]
    request_id: Any = Annotated[
        UUID | None, Meta(description="Yours, for this one act: sent again, it is answered and not done again.")
    ]
    return msgspec.defstruct(
        f"{named}Request",
        [
            ("params", params) if needed else ("params", params, msgspec.field(default_factory=params)),
            ("confirm", confirm, ""),
            ("phrase", phrase, ""),
            ("request_id", request_id, None),
        ],
        kw_only=True,
        forbid_unknown_fields=True,
        namespace={"__doc__": kind.help},
    )


def operation_of(kind: type[Operation], sent: Any) -> Operation:
    """The operation that a body asks for.

    Raises:
        Invalid: A parameter holds what Redis, the database or a screen could not take.
    """
    return kind(**{field: getattr(sent.params, field) for field in sent.params.__struct_fields__})


def _bounded(hint: Any, longest: int = MAX_TEXT) -> Any:
    """Text and whole numbers with the bounds that every surface keeps."""
    if hint is str:
        return Text if longest == MAX_TEXT else Annotated[str, Meta(max_length=longest, pattern=NO_NUL)]
    if hint is int:
        return Whole
    if typing.get_args(hint):
        bounded = tuple(_bounded(part, longest) for part in typing.get_args(hint))
        return typing.Union[bounded] if type(None) in bounded else hint  # noqa: UP007 - made at run time
    return hint
