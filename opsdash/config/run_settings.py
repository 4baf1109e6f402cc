"""Settings of runbooks."""

from __future__ import annotations

from dataclasses import dataclass

from opsdash.config import parsers
from opsdash.config.setting import setting


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """A team's own runbooks, and where people open the page."""

    runbooks: str | None = setting(
        default=None,
        parse=parsers.path,
        doc="TOML file of a team's own runbooks for `opsdash run`; one named as opsdash's own replaces it.",
    )
    page_url: str | None = setting(
        default=None,
        parse=parsers.web_address,
        doc="Where people open the page, e.g. `https://ops.example.com/operations`: what leads there shows it.",
    )
