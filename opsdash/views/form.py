"""A dialog from an operation's declaration and preview, and back: what was filled in as the operation's arguments."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import panel as pn

from opsdash.errors import Invalid, sentences
from opsdash.model import Preview
from opsdash.operation import MAX_TEXT, Operation, parameters, registry
from opsdash.views.design import OpsDesign

MAX_KINDS = 6


def asked_for(name: str, args: Mapping[str, Any]) -> Operation:
    """The operation that a browser names, with the arguments it may choose: those that are written as text.

    Args:
        name: As the browser sent it, like ``args``: not to be trusted.

    Raises:
        Invalid: There is no such operation, or it has no such argument.
    """
    kind = registry().get(name)
    if kind is None:
        raise Invalid(f"There is no operation {name[:40]!r}.")
    known = {field.name: field for field in parameters(kind) if not isinstance(field.default, bool)}
    given = {}
    for key, value in args.items():
        if key not in known or not isinstance(value, str):
            raise Invalid(f"{kind.title} does not accept these parameters.")
        try:
            given[key] = known[key].metadata["parse"](value)
        except ValueError as error:
            raise Invalid(f"{error}.", field=key) from error
    return kind(**given)


def asking(operation: Operation) -> dict[str, Any]:
    """What a button sends to have its dialog opened for just this; the way back is ``asked_for``.

    A yes-or-no argument is the operator's to say: its dialog comes with it filled in.
    """
    given = {field.name: getattr(operation, field.name) for field in parameters(operation) if field.name != "reason"}
    text = {name: str(value) for name, value in given.items() if value is not None and not isinstance(value, bool)}
    flags = {name: True for name, value in given.items() if value is True}
    return {"name": operation.name, "args": text, "half": flags}


def fields(operation: Operation, preview: Preview | None, known: Collection[str] = ()) -> list[dict[str, str]]:
    """What the dialog asks: arguments with a label; a yes-or-no one only when the preview has it among its choices.

    Args:
        known: Names of those that need not be asked, because what was clicked says them.
    """
    choices = preview.choices if preview else ()
    return [
        {
            "name": field.name,
            "label": field.metadata["label"],
            "kind": "flag" if isinstance(field.default, bool) else "text",
            "placeholder": field.metadata["placeholder"],
        }
        for field in _asked(operation)
        if field.name not in known and (field.name in choices or not isinstance(field.default, bool))
    ]


def about(operation: Operation, known: Collection[str]) -> list[tuple[str, str]]:
    """What the dialog says instead of asking: label and value of what was clicked."""
    return [
        (field.metadata["label"], str(getattr(operation, field.name)))
        for field in _asked(operation)
        if field.name in known
    ]


def in_words(operation: Operation, error: Invalid) -> str:
    """Why what is filled in can't be taken, by the label of the field; in a dialog nothing is ever changed yet."""
    label = next((field.metadata["label"] for field in _asked(operation) if field.name == error.field), error.field)
    return sentences(error.fault_of(label), error.hint)


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
                raise Invalid(f"{error}.", field=field.name) from error
    return dataclasses.replace(operation, **given)


def review(preview: Preview | None) -> dict[str, Any]:
    """What the dialog shows of a preview, as parameters of ``Dialog``; a figure of nothing is left out."""
    shown = preview or Preview()
    return {
        "figures": [
            {"label": one.label, "value": one.value, "unit": one.shown_unit, "exactness": one.exactness}
            for one in shown.figures
            if one.shown
        ],
        "breakdown": [
            [part.name, part.value, one.exactness == "exact"]
            for one in shown.breakdowns[:1]
            if one.label and one.parts
            for part in one.first(MAX_KINDS)
        ],
        "lines": [[line.kind, line.text] for line in shown.in_order],
    }


def widget(field: Mapping[str, str], value: Any = None) -> Any:
    """The widget of Panel's that asks for one field, with what is filled in already.

    A yes-or-no field is a group of one: Panel's own checkbox has no name for a screen reader.
    """
    if field["kind"] == "flag":
        label = field["label"]
        return pn.widgets.CheckBoxGroup(
            options=[label], value=[label] if value is True else [], margin=0, design=OpsDesign
        )
    text = value[:MAX_TEXT] if isinstance(value, str) else ""
    return pn.widgets.TextInput(
        label=field["label"],
        value=text,
        value_input=text,
        placeholder=field["placeholder"],
        max_length=MAX_TEXT,
        margin=0,
        design=OpsDesign,
        sizing_mode="stretch_width",
    )


def value_of(field: Any) -> Any:
    """What is filled in: a text, or yes or no."""
    return bool(field.value) if isinstance(field, pn.widgets.CheckBoxGroup) else field.value_input


def without_reason(operation: Operation) -> Operation:
    """What makes a difference to the preview: a reason makes none, and reading one may take seconds."""
    return dataclasses.replace(operation, reason="")


def _asked(operation: Operation) -> list[dataclasses.Field[Any]]:
    return [field for field in parameters(operation) if field.metadata["label"]]
