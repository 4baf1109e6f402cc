"""The log as a file, as its filter is when it is asked for: read off the event loop, piece by piece."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from opsdash.errors import OpsdashError, Refused
from opsdash.services.audit.query import Filter
from opsdash.services.threads import SEARCHES
from opsdash.views.components.panel_private import Download, NoFileError
from opsdash.views.design import OpsDesign, icon

if TYPE_CHECKING:
    from opsdash.views.session import Session

PIECE = 2_000
"""Lines that a thread reads at a time: other searches get their turn in between."""
MOST_BYTES = 50_000_000
"""A browser gets a file as one message, through this process's memory; the command line has no such bound."""


def log_export(
    session: Session, wanted: Callable[[], Filter], label: str = "Export Logs", *, form: str = "csv", **params: Any
) -> Download:
    """A button that gives the log as CSV, over the session's own websocket: no address of it exists.

    Args:
        wanted: The filter, at each click.
        form: As `AuditLog.export` has it.
        params: Parameters of ``FileDownload``.
    """

    async def read() -> io.BytesIO:
        async with session.turn("export") as mine:
            if not mine:
                raise NoFileError
            try:
                file = await _whole(session, wanted(), form)
            except OpsdashError as error:
                session.say(error.explanation, "bad")
                raise NoFileError from error
        button.filename = f"opsdash-operations-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.csv"
        return file

    button = Download(
        callback=read,
        filename="opsdash-operations.csv",
        label=label,
        icon=icon("export"),
        **{"margin": 0, "design": OpsDesign, **params},
    )
    return button


async def _whole(session: Session, wanted: Filter, form: str) -> io.BytesIO:
    file, lines = io.BytesIO(), session.console.audit.export(wanted, form=form)
    while not session.closed and (piece := await SEARCHES.run(partial(_piece, lines), caller=session.caller)):
        file.write(piece)
        if file.tell() > MOST_BYTES:
            raise Refused(
                f"The log is longer than the {MOST_BYTES // 1_000_000} MB that a browser gets",
                hint="Filter it, or use opsdash audit --csv.",
            )
    return file


def _piece(lines: Iterator[str]) -> bytes:
    return "".join(islice(lines, PIECE)).encode()
