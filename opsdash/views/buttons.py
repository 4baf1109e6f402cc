"""Panel's buttons as the page has them: a word, and a picture without a font or a request."""

from __future__ import annotations

import panel as pn

_PATHS = {
    "pause": "M5 3v10M11 3v10",
    "play": "M4.5 2.5v11l8.5-5.5z",
    "clock": "M8 4.5V8l2.5 1.5M8 1.8a6.2 6.2 0 1 0 0 12.4A6.2 6.2 0 0 0 8 1.8z",
    "clear": "M2.5 4.5h11M6 4.5V2.5h4v2M4 4.5l.7 9h6.6l.7-9",
    "sync": "M13 6.5A5.2 5.2 0 0 0 3.4 5M3 9.5A5.2 5.2 0 0 0 12.6 11M3.2 2v3.2h3.2M12.8 14v-3.2H9.6",
    "export": "M8 2.5v7M5 7l3 3 3-3M2.5 11.5v2h11v-2",
    "refresh": "M13 8a5 5 0 1 1-1.6-3.6M13 2v3h-3",
    "look": "M1.5 8s2.5-4.5 6.5-4.5S14.5 8 14.5 8 12 12.5 8 12.5 1.5 8 1.5 8z"
    "M8 6.2a1.8 1.8 0 1 0 0 3.6 1.8 1.8 0 0 0 0-3.6z",
    "close": "M4 4l8 8M12 4l-8 8",
}


def icon(name: str) -> str:
    """The picture as SVG; ``xmlns`` because Panel shows it as an image."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" fill="none" stroke="currentColor" '
        f'stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"><path d="{_PATHS[name]}"/></svg>'
    )


def button(text: str, look: str = "", **params: object) -> pn.widgets.Button:
    """A button with a word, and a picture if ``look`` names one."""
    return pn.widgets.Button(name=text, icon=icon(look) if look else None, margin=0, **params)
