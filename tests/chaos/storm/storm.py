"""A storm: does a step, waits until everything has settled, checks what must be true, and so on."""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from chaos.storm import invariants, truth
from chaos.storm.acts import Acts
from chaos.storm.beat_app import ENTRY
from chaos.storm.invariants import Fault, Limited, Sent, Size, Stopped
from chaos.storm.schedule import QUEUES, Act, Step
from chaos.storm.truth import Truth
from chaos.storm.world import THIS, World
from support.sample_app import STARTED

SETTLED_S, LONGEST_S = 120.0, 900.0
"""Without a task that begins or has failed; and at all: a machine may be busy, and tasks may go round for ever."""
FIGURES_S = 20.0
AUDIT = """
SELECT CAST(request_id AS text), operation, status, details->>'affected' FROM audit_log
"""
ENTRIES = "SELECT CAST(id AS text), CAST(request_id AS text) FROM audit_log"
_UNRECORDED = re.compile(r"the result \w+ of (\S+) is not recorded")


class Broken(Exception):  # noqa: N818 - what a storm is there to find
    """What must be true is not."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(fault.invariant for fault in faults))
        self.faults = faults


class Storm:
    """One run.

    Attributes:
        done: Every step that was begun, with what came of its acts.
        checks: How often each kind of check was made.
    """

    def __init__(self, world: World, say: Callable[[str], None]) -> None:
        self.world, self.acts, self._say = world, Acts(world), say
        self.done: list[dict[str, Any]] = []
        self.checks: Counter[str] = Counter()
        self.settled_s: list[float] = []
        self._read = 0
        self._begun: list[tuple[str, float]] = []
        self._size: Size | None = None
        self._life = 0
        self._ended = 0
        self._of_beat = self._beats_lost = self._failed_in_old = 0

    def run(self, steps: Iterable[Step], over: Callable[[], bool]) -> None:
        """Raises ``Broken`` at the first step after which something is not true."""
        self._settle()
        for step in steps:
            if over():
                return
            self.step(step)

    def step(self, step: Step) -> None:
        told: list[str] = []
        self.done.append({**json.loads(step.line()), "came": told})
        self.acts.begin(step.number)
        for act in step.acts:
            if act.kind in ("restore", "delete_trash"):
                self.acts.look()
            told.append(self.acts.do(act))
            self.acts.note_synced()
            self._say(f"step {step.number}: {act.kind}: {told[-1]}")
        found = self._settle()
        self.check(found)

    def check(self, found: Truth) -> None:
        """All of it."""
        acts, faults = self.acts, []
        begun = self._starts(found)
        faults += acts.wrong
        faults += invariants.starts(acts.stopped, begun, acts.ledger.sent)
        faults += invariants.at_once(acts.limited, begun, acts.ledger.sent)
        faults += self._beats()
        failed = self.world.failed_in_old
        acts.exposure.failures += failed - self._failed_in_old
        self._failed_in_old = failed
        faults += acts.ledger.tasks(found, acts.exposure)
        faults += acts.expected.check(found)
        faults += self._audit()
        faults += self._figures()
        faults += self._find(found)
        size = self._measure()
        if self._life != self.world.console.lives:
            self._life, self._size = self.world.console.lives, None
        faults += invariants.growth(found, self._size, size)
        self._size = self._size or size
        self.checks.update(
            tasks=len(acts.ledger.sent),
            starts=len(begun),
            entries=len(acts.requests),
            figures=14,
            found=1,
            chain=1,
            growth=5,
        )
        if faults:
            raise Broken(faults)
        self._note_stopped(found)

    def finish(self) -> None:
        """No entry stays without an outcome."""
        deadline = time.monotonic() + invariants.REAPED_S
        while True:
            rows = self._rows()
            late = [row for row in rows if row[2] == "in_progress"]
            if not late:
                return
            if time.monotonic() > deadline:
                raise Broken([Fault("no entry stays in progress", [], late)])
            time.sleep(1)  # between two looks, up to the deadline

    def _note_stopped(self, found: Truth) -> None:
        now, stopped = time.time(), self.acts.stopped
        lasting = found.flags - set(self.acts.expected.left)
        there = {("pause", name) for name in lasting} if self.world.workers else set()
        able = bool(self.world.workers) and all(build == THIS for build in self.world.builds.values())
        if able:
            there |= {(one["kind"], one["name"]) for one in found.holds.values() if one["kind"] != "limit"}
        limits = [one for one in found.holds.values() if one["kind"] == "limit"] if able else []
        self.acts.limited = [Limited(one["name"], int(one["most"]), now) for one in limits]
        stopped[:] = [span for span in stopped if span.until is None and (span.kind, span.name) in there]
        known = {(span.kind, span.name) for span in stopped}
        stopped += [Stopped(kind, name, now) for kind, name in there - known]

    def _starts(self, found: Truth) -> list[tuple[str, float]]:
        lines = self.world.records.redis.lrange(STARTED, self._read, -1)
        self._read += len(lines)
        told = [json.loads(line) for line in lines]
        for id_ in (*found.of_beat, *(raw[0] for raw in told if raw[3] == ENTRY)):
            if id_ not in self.acts.ledger.sent:
                self.acts.ledger.sent[id_] = Sent(id_, "sample.short", "reports", "", self.acts.step)
                self._of_beat += 1
        begun = [(str(raw[0]), float(raw[1])) for raw in told]
        self.acts.ledger.runs.update(id_ for id_, _ in begun)
        return begun

    def _beats(self) -> list[Fault]:
        """What beat says that it has sent was seen, but for what Celery may lose."""
        lost = self.acts.beats - self._of_beat
        if lost - self._beats_lost > self.acts.exposure.lost:
            return [Fault("no task of beat is lost", self.acts.beats, self._of_beat, repr(self.acts.exposure))]
        self._beats_lost = lost
        return []

    def _rows(self) -> list[tuple[str, str, str, Any]]:
        with self.world.engine.connect() as connection:
            rows = connection.execute(sa.text(AUDIT)).all()
        return [(id_, operation, status, None if n is None else int(n)) for id_, operation, status, n in rows]

    def _audit(self) -> list[Fault]:
        self._note_unrecorded()
        faults = invariants.audit(self.acts.requests, self._rows(), time.time(), self._ended)
        verified = self.world.auditor.audit.verify()
        if not verified.ok:
            faults.append(Fault("the chain verifies", "whole", verified.message, repr(verified.problems)))
        return faults

    def _note_unrecorded(self) -> None:
        entries = set(_UNRECORDED.findall(self.world.console.log))
        if not entries:
            return
        with self.world.engine.connect() as connection:
            for entry, request in connection.execute(sa.text(ENTRIES)):
                if entry in entries and request in self.acts.requests:
                    self.acts.requests[request].unrecorded = True

    def _figures(self) -> list[Fault]:
        """Figures come with the next readings of the poller: those are waited for."""
        deadline = time.monotonic() + FIGURES_S
        while True:
            faults = self._figures_now()
            if not faults or time.monotonic() > deadline:
                return faults
            time.sleep(0.3)

    def _figures_now(self) -> list[Fault]:
        console = self.world.console
        answers = [console.call("GET", path) for path in ("/api/v1/status", "/api/v1/failures")]
        allowed = {200} if console.build == THIS else {200, 404}  # the last release has no list of failures
        if any(answer is None or answer.status not in allowed for answer in answers):
            return [Fault("the console answers", 200, [answer and answer.text[:300] for answer in answers])]
        status, failures = (answer.json for answer in answers if answer is not None)
        failed = {"failed": failures["total"]} if "total" in failures else {}
        with self.world.engine.connect() as connection:
            tenants = connection.scalar(sa.text("SELECT count(*) FROM tenant_config"))
        live = {worker.hostname for worker in self.world.workers.values()}
        found = truth.read(self.world.raw)
        return invariants.figures({**status, **failed}, found, live, int(tenants or 0))

    def _find(self, found: Truth) -> list[Fault]:
        """Asks the console for one of the tasks that lie somewhere."""
        ids = sorted(found.places)
        if not ids or self.world.console.build != THIS:
            return []
        id_ = random.Random(len(self.done)).choice(ids)
        answer = self.world.console.call("GET", f"/api/v1/tasks/{id_}")
        if answer is None or answer.status != 200:
            return [Fault("the console answers", 200, answer and answer.text[:300])]
        return invariants.found_task(answer.json, found.places[id_])

    def flush(self) -> None:
        """The last scene: Redis loses everything. Tasks are lost with it, and everything goes on."""
        self.done.append({"step": "flush", "acts": [{"act": "flush"}], "came": []})
        acts = self.acts
        acts.begin(0)
        lying = acts.look().places
        self._ended = len(acts.last.flags)
        self.world.raw.flushdb()
        acts.ledger.loose |= dict.fromkeys(lying, "flushed")
        acts.expected, acts.stopped = invariants.Expected(tenants=None), []
        for queue in QUEUES:
            params = {"task": "sample.short", "queue": queue, "number": 20, "seconds": 0, "countdown": 0}
            acts.do(Act("push", params | {"priority": 0, "tenant": ""}))
        acts.do(Act("sync", {"remove_orphans": False}))
        acts.note_synced()
        self.check(self._settle())

    def _measure(self) -> Size:
        home = Path(f"/proc/{self.world.console.pid}")
        lines = dict(line.split(":", 1) for line in (home / "status").read_text().splitlines() if ":" in line)
        return Size(
            files=len(list((home / "fd").iterdir())),
            rss_mb=int(lines["VmRSS"].split()[0]) / 1024,
            threads=int(lines["Threads"]),
        )

    # When everything has settled

    def _settle(self) -> Truth:
        """Waits until nothing is under way any more, by two reads with a report of each worker between them."""
        since = changed = time.monotonic()
        begun: Any = None
        for slot in list(self.world.workers):
            self.world.ready(slot)
        busy: list[str] = ["nothing was read yet"]
        while time.monotonic() < min(changed + SETTLED_S, since + LONGEST_S):
            self.acts.supervise()
            first = truth.read(self.world.raw)
            if (now := (self.world.records.redis.llen(STARTED), first.failed)) != begun:
                begun, changed = now, time.monotonic()
            busy = self._busy(first)
            if not busy:
                deadline = time.monotonic() + 15
                while not self._reported_since(first.now) and time.monotonic() < deadline:
                    time.sleep(0.1)
                second = truth.read(self.world.raw)
                busy = self._busy(second)
                if not busy and dict(first.places) == dict(second.places) and self._reported_since(first.now):
                    self.acts.last = second
                    self.settled_s.append(time.monotonic() - since)
                    return second
                busy = busy or ["tasks have moved meanwhile"]
            time.sleep(0.1)
        raise Broken([Fault("everything settles", f"within {SETTLED_S:.0f} s after the last start or failure", busy)])

    def _reported_since(self, at: float) -> bool:
        reports = truth.read(self.world.raw).reports
        return all(
            float(reports.get(worker.hostname, {}).get("time", 0)) > at for worker in self.world.workers.values()
        )

    def _busy(self, found: Truth) -> list[str]:
        """What is under way."""
        busy = []
        for slot, worker in self.world.workers.items():
            if not worker.running:
                busy.append(f"the worker {slot} has ended by itself")
            report = found.reports.get(worker.hostname)
            if report is None:
                busy.append(f"{worker.hostname} has not reported")
                continue
            for name in ("active", "reserved", "scheduled"):
                if int(report.get(name) or 0):
                    busy.append(f"{worker.hostname} has {report[name]} {name}")
            if found.epoch is not None and report.get("epoch") != found.epoch:
                busy.append(f"{worker.hostname} has applied {report.get('epoch')!r} of {found.epoch}")
            if self.world.builds[slot] != THIS:
                continue
            if missing := set(found.holds) - set(json.loads(report.get("holds") or "[]")):
                busy.append(f"{worker.hostname} has not applied the holds {missing}")
        if self.world.workers and None not in found.flags:
            busy += [f"{number} wait in {name}" for name, number in found.waiting.items() if name not in found.flags]
        busy += [key for key in found.keys if key.startswith(("opsdash:busy:", "opsdash:running:"))]
        if found.spooled:
            busy.append(f"{found.spooled} entries are in the outbox")
        able = bool(self.world.workers) and all(build == THIS for build in self.world.builds.values())
        limits = {id_ for id_, one in found.holds.items() if one["kind"] == "limit"}
        if able and None not in found.flags:
            waits = ((id_, queue) for id_, queue in found.held_of if id_ in limits and queue not in found.flags)
            busy += [f"{found.held_of[one]} of {one[1]} wait for {one[0]}" for one in waits]
        if any(one.get("releasing") for one in found.holds.values()):
            busy.append("a hold is being released")
        return busy
