"""When something ends by itself, or never: the parameters that pauses, holds and limits share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opsdash.operation import argument
from opsdash.text import parse_duration


def ends_after(suggestions: Mapping[str, str]) -> Any:
    """A duration in seconds, ``--for`` on the command line; None: ``OPSDASH_PAUSE_TTL_S``.

    Args:
        suggestions: What a dialog's buttons say, and what they fill in.
    """
    return argument(
        default=None,
        option="--for",
        parse=parse_duration,
        help="How long, e.g. 90s, 10m, 2h; default: OPSDASH_PAUSE_TTL_S.",
        label="Ends after",
        placeholder="For example 90s, 10m, 2h or 1h30m",
        suggestions=suggestions,
    )


def endless(someone: str, i: str) -> Any:
    """Without an end, in place of a duration.

    Args:
        someone: What ends it: ``someone resumes``. ``i``: the same of who is asked: ``I resume``.
    """
    return argument(default=False, help=f"Until {someone}, in place of a duration.", label=f"Until {i}, without an end")
