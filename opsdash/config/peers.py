"""``OPSDASH_PEERS``: the consoles of other deployments, each with a viewer's token."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from urllib.parse import urlsplit

from opsdash.config.parsers import BEARER, MIN_SECRET_LENGTH
from opsdash.values import frozen

MOST_PEERS, LONGEST_NAME, LONGEST_URL = 50, 60, 500
_URL = re.compile(r"https?://[A-Za-z0-9.\-_\[\]:]+(?:/[A-Za-z0-9._~/%\-]*)?")


@frozen(kw_only=True)
class Peer:
    """One other console.

    Attributes:
        url: Its address with its prefix, without a slash at the end.
    """

    name: str
    url: str
    token: str = dataclasses.field(repr=False)

    @property
    def page(self) -> str:
        """Where people open it."""
        return f"{self.url}/operations"


def peers(value: str) -> tuple[Peer, ...]:
    """``name=url:token``, comma-separated. A token is never repeated in the complaint."""
    found: list[Peer] = []
    parts = [part.strip() for part in value.split(",") if part.strip()]
    if len(parts) > MOST_PEERS:
        raise ValueError(f"expected at most {MOST_PEERS} consoles, got {len(parts):,}")
    for number, part in enumerate(parts, start=1):
        name, is_named, rest = (piece.strip() for piece in part.partition("="))
        url, is_told, token = rest.rpartition(":")  # an address has colons, too
        if not is_named or not is_told or not name.isprintable() or not 0 < len(name) <= LONGEST_NAME:
            raise ValueError(f"expected name=url:token; number {number} is none")
        if len(token) < MIN_SECRET_LENGTH or not BEARER.fullmatch(token):
            raise ValueError(
                f"the token of {name!r} has {len(token)} characters; expected at least {MIN_SECRET_LENGTH}, of"
                " letters, digits and -._~+/="
            )
        url = url.rstrip("/")
        if not _is_safe(url):
            raise ValueError(
                f"expected of {name!r} an address that begins with https://, or http:// and a loopback address,"
                " without user and query"
            )
        if any(name == other.name for other in found):
            raise ValueError(f"{name!r} is named twice")
        found.append(Peer(name=name, url=url, token=token))
    return tuple(found)


def _is_safe(url: str) -> bool:
    """A token is sent there: encrypted, or within this machine."""
    if len(url) > LONGEST_URL or not _URL.fullmatch(url):
        return False
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if not host:
        return False
    if parts.scheme == "https" or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
