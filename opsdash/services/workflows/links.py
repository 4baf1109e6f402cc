"""What a message says of its task's place in a workflow: root, parent, group, and what is sent when it ends."""

from __future__ import annotations

import re
from datetime import datetime

from opsdash.model import untrusted
from opsdash.model.signatures import Unsent, an_id, unsent_of
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.messages import decoded, envelope, headers_of, moment, task_name
from opsdash.services.queues.task_message import id_of
from opsdash.values import frozen

_HEADER = r'"{name}\\?"\s*:\s*\\?"([^"\\]{{1,255}})\\?"'


@frozen(kw_only=True)
class Links:
    """Of one task.

    Attributes:
        unsent: In the order in which they are sent. ``cut``: there are more than those.
    """

    id: str
    name: str = ""
    root: str = ""
    parent: str = ""
    group: str = ""
    chord: bool = False
    retries: int = 0
    eta: datetime | None = None
    unsent: tuple[Unsent, ...] = ()
    cut: bool = False

    def names(self, keys: frozenset[str] | set[str]) -> bool:
        """It belongs to one of these: as itself, by its root, parent or group, or one of them is sent after it."""
        if self.id in keys or self.root in keys or self.parent in keys or self.group in keys:
            return True
        return any(one.id in keys or one.group in keys for one in self.unsent)


def links_of(raw: bytes) -> Links | None:
    """Of a message; None for one without an id. Of one too large to be read its headers are looked for in its ends."""
    if bounded_reads.is_mark(raw) or (message := envelope(raw)) is None:
        return _of_text(raw)
    if not (task_id := id_of(message)):
        return None
    headers, body = headers_of(message), decoded(message)
    first_protocol = isinstance(body, dict)
    embed = untrusted.mapping(body if first_protocol else body[2] if isinstance(body, list) and len(body) > 2 else {})
    unsent, cut = unsent_of(embed)
    return Links(
        id=task_id,
        name=task_name(message),
        root=an_id(headers.get("root_id")),
        parent=an_id(headers.get("parent_id")),
        group=an_id(headers.get("group") or embed.get("taskset")),
        chord=bool(embed.get("chord")),
        retries=untrusted.whole(embed.get("retries") if first_protocol else headers.get("retries")) or 0,
        eta=moment(embed.get("eta") if first_protocol else headers.get("eta")),
        unsent=unsent,
        cut=cut,
    )


def _of_text(raw: bytes) -> Links | None:
    text = raw.decode(errors="replace")
    found = {name: re.findall(_HEADER.format(name=name), text) for name in ("id", "root_id", "parent_id", "group")}
    if not found["id"]:
        return None
    root, parent, group = (an_id(found[name][-1] if found[name] else "") for name in ("root_id", "parent_id", "group"))
    return Links(id=an_id(found["id"][-1]), root=root, parent=parent, group=group, cut=True)
