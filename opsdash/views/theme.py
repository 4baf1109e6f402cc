"""Colours and shapes of the page, light and dark."""

from __future__ import annotations

from typing import Any

_FONT = 'Roboto, system-ui, -apple-system, "Segoe UI", sans-serif'


def _palette(*, paper: str, ground: str, ink: str, accent: str, ok: str, bad: str, info: str) -> dict[str, Any]:
    return {
        "palette": {
            "primary": {"main": accent},
            "success": {"main": ok},
            "error": {"main": bad},
            "info": {"main": info},
            "background": {"paper": paper, "default": ground},
            "text": {"primary": ink},
        },
        "shape": {"borderRadius": 6},
        "typography": {
            "fontFamily": _FONT,
            "button": {"textTransform": "none", "fontWeight": 600, "fontSize": "13px"},
            "h3": {"fontSize": "16px", "fontWeight": 600},
        },
        "components": {
            "MuiAppBar": {
                "styleOverrides": {
                    "root": {
                        "backgroundColor": paper,
                        "backgroundImage": "none",
                        "color": ink,
                        "boxShadow": "none",
                        "borderBottom": f"1px solid color-mix(in srgb, {ink} 12%, transparent)",
                    }
                }
            },
            "MuiToolbar": {"styleOverrides": {"root": {"minHeight": "52px !important"}}},
            "MuiDialogTitle": {"styleOverrides": {"root": {"padding": "18px 16px 10px"}}},
            # The page's busy indicator: switched off, and out of what a screen reader hears.
            "MuiLinearProgress": {"styleOverrides": {"root": {"display": "none"}}},
            "MuiTypography": {"defaultProps": {"variantMapping": {"h5": "div"}}},  # an empty spacer is no heading
            "MuiButtonBase": {"defaultProps": {"disableRipple": True}},
            "MuiDialog": {
                "styleOverrides": {
                    "paper": {"backgroundImage": "none", "backgroundColor": paper, "borderRadius": 10, "margin": 16}
                }
            },
        },
    }


THEME: dict[str, Any] = {
    "light": _palette(
        paper="#ffffff", ground="#f5f7f9", ink="#14171f", accent="#4f46e5", ok="#15803d", bad="#c81e1e", info="#0284c7"
    ),
    "dark": _palette(
        paper="#12151c", ground="#0a0c10", ink="#e8eaf0", accent="#8f8cff", ok="#4ade80", bad="#f87171", info="#38bdf8"
    ),
}
