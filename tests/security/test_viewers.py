"""A viewer calls every operation on every surface: each is refused by the service, and the attempt is in the audit log.

The command line's walk is in ``tests/integration/test_cli_confirming.py``, a browser's click in
``tests/browser/test_safety.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from support.acts import EVERY_OPERATION
from support.served import serving

import opsdash
from opsdash.bootstrap import assemble
from opsdash.config.settings import Settings
from opsdash.errors import Refused
from opsdash.model import Actor, Preview, Role, Status
from opsdash.operation import Operation, registry
from opsdash.services.console import Console
from opsdash.views.dialog import ConfirmationDialog
from opsdash.views.session import Session

TOKEN = "token-of-the-viewer-0123456789"
Attempt = Callable[[Operation], None]


@pytest.fixture
def console(settings_for: Callable[..., Settings]) -> Iterator[Console]:
    """Eve is a viewer, by the lists and by her token; a task waits in emails."""
    tokens = Settings.from_env({"OPSDASH_API_TOKENS": f"eve:viewer:{TOKEN}"}).api_tokens
    made = assemble(settings_for(viewers=("eve",), admins=("ann",), queues=("celery", "emails"), api_tokens=tokens))
    made.broker.client.rpush("emails", "a")
    yield made
    made.close()


@contextmanager
def python(console: Console) -> Iterator[Attempt]:
    def attempt(operation: Operation) -> None:
        with pytest.raises(Refused, match="needs"):
            console.run(operation, actor="eve", confirm="YES")

    yield attempt


@contextmanager
def api(console: Console) -> Iterator[Attempt]:
    with serving(console, token=TOKEN) as client:

        def attempt(operation: Operation) -> None:
            params = {name: value for name, value in operation.params().items() if value is not None}
            answer = client.run(operation.name, params=params, confirm="YES")
            assert (answer.status, answer.problem.partition(":")[0]) == (403, "forbidden")

        yield attempt


@contextmanager
def page(console: Console) -> Iterator[Attempt]:
    session = Session(console, Actor(name="eve", role=Role.VIEWER, surface="page"))
    session.dialog = ConfirmationDialog(session)
    yield lambda operation: click(session, operation)


@contextmanager
def notebook(console: Console) -> Iterator[Attempt]:
    widget = opsdash.OperationControls(console, actor="eve")
    yield lambda operation: click(widget._session, operation)
    widget.close()


def click(session: Session, operation: Operation) -> None:
    """Does what a browser does whose user has switched the buttons on."""
    said: list[tuple[str, str]] = []
    dialog: ConfirmationDialog = session.dialog
    session.say = lambda text, tone, _undo=None: said.append((text, tone))  # type: ignore[method-assign]

    async def confirm() -> None:
        await dialog.ask(operation.name, {k: v for k, v in operation.params().items() if isinstance(v, str)})
        dialog.pending.typed = "YES"
        await dialog._confirm(None)

    asyncio.run(confirm())
    ((text, tone),) = said
    assert tone == "bad"
    assert "eve has the role viewer" in text


SURFACES = {"python": python, "api": api, "page": page, "notebook": notebook}


def test_every_operation_is_among_those_that_are_tried_here() -> None:
    assert {operation.name for operation in EVERY_OPERATION} == set(registry())


@pytest.mark.parametrize("surface", SURFACES)
def test_a_viewer_is_refused_every_operation_and_each_attempt_is_audited(
    console: Console, monkeypatch: pytest.MonkeyPatch, surface: str
) -> None:
    before = kept(console)
    with SURFACES[surface](console) as attempt:
        for operation in EVERY_OPERATION:
            # As if there were such a worker, such a trash: what can't be previewed opens no dialog, for nobody.
            preview = Preview(title=operation.title, warning=operation.warning, lines=())
            monkeypatch.setattr(type(operation), "preview", lambda *_, preview=preview: preview)
            monkeypatch.setattr(type(operation), "phrase", lambda *_: "")
            attempt(operation)
            (entry, *_) = console.get_recent_operations()
            assert (entry.user, entry.operation, entry.status) == ("eve", operation.name, Status.REFUSED)
            assert entry.details["surface"] == surface
            needs = operation.minimum_role.name.lower()
            message = f"eve has the role viewer; {operation.title} needs {needs}. Nothing was changed."
            assert entry.details["message"] == message
    assert len(console.get_recent_operations(50)) == len(EVERY_OPERATION)
    assert kept(console) == before


def kept(console: Console) -> dict[str, Any]:
    """Everything in Redis."""
    return {key: console.broker.client.dump(key) for key in console.broker.client.scan_iter()}
