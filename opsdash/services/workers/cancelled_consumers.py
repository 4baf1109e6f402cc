"""The ``cancel_consumer`` commands of a pause, stored so that the resume undoes exactly those."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping

import redis

from opsdash import lua
from opsdash.errors import Unavailable
from opsdash.keys import EVERYTHING
from opsdash.model import untrusted
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker
from opsdash.values import frozen

MOST_RECORDS = 1_000
"""Pauses of which it is remembered: one for each queue."""
LARGE = 1_000_000
"""Characters of a record: thousands of workers, each with some queues."""
Commands = dict[str, list[str]]
"""Hostname → queues whose consumer was cancelled there."""
Records = dict[str, Commands]
"""``*`` or a queue's name, for the pause that did it → its commands; ``FREEING``: what is being undone now."""
FREEING = ""
"""No queue has this name."""
TRIES = 20
"""Changes that others make meanwhile."""


_CHANGE = lua.load(__name__, "cancelled_consumers_change")


@frozen
class Cancelled:
    """The records, which several consoles change at once: each change is made to what it was computed from.

    Sending ``add_consumer`` takes two steps, so that neither a death in between nor a pause that comes meanwhile loses
    one: what is to be sent moves to ``FREEING``, and leaves that when it was sent. Who cancels again takes it out.
    """

    broker: Broker

    def read(self) -> Records:
        """All of them, as far as they are ours. Cost: one script.

        Raises:
            Unavailable: Redis did not answer.
        """
        with self.broker.reading():
            return _read(
                bounded_reads.some_fields(self.broker.client, self.broker.keys.pause_cancelled, MOST_RECORDS, LARGE)
            )

    def add(self, queue: str | None, commands: Commands) -> None:
        """Writes down what is about to be cancelled for a pause."""

        def added(records: Records) -> Records:
            field = queue or EVERYTHING
            rest = without(records.get(FREEING, {}), commands)
            return {**records, field: merged(records.get(field, {}), commands), FREEING: rest}

        self._change(added)

    def begin_to_free(self) -> Commands:
        """Moves to ``FREEING`` what a pause that is over had cancelled, unless another pause still holds it.

        Returns:
            All that must get ``add_consumer`` now, including what another console has started.
        """

        def freed(records: Records) -> Records:
            paused = self._paused(records)
            kept: Records = {FREEING: records.get(FREEING, {})}
            for field, commands in records.items():
                for hostname, queues in commands.items() if field != FREEING else ():
                    for queue in queues:
                        candidates = (field, EVERYTHING, queue)
                        holder = next((name for name in candidates if name in paused), FREEING)
                        kept[holder] = merged(kept.get(holder, {}), {hostname: [queue]})
            return kept

        return self._change(freed).get(FREEING, {}) if self.read() else {}

    def end_to_free(self, commands: Commands) -> Commands:
        """Notes that ``add_consumer`` was sent.

        Returns:
            What a pause has cancelled meanwhile: it must be sent ``cancel_consumer`` once more.
        """
        again: Commands = {}

        def ended(records: Records) -> Records:
            nonlocal again
            again = without(commands, records.get(FREEING, {}))
            return {**records, FREEING: without(records.get(FREEING, {}), commands)}

        now = self._change(ended)
        still_paused = {
            h: [q for q in queues if any(q in t.get(h, ()) for t in now.values())] for h, queues in again.items()
        }
        return {hostname: queues for hostname, queues in still_paused.items() if queues}

    def _paused(self, records: Records) -> set[str]:
        names = {
            EVERYTHING,
            *records,
            *(q for commands in records.values() for queues in commands.values() for q in queues),
        }
        queues = sorted(names - {FREEING})
        keys = self.broker.keys
        with self.broker.reading(), self.broker.client.pipeline(transaction=False) as pipe:
            for name in queues:
                pipe.exists(keys.pause(None if name == EVERYTHING else name))
            return {name for name, found in zip(queues, pipe.execute(), strict=True) if found}

    def _change(self, change: Callable[[Records], Records]) -> Records:
        """Makes a change to what is there, however many others do so, also on a full Redis. Cost: two round trips."""
        key, client = self.broker.keys.pause_cancelled, self.broker.client
        for _ in range(TRIES):
            with self.broker.reading(), client.pipeline(transaction=False) as pipe:
                pipe.hlen(key)
                bounded_reads.ask_some_fields(pipe, key, MOST_RECORDS, LARGE)
                number, parts = pipe.execute(raise_on_error=False)
                if isinstance(parts, redis.RedisError):
                    raise parts
            raw = bounded_reads.pairs(parts)
            before = _read(raw)
            after = {field: commands for field, commands in change(before).items() if commands}
            news = {field: json.dumps(commands) for field, commands in after.items() if commands != before.get(field)}
            fields = [*(before.keys() - after.keys()), *news]
            if not fields:
                return after
            arguments = [part for field in fields for part in (field, raw.get(field, ""), news.get(field, ""))]
            if client.eval(_CHANGE, 1, key, str(number if isinstance(number, int) else 0), str(LARGE), *arguments):
                return after
        raise Unavailable("Other consoles keep changing the record of cancelled consumers.")


def merged(first: Mapping[str, Iterable[str]], second: Mapping[str, Iterable[str]]) -> Commands:
    """Both together."""
    return {h: sorted({*first.get(h, ()), *second.get(h, ())}) for h in sorted({*first, *second})}


def without(first: Mapping[str, Iterable[str]], second: Mapping[str, Iterable[str]]) -> Commands:
    """The first less the second."""
    left = {h: sorted({*queues} - {*second.get(h, ())}) for h, queues in first.items()}
    return {hostname: queues for hostname, queues in left.items() if queues}


def _read(raw: Mapping[str, str]) -> Records:
    return {field: _commands_in(text) for field, text in raw.items()}


def _commands_in(text: str) -> Commands:
    commands = untrusted.mapping(untrusted.parsed(text, LARGE))
    return {h: list(untrusted.names(queues)) for h, queues in commands.items() if 0 < len(h) <= untrusted.LONG}
