"""Where a request comes from: this machine, the proxy, or, as the proxy says, somewhere behind it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

MOST_HOPS = 20
_IPv6_SITE = 64

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_loopback(address: str) -> bool:
    """Whether an IP address, or ``localhost``, is this machine."""
    ip = _parsed(address)
    return address == "localhost" if ip is None else ip.is_loopback


def is_within(address: str, networks: Iterable[str]) -> bool:
    """Whether an IP address belongs to one of these networks; what is no address belongs to none."""
    ip = _parsed(address)
    return ip is not None and any(ip in ipaddress.ip_network(network) for network in networks)


def client_address(headers: Mapping[str, Any], peer: str, proxies: Iterable[str]) -> str:
    """The client's address: what the last trusted hop saw.

    ``X-Forwarded-For`` is read from the right, where our own proxies wrote, up to the first address that is not one of
    them. The text left of it came from the client and can't be trusted.

    Args:
        headers: The request's headers.
        peer: The address at the other end of the connection.
        proxies: Networks of the trusted proxies.
    """
    proxies = tuple(proxies)
    found = peer
    hops = header(headers, "X-Forwarded-For").split(",")[-MOST_HOPS:]
    while is_within(found, proxies) and hops:
        hop = _parsed(_without_port(hops.pop().strip()))
        if hop is None:
            break
        found = str(hop)
    return found


def neighbourhood(address: str) -> str:
    """What counts as one client for a limit: an IPv4 address, or the /64 an IPv6 client can take any address of."""
    ip = _parsed(address)
    if isinstance(ip, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((ip, _IPv6_SITE), strict=False))
    return address


def header(headers: Mapping[str, Any], name: str) -> str:
    """One header's value whatever its case; several of one name are joined by commas; empty where there is none."""
    folded = name.lower()
    value = next((value for key, value in headers.items() if key.lower() == folded), "")
    return (",".join(value) if isinstance(value, list) else str(value)).strip()


def _parsed(address: str) -> Address | None:
    try:
        ip = ipaddress.ip_address(address.strip("[]").partition("%")[0])
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip


def _without_port(hop: str) -> str:
    if hop.startswith("["):
        return hop.partition("]")[0] + "]"
    return hop.partition(":")[0] if hop.count(":") == 1 else hop
