"""How Panel's own widgets look in opsdash's cards: a Design of Panel's, on each widget that opsdash makes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import panel as pn
from panel.io.resources import component_resource_path
from panel.theme import Design
from panel.viewable import Viewable


class OpsDesign(Design):
    """Colours are the CSS variables of the card that a widget is in, so light and dark need nothing here."""

    modifiers: ClassVar[dict[Any, Any]] = {Viewable: {"stylesheets": ["assets/widgets.css"]}}

    @classmethod
    def address(cls) -> str:
        """Where a browser gets the style, seen from the page."""
        return str(component_resource_path(cls, "modifiers", "assets/widgets.css"))


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
    """The picture as SVG, with no font and no request; ``xmlns`` because Panel shows it as an image."""
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" fill="none" stroke="currentColor" '
        f'stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round"><path d="{_PATHS[name]}"/></svg>'
    )


def button(text: str, look: str = "", **params: Any) -> pn.widgets.Button:
    """A button with a word, and a picture if ``look`` names one."""
    return pn.widgets.Button(
        label=text, icon=icon(look) if look else None, **{"margin": 0, "design": OpsDesign, **params}
    )


def search(placeholder: str, *, width: int = 180, **params: Any) -> pn.widgets.TextInput:
    """A field to search with; its placeholder is its label too, which only a screen reader hears."""
    return pn.widgets.TextInput(
        **{
            "label": placeholder,
            "css_classes": ["unlabelled"],
            "placeholder": placeholder,
            "width": width,
            "max_length": 200,
            "margin": 0,
            "design": OpsDesign,
            **params,
        }
    )


def choice(label: str, options: Mapping[str, Any], **params: Any) -> pn.widgets.Select:
    """One of some; its label is heard by a screen reader alone, so an option has to say what is chosen."""
    return pn.widgets.Select(
        **{
            "label": label,
            "css_classes": ["unlabelled"],
            "options": dict(options),
            "margin": 0,
            "design": OpsDesign,
            **params,
        }
    )


def segments(options: Mapping[str, Any], **params: Any) -> pn.widgets.RadioBoxGroup:
    """A choice of a few, side by side. Radio buttons, for of Bokeh's pressed buttons no screen reader hears."""
    return pn.widgets.RadioBoxGroup(
        options=dict(options), inline=True, **{"margin": 0, "design": OpsDesign, "css_classes": ["segments"], **params}
    )


_NARROW = {"min-width": "0"}
"""Panel makes the sum of a row's widths its least width, though its parts may be on several lines."""


def stack(*parts: Any, styles: Mapping[str, str] = MappingProxyType({}), **params: Any) -> pn.Column:
    """Parts below each other, with the page's distance between them."""
    styles = {"gap": "12px", **_NARROW, **styles}
    return pn.Column(*parts, **{"margin": 0, "sizing_mode": "stretch_width", "styles": styles, **params})


def line(*parts: Any, styles: Mapping[str, str] = MappingProxyType({}), **params: Any) -> pn.Row:
    """Parts beside each other, on as many lines as they need."""
    styles = {"gap": "8px", "flex-wrap": "wrap", "align-items": "center", **_NARROW, **styles}
    return pn.Row(*parts, **{"margin": 0, "sizing_mode": "stretch_width", "styles": styles, **params})
