"""What the server's log holds of what browsers send: that it could not be taken, and nothing of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import panel as pn
import pytest

from opsdash.web.logs import silence

NOISY = ("bokeh.server.views.ws", "bokeh.server.protocol_handler", "panel.reactive", "tornado.access")


@pytest.fixture(autouse=True)
def as_before(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in NOISY]
    before = [(one, one.level, list(one.filters)) for one in loggers]
    panels = logging.getLogger("panel.reactive")
    panels.addHandler(caplog.handler)  # Panel writes to stdout, and tells no other logger
    yield
    panels.removeHandler(caplog.handler)
    for one, level, filters in before:
        one.setLevel(level)
        one.filters = filters


def test_what_a_field_can_not_take_is_not_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    silence()
    caplog.set_level(logging.INFO)  # as a server has it
    caplog.set_level(logging.INFO, logger="panel")
    with pytest.raises(ValueError):
        pn.widgets.Checkbox()._process_events({"value": "typed by maria"})
    assert "a websocket's message could not be taken: ValueError" in caplog.text
    assert "typed by maria" not in caplog.text
