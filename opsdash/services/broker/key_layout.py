"""Learns the broker's layout from settings, app, workers and kombu's own keys, without looking through the keys."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import redis

from opsdash.errors import Refused
from opsdash.keys import Keys
from opsdash.model import untrusted
from opsdash.model.key_layout import (
    ASSUMED,
    BROKER,
    DECIDES,
    WORKERS,
    Claim,
    Disagreement,
    Layout,
    disagreements,
    resolve,
)
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.bindings import fits, proven_separator
from opsdash.services.broker.layout_reports import FIELDS, LARGE_REPORT, LONGEST, exchanges, facts
from opsdash.values import frozen

log = logging.getLogger(__name__)

FRESH_S = 10.0
RETRY_S = 2.0
"""After a failed look, so long until the next one."""
RECENT_S = 60.0
"""A worker that has been silent for longer says nothing of today's layout."""
NUDGE = Keys().nudge
MOST_EXCHANGES = 1_000
MOST_WORKERS = 200
"""Reports that are asked for the layout: those that came last. All workers of an app have the same."""
MOST_MAILBOXES = 1_000
MOST_CHANNELS = 1_000


@frozen(kw_only=True)
class Found:
    """What the last look found.

    Attributes:
        conflicts: Where app, settings and workers disagree: nothing is written while there is one.
        exchanges: Exchanges that workers' queues are bound to, fanout ones left out.
        elsewhere: Prefixes of workers with the plug-in on this server whose health is not in this database.
    """

    layout: Layout
    conflicts: tuple[Disagreement, ...] = ()
    exchanges: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()


