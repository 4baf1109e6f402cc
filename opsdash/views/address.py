"""The page's address says what is shown, and a link or a reload shows it again."""

from __future__ import annotations

import panel as pn

from opsdash.state.location import ADDRESS, Location, shortened


def follow(location: Location) -> None:
    """Takes over what the visitor's address holds; from then on each follows the other. Without a visitor: nothing."""
    address = pn.state.location
    if address is None:
        return
    location.take(address.search[1:])
    address.sync(location, ADDRESS)
    address.param.watch(_shorten, "search")
    _shorten()


def _shorten(*_events: object) -> None:
    """Panel writes every parameter into the address, also those that are as usual."""
    address = pn.state.location
    if address is not None:
        query = shortened(address.search[1:])
        address.search = f"?{query}" if query else ""
