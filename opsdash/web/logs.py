"""What the web server may log: faults, and nothing of what people type or hold."""

from __future__ import annotations

import logging
from types import TracebackType


def silence() -> None:
    """Keeps Bokeh's and Tornado's chatter about every request and closed socket out of the log; faults still show."""
    for name in ("bokeh.server.views.ws", "tornado.access"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for name in ("bokeh.server.views.ws", "bokeh.server.protocol_handler", "panel.reactive"):
        messages = logging.getLogger(name)
        if not any(isinstance(known, _WithoutMessages) for known in messages.filters):
            messages.addFilter(_WithoutMessages())


class _WithoutMessages(logging.Filter):
    """Bokeh and Panel log a message they can't take in full, with a traceback: anybody's nonsense, or typed text."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[0] is not None:
            record.msg = "a websocket's message could not be taken: %s"
            record.args = (record.exc_info[0].__name__,)
            if not _is_ours(record.exc_info[2]):
                record.exc_info = None
        return True


def _is_ours(traceback: TracebackType | None) -> bool:
    """Whether our own code had a part in it: then it is a bug, and its traceback is wanted."""
    while traceback is not None:
        if str(traceback.tb_frame.f_globals.get("__name__", "")).startswith("opsdash."):
            return True
        traceback = traceback.tb_next
    return False
