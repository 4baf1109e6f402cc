"""The dialog between a button and an operation: nothing happens without a typed ``YES``."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Collection, Mapping
from typing import Any

from opsdash.errors import Invalid, OpsdashError
from opsdash.model import Preview
from opsdash.operation import Operation
from opsdash.views import form
from opsdash.views.session import Session


class Confirmation:
    """The server's half of the dialog: it alone knows what is pending and when Confirm is armed.

    Each question has an id, so that an answer to an earlier one, or to another page's, finds nothing.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._pending = session.pending
        self._id = ""
        self._values: Mapping[str, Any] = {}
        self._problem = ""
        self._looking = asyncio.Lock()

    async def ask(self, name: str, args: Mapping[str, Any], half: Mapping[str, Any]) -> None:
        """Reads the preview and opens the dialog; on an error it tells the operator and opens nothing.

        Args:
            half: The dialog's contents before the page was reloaded.
        """
        self._forget()
        try:
            operation = form.asked_for(name, args)
            preview, problem = await self._look(operation, args)
        except OpsdashError as error:
            self._session.say(str(error), "bad")
            return
        self._id, self._values, self._problem = secrets.token_hex(8), {}, problem
        self._pending.request(operation, preview)
        fields = form.fields(operation, preview, args)
        self._session.channel.tell(
            "dialog",
            id=self._id,
            name=name,
            args=dict(args),
            title=preview.title if preview else operation.heading(),
            warning=preview.warning if preview else operation.warning,
            about=form.about(operation, args),
            danger=operation.danger,
            fields=fields,
            half={field["name"]: half[field["name"]] for field in fields if field["name"] in half},
            **form.review(preview, problem),
        )

    async def _look(self, operation: Operation, known: Collection[str] = ()) -> tuple[Preview | None, str]:
        """The preview; or, where fields must be filled in before there can be one, what is missing."""
        try:
            return await self._session.preview(operation), ""
        except Invalid as error:
            if error.setting or all(field["name"] == "reason" for field in form.fields(operation, None, known)):
                raise  # nothing that could be filled in mends it, nor does a reason
            return None, form.in_words(operation, error)

    def typed(self, asked: str, text: str, phrase: str) -> None:
        """Follows each key, and arms Confirm or takes that back."""
        if asked != self._id:
            return
        self._pending.param.update(typed=text, phrase_typed=phrase)
        self._arm()

    def _arm(self) -> None:
        armed = self._pending.armed and self._pending.preview is not None and not self._problem
        self._session.channel.tell("armed", id=self._id, armed=armed)

    async def fill(self, asked: str, values: Mapping[str, Any]) -> None:
        """Shows what the operation would do as it is filled in now."""
        async with self._looking:
            operation = self._pending.operation
            if asked != self._id or operation is None:
                return
            preview, problem = self._pending.preview, ""
            try:
                operation = form.filled(operation, values)
                if preview is None or self._problem or _said(values) != _said(self._values):
                    preview, problem = await self._look(operation)
            except Invalid as error:
                preview, problem = None, form.in_words(operation, error)
            except OpsdashError as error:
                preview, problem = None, error.explanation
            if asked != self._id:
                return
            self._values, self._problem = dict(values), problem
            self._pending.preview = preview
            self._session.channel.tell("review", id=asked, **form.review(preview, problem))
            self._arm()

    def close(self, asked: str) -> None:
        """Cancel, Esc, or a click beside the dialog."""
        if asked == self._id:
            self._forget()

    def _forget(self) -> None:
        self._id = ""
        self._pending.cancel()

    async def confirm(self, asked: str, values: Mapping[str, Any]) -> None:
        """Runs what was reviewed; values that nobody has seen the preview of are reviewed first."""
        async with self._looking:
            reviewed = _said(values) == _said(self._values)
        if not reviewed:
            await self.fill(asked, values)
            return
        operation, typed, preview = self._pending.operation, self._pending.typed, self._pending.preview
        phrase = self._pending.phrase_typed
        if asked != self._id or operation is None or preview is None or self._problem or not self._pending.armed:
            return
        try:
            operation = form.filled(operation, values)
        except Invalid as error:
            self._session.channel.tell("review", id=asked, **form.review(preview, form.in_words(operation, error)))
            return
        self._id = ""
        self._pending.take()  # a second click finds nothing
        self._session.channel.tell("close", id=asked)
        await self._session.run(operation, typed, phrase, preview)


def _said(values: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a difference to the preview: a reason makes none, and a preview may take seconds."""
    return {name: value for name, value in values.items() if value and name != "reason"}
