"""Parsers of addresses and quiet hours. An address may hold a token: no complaint repeats any of it."""

from __future__ import annotations

import re
from datetime import datetime, time
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from opsdash.config import parsers
from opsdash.config.addresses import is_loopback
from opsdash.values import frozen

ACTS = "acts"
DEFAULT_KINDS = (ACTS, "pause_ends", "approval", "worker", "service", "backlog", "age", "failures", "chain", "push")
URGENT_KINDS = ("pause_ends", "approval", "worker", "service", "chain")
WEBHOOK, WEBHOOK_PLAIN, WEBHOOK_INSECURE = "webhook+https", "webhook+http", "webhook+insecure"
"""Schemes of our own webhook: over TLS, to this machine only, and without TLS to any machine."""
WEBHOOKS = {WEBHOOK: "https", WEBHOOK_PLAIN: "http", WEBHOOK_INSECURE: "http"}
SYSLOGS = ("syslog+udp", "syslog+tcp", "syslog+tls")
MOST_URLS = 20
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{1,30}://\S+")
_KIND = re.compile(r"[a-z][a-z0-9_]{1,60}")
_HOURS = re.compile(r"(\d{1,2}):(\d\d)-(\d{1,2}):(\d\d)(?:\s+(\S+))?")


@frozen(kw_only=True)
class QuietHours:
    """A part of each day, by the clock of one zone.

    Attributes:
        begin: Local time; ``end``: before it where they go over midnight.
        zone: Name of the zone.
    """

    begin: time
    end: time
    zone: str = "UTC"

    def __str__(self) -> str:
        """As the setting is written."""
        return f"{self.begin:%H:%M}-{self.end:%H:%M} {self.zone}"

    def within(self, moment: datetime) -> bool:
        """Whether a moment is in them."""
        local = moment.astimezone(ZoneInfo(self.zone)).time()
        if self.begin <= self.end:
            return self.begin <= local < self.end
        return local >= self.begin or local < self.end


def notify_urls(value: str) -> tuple[str, ...]:
    """Addresses with blanks between them. Whether `apprise` knows them is looked at when they are used."""
    found = tuple(dict.fromkeys(value.split()))
    if len(found) > MOST_URLS:
        raise ValueError(f"expected {MOST_URLS} addresses at most, got {len(found)}")
    for number, address in enumerate(found, start=1):
        if not _SCHEME.fullmatch(address):
            raise ValueError(f"expected addresses such as slack://… with blanks between them; number {number} is none")
        if (scheme := address.partition("://")[0]) in WEBHOOKS:
            _check_host(address, f"number {number}", plain=scheme == WEBHOOK_PLAIN)
    return found


def kinds(value: str) -> tuple[str, ...]:
    """Kinds of notifications, or names of operations, with commas."""
    found = tuple(name.replace("-", "_") for name in parsers.names(value))
    if wrong := [name for name in found if not _KIND.fullmatch(name)]:
        raise ValueError(f"expected some of {', '.join(DEFAULT_KINDS)}, or names of operations; got {wrong[0]!r}")
    return found


def quiet_hours(value: str) -> QuietHours | None:
    """``22:00-07:00 Europe/Berlin``."""
    hours = _HOURS.fullmatch(value.strip())
    if hours is None:
        raise ValueError(f"expected hours such as 22:00-07:00 Europe/Berlin, got {value!r}")
    zone = hours[5] or "UTC"
    try:
        ZoneInfo(zone)
        found = QuietHours(begin=time(int(hours[1]), int(hours[2])), end=time(int(hours[3]), int(hours[4])), zone=zone)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise ValueError(
            f"expected hours such as 22:00-07:00 and a zone such as Europe/Berlin, got {value!r}"
        ) from None
    if found.begin == found.end:
        raise ValueError(f"expected hours that end at another time than they begin, got {value!r}")
    return found


def truth(value: str) -> bool:
    """``yes`` or ``no``."""
    word = value.strip().lower()
    if word not in {"yes", "no", "true", "false", "1", "0"}:
        raise ValueError(f"expected yes or no, got {value!r}")
    return word in {"yes", "true", "1"}


def web_address(value: str) -> str:
    """``https://…``; ``http://`` to this machine only."""
    address = value.strip()
    if not address.startswith(("https://", "http://")):
        raise ValueError("expected an address that begins with https://")
    _check_host(address, "it", plain=address.startswith("http://"))
    return address


def audit_push(value: str) -> str:
    """``syslog+tcp://host:port``, ``https://…`` or ``file:///path``."""
    address = value.strip()
    scheme = address.partition("://")[0]
    if scheme == "file":
        parts = urlsplit(address)
        if not parts.path.startswith("/") or parts.netloc or parts.query or parts.fragment or address.endswith("/"):
            raise ValueError("expected file:// and the whole path of a file, such as file:///var/log/opsdash.jsonl")
        return address
    if scheme in SYSLOGS:
        _check_host(address, "it", plain=False)
        if urlsplit(address).port is None:
            raise ValueError(f"expected {scheme}://host:port")
        return address
    if scheme not in {"https", "http"}:
        raise ValueError("expected syslog+tls://host:port, syslog+tcp://…, syslog+udp://…, https://… or file:///path")
    return web_address(address)


def _check_host(address: str, which: str, *, plain: bool) -> None:
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if host and parts.username is not None:
        raise ValueError(f"no user and password are sent, so none are expected; {which} has one")
    if not host:
        raise ValueError(f"expected a host and a port that is a number; {which} has none")
    if plain and not is_loopback(host):
        raise ValueError(f"without TLS only an address of this machine is taken; {which} is another one")
