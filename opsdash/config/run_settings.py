"""Settings of runbooks, and of other deployments."""

from __future__ import annotations

from dataclasses import dataclass

from opsdash.config import parsers
from opsdash.config.peers import Peer
from opsdash.config.peers import peers as parse_peers
from opsdash.config.setting import setting


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """A team's own runbooks, where people open the page, and the consoles of other deployments."""

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
    peers: tuple[Peer, ...] = setting(
        default=(),
        parse=parse_peers,
        secret=True,
        doc="Consoles of other deployments, `name=url:token`, comma-separated, each with a viewer's token there: the"
        " overview shows them. `https://`, or a loopback address.",
    )
