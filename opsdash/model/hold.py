"""Holds: tasks of one name that workers set aside while all others run. Standard library only: workers load this file.

A concurrency limit is a hold that lets so many of its tasks run at once: the others wait where held ones do.

A hold is a field of one hash, which is all the authority there is: what sets a message aside and what ends a hold are
scripts that look at it. While a hold is being released it goes on holding, list by list: a newer task that comes
meanwhile goes behind those that are on their way back, so none overtakes them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from datetime import datetime
from typing import Any, Literal

from opsdash import lua
from opsdash.model import untrusted
from opsdash.model.untrusted import MOST_DIGITS
from opsdash.text import as_text
from opsdash.values import frozen

Kind = Literal["task", "tenant", "limit"]
KINDS: tuple[Kind, ...] = ("task", "tenant", "limit")
MOST_HOLDS = 100
"""Holds that may be in force."""
MOST_LISTS = 2_000
"""Lists of held tasks that are read."""
LONGEST_LIST = 900
"""Bytes of the name of a Redis list whose tasks are held: with what else its field says, `LONGEST_FIELD`."""
LONGEST_FIELD = 1_000
"""Bytes of what is read of one list of held tasks."""
LONGEST_HOLD = 4_096
"""Bytes of what is stored of one hold."""
MOST_AT_ONCE = 10_000
"""Tasks that a concurrency limit may let run."""
LONGEST_NAME = 500
"""Characters of a held task's name, or of a tenant's id."""
TENANT_KEY = "tenant_id"
"""Header, else keyword argument, that names a task's tenant, where ``OPSDASH_TENANT_KEY`` does not say another."""
ABANDONED_S = 15.0
"""A release that does not go on for so long is another one's to finish."""
RELEASING = "!"
"""After a hold's id: the field that says who releases it. Before a list's name: it was released."""
EXPIRY = "(expiry)"
"""Who releases a hold that has ended by itself."""

READ = lua.load(__name__, "holds_read", MOST=2 * MOST_HOLDS, LONGEST=LONGEST_HOLD)
"""KEYS: the hash. Returns Redis's time, how many fields the hash has, and then fields and values."""
BEGIN = lua.load(__name__, "hold_release_begin")
"""KEYS: the hash. ARGV: id, who releases it as JSON. Returns ``begun``, ``gone``, or ``again`` where it was begun."""
JOIN = lua.load(__name__, "hold_release_join")
"""One step of a list's way back; see the script."""
END = lua.load(__name__, "hold_release_end")
"""KEYS: the hash, the lists, the ended ones. ARGV: id, nudge's channel, story's field, story. Returns 1: it is over."""


@frozen(kw_only=True)
class Hold:
    """One hold, as it is stored.

    Attributes:
        id: Follows from kind, name and queue: the same hold again replaces the one there is.
        kind: ``task``: by the task's name, where ``*`` matches any text. ``tenant``: by the tenant's id.
            ``limit``: by the task's name, and ``most`` of them run at once.
        queue: Only tasks of this queue; empty: of any.
        key: Of a tenant: the header or keyword argument that names it.
        expires_at: When it ends by itself; None: never.
        releasing: It is being released. ``releasing_at``: when that began, or went on last.
    """

    id: str
    kind: Kind
    name: str
    queue: str = ""
    key: str = ""
    most: int = 0
    by: str = field(default="", compare=False)
    reason: str = field(default="", compare=False)
    at: datetime | None = field(default=None, compare=False)
    expires_at: datetime | None = field(default=None, compare=False)
    releasing: bool = field(default=False, compare=False)
    releasing_at: datetime | None = field(default=None, compare=False)

    def as_json(self) -> str:
        """As it is stored."""
        told: dict[str, str | int] = {"kind": self.kind, "name": self.name, "queue": self.queue, "key": self.key}
        told |= {"by": self.by, "reason": self.reason}
        told |= {"most": self.most} if self.most else {}
        times = {"at": self.at, "expires_at": self.expires_at}
        return json.dumps(told | {name: time.isoformat() for name, time in times.items() if time})

    def is_over(self, now_s: float, *, since_s: float = 0.0) -> bool:
        """It is to be released: its time ended so long ago, or who has begun with it seems to be gone.

        Args:
            now_s: Redis's time.
        """
        if self.releasing:
            return self.releasing_at is None or now_s >= self.releasing_at.timestamp() + ABANDONED_S
        return self.expires_at is not None and now_s >= self.expires_at.timestamp() + since_s

    def __str__(self) -> str:
        """For the log: ``task shop.charge of queue emails``."""
        return f"{self.kind} {self.name}" + (f" of queue {self.queue}" if self.queue else "")


@frozen(kw_only=True)
class HoldsRead:
    """One read of the holds.

    Attributes:
        holds: The oldest first. ``now_s``: Redis's time of the read.
        unread: Fields that can't be read, by their names.
    """

    holds: tuple[Hold, ...] = ()
    now_s: float = 0.0
    unread: tuple[str, ...] = ()


def tenant_by(headers: Any, key: str, kwargs: Callable[[], Any]) -> str:
    """The tenant of a task: by the header of that name, else by the keyword argument; empty where neither says it.

    The one rule, for workers and consoles.

    Args:
        kwargs: Reads the keyword arguments; called only where no header says it.
    """
    return tenant_in(headers, key) or tenant_in(kwargs(), key)


