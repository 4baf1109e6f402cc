"""What a broker is called in the audit log, so that deployments on one database tell their entries apart.

Standard library only.
"""

from __future__ import annotations

import hashlib
from urllib.parse import quote

from opsdash.config.broker_url import BrokerUrl, host_and_port

LONGEST = 200
"""Characters. A longer one is cut and gets a digest to stay unique."""
_DIGEST = 8


def identity(url: BrokerUrl, prefix: str = "") -> str:
    """``host:port/db``, and ``?prefix=…`` where the keys have one: no user, no password, no option.

    A socket is its path in place of the host, sentinels are their hosts and the master's name:
    ``h1:26379,h2:26379/mymaster/0``. Hosts are what the address calls them: ``localhost`` and ``127.0.0.1`` are two.

    Args:
        prefix: ``global_keyprefix`` of the app.

    Returns:
        At most ``LONGEST`` characters of ASCII, without blanks, quotes and backslashes.
    """
    where = url.path or ",".join(sorted(map(host_and_port, url.hosts)))
    parts = [quote(where, safe="/:,[]"), *([quote(url.master_name, safe="")] if url.master_name else []), str(url.db)]
    named = "/".join(parts) + (f"?prefix={quote(prefix, safe=':')}" if prefix else "")
    if len(named) <= LONGEST:
        return named
    return f"{named[: LONGEST - _DIGEST - 1]}~{hashlib.sha256(named.encode()).hexdigest()[:_DIGEST]}"
