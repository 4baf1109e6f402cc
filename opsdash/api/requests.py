"""What comes over the wire for an operation: the body of its request, made from its declaration."""

from __future__ import annotations

import dataclasses
import typing
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from opsdash.api.shapes import Text, Whole
from opsdash.operation import CONFIRMATION, MAX_TEXT, Operation, parameters

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
        said = meta["help"] + (" In seconds." if field.name.endswith("_s") else "")
        described: Any = Annotated[_bounded(hints[field.name]), Meta(description=said)]
        required = meta["positional"] or field.default is dataclasses.MISSING
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


def _bounded(hint: Any) -> Any:
    """Text and whole numbers with the bounds that every surface keeps."""
    if hint is str:
        return Text
    if hint is int:
        return Whole
    if typing.get_args(hint):
        bounded = tuple(_bounded(part) for part in typing.get_args(hint))
        return typing.Union[bounded] if type(None) in bounded else hint  # noqa: UP007 - made at run time
    return hint