def tenant_in(values: Any, key: str) -> str:
    """The tenant that headers or keyword arguments name; empty where they don't.

    The same for who has made `untrusted.parsed` of a message, and for who has it as Celery reads it.
    """
    found = values.get(key) if isinstance(values, Mapping) else None
    if type(found) is int:
        found = str(found) if -(10**MOST_DIGITS) < found < 10 ** (MOST_DIGITS + 1) else ""
    found = as_text(found) if isinstance(found, str) else ""
    return found if len(found) <= LONGEST_NAME else ""


def kwargs_of(body: Any) -> Any:
    """The keyword arguments in a message's body, of either of Celery's protocols; None for what has none."""
    if isinstance(body, list):
        return body[1] if len(body) > 1 else None
    return body.get("kwargs") if isinstance(body, Mapping) else None


def hold_id(kind: Kind, name: str, queue: str = "") -> str:
    """The id of a hold: 12 hexadecimal digits."""
    return hashlib.sha256(json.dumps([kind, name, queue]).encode()).hexdigest()[:12]


def parsed(reply: Sequence[Any]) -> HoldsRead:
    """The reply to ``READ``."""
    now, number, *parts = [_text(part) if isinstance(part, bytes) else part for part in reply]
    texts = dict(zip(parts[::2], parts[1::2], strict=True))
    found, unread = [], []
    for name, text in texts.items():
        if name.endswith(RELEASING):
            continue
        hold = _hold(name, text)
        if hold is None:
            unread.append(untrusted.words(name))
        else:
            who = texts.get(f"{name}{RELEASING}")
            since = untrusted.moment(untrusted.mapping(untrusted.parsed(who)).get("at"))
            found.append(replace(hold, releasing=who is not None, releasing_at=since))
    if int(number) > len(texts):
        unread.append(f"{int(number) - len(texts)} more")
    holds = sorted(found, key=lambda hold: (hold.at.timestamp() if hold.at else 0.0, hold.id))[:MOST_HOLDS]
    return HoldsRead(holds=tuple(holds), now_s=float(now), unread=tuple(unread))


def field_of(hold: str, step: str, queue: str) -> str:
    """Of one list of held tasks, in the hash of lists."""
    return f"{hold}:{step}:{queue}"


def lists_of(fields: Mapping[str, str], holds: Iterable[str]) -> list[HeldList]:
    """The lists of these holds, from the hash of lists."""
    known, found = set(holds), []
    for name, text in fields.items():
        hold, _, rest = name.partition(":")
        step, _, queue = rest.partition(":")
        if hold in known and step.isascii() and step.isdigit() and len(step) < 4 and queue:
            found.append(
                HeldList(
                    hold=hold, step=step, queue=queue, list=text.removeprefix(RELEASING), released=text[:1] == RELEASING
                )
            )
    return sorted(found, key=lambda one: (one.hold, one.queue, int(one.step)))


@frozen(kw_only=True)
class HeldList:
    """One list of held tasks.

    Attributes:
        list: The Redis list they came from, with the key prefix.
        released: They have gone back, and no more are held there.
    """

    hold: str
    step: str
    queue: str
    list: str
    released: bool = False

    @property
    def field(self) -> str:
        """In the hash of lists."""
        return field_of(self.hold, self.step, self.queue)


@frozen(kw_only=True)
class HeldTasks:
    """A hold, and what it holds.

    Attributes:
        held: How many tasks. ``by_queue``: queue → how many.
        oldest_at: When the oldest of them was set aside, in UTC; None: there is none, or it is not known.
        workers: How many workers apply it, of ``of`` that report and take tasks from its queue.
        without: Workers that don't hold: an older plug-in, or Redis refuses it; their hostnames.
        shares: Of a concurrency limit: hostname → tasks that run there, as it reported last.
    """

    hold: Hold
    held: int = 0
    by_queue: Mapping[str, int] = field(default_factory=dict)
    oldest_at: datetime | None = None
    workers: int = 0
    of: int = 0
    without: tuple[str, ...] = ()
    shares: Mapping[str, int] = field(default_factory=dict)

    @property
    def running(self) -> int:
        """Of a concurrency limit: tasks that run, as workers reported last."""
        return sum(self.shares.values())


def _hold(name: str, text: Any) -> Hold | None:
    if not isinstance(text, str) or len(name) > 40 or not name.isalnum():
        return None
    told = untrusted.mapping(untrusted.parsed(text, LONGEST_HOLD))
    kind, what, queue = told.get("kind"), told.get("name"), told.get("queue", "")
    most = untrusted.figure(told.get("most"), MOST_AT_ONCE) or 0
    if (
        kind not in KINDS
        or (kind == "limit" and most < 1)
        or not isinstance(what, str)
        or not 0 < len(what) <= LONGEST_NAME
        or not isinstance(queue, str)
    ):
        return None
    return Hold(
        id=name,
        kind=kind,
        name=what,
        queue=queue,
        key=untrusted.words(told.get("key"), LONGEST_NAME),
        most=int(most),
        by=untrusted.words(told.get("by"), LONGEST_HOLD),
        reason=untrusted.words(told.get("reason"), LONGEST_HOLD),
        at=untrusted.moment(told.get("at")),
        expires_at=untrusted.moment(told.get("expires_at")),
    )


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
