"""How each act is done to the real servers, and what is to be expected after its answer."""

from __future__ import annotations

import random
import time
import uuid
from collections import Counter
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from chaos.storm import truth as read_truth
from chaos.storm.invariants import Expected, Exposure, Ledger, Request, Sent, Stopped
from chaos.storm.schedule import Act
from chaos.storm.truth import Truth
from chaos.storm.world import CONCURRENCY, World, pause_for

CALLS = {
    "pause": "pause_processing", "resume": "resume_processing", "hold": "hold_tasks", "release": "release_tasks",
    "hold_tenant": "hold_tenant", "release_tenant": "release_tenant", "clear": "clear_queue",
    "clear_tasks": "clear_tasks", "clear_tenant": "clear_tenant", "clear_held": "clear_held",
    "restore": "restore_queue", "delete_trash": "delete_trash", "retry_failed": "retry_failed",
    "discard_failed": "discard_failed", "sync": "sync_tenant_configs", "note": "add_note",
}  # fmt: skip
CLEARS = ("clear", "clear_tasks", "clear_tenant", "clear_held", "discard_failed")
PREFETCHED = 4
"""Celery's ``worker_prefetch_multiplier``."""
MENDED = "sample:mended"
MOST_FAILURES = 400


class Acts:
    """Does them, and keeps the books.

    Attributes:
        exposure: What Celery may do to tasks in this step. ``last``: what was read last, while the broker answered.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.ledger, self.expected = Ledger(), Expected()
        self.exposure = Exposure()
        self.stopped: list[Stopped] = []
        self.requests: dict[str, Request] = {}
        self.counts: Counter[str] = Counter()
        self.last = Truth()
        self.step = 0
        self._ids = random.Random(0)

    def _id(self) -> str:
        return str(uuid.UUID(int=self._ids.getrandbits(128), version=4))

    def begin(self, step: int) -> None:
        """A new step."""
        self.step, self.exposure = step, Exposure()

    def do(self, act: Act) -> str:
        """Does it; what came of it, in a few words."""
        self.counts[act.kind] += 1
        if act.kind in CALLS:
            return self._call(act.kind, act.params)
        result: str | None = getattr(self, f"_{act.kind}")(act)
        return result or "done"

    def _during(self, act: Act) -> str:
        return "; ".join(f"{inner.kind}: {self.do(inner)}" for inner in act.during)

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
                id_ = self._id()
                self.ledger.sent[id_] = Sent(id_, params["task"], params["queue"], params["tenant"], self.step)
                self.world.producer.send_task(
                    params["task"], [number], kwargs, task_id=id_, connection=connection, **options
                )
        return f"{params['number']} tasks"

    def _mend(self, act: Act) -> None:
        self.world.records.redis.set(MENDED, "1")

    def _spoil(self, act: Act) -> None:
        self.world.records.redis.delete(MENDED)

    # What is done to the console

    def _call(self, kind: str, params: dict[str, Any], *, expect_death: bool = False) -> str:
        params = self._resolved(kind, params)
        if params is None:
            return "nothing to act on"
        self._before(kind, params)
        body: dict[str, Any] = {"params": params, "confirm": "YES", "request_id": self._id()}
        request = Request(body["request_id"], CALLS[kind], "none", time.time())
        path = f"/api/v1/operations/{CALLS[kind]}"
        self.requests[request.id] = request
        answer = self.world.console.call("POST", path, body)
        if answer is not None and answer.status == 409 and (phrase := answer.json.get("expected")):
            request.answer, request.kind = "nothing", "phrase"
            body |= {"request_id": self._id(), "phrase": phrase}
            request = Request(body["request_id"], CALLS[kind], "none", time.time())
            self.requests[request.id] = request
            answer = self.world.console.call("POST", path, body)
        if answer is None:
            pass
        elif answer.status == 200:
            request.answer, request.affected = "ok", answer.json["affected"]
            request.detail = answer.json["message"]
        else:
            problem = answer.json
            request.kind = problem["type"].rpartition(":")[2]
            request.answer = "partial" if request.kind == "partial" else problem["changed"]
            request.detail = problem["detail"]
        self._after(kind, params, request, answer.json if answer is not None and answer.status == 200 else {})
        return f"{request.answer} {request.kind} {request.detail[:160]}".strip()

    def _resolved(self, kind: str, params: dict[str, Any]) -> dict[str, Any] | None:
        """With what depends on what there is."""
        if kind in ("restore", "delete_trash"):
            ids = sorted(self.last.trash)
            return {"trash_id": ids[params["pick"] % len(ids)]} if ids else None
        if kind in ("retry_failed", "discard_failed"):
            return {"task": "*"}
        if kind == "note":
            return {"text": f"step {self.step}"}
        return dict(params)

    def _before(self, kind: str, params: dict[str, Any]) -> None:
        """From now on these may start again."""
        now = time.time()
        for span in self.stopped:
            ends = {
                "resume": span.kind == "pause" and span.name == params.get("queue"),
                "release": span.kind == "task" and span.name == params.get("task"),
                "release_tenant": span.kind == "tenant" and span.name == params.get("tenant"),
            }.get(kind, False)
            if ends and span.until is None:
                span.until = now

    def _after(self, kind: str, params: dict[str, Any], request: Request, outcome: dict[str, Any]) -> None:
        if request.answer == "nothing":
            return
        sure, expected = request.answer == "ok", self.expected
        match kind:
            case "pause" | "resume":
                expected.apply("flags", params["queue"], kind == "pause", sure)
            case "hold" | "release":
                expected.apply("holds", ("task", params["task"]), kind == "hold", sure)
            case "hold_tenant" | "release_tenant":
                expected.apply("holds", ("tenant", params["tenant"]), kind == "hold_tenant", sure)
            case "restore" | "delete_trash":
                expected.trash.discard(params["trash_id"])
                if kind == "delete_trash":
                    place = f"trash:{params['trash_id']}"
                    ids = [id_ for id_, places in self.last.places.items() if place in places]
                    self.ledger.deleted |= dict.fromkeys(ids, sure)
            case "sync":
                expected.tenants = self.rows() if sure else None
        if kind in CLEARS:
            expected.more = True
            if trash_id := outcome.get("details", {}).get("trash_id"):
                expected.trash.add(trash_id)

    def _amid(self, act: Act, happens: Callable[[], None], then: Callable[[], None]) -> str:
        """Something happens so many milliseconds after an act was asked for, whatever has come of that until then."""
        amid = dict(act.params["amid"])
        kind = amid.pop("act")
        told: list[str] = []
        self.look()
        thread = self.world.in_thread(lambda: told.append(self._call(kind, amid)))
        time.sleep(act.params["after_ms"] / 1000)
        happens()
        thread.join(60)
        then()
        return f"{kind}: {told[0] if told else 'no answer'}"

    def _kill_console(self, act: Act) -> str:
        return self._amid(act, self.world.console.kill, self.world.console.start)

    def _cut_amid(self, act: Act) -> str:
        return self._amid(act, self.world.console_cable.cut, self.world.console_cable.mend)

    def _restart_broker_amid(self, act: Act) -> str:
        self._lost_connections()
        return self._amid(act, self.world.broker.kill, self.world.broker.start)

    def _stop_database_amid(self, act: Act) -> str:
        return self._amid(act, self.world.database.stop, self.world.database.start)

    def _restart_console(self, act: Act) -> None:
        self.world.console.stop()
        self.world.console.start()

    def _cut_console(self, act: Act) -> str:
        self.look()
        since = time.monotonic()
        self.world.console_cable.cut()
        try:
            told = self._during(act)
            pause_for(act.params["seconds"], since)
        finally:
            self.world.console_cable.mend()
        return told

    # What is done to workers

    def _start_worker(self, act: Act) -> str | None:
        slot = act.params["slot"]
        if slot in self.world.workers:
            return "runs already"
        self.world.start_worker(slot)
        return None

    def _stop_worker(self, act: Act) -> str | None:
        if act.params["slot"] not in self.world.workers:
            return "does not run"
        self.world.stop_worker(act.params["slot"])
        return None

    def _kill_worker(self, act: Act) -> str | None:
        if act.params["slot"] not in self.world.workers:
            return "does not run"
        self.exposure.lost += 2 * CONCURRENCY + 2
        self.exposure.failures += MOST_FAILURES
        self.exposure.twice += 2 * CONCURRENCY
        self.world.kill_worker(act.params["slot"])
        return None

    def _lost_connections(self) -> None:
        """Every worker's: the message under way may be lost, all that it has fetched may come again."""
        for _ in self.world.workers:
            self.exposure.lost += 2
            self.exposure.twice += CONCURRENCY * (PREFETCHED + 1) + 1

    def _cut_workers(self, act: Act) -> str:
        since = time.monotonic()
        self._lost_connections()
        self.world.worker_cable.cut()
        try:
            told = self._during(act)
            pause_for(act.params["seconds"], since)
        finally:
            self.world.worker_cable.mend()
        return told

    def _drop_connections(self, act: Act) -> None:
        self._lost_connections()
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
        self._lost_connections()
        broker = self.world.broker
        broker.kill() if act.params["how"] == "kill" else broker.stop()
        broker.start()

    def _freeze_broker(self, act: Act) -> str:
        self.look()
        self._lost_connections()
        since = time.monotonic()
        self.world.broker.freeze()
        try:
            told = self._during(act)
            pause_for(act.params["seconds"], since)
        finally:
            self.world.broker.thaw()
        return told

    def _fill_broker(self, act: Act) -> str:
        self.look()
        # What kombu has popped it can't write down in a full Redis: each such message is lost, by Celery alone.
        self.exposure.lost += sum(self.last.waiting.values()) + self.last.unacked
        self._lost_connections()
        client = self.world.raw
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 1)
        try:
            return self._during(act)
        finally:
            client.config_set("maxmemory", 0)

    def _restart_database(self, act: Act) -> str:
        self.look()
        self.world.database.stop()
        try:
            return self._during(act)
        finally:
            self.world.database.start()

    def _freeze_database(self, act: Act) -> str:
        since = time.monotonic()
        self.world.database.freeze()
        try:
            told = self._during(act)
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

    def rows(self) -> dict[str, str]:
        """Tenant → its name in the database; waits until that answers."""
        with self.world.engine.connect() as connection:
            found = connection.execute(sa.text("SELECT tenant_id, name FROM tenant_config")).all()
        return {str(id_): str(name) for id_, name in found}

    def look(self) -> Truth:
        """Reads everything; only while the broker answers."""
        self.last = read_truth.read(self.world.raw)
        return self.last
