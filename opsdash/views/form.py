"""A dialog from an operation's declaration and preview, and back: what was filled in as the operation's arguments."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import panel as pn
import param

from opsdash.errors import Invalid, sentences
from opsdash.model import Breakdown, Figure, Line, Preview
from opsdash.operation import Operation, parameters, registry
from opsdash.state.changes import set_changed
from opsdash.views.design import OpsDesign

MAX_KINDS = 6
MAX_LABEL = 32


def asked_for(name: str, args: Mapping[str, Any]) -> Operation:
    """The operation that a browser names, with the arguments it may choose: those that are written as text.

    Args:
        name: As the browser sent it, like ``args``: not to be trusted. One that is empty keeps its default.

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
        if not value and known[key].default is None:  # left empty, so that it is not asked
            continue
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


def fields(operation: Operation, preview: Preview | None, known: Collection[str] = ()) -> list[dict[str, Any]]:
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
            "suggestions": dict(field.metadata["suggestions"]),
            "longest": field.metadata["longest"],
        }
        for field in _asked(operation)
        if field.name not in known and (field.name in choices or not isinstance(field.default, bool))
    ]


def about(operation: Operation, known: Collection[str], title: str = "") -> list[tuple[str, str]]:
    """What the dialog says instead of asking: label and value of what was clicked.

    Nothing of what was left empty, nor of what its title names.
    """
    given = {
        field.metadata["label"]: getattr(operation, field.name) for field in _asked(operation) if field.name in known
    }
    return [
        (label, str(value))
        for label, value in given.items()
        if value not in ("", None) and f" {value} " not in f" {title} "
    ]


def in_words(operation: Operation, error: Invalid) -> str:
    """Why what is filled in can't be taken, by the label of the field; in a dialog nothing is ever changed yet."""
    label = next((field.metadata["label"] for field in _asked(operation) if field.name == error.field), error.field)
    return sentences(error.fault_of(label), error.hint)


def is_empty(operation: Operation, name: str) -> bool:
    """Nothing is filled in for this field; without a name: for none but the reason."""
    names = [name] if name else [field.name for field in _asked(operation) if field.name != "reason"]
    return all(getattr(operation, one, "") in ("", None, False) for one in names)


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


def review(preview: Preview | None, operation: Operation | None = None) -> dict[str, Any]:
    """What the dialog shows of a preview, as parameters of ``Dialog``.

    Neither a figure of nothing nor a sentence that only repeats what is shown as figures is there; where nothing at
    all is affected, the sentence is what says so.

    Args:
        operation: Whose it is: by it a sentence names the box that changes it.
    """
    shown = preview or Preview()
    figures = [one for one in shown.figures if one.shown and one.value]
    breakdowns = [one for one in shown.breakdowns[:1] if one.label and any(part.value for part in one.parts)]
    seen = {one.name for one in figures} | {one.name for one in breakdowns}
    silent = {one.name for one in shown.figures if one.shown and not one.value}  # nothing of it: no tile, no sentence
    return {
        "figures": [_tile(one) for one in figures],
        "breakdown": [share for one in breakdowns for share in _shares(one)],
        "lines": [
            [line.kind, line.text if operation is None else _with_choice(line, operation)]
            for line in shown.in_order
            if not seen.intersection(line.repeats) or set(line.repeats) - seen - silent
        ],
    }


def _with_choice(line: Line, operation: Operation) -> str:
    label = next((field.metadata["label"] for field in _asked(operation) if field.name == line.choice), "")
    return f"{line.text} To change that, tick “{label}”." if label else line.text


def _tile(figure: Figure) -> list[str]:
    """Number, unit and what it counts, in words."""
    value, label = figure.value, figure.shown_label
    number = f"{value:,}" if isinstance(value, int) else f"{value:,.1f}".removesuffix(".0")
    return [
        f"≈ {number}" if figure.exactness == "estimated" else number,
        figure.shown_unit,
        f"{label}, as last reported" if figure.exactness == "old" else label,
    ]


def _shares(breakdown: Breakdown) -> list[list[Any]]:
    """Kind, count, and both in words. Of what was estimated no share is all."""
    parts = [part for part in breakdown.first(MAX_KINDS) if part.value]
    total, about = sum(part.value for part in parts), "" if breakdown.exactness == "exact" else "≈ "
    found = []
    for part in parts:
        percent = 100 * part.value / total
        share = "> 99" if about and percent > 99 else f"{about}< 1" if percent < 1 else f"{about}{percent:.0f}"
        found.append([part.name, part.value, f"{about}{part.value:,} · {share} %"])
    return found


def widget(field: Mapping[str, Any]) -> Any:
    """The widget of Panel's that asks for one field; it is empty.

    A yes-or-no field is a group of one: Panel's own checkbox has no name for a screen reader.
    """
    if field["kind"] == "flag":
        label = field["label"]
        return pn.widgets.CheckBoxGroup(options=[label], value=[], margin=0, design=OpsDesign)
    return pn.widgets.TextInput(
        label=field["label"],
        placeholder=field["placeholder"],
        max_length=field["longest"],
        margin=0,
        design=OpsDesign,
        sizing_mode="stretch_width",
    )


def fill(widget: Any, value: Any) -> None:
    """Fills in a field's widget: a text, or yes or no; anything else, which may come from a browser, empties it."""
    if isinstance(widget, pn.widgets.CheckBoxGroup):
        set_changed(widget, value=list(widget.options) if value is True else [])
        return
    text = value[: widget.max_length] if isinstance(value, str) else ""
    set_changed(widget, value=text, value_input=text)


def chips(suggestions: Mapping[str, str], field: pn.widgets.TextInput) -> pn.widgets.RadioButtonGroup:
    """Buttons that fill in a text field, below it; the one that says what is in the field looks pressed.

    Args:
        suggestions: What a button says, and what it fills in. Either may be other people's text.
    """
    choice = pn.widgets.RadioButtonGroup(
        options=dict(suggestions),
        value=None,
        css_classes=["chips"],
        margin=(-4, 0, 0, 0),
        sizing_mode="stretch_width",
        design=OpsDesign,
    )

    def fill_in(event: param.parameterized.Event) -> None:
        if event.new is not None and event.new != field.value_input:
            field.param.update(value=event.new, value_input=event.new)

    def follow(_event: object) -> None:
        choice.value = field.value_input if field.value_input in suggestions.values() else None

    follow(None)
    choice.param.watch(fill_in, "value")
    field.param.watch(follow, "value_input")
    return choice


def value_of(field: Any) -> Any:
    """What is filled in: a text, or yes or no."""
    return bool(field.value) if isinstance(field, pn.widgets.CheckBoxGroup) else field.value_input


def button_label(text: str) -> str:
    """What the button says, in a phone's width; the title above has all of it."""
    return text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL - 1]}…"


def without_reason(operation: Operation) -> Operation:
    """What makes a difference to the preview: a reason makes none, and reading one may take seconds."""
    return dataclasses.replace(operation, reason="")


def _asked(operation: Operation) -> list[dataclasses.Field[Any]]:
    return [field for field in parameters(operation) if field.metadata["label"]]
