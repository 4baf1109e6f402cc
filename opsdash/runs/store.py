"""Where runs are kept: in Redis, beside the pauses they set, so that what is forgotten is forgotten together.

The database may be down while a deployment goes on (its audit entries wait in the outbox); without Redis there is
nothing to pause.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from opsdash import lua
from opsdash.errors import OpsdashError, Refused
from opsdash.model import untrusted
from opsdash.runs.state import LARGEST, RunState, from_json, to_json
from opsdash.services.broker import bounded_reads, writes
from opsdash.services.broker.client import Broker

log = logging.getLogger(__name__)

KEPT_S = 7 * 86_400
"""So long a run is kept after its last change."""
MOST_RUNS = 100
"""Of so many runs the newest are listed; older ones end by their TTL."""
LEASE_S = 20.0
"""A process that says nothing for so long is gone: its run can be continued or rolled back."""

_SAVE = lua.load(__name__, "run_save")
_RENEW = lua.load(__name__, "lease_renew")
_RELEASE = lua.load(__name__, "lease_release")


class TakenOverError(Refused):
    """Another process has continued this run, or rolled it back."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"Run {run_id} was taken over by another process: this one does nothing more.")


class RunStore:
    """Reads and writes the runs of one deployment. Every method may raise Unavailable."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._token = secrets.token_hex(8)

    def begin(self, run: RunState) -> None:
        """Stores a run as this process's, be it new or another one's. Cost: two round trips."""
        keys, client = self._broker.keys, self._broker.client
        with self._broker.reading():
            client.eval(_SAVE, 1, keys.run(run.id), self._token, to_json(run), KEPT_S * 1000, "take")
            with client.pipeline(transaction=False) as pipe:
                pipe.zremrangebyscore(keys.runs, "-inf", run.at.timestamp() - KEPT_S)
                pipe.zadd(keys.runs, {run.id: run.at.timestamp()})
                pipe.expire(keys.runs, KEPT_S)
                pipe.execute()

    def save(self, run: RunState) -> None:
        """Stores what has become of it. Cost: one round trip.

        Raises:
            TakenOverError: It is another process's now.
        """
        with self._broker.reading():
            args = (self._token, to_json(run), KEPT_S * 1000, "")
            if not self._broker.client.eval(_SAVE, 1, self._broker.keys.run(run.id), *args):
                raise TakenOverError(run.id)

    def find(self, run_id: str) -> RunState:
        """The run of this id.

        Raises:
            Refused: There is none, or it is kept no longer.
        """
        run = self._read([run_id])[0] if run_id.isalnum() and len(run_id) <= untrusted.LONG else None
        if run is None:
            raise Refused(f"There is no run {run_id[:80]!r}.", hint="Those there are: opsdash run --status")
        return run

    def newest(self, most: int = MOST_RUNS) -> list[RunState]:
        """The newest runs, newest first. Cost: two round trips."""
        with self._broker.reading():
            found = bounded_reads.read_members(self._broker.client, self._broker.keys.runs, most=most).found
        return [run for run in self._read([name for name, _at in found]) if run is not None]

    def _read(self, ids: list[str]) -> list[RunState | None]:
        if not ids:
            return []
        with self._broker.reading():
            keys = [self._broker.keys.run(one) for one in ids]
            found = bounded_reads.fields(self._broker.client, keys, ["run"], LARGEST)
        read = [from_json(one.get("run") or "") for one in found]
        return [run if run is not None and run.id == one else None for one, run in zip(ids, read, strict=True)]

    def holder(self, runbook: str) -> tuple[str, str]:
        """Which run of a runbook has a living process, and in words who runs it since when; empty: none has."""
        with self._broker.reading():
            text = bounded_reads.text(self._broker.client, self._broker.keys.run_lease(runbook))
        value = untrusted.mapping(untrusted.parsed(text))
        at = untrusted.moment(value.get("at"))
        by, host = untrusted.words(value.get("by")), untrusted.words(value.get("host"))
        since = f" since {at:%Y-%m-%d %H:%M:%S} UTC" if at else ""
        return untrusted.words(value.get("run")), f"{by or 'someone'}{f' on {host}' if host else ''}{since}"

    @contextmanager
    def leased(self, runbook: str, run_id: str, by: str, host: str) -> Iterator[None]:
        """The right to run a runbook: one process has it at a time, and renews it in its own thread.

        Raises:
            Refused: Another process has it; with who and since when.
        """
        now = datetime.now(UTC).isoformat()
        value = json.dumps({"run": run_id, "by": by, "host": host, "at": now, "token": self._token})
        key = self._broker.keys.run_lease(runbook)
        with self._broker.reading():
            taken = writes.put(self._broker.client, key, value, ms=int(LEASE_S * 1000), new=True)
        if not taken:
            running, who = self.holder(runbook)
            raise Refused(
                f"Runbook {runbook} is being run by {who} (run {running or 'unknown'}).",
                hint=f"Try again when that has ended. If its process is gone, it is free after {LEASE_S:.0f} s.",
                retry=True,
            )
        over = threading.Event()
        keeper = threading.Thread(target=self._renew, args=(key, value, over), name="opsdash-run", daemon=True)
        keeper.start()
        try:
            yield
        finally:
            over.set()
            keeper.join(LEASE_S)
            try:
                with self._broker.reading():
                    self._broker.client.eval(_RELEASE, 1, key, value)
            except OpsdashError as error:
                log.debug("the lease ends by its TTL: %s", error)

    def _renew(self, key: str, value: str, over: threading.Event) -> None:
        while not over.wait(LEASE_S / 4):
            try:
                with self._broker.reading():
                    self._broker.client.eval(_RENEW, 1, key, value, int(LEASE_S * 1000))
            except OpsdashError as error:  # the run itself meets the outage, and says so
                log.debug("a run could not say that it lives: %s", error)
