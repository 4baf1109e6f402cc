"""How each act is done to the real servers, and what Celery may do to tasks in it."""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa
from celery import chain
from chaos.storm.console_acts import CALLS, NO_HISTORY, ConsoleActs
from chaos.storm.invariants import Fault, Sent
from chaos.storm.schedule import Act
from chaos.storm.world import CONCURRENCY, THIS, ended_by_celery, pause_for
from support.services import until

MENDED = "sample:mended"
MOST_FAILURES = 400
NO_ROOM = "No space left on device"
SEEN_S = 1.5
"""So long beat is looked at: three times its entry's interval."""


class Acts(ConsoleActs):
    """Does them."""

    def do(self, act: Act) -> str:
        """Does it; what came of it, in a few words."""
        self.counts[act.kind] += 1
        if act.kind in CALLS:
            return self.call(act.kind, act.params)
        result: str | None = getattr(self, f"_{act.kind}")(act)
        return result or "done"

    # What is done to tasks

    def _push(self, act: Act) -> str:
        params = act.params
        kwargs = {"seconds": params["seconds"]} if params["seconds"] else {}
        options: dict[str, Any] = {"priority": params["priority"], "queue": params["queue"]}
        if params["tenant"]:
            options["headers"] = {"tenant_id": params["tenant"]}
        if params["countdown"]:
            options["countdown"] = params["countdown"]
        with self.world.producer.connection_for_write() as connection:
            for number in range(params["number"]):
                id_ = self.new_id()
                one = Sent(id_, params["task"], params["queue"], params["tenant"], self.step, params["seconds"])
                self.ledger.sent[id_] = one
                self.world.producer.send_task(
                    params["task"], [number], kwargs, task_id=id_, connection=connection, **options
                )
        return f"{params['number']} tasks"

    def _push_chains(self, act: Act) -> str:
        queue, length = act.params["queue"], act.params["length"]
        for _ in range(act.params["number"]):
            ids = [self.new_id() for _ in range(length)]
            self.ledger.chains[ids[0]] = ids
            for before, id_ in zip(["", *ids], ids, strict=False):
                self.ledger.sent[id_] = Sent(id_, "sample.step", queue, "", self.step, after=before)
            steps = [
                self.world.producer.signature("sample.step", args=(number,), immutable=True, task_id=id_, queue=queue)
                for number, id_ in enumerate(ids)
            ]
            chain(*steps, app=self.world.producer).apply_async()
        return f"{act.params['number']} chains of {length}"

    def _beat(self, act: Act) -> str:
        """Beat runs, and schedules are paused and resumed. Once that is over, it sends, or does not, as it is told."""
        with self.world.beat() as running:
            told = self.during(act)
            paused = running.settled_pause()
            sent = running.sends_in(SEEN_S)
            self.exposure.lost += 1  # what it sends as it ends
        self.beats += running.sent
        if paused is not None and paused == bool(sent):
            self.wrong.append(Fault("beat sends what is not paused, and nothing else", not paused, sent, running.log))
        return f"{told}; {running.sent} sent"

    def _mend(self, act: Act) -> None:
        self.world.records.redis.set(MENDED, "1")

    def _spoil(self, act: Act) -> None:
        self.world.records.redis.delete(MENDED)

    # What is done to workers

    def _start_worker(self, act: Act) -> str | None:
        slot = act.params["slot"]
        if slot in self.world.workers:
            return "runs already"
        build = act.params.get("build", THIS)
        if build not in self.world.paths:
            return NO_HISTORY
        if build != THIS:
            # It knows neither holds nor limits, and its tasks count for none.
            for span in self.stopped:
                if span.kind != "pause" and span.until is None:
                    span.until = time.time()
            for limited in self.limited:
                limited.ends(time.time())
        self.world.start_worker(slot, build)
        return None

    def _stop_worker(self, act: Act) -> str | None:
        if act.params["slot"] not in self.world.workers:
            return "does not run"
        self.world.stop_worker(act.params["slot"])
        return None

    def _kill_worker(self, act: Act) -> str | None:
        if act.params["slot"] not in self.world.workers:
            return "does not run"
        self._kill(act.params["slot"])
        return None

    def _kill(self, slot: int) -> None:
        self.exposure.lost += 2 * CONCURRENCY + 2
        self.exposure.failures += MOST_FAILURES
        self.exposure.twice += 2 * CONCURRENCY
        self.exposure.chains += 2 * CONCURRENCY
        self.world.kill_worker(slot)

    def supervise(self) -> None:
        """Starts workers again that ended by an error of Celery's own, or that are of the last release, as theirs do.

        Those of this build must not end by an error of opsdash.
        """
        for slot, worker in list(self.world.workers.items()):
            build = self.world.builds[slot]
            if not worker.running and (build != THIS or ended_by_celery(worker.log)):
                self._kill(slot)
                self.world.start_worker(slot, build)
                self.world.ready(slot)
                self.counts[f"a worker of {build} ended by itself"] += 1

    def _cut_workers(self, act: Act) -> str:
        since = time.monotonic()
        self.lost_connections()
        self.world.worker_cable.cut()
        try:
            told = self.during(act)
            pause_for(act.params["seconds"], since)
        finally:
            self.world.worker_cable.mend()
        return told

    def _drop_connections(self, act: Act) -> None:
        self.lost_connections()
        self.world.drop_connections()

    def _step_clock(self, act: Act) -> None:
        self.world.clock.write_text(str(act.params["seconds"]))

    def _expire_leases(self, act: Act) -> str:
        """What no worker has any more is delivered again, as after Celery's visibility timeout."""
        client = self.world.raw
        with client.pipeline() as pipe:
            for tag in client.zrange("unacked_index", 0, -1):
                pipe.zadd("unacked_index", {tag: 1}, xx=True)
            number = len(pipe.execute())
        self.exposure.twice += number
        return f"{number} messages"

    # What is done to the servers

    def _restart_broker(self, act: Act) -> None:
        self.lost_connections()
        broker = self.world.broker
        broker.kill() if act.params["how"] == "kill" else broker.stop()
        broker.start()

    def _freeze_broker(self, act: Act) -> str:
        self.look()
        self.lost_connections()
        since = time.monotonic()
        self.world.broker.freeze()
        try:
            told = self.during(act)
            pause_for(act.params["seconds"], since)
        finally:
            self.world.broker.thaw()
        return told

    def _fill_broker(self, act: Act) -> str:
        self.look()
        # What kombu has popped it can't write down in a full Redis: each such message is lost, by Celery alone.
        self.exposure.lost += sum(self.last.waiting.values()) + self.last.unacked
        self.exposure.chains += len(self.ledger.chains)
        self.lost_connections()
        client = self.world.raw
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        try:
            return self.during(act)
        finally:
            client.config_set("maxmemory", 0)

    def _fill_brokers_disk(self, act: Act) -> str:
        """A Redis that writes everything down ends when it can't."""
        self.look()
        self.lost_connections()
        self.exposure.chains += len(self.ledger.chains)
        with self.world.brokers_disk.filled():
            told = self.during(act)
            ended = until(lambda: not self.world.broker.running, timeout_s=3)
        self.world.broker.start()
        return f"{told}; {'it ended' if ended else 'it wrote nothing'}"

    def _fill_databases_disk(self, act: Act) -> str:
        """Rows that need a new page are refused; PostgreSQL ends when the log of its writes finds no room."""
        self.look()
        log = self.world.database.log
        before = log.read_text(errors="replace").count(NO_ROOM)
        with self.world.databases_disk.filled():
            told = self.during(act)
            refused = log.read_text(errors="replace").count(NO_ROOM) - before
        self.world.database.start()
        if not until(self.world.database_answers, timeout_s=60):
            raise RuntimeError("the database is not back")
        return f"{told}; it found no room {refused} times"

    def _restart_database(self, act: Act) -> str:
        self.look()
        self.world.database.stop()
        try:
            return self.during(act)
        finally:
            self.world.database.start()

    def _freeze_database(self, act: Act) -> str:
        since = time.monotonic()
        self.world.database.freeze()
        try:
            told = self.during(act)
            pause_for(act.params["seconds"], since)
        finally:
            self.world.database.thaw()
        return told

    def _change_tenants(self, act: Act) -> None:
        tenant, how = act.params["tenant"], act.params["how"]
        values = {"id": tenant, "name": f"{tenant} {self.step}"}
        statement = {
            "add": "INSERT INTO tenant_config (tenant_id, name) VALUES (:id, :name) ON CONFLICT DO NOTHING",
            "change": "UPDATE tenant_config SET name = :name WHERE tenant_id = :id",
            "remove": "DELETE FROM tenant_config WHERE tenant_id = :id",
        }[how]
        if how == "remove":
            del values["name"]
        with self.world.engine.begin() as connection:
            connection.execute(sa.text(statement), values)
