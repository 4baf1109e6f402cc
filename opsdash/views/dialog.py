"""The dialog between a button and an operation: bound to ``PendingConfirmation``, nothing happens without ``YES``."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import panel as pn
import param
from panel.viewable import Viewable, Viewer

from opsdash.errors import Invalid, OpsdashError
from opsdash.model import Effect, Preview
from opsdash.operation import CONFIRMATION, Operation
from opsdash.services.threads import READS
from opsdash.state import PendingConfirmation
from opsdash.state.changes import set_changed
from opsdash.text import visible
from opsdash.views import form
from opsdash.views.components import Dialog
from opsdash.views.design import OpsDesign, button

if TYPE_CHECKING:
    from opsdash.views.session import Session

SETTLED_S = 0.25
"""Who types is left in peace for so long before the preview is read again."""


class ConfirmationDialog(Viewer):
    """Shows what is pending; its fields write into ``pending``, which alone says when Confirm is armed.

    Args:
        session: Whose pending operation, previews and messages.
        keeps: What is half-filled outlives a reload of the page.
    """

    pending: PendingConfirmation = param.ClassSelector(  # type: ignore[assignment] # a parameter is its value
        class_=PendingConfirmation, allow_None=False, constant=True, allow_refs=False
    )
    problem = param.String(default="", doc="Why what is filled in can't be taken.")
    missing = param.String(default="", doc="What is still to be filled in; said once YES is typed.")
    stale = param.Boolean(default=False, doc="What is filled in has changed since the preview was read.")
    ready = param.Boolean(default=False, doc="Confirm can be pressed: YES is typed, and the preview is of now.")
    theme: param.Selector[str] = param.Selector(default="auto", objects=["auto", "light", "dark"], allow_refs=True)

    def __init__(self, session: Session, *, keeps: bool = False, **params: Any) -> None:
        super().__init__(pending=session.pending, **params)
        self._session = session
        self._fields: dict[str, Any] = {}
        self._given: Mapping[str, Any] = {}
        self._reviewed: Operation | None = None
        self._asked = self._asked_for = 0
        self._kept_fields: dict[str, Any] = {}
        self._yes: pn.widgets.TextInput | None = None
        self._typed: list[pn.widgets.TextInput] = []
        self._chips: dict[str, pn.widgets.RadioButtonGroup] = {}
        self._effects: list[Callable[[Effect], Any]] = []
        self._cancel = button("Cancel", css_classes=["quiet", "wide"], on_click=self._cancelled)
        self._confirm_button = button(
            "Confirm", css_classes=["wide"], disabled=self.param.ready.rx.not_(), on_click=self._confirm
        )
        self._dialog = Dialog(
            keeps=keeps,
            stale=self.param.stale,
            theme=self.param.theme,
            actions=[self._cancel, self._confirm_button],
        )
        # Not a reference: Esc writes ``open`` in the browser, and Param drops a reference that is written over.
        self._dialog.param.watch(self._closed_in_browser, "open")
        self._dialog.param.watch(self._found, "found")

    def __panel__(self) -> Viewable:
        return self._dialog

    def on_effect(self, callback: Callable[[Effect], Any]) -> None:
        """Calls ``callback`` with the effect of each operation that was confirmed here."""
        self._effects.append(callback)

    def asks(self, kind: type[Operation], **args: str) -> Callable[[Any], Awaitable[None]]:
        """A button's ``on_click``. Panel awaits ``async def`` only, not a lambda that returns a coroutine."""

        async def ask(_event: object) -> None:
            await self.ask(kind.name, args)

        return ask

    async def ask(
        self,
        name: str,
        args: Mapping[str, Any],
        half: Mapping[str, Any] | None = None,
        *,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        """Reads the preview and opens the dialog; on an error it tells the operator and opens nothing.

        Args:
            name: Of the operation. It and ``args`` may come from a browser: neither is trusted.
            half: What is filled in already, by the field's name.
            tell: Says an error where the operator is: a message of the page is behind a panel that is open.
        """
        self._asked += 1
        asked = self._asked
        async with self._session.turn("ask") as mine:
            if not mine:
                return
            try:
                operation = form.asked_for(name, args)
                filled = form.filled(operation, half or {})
                preview, problem, missing = await self._look(filled, args)
            except OpsdashError as error:
                (tell or partial(self._session.say, tone="bad"))(str(error))
                return
        if asked != self._asked:
            return  # another was asked for meanwhile
        with pn.io.hold():
            self._given = dict(args)
            self._reviewed = form.without_reason(filled)
            self.param.update(problem=problem, missing=missing, stale=False)
            self.pending.request(operation, preview)
            self._make_fields(operation, preview, half or {})
            self._cancel.label, self._confirm_button.visible = "Cancel", True
            self._review()
            self._keep()
            self._dialog.open = True
            self._asked_for = asked
        await self._suggest(operation, asked)

    async def ask_for(self, operation: Operation) -> None:
        """The same for an operation that exists: an Undo."""
        asked = form.asking(operation)
        await self.ask(asked["name"], asked["args"], asked["half"])

    def tell(self, title: str, about: Iterable[tuple[str, str]], *fields: Viewable) -> None:
        """Shows something with nothing to confirm; what was pending is not any more."""
        self._close()
        with pn.io.hold():
            self.param.update(problem="", missing="", stale=False)
            self._dialog.param.update(
                title=title, about=[list(one) for one in about], warning="", danger=False, **form.review(None)
            )
            self._cancel.label, self._confirm_button.visible = "Close", False
            self._kept_fields = {}
            self._dialog.objects = list(fields)
            self._dialog.open = True

    async def _found(self, event: param.parameterized.Event) -> None:
        """The browser had a half-filled dialog before it was reloaded; it is not to be trusted."""
        found = event.new if isinstance(event.new, dict) else {}
        args, values = found.get("args"), found.get("values")
        if isinstance(found.get("name"), str) and isinstance(args, dict) and isinstance(values, dict):
            await self.ask(found["name"], args, values)

    async def _look(self, operation: Operation, known: Collection[str] = ()) -> tuple[Preview | None, str, str]:
        """The preview; or what is wrong with what is filled in; or what is still to be filled in."""
        try:
            return await self._session.preview(operation), "", ""
        except Invalid as error:
            if (
                error.setting
                or error.field in known
                or all(field["name"] == "reason" for field in form.fields(operation, None, known))
            ):
                raise  # nothing that could be filled in mends it, nor does a reason
            text = form.in_words(operation, error)
            return (None, "", text) if form.is_empty(operation, error.field) else (None, text, "")

    def _make_fields(self, operation: Operation, preview: Preview | None, half: Mapping[str, Any]) -> None:
        asked = {field["name"]: field for field in form.fields(operation, preview, self._given)}
        before, had = self._kept_fields, self._chips
        self._kept_fields = {repr(field): before.get(repr(field)) or self._field(field) for field in asked.values()}
        self._fields = dict(zip(asked, self._kept_fields.values(), strict=True))
        for name, widget in self._fields.items():
            form.fill(widget, half.get(name))
        phrase = preview.phrase if preview else ""
        self._yes = self._yes or self._typing(f"Type {CONFIRMATION} to confirm", "typed")
        form.fill(self._yes, "")
        self._typed = [*([self._typing(f"Type {phrase} too", "phrase_typed")] if phrase else []), self._yes]
        self._chips = {
            name: had[name]
            if name in had and repr(field) in before
            else form.chips(field["suggestions"], self._fields[name])
            for name, field in asked.items()
            if field["suggestions"]
        }
        self._place_fields()

    def _field(self, field: Mapping[str, Any]) -> Any:
        """A widget is made once and filled in again while dialogs ask for the same: each costs both sides 10 ms."""
        widget = form.widget(field)
        widget.param.watch(self._refill, "value_input" if hasattr(widget, "value_input") else "value")
        if "enter_pressed" in widget.param:
            widget.param.watch(self._confirm, "enter_pressed")
        return widget

    def prepare(self, operation: Operation) -> None:
        """Makes the fields of an operation that will be asked for soon, unless the dialog is in use."""
        if not self._dialog.open and not self._dialog.objects:
            self._make_fields(operation, None, {})

    def _place_fields(self) -> None:
        """Each field, the buttons that fill it in below it, and at the end what is typed to confirm."""
        below = {name: [field, *filter(None, [self._chips.get(name)])] for name, field in self._fields.items()}
        # Those that are there already are left alone: the browser would draw them again, without what is typed by then.
        set_changed(self._dialog, objects=[*itertools.chain.from_iterable(below.values()), *self._typed])

    async def _suggest(self, operation: Operation, asked: int) -> None:
        """Offers what the operation finds for its fields; the dialog is there already, and goes without on an error."""
        if type(operation).suggest is Operation.suggest:
            return
        look = partial(self._session.console.suggest, operation)
        try:
            found = await READS.run(look, caller=self._session.caller)
        except OpsdashError:
            return  # the preview says what is wrong
        wanted = {name: texts for name, texts in found.items() if texts and name in self._fields}
        if self.pending.operation is None or asked != self._asked_for or not wanted:
            return
        with pn.io.hold():
            self._kept_fields = {}  # what is offered is of this one
            self._chips |= {
                name: form.chips({text: text for text in texts}, self._fields[name]) for name, texts in wanted.items()
            }
            self._place_fields()

    def _typing(self, label: str, follows: str) -> pn.widgets.TextInput:
        field = pn.widgets.TextInput(label=label, margin=0, sizing_mode="stretch_width", design=OpsDesign)
        field.link(self.pending, value_input=follows)
        field.param.watch(self._confirm, "enter_pressed")
        return field

    def _review(self) -> None:
        operation, preview = self.pending.operation, self.pending.preview
        if operation is None:
            return
        title = preview.title if preview else operation.heading()
        self._dialog.param.update(
            title=title,
            warning=preview.warning if preview else operation.warning,
            danger=operation.danger,
            about=[list(one) for one in form.about(operation, self._given, title)],
            **form.review(preview, operation),
        )
        label = form.button_label((preview.button or title) if preview else operation.title)
        self._confirm_button.param.update(label=visible(label), button_type="danger" if operation.danger else "primary")

    @param.depends("pending.armed", "pending.preview", "problem", "stale", watch=True)
    def _derive_ready(self) -> None:
        self.ready = self.pending.armed and self.pending.preview is not None and not self.problem and not self.stale

    @param.depends("pending.typed", "problem", "missing", watch=True)
    def _derive_shown_problem(self) -> None:
        typed = self.pending.typed
        nearly = typed != CONFIRMATION and typed.strip().upper() == CONFIRMATION
        hint = f"Type {CONFIRMATION} in capital letters, without blanks." if nearly else ""
        self._dialog.problem = self.problem or hint or (self.missing if typed else "")

    @property
    def _values(self) -> dict[str, Any]:
        return {name: form.value_of(field) for name, field in self._fields.items()}

    async def _refill(self, _event: object) -> None:
        """Reads the preview of what is filled in, once nothing more is typed; until then the old one looks stale."""
        self._asked += 1
        asked, operation, values = self._asked, self.pending.operation, self._values
        if operation is None:
            return
        self._keep()
        preview, filled, missing = None, None, ""
        try:
            filled = form.filled(operation, values)
            if form.without_reason(filled) == self._reviewed and not self.stale and not self.problem:
                return
            self.stale = True
            await asyncio.sleep(SETTLED_S)  # not a wait for something: a pause in typing
            if asked != self._asked:
                return
            async with self._session.turn("fill") as mine:
                if not mine:
                    return
                preview, problem, missing = await self._look(filled)
        except Invalid as error:
            problem = form.in_words(operation, error)
        except OpsdashError as error:
            problem = error.explanation
        if asked != self._asked:
            return
        with pn.io.hold():
            self._reviewed = form.without_reason(filled) if filled is not None else None
            self.pending.preview = preview
            self.param.update(problem=problem, missing=missing, stale=False)
            self._review()

    def _keep(self) -> None:
        """What a reload brings back: never what was typed for YES or the phrase."""
        operation = self.pending.operation
        kept = {} if operation is None else {"name": operation.name, "args": dict(self._given), "values": self._values}
        self._dialog.kept = kept

    def _cancelled(self, _event: object) -> None:
        self._close()

    def _closed_in_browser(self, event: param.parameterized.Event) -> None:
        if not event.new:
            self._close()

    def _close(self) -> None:
        self._asked += 1
        self.pending.cancel()
        self._keep()
        self._dialog.open = False

    async def _confirm(self, _event: object) -> None:
        preview, typed, asked = self.pending.preview, self.pending.typed, self.pending.operation
        if not self.ready or asked is None:
            return
        try:
            operation = form.filled(asked, self._values)  # a reason makes no other preview
        except Invalid as error:
            self.problem = form.in_words(asked, error)
            return
        if form.without_reason(operation) != self._reviewed:
            await self._refill(None)  # filled in just now: nobody has seen what that would do
            return
        confirmed = self.pending.take()  # a second click finds nothing
        if confirmed is None:
            return
        self._close()
        effect = await self._session.run(operation, typed, confirmed.phrase, preview)
        if effect is not None:
            for callback in self._effects:
                callback(effect)
