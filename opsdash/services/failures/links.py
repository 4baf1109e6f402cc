"""Links from a failed task to where else it is shown: addresses of the settings, filled in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

from opsdash.model.failure import Failure

_TRACE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
"""A ``traceparent`` of the W3C: version, trace, span, flags."""
_WEB = ("http://", "https://")


def links(templates: Iterable[str], failure: Failure) -> tuple[str, ...]:
    """The addresses whose places can all be filled in: one of traces only for a task that has one.

    What is filled in comes from outside. It is encoded as one part of an address, so that it changes neither the host
    nor the path, and no address is anything but http or https.
    """
    trace = _TRACE.fullmatch(failure.traceparent)
    known = {
        "{task_id}": failure.task_id,
        "{trace_id}": trace[1] if trace and trace[1].strip("0") else "",
        "{task}": failure.task,
        "{queue}": failure.queue,
    }
    found = []
    for template in templates:
        places = set(re.findall(r"[{][^{}]*[}]", template))
        if template.startswith(_WEB) and all(known.get(place) not in (None, "", ".", "..") for place in places):
            found.append(
                re.sub(r"[{][^{}]*[}]", lambda place: quote(known[place[0]], safe="", errors="replace"), template)
            )
    return tuple(dict.fromkeys(found))
