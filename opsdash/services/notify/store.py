"""Where notifications are kept in Redis: what is known, and the outbox, each with a keyed digest; addresses never."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import redis

from opsdash import lua
from opsdash.model import to_plain, untrusted
from opsdash.model.notification import NotificationFigures
from opsdash.services.audit.chain import ChainSigner
from opsdash.services.broker import bounded_reads, writes
from opsdash.services.broker.client import Broker
from opsdash.services.broker.lease import Lease
from opsdash.services.monitoring.notification_figures import FIELD, LARGE, closed, figures_of, opened
from opsdash.services.notify.facts import Facts
from opsdash.services.notify.facts import read as read_facts
from opsdash.services.notify.outbox import MOST_MESSAGES, Message
from opsdash.values import frozen

log = logging.getLogger(__name__)

KEPT_MS = 7 * 86_400 * 1_000
AT_ONCE, MOST_FIELDS = 50, 10 * MOST_MESSAGES
"""Messages that one round trip brings, 3 MB at most; and fields of an outbox that are read."""
_SAVE = lua.load(__name__, "save")
_KNOWN = "known"


@frozen(kw_only=True)
class Left:
    """What is in Redis.

    Attributes:
        writer: The console that wrote the facts. ``facts``: None where there are none, or they can't be read.
        foreign: Fields of the outbox that no console of this deployment has written there.
    """

    writer: str
    facts: Facts | None
    figures: NotificationFigures
    messages: tuple[Message, ...]
    foreign: tuple[str, ...] = ()


@frozen
class NotificationStore:
    """Reads and writes it.

    What has no digest of ours is not believed: who can write into Redis sends nobody a message in opsdash's name.
    """

    broker: Broker
    signer: ChainSigner

    def load(self) -> Left:
        """What the console that sent last has left. Cost: two round trips, and one for each ``AT_ONCE`` messages.

        Raises:
            Unavailable: Redis did not answer.
        """
        keys = self.broker.keys
        with self.broker.reading():
            writer, facts, figures = self._known()
            fields = self._outbox()
        messages, foreign = [], []
        for name, text in fields.items():
            record = opened(self.signer, text)
            message = Message.of(record)
            if message is not None and message.field == name:
                messages.append(message)
            elif not record or message is not None:  # else it is one of another version
                foreign.append(name)
        if foreign:
            log.warning("%d fields of %s are not opsdash's, and are removed", len(foreign), keys.notify_outbox)
        return Left(writer=writer, facts=facts, figures=figures, messages=tuple(messages), foreign=tuple(foreign))

    def _outbox(self) -> dict[str, str]:
        client, key = self.broker.client, self.broker.keys.notify_outbox
        try:
            cursor, found = bounded_reads.scan_names(client, key, 0, AT_ONCE)
        except redis.ResponseError as error:
            if "WRONGTYPE" not in str(error):  # a script has it in the middle
                raise
            return {}  # it is started again, with what is written next
        names = set(found)
        while cursor and len(names) < MOST_FIELDS:
            cursor, found = bounded_reads.scan_names(client, key, cursor, AT_ONCE)
            names.update(found)
        if cursor:
            log.error("%s has more than %d fields: some are not read", key, MOST_FIELDS)
        fields: dict[str, str] = {}
        ordered = sorted(names)
        for start in range(0, len(ordered), AT_ONCE):
            (part,) = bounded_reads.fields(client, [key], ordered[start : start + AT_ONCE])
            fields |= {name: text or "" for name, text in part.items()}
        return fields

    def figures(self) -> NotificationFigures:
        """How sending goes, as its console said last. Cost: two round trips.

        Raises:
            Unavailable: Redis did not answer.
        """
        with self.broker.reading():
            _, _, figures = self._known()
        holder = Lease(self.broker, lambda: self.broker.keys.notify_lease).holder()
        return replace(figures, sender=holder)

    def save(
        self,
        lease: Lease,
        *,
        facts: Facts | None = None,
        figures: NotificationFigures | None = None,
        put: Iterable[Message] = (),
        remove: Iterable[str] = (),
    ) -> bool:
        """Writes all of it at once, if the lease is this console's; whether it is. Cost: one script.

        Args:
            remove: Fields of the outbox.

        Raises:
            redis.RedisError: Redis did not take it.
        """
        keys = self.broker.keys
        known = {}
        if facts is not None:
            known[_KNOWN] = closed(self.signer, {**to_plain(facts), "writer": lease.who})
        if figures is not None:
            known[FIELD] = closed(self.signer, to_plain(figures))
        pairs = [part for one in put for part in (one.field, closed(self.signer, one.record()))]
        gone = list(remove)
        arguments: list[Any] = [
            lease.who,
            KEPT_MS,
            len(known),
            len(gone),
            *(part for pair in known.items() for part in pair),
        ]
        with writes.aside():
            answer = self.broker.client.eval(
                _SAVE, 3, lease.key(), keys.notify, keys.notify_outbox, *arguments, *gone, *pairs
            )
        return bool(answer)

    def target_id(self, address: str) -> str:
        """What an address is called in Redis: from it nobody gets the address."""
        return self.signer.mac(f"notify address:{address}")[:16]

    def _known(self) -> tuple[str, Facts | None, NotificationFigures]:
        (fields,) = bounded_reads.fields(self.broker.client, [self.broker.keys.notify], [_KNOWN, FIELD], most=LARGE)
        known = opened(self.signer, fields.get(_KNOWN) or "")
        return (
            untrusted.words(known.get("writer")),
            read_facts(known) if known else None,
            figures_of(self.signer, fields.get(FIELD) or "") or NotificationFigures(),
        )
