"""What a storm asks of the console over its API, and what is to be expected after each answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from chaos.storm.beat_app import ENTRY
from chaos.storm.books import Books
from chaos.storm.invariants import Request
from chaos.storm.schedule import Act
from chaos.storm.world import pause_for
from support.services import until

CALLS = {
    "pause": "pause_processing", "resume": "resume_processing", "hold": "hold_tasks", "release": "release_tasks",
    "hold_tenant": "hold_tenant", "release_tenant": "release_tenant", "clear": "clear_queue",
    "clear_tasks": "clear_tasks", "clear_tenant": "clear_tenant", "clear_held": "clear_held",
    "restore": "restore_queue", "delete_trash": "delete_trash", "retry_failed": "retry_failed",
    "discard_failed": "discard_failed", "sync": "sync_tenant_configs", "note": "add_note",
    "limit": "limit_concurrency", "unlimit": "remove_concurrency_limit", "cancel_workflow": "cancel_workflow",
    "pause_schedule": "pause_schedule", "resume_schedule": "resume_schedule", "run_schedule_now": "run_schedule_now",
}  # fmt: skip
CLEARS = ("clear", "clear_tasks", "clear_tenant", "clear_held", "discard_failed", "cancel_workflow")
NO_HISTORY = "the last release is not at hand here"
PAUSE_OF_A_SCHEDULE_S = 14_400
LEFT_S = 200.0
"""The pause of a clear whose console was killed has ended by then: 180 s, and some for a busy machine."""
AMID_S = 5.0
"""An act that takes fewer round trips ends by itself; the console's poller makes some, too."""


class ConsoleActs(Books):
    """Acts of an operator, and what happens amid them."""

    def call(self, kind: str, params: dict[str, Any]) -> str:
        """Asks for it; what was answered."""
        params = self._resolved(kind, params)
        if params is None:
            return "nothing to act on"
        self._before(kind, params)
        body: dict[str, Any] = {"params": params, "confirm": "YES", "request_id": self.new_id()}
        request = Request(body["request_id"], CALLS[kind], "none", time.time())
        path = f"/api/v1/operations/{CALLS[kind]}"
        self.requests[request.id] = request
        answer = self.world.console.call("POST", path, body)
        if answer is not None and answer.status == 409 and (phrase := answer.json.get("expected")):
            request.answer, request.kind = "nothing", "phrase"
            body |= {"request_id": self.new_id(), "phrase": phrase}
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
            # A console of the last release has not every operation, and says so without more.
            request.answer = "partial" if request.kind == "partial" else problem.get("changed", "nothing")
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
        if kind == "cancel_workflow":
            roots = [root for root, ids in self.ledger.chains.items() if any(id_ in self.last.places for id_ in ids)]
            return {"root": roots[params["pick"] % len(roots)]} if roots else None
        if kind in ("pause_schedule", "resume_schedule", "run_schedule_now"):
            return {"schedule": ENTRY} | ({"duration_s": PAUSE_OF_A_SCHEDULE_S} if kind == "pause_schedule" else {})
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
        if kind in ("limit", "unlimit"):
            for limited in self.limited:
                if limited.task == params["task"]:
                    limited.ends(now)

    def _after(self, kind: str, params: dict[str, Any], request: Request, outcome: dict[str, Any]) -> None:
        if request.answer == "nothing":
            return
        sure, expected = request.answer == "ok", self.expected
        match kind:
            case "clear" if params["everything"] and not sure:
                expected.may_leave_a_pause(params["queue"], time.time() + LEFT_S)
            case "pause" | "resume":
                expected.apply("flags", params["queue"], kind == "pause", sure)
            case "hold" | "release":
                expected.apply("holds", ("task", params["task"]), kind == "hold", sure)
            case "hold_tenant" | "release_tenant":
                expected.apply("holds", ("tenant", params["tenant"]), kind == "hold_tenant", sure)
            case "limit" | "unlimit":
                expected.apply("holds", ("limit", params["task"]), kind == "limit", sure)
            case "cancel_workflow":
                # Those that a worker has fetched are revoked: they run, or end nowhere.
                self.ledger.deleted |= dict.fromkeys(self.ledger.chains[params["root"]], False)
            case "restore" | "delete_trash":
                expected.trash.discard(params["trash_id"])
                if kind == "delete_trash":
                    place = f"trash:{params['trash_id']}"
                    ids = [id_ for id_, places in self.last.places.items() if place in places]
                    self.ledger.deleted |= dict.fromkeys(ids, sure)
            case "sync":
                expected.tenants, self.synced = None, sure
        if kind in CLEARS:
            expected.more = True
            if trash_id := outcome.get("details", {}).get("trash_id"):
                expected.trash.add(trash_id)

    def _amid(self, act: Act, happens: Callable[[], None], then: Callable[[], None]) -> str:
        """Something happens so long, or so many round trips, after an act was asked for, whatever has come of it."""
        amid = dict(act.params["amid"])
        kind = amid.pop("act")
        told: list[str] = []
        self.look()
        cable = self.world.console_cable
        before = cable.passed
        thread = self.world.in_thread(lambda: told.append(self.call(kind, amid)))
        if trips := act.params.get("after_trips"):
            until(lambda: cable.passed >= before + trips or not thread.is_alive(), timeout_s=AMID_S)
        else:
            time.sleep(act.params["after_ms"] / 1000)  # that long, whatever has come of it
        happens()
        thread.join(60)
        then()
        return f"{kind}: {told[0] if told else 'no answer'}"

    def _kill_console(self, act: Act) -> str:
        return self._amid(act, self.world.console.kill, self.world.console.start)

    def _cut_amid(self, act: Act) -> str:
        return self._amid(act, self.world.console_cable.cut, self.world.console_cable.mend)

    def _restart_broker_amid(self, act: Act) -> str:
        self.lost_connections()
        return self._amid(act, self.world.broker.kill, self.world.broker.start)

    def _stop_database_amid(self, act: Act) -> str:
        return self._amid(act, self.world.database.stop, self.world.database.start)

    def _restart_console(self, act: Act) -> None:
        self.world.console.stop()
        self.world.console.start()

    def _upgrade_console(self, act: Act) -> str | None:
        if act.params["build"] not in self.world.paths:
            return NO_HISTORY
        self.world.console.stop()
        self.world.console.start(act.params["build"])
        return None

    def _cut_console(self, act: Act) -> str:
        self.look()
        since = time.monotonic()
        self.world.console_cable.cut()
        try:
            told = self.during(act)
            pause_for(act.params["seconds"], since)
        finally:
            self.world.console_cable.mend()
        return told
