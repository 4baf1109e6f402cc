"""What a browser learns of an internal error: that there was one. Only opsdash's log has the details."""

from __future__ import annotations

from typing import Any

from bokeh.protocol.messages.error import error as ErrorMessage  # noqa: N812 - Bokeh's class has a function's name
from bokeh.server.views.ws import WSHandler

MESSAGE = "opsdash's log says what went wrong"
_PROTOCOL_ERROR, _INTERNAL_ERROR = 1002, 1011


def keep_inside() -> None:
    """Has Bokeh send no traceback, and no exception's text, over a websocket (bokeh 3.9: ``ERROR``, close reasons).

    For the whole process, and once: Bokeh gives no other way to it.
    """
    ErrorMessage.create = classmethod(_create)  # type: ignore[method-assign, assignment]
    WSHandler._internal_error = _internal_error  # type: ignore[method-assign, assignment]
    WSHandler._protocol_error = _protocol_error  # type: ignore[method-assign, assignment]


def _create(kind: type[ErrorMessage], /, request_id: Any, _text: str, **metadata: Any) -> ErrorMessage:
    """The text is an exception as Python writes it, and was logged where it was caught."""
    return kind(kind.create_header(request_id=request_id), metadata, {"text": MESSAGE, "traceback": None})


def _internal_error(handler: WSHandler, _message: str) -> None:
    handler.close(_INTERNAL_ERROR, MESSAGE)


def _protocol_error(handler: WSHandler, _message: str) -> None:
    handler.close(_PROTOCOL_ERROR, "this is not a message of the page")
