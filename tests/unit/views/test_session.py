"""A browser session that ends while figures are on the way to it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace

from bokeh.document import Document
from support import documents

from opsdash.bootstrap import assemble
from opsdash.config.settings import Settings
from opsdash.model import Actor, Role
from opsdash.views.session import Session


def test_figures_for_a_page_that_has_just_been_closed_are_dropped_and_no_other_page_is_harmed(tmp_path: Path) -> None:
    console = assemble(Settings.from_env({}, database_url=f"sqlite:///{tmp_path}/x.sqlite3"))

    async def serve() -> None:
        session = Session(console, Actor(name="maria", role=Role.ADMIN))
        session._doc, context = Document(), SimpleNamespace(destroyed=False)
        session._doc._session_context = lambda: context  # type: ignore[assignment] # as a server sets it
        poller = threading.Thread(target=session.later, args=(lambda: None,))
        poller.start()
        poller.join()
        context.destroyed = True  # in this thread, as Bokeh does it
        session._doc.callbacks.destroy()
        await asyncio.sleep(0)
        session.later(lambda: None)
        await asyncio.sleep(0)

    broken: list[object] = []
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _loop, context: broken.append(context))
    loop.run_until_complete(serve())
    loop.close()
    console.close()
    assert broken == []
    assert documents.current() == ()
