"""The dialog's fields, from an operation's declaration, and back: what was filled in as the operation's arguments."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from opsdash.errors import Invalid
from opsdash.model import Preview
from opsdash.operation import Operation


def fields(operation: Operation, preview: Preview) -> list[dict[str, str]]:
    """What the dialog asks: arguments with a label; a yes-or-no one only when the preview has it among its choices."""
    return [
        {
            "name": field.name,
            "label": field.metadata["label"],
            "kind": "flag" if isinstance(field.default, bool) else "text",
            "placeholder": field.metadata["placeholder"],
        }
        for field in _asked(operation)
        if not isinstance(field.default, bool) or field.name in preview.choices
    ]


def filled(operation: Operation, values: Mapping[str, Any]) -> Operation:
    """The operation with what was filled in; an empty field keeps what the operation has.

    Args:
        values: By the field's name, as the browser sent them: not to be trusted in name, type or content.

    Raises:
        Invalid: Naming the field.
    """
    given: dict[str, Any] = {}
    for field in _asked(operation):
        value = values.get(field.name)
        if isinstance(field.default, bool):
            given[field.name] = value is True
        elif isinstance(value, str) and value.strip():
            try:
                given[field.name] = field.metadata["parse"](value.strip())
            except ValueError as error:
                raise Invalid(f"{field.metadata['label']}: {error}. Nothing was changed.") from error
    return dataclasses.replace(operation, **given)  # type: ignore[type-var] # a dataclass by __init_subclass__


def _asked(operation: Operation) -> list[dataclasses.Field[Any]]:
    return [field for field in dataclasses.fields(operation) if field.metadata["label"]]  # type: ignore[arg-type]