class Layouts:
    """The layout in force. It is read on first use, and again on request.

    Cost of a look: two round trips, and two more where workers are found under another prefix.

    Args:
        claims: What settings and app say, the one that decides first.
        known: Queue names that a deployment with the configured prefix has in Redis even while no worker runs.
    """

    def __init__(self, client: redis.Redis, claims: Sequence[Claim] = (), known: Iterable[str] = ()) -> None:
        self._client, self._claims, self._known = client, tuple(claims), tuple(known)
        self._lock, self._keeping = threading.RLock(), 0
        self._found: Found | None = None
        self._fixed = False
        self._looked_s = float("-inf")
        self._failing = False

    @classmethod
    def fixed(cls, client: redis.Redis, layout: Layout) -> Layouts:
        """A layout that is known beforehand: nobody is asked."""
        made = cls(client)
        made._found, made._fixed = Found(layout=layout), True
        return made

    @property
    def layout(self) -> Layout:
        """The layout in force."""
        return self.found.layout

    @property
    def found(self) -> Found:
        """The result of the last read; reads if there was none. While Redis does not answer: the configured values.

        Raises nothing: the next use of Redis reports the outage.
        """
        if (found := self._found) is not None:
            return found
        with self._lock:
            if self._found is None and time.monotonic() - self._looked_s > RETRY_S:
                try:
                    self.look()
                except redis.RedisError as error:
                    log.debug("the broker's layout could not be learnt: %s", error)
            return self._found or Found(layout=resolve(self._claims), conflicts=disagreements(self._claims))

    def refresh(self) -> Found:
        """Looks again when the last look is older than ``FRESH_S``.

        Raises:
            redis.RedisError: Redis did not answer; the earlier result stays.
        """
        return self.look() if time.monotonic() - self._looked_s > FRESH_S else self.found

    def look(self) -> Found:
        """Looks now.

        Raises:
            redis.RedisError: Redis did not answer; the earlier result stays.
        """
        with self._lock:
            if self._fixed and self._found is not None:
                return self._found
            self._looked_s = time.monotonic()
            found = self._look()
            if self._keeping and self._found is not None:
                # Something is written just now, and ends in the layout that it has begun with.
                found = replace(found, layout=self._found.layout)
            self._found = found
            return found

    @contextmanager
    def kept(self) -> Iterator[None]:
        """The layout stays as it is until the end, whatever is learnt meanwhile."""
        with self._lock:
            self._keeping += 1
        try:
            yield
        finally:
            with self._lock:
                self._keeping -= 1

    def check(self, title: str, facts: Iterable[str]) -> None:
        """Refuses what would be written by facts of the layout that app, settings and workers say otherwise.

        Raises:
            Refused: With what differs, who says what, and what decides.
        """
        checked = set(facts)
        if wrong := [conflict.message for conflict in self.found.conflicts if conflict.fact in checked]:
            raise Refused(f"{title} is refused: {' '.join(wrong)}")

    def _look(self) -> Found:
        resolved, before = resolve(self._claims), self._found.layout if self._found else None
        # What workers taught stays known while none of them runs.
        by_workers = before is not None and before.source_of("prefix") == WORKERS and "prefix" not in resolved.sources
        prefix = before.prefix if before and by_workers else resolved.prefix
        now_s, live, seen, members = self._query(prefix, resolved.control_exchange)
        conflicts: list[Disagreement] = []
        elsewhere: tuple[str, ...] = ()
        if set(live) - {prefix} or (live and not seen):
            here = self._here(live)
            elsewhere = tuple(other for other in live if other not in here)
            chosen, conflicts = self._choose(prefix, here, is_set="prefix" in resolved.sources, by_workers=by_workers)
            if chosen != prefix:
                prefix = chosen
                now_s, _, seen, members = self._query(prefix, resolved.control_exchange)
        reports = self._reports(prefix, [host for host, at in seen if now_s - at <= RECENT_S])
        claims = [*self._claims]
        claims += [
            Claim(source=WORKERS, name=host, facts={"prefix": prefix, **reported}) for host, reported, _ in reports
        ]
        if seen and not reports:  # they have gone, and have left behind where they reported
            claims.append(Claim(source=WORKERS, facts={"prefix": prefix}))
        control = resolve(tuple(claims)).control_exchange
        if control != resolved.control_exchange:
            *_, members = self._query(prefix, control)
        conflicts += disagreements(tuple(claims))
        if (separator := proven_separator(members, f"{control}.pidbox")) is not None:
            claims.append(Claim(source=BROKER, facts={"separator": separator}))
        layout = _remembering(resolve(tuple(claims)), before, prefix)
        doubted = any(conflict.fact == "separator" for conflict in conflicts)
        return Found(
            layout=replace(layout, doubted=doubted or not fits(layout.separator, members, f"{control}.pidbox")),
            conflicts=tuple(conflicts),
            exchanges=tuple(dict.fromkeys(name for _, _, names in reports for name in names))[:MOST_EXCHANGES],
            elsewhere=elsewhere,
        )

    def _choose(
        self, prefix: str, here: Sequence[str], *, is_set: bool, by_workers: bool
    ) -> tuple[str, list[Disagreement]]:
        """The prefix to go by, where workers report into this database under others, and what speaks against it."""
        if is_set:
            neighbours = not here or prefix in here or self._in_use(prefix)
            return prefix, [] if neighbours else [_wrong_prefix(self._claims, here)]
        candidates = sorted({*here, *([prefix] if by_workers else [])})
        if len(candidates) > 1:
            by_value = {repr(candidate): ("workers",) for candidate in candidates}
            return prefix, [Disagreement(fact="prefix", said=by_value, setting=DECIDES["prefix"])]
        return (candidates[0] if candidates else prefix), []

    def _query(self, prefix: str, control_exchange: str) -> tuple[float, list[str], list[tuple[str, float]], list[str]]:
        """Redis's time, the prefixes that workers listen under, workers under this one, and bound mailboxes."""
        keys = Keys(prefix)
        with self._client.pipeline(transaction=False) as pipe:
            pipe.time()
            bounded_reads.ask_channels(pipe, f"*{NUDGE}", MOST_CHANNELS)
            bounded_reads.ask_members(pipe, keys.workers, most=MOST_WORKERS, high=bounded_reads.NOT_AHEAD)
            bounded_reads.ask_set(pipe, Layout(prefix=prefix).binding(f"{control_exchange}.pidbox"), MOST_MAILBOXES)
            time_, channels, seen, members = pipe.execute(raise_on_error=False)
        if isinstance(time_, redis.RedisError):
            raise time_
        if isinstance(channels, redis.RedisError) and not self._failing:
            self._failing = True
            log.warning("which key prefixes are in use can't be asked: %s", channels)
        seen = [] if isinstance(seen, redis.RedisError) else list(bounded_reads.members(seen).found)
        found = {text.removesuffix(NUDGE) for text in _texts(channels) if text.endswith(NUDGE)}
        live = sorted(name for name in found if len(name) <= LONGEST)
        return time_[0] + time_[1] / 1e6, live, seen, _texts(members)

    def _here(self, prefixes: Sequence[str]) -> tuple[str, ...]:
        """Those whose workers report into this database: channels are one for all databases of a server."""
        with self._client.pipeline(transaction=False) as pipe:
            for prefix in prefixes:
                pipe.exists(Keys(prefix).workers)
            replies = pipe.execute(raise_on_error=False)
        return tuple(prefix for prefix, there in zip(prefixes, replies, strict=True) if there == 1)

    def _in_use(self, prefix: str) -> bool:
        """A deployment has left something under this prefix: workers, mailboxes, a queue or its binding."""
        layout = Layout(prefix=prefix)
        names = ("celery", *self._known)
        lists = [key for name in names for key in (layout.prefix + name, layout.binding(name))]
        return bool(self._client.exists(Keys(prefix).workers, layout.binding("celery.pidbox"), *lists))

    def _reports(self, prefix: str, hosts: Sequence[str]) -> list[tuple[str, dict[str, Any], list[str]]]:
        if not hosts:
            return []
        reports = bounded_reads.fields(
            self._client, [Keys(prefix).worker(host) for host in hosts], FIELDS, LARGE_REPORT
        )
        return [
            (
                untrusted.words(one.get("hostname")) or untrusted.words(host),
                facts(one.get("layout")),
                exchanges(one.get("exchanges")),
            )
            for host, one in zip(hosts, reports, strict=True)
        ]


def _remembering(layout: Layout, before: Layout | None, prefix: str) -> Layout:
    """What was learnt earlier and nobody says now, as when the workers have stopped, stays as it was."""
    if before is None or before.prefix != prefix:
        return layout
    lost = {
        fact: source
        for fact, source in before.sources.items()
        if source in {WORKERS, BROKER} and layout.source_of(fact) == ASSUMED
    }
    return replace(layout, **{fact: getattr(before, fact) for fact in lost}, sources={**layout.sources, **lost})


def _wrong_prefix(claims: Sequence[Claim], here: Sequence[str]) -> Disagreement:
    """No worker has the configured prefix, and workers report under others."""
    own, *_ = (claim for claim in claims if "prefix" in claim.facts)
    workers = Claim(source=WORKERS, name=f"the workers under {_quoted(here)}", facts={"prefix": here[0]})
    (found,) = disagreements((replace(own, facts={"prefix": own.facts["prefix"]}), workers))
    return found


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _texts(reply: Any) -> list[str]:
    """A list or set of texts; nothing in place of another type's key, or of a refusal."""
    return [text for text in reply if isinstance(text, str)] if isinstance(reply, list | set) else []
