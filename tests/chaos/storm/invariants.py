"""What must be true when everything has settled. Each of these is a function of what was done and what is found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from chaos.storm.truth import Truth

RUNS = {"sample.short": 1, "sample.late": 1, "sample.until_mended": 1, "sample.flaky": 2, "sample.step": 1}
"""How often a task of this name begins, as the sample app records it: ``flaky`` is retried once."""
FOR_EVER = frozenset(
    {"pause", "pause:epoch", "pause:cancelled", "expires", "expires:declared", "hold", "held", "restores", "tenants",
     "tenants:synced", "tenants:buckets", "trash", "workers", "quiet", "audit:spool", "failed"}
)  # fmt: skip
"""opsdash's keys that have no TTL, without their prefix. Beside them: what is held, and what is moved just now."""
MOST_OTHER_KEYS = 80
MOST_MORE_FILES, MOST_MORE_MB, MOST_MORE_THREADS = 60, 120.0, 60
REAPED_S = 150.0
"""An act whose console was killed is written down as unknown by then."""


@dataclass(frozen=True)
class Fault:
    """Two values that must agree and don't."""

    invariant: str
    expected: Any
    found: Any
    detail: str = ""


@dataclass
class Sent:
    """One task that was sent.

    Attributes:
        seconds: How long it sleeps, once it has told that it began.
        after: The task of its chain that must have run before it is sent.
    """

    id: str
    task: str
    queue: str
    tenant: str
    step: int
    seconds: float = 0.0
    after: str = ""


@dataclass
class Exposure:
    """What Celery itself may do to tasks in a step, by what was done to it.

    Attributes:
        lost: A worker that is killed takes with it what it has acknowledged early and not ended, and what Redis has
            popped for it and kombu has not written down yet. A connection that is cut loses the latter alone.
        twice: After a lost connection, what was fetched is delivered again, whether it has run or not.
        failures: Failures that a killed worker has not written yet, and those in workers of the last release.
        chains: Chains whose next task a worker could not send any more.
    """

    lost: int = 0
    twice: int = 0
    failures: int = 0
    chains: int = 0


@dataclass
class Ledger:
    """What is known of all tasks.

    Attributes:
        loose: Of these Celery guarantees nothing any more: id → why.
        deleted: Deleted on purpose; False: it is not known whether they were.
        chains: First task of a chain → all of its tasks.
        not_kept: Failures that the console has counted and not kept, up to the last check.
    """

    sent: dict[str, Sent] = field(default_factory=dict)
    runs: Counter[str] = field(default_factory=Counter)
    loose: dict[str, str] = field(default_factory=dict)
    deleted: dict[str, bool] = field(default_factory=dict)
    chains: dict[str, list[str]] = field(default_factory=dict)
    not_kept: int = 0

    def tasks(self, truth: Truth, exposure: Exposure) -> list[Fault]:
        """Each task ran as often as it should or lies in one place, but for those that the exposure allows."""
        lost: list[str] = []
        twice: list[str] = []
        unwritten: list[str] = []
        broken: list[str] = []
        may_be_unwritten = exposure.failures + max(0, truth.not_kept - self.not_kept)
        self.not_kept = truth.not_kept
        faults: list[Fault] = []
        for one in self.sent.values():
            places, runs, due = truth.places.get(one.id, []), self.runs[one.id], RUNS[one.task]
            if one.id in self.loose:
                continue
            if one.task == "sample.flaky" and "failed" in places:
                self.loose[one.id] = "failed, and is retried anew when it is sent again"
            elif one.id in self.deleted:
                if self.deleted[one.id] and (places or runs > due):
                    faults.append(Fault("a deleted task is gone", [], [*places, f"{runs} runs"], one.id))
            elif one.after in self.loose:
                self.loose[one.id] = "follows one of which nothing is guaranteed"
            elif runs < due and not places and one.after:
                # Until the one before has run, it is part of that one's message.
                if self.runs[one.after] and one.after not in self.deleted:
                    broken.append(one.id)
            elif runs < due and not places:
                (unwritten if one.task == "sample.until_mended" and may_be_unwritten else lost).append(one.id)
            elif runs > due or len(places) > (runs < due):
                twice.append(one.id)
        strange = sorted(set(truth.places) - set(self.sent))
        if strange:
            faults.append(Fault("no task comes from nowhere", [], strange[:5]))
        for name, ids, most in (
            ("no task is lost", lost, exposure.lost),
            ("no failed task is lost", unwritten, may_be_unwritten),
            ("no chain ends before its end", broken, exposure.chains),
            ("no task runs or lies twice", twice, exposure.twice),
        ):
            if len(ids) > most:
                told = [(self.sent[id_], self.runs[id_], truth.places.get(id_, [])) for id_ in ids[:5]]
                faults.append(Fault(name, f"at most {most}", len(ids), repr(told)))
            else:
                self.loose |= dict.fromkeys(ids, name)
        return faults


@dataclass
class Stopped:
    """A pause or a hold that every worker has confirmed. Times are those of the machine's clock."""

    kind: str
    name: str | None
    since: float
    until: float | None = None

    def covers(self, task: Sent, at: float) -> bool:
        match self.kind:
            case "pause":
                concerned = self.name in (None, task.queue)
            case "task":
                concerned = self.name == task.task
            case _:
                concerned = self.name == task.tenant
        return concerned and self.since < at and (self.until is None or at < self.until)


def starts(stopped: Iterable[Stopped], begun: Iterable[tuple[str, float]], sent: Mapping[str, Sent]) -> list[Fault]:
    """Nothing began while it was paused or held."""
    spans = list(stopped)
    found = [
        Fault("nothing starts while it is paused or held", "no start", at, f"{sent[id_]} in spite of {span}")
        for id_, at in begun
        if id_ in sent
        for span in spans
        if span.covers(sent[id_], at)
    ]
    return found[:5]


@dataclass
class Limited:
    """A concurrency limit that every worker keeps to."""

    task: str
    most: int
    since: float
    until: float | None = None

    def covers(self, task: Sent, at: float) -> bool:
        return task.task == self.task and self.since < at and (self.until is None or at < self.until)

    def ends(self, now: float) -> None:
        """From now on more may run."""
        self.until = now if self.until is None else self.until


def at_once(limited: Iterable[Limited], begun: Collection[tuple[str, float]], sent: Mapping[str, Sent]) -> list[Fault]:
    """Of a name with a limit, no more ran at once. A task runs for as long as it sleeps, at least."""
    faults = []
    for span in limited:
        moments = []
        for id_, at in begun:
            one = sent.get(id_)
            if one is not None and span.covers(one, at):
                moments += [(at, 1), (at + one.seconds, -1)]
        running = most = 0
        for _, change in sorted(moments):
            running += change
            most = max(most, running)
        if most > span.most:
            faults.append(Fault("no more run at once than the limit says", span.most, most, repr(span)))
    return faults


@dataclass
class Expected:
    """What the answers of the console let one expect of what it alone writes.

    Attributes:
        flags: Every set of pauses that there may be; several where an answer was ``perhaps``.
        holds: The same of holds, as kind and name.
        trash: Trash ids that there must be. ``known``: those that were there before. ``more``: there may be others.
        tenants: Tenant → its name, as the last sync has read it; None: not known. There may be orphans beside them.
        left: Queue → when a pause that a clear may have left behind has ended, by the clock of Redis.
    """

    flags: set[frozenset[str | None]] = field(default_factory=lambda: {frozenset()})
    holds: set[frozenset[tuple[str, str]]] = field(default_factory=lambda: {frozenset()})
    trash: set[str] = field(default_factory=set)
    known: set[str] = field(default_factory=set)
    more: bool = False
    tenants: dict[str, str] | None = field(default_factory=dict)
    left: dict[str, float] = field(default_factory=dict)

    def apply(self, which: str, item: Any, add: bool, sure: bool) -> None:
        """A pause or a hold was set or ended, for sure or perhaps."""
        if which == "flags" and item in self.left:
            self.left[item] = float("inf")  # it may be the operator's own by now
            if sure:
                del self.left[item]
        sets: set[frozenset[Any]] = getattr(self, which)
        after = {one | {item} if add else one - {item} for one in sets}
        setattr(self, which, after if sure else sets | after)

    def may_leave_a_pause(self, queue: str, until: float) -> None:
        """A clear that pauses the queue meanwhile was cut off. It pauses none that is paused already."""
        if not all({queue, None} & one for one in self.flags):
            self.flags |= {one if None in one else one | {queue} for one in self.flags}
            self.left[queue] = until

    def check(self, truth: Truth) -> list[Fault]:
        """Redis has what the answers said. What it has is expected from now on."""
        faults = []
        holds = frozenset((one["kind"], one["name"]) for one in truth.holds.values())
        for name, may, found in (("pauses", self.flags, truth.flags), ("holds", self.holds, holds)):
            over = self.left if name == "pauses" else ()
            if not any(found <= one and one - found <= set(over) for one in may):
                faults.append(Fault(f"{name} are what the answers said", [_sorted(one) for one in may], _sorted(found)))
        self.left = {queue: until for queue, until in self.left.items() if queue in truth.flags}
        if late := [queue for queue, until in self.left.items() if until < truth.now]:
            faults.append(Fault("the pause that a clear has left behind ends by itself", [], late))
        there = {key.split(":")[2] for key in truth.keys if key.startswith("opsdash:trash:")}
        if missing := self.trash - there:
            faults.append(Fault("what was cleared is kept", sorted(missing), sorted(there)))
        if not self.more and (strange := there - self.known):
            faults.append(Fault("an act that changed nothing has cleared nothing", sorted(self.known), sorted(strange)))
        if self.tenants is not None:
            differ = {id_: name for id_, name in self.tenants.items() if truth.tenants.get(id_) != name}
            if differ:
                faults.append(Fault("the tenants are as they were synced", differ, truth.tenants))
        self.flags, self.holds = {truth.flags}, {holds}
        # What was begun and has cleared nothing yet is ended, and gone, by whoever works on the queue next.
        self.trash, self.known, self.more = {one for one in there if truth.trash[one]}, set(there), False
        return faults


@dataclass
class Request:
    """An act of the console, as its caller knows it.

    Attributes:
        answer: ``ok``, ``partial``, ``nothing`` (changed), ``perhaps``, or ``none``: there was no answer.
        unrecorded: The console's log says that neither database nor Redis took the result.
    """

    id: str
    operation: str
    answer: str
    at: float
    detail: str = ""
    kind: str = ""
    affected: int | None = None
    unrecorded: bool = False


MAY_BE = {
    "ok": {"success"},
    "partial": {"failure"},
    "nothing": {"failure", "refused", ""},
    "perhaps": {"unknown", "success", "failure", "in_progress"},
    "none": {"", "in_progress", "unknown", "success", "failure", "refused"},
}
"""Answer → what the audit log may say of it; empty: nothing at all."""


def audit(
    requests: Mapping[str, Request], rows: Collection[tuple[str, str, str, Any]], now: float, ended: int = 0
) -> list[Fault]:
    """Every act has one entry, which says what happened; nothing else has one.

    Args:
        rows: Request id, operation, status and affected (None: it does not say) of each entry.
        ended: Pauses that ended outside opsdash: the console itself writes that down, once each.
    """
    faults = []
    times = Counter(row[0] for row in rows)
    if twice := [id_ for id_, number in times.items() if number > 1]:
        faults.append(Fault("one entry for each act", 1, dict(times.most_common(3)), str(twice[:3])))
    strange = [row for row in rows if row[0] not in requests]
    if len(strange) > ended or {row[1:3] for row in strange} - {("resume_processing", "success")}:
        faults.append(Fault("no entry without an act", [], strange[:5]))
    found = {row[0]: row for row in rows}
    for id_, one in requests.items():
        _, operation, status, affected = found.get(id_, ("", one.operation, "", None))
        may = MAY_BE[one.answer]
        if one.kind in ("refused", "phrase", "forbidden"):
            may = {"refused"}
        if one.unrecorded:
            may = may | {"in_progress", "unknown"}
        if status not in may or operation != one.operation:
            faults.append(Fault("the entry says what happened", sorted(may), status, repr(one)))
        elif one.answer == "ok" and affected != one.affected:
            faults.append(Fault("the entry has the number of the answer", one.affected, affected, repr(one)))
        if status == "in_progress" and now - one.at > REAPED_S:
            faults.append(Fault("no entry stays in progress", "an outcome", status, repr(one)))
    return faults[:5]


def figures(shown: Mapping[str, Any], truth: Truth, live: Collection[str], tenants: int) -> list[Fault]:
    """Every figure of the console is that of Redis and the database."""
    queues = {queue["name"]: queue["waiting"] for queue in shown["queues"]}
    pairs = {
        "redis_error": ("", shown["redis_error"]),
        "database_error": ("", shown["database_error"]),
        "queues": ({name: truth.waiting[name] for name in queues}, queues),
        "unacked": (truth.unacked, shown["unacked"]),
        "processing": ("PAUSED" if None in truth.flags else "RUNNING", shown["processing"]),
        "paused_queues": (_sorted(truth.flags - {None}), sorted(shown["paused_queues"])),
        "trash": (dict(truth.trash), {one["id"]: one["count"] for one in shown["trash"] if one["count"]}),
        "holds": (_held(truth, limits=False), {one["hold"]["id"]: one["held"] for one in shown.get("holds", ())}),
        "limits": (
            _held(truth, limits=True),
            {one["hold"]["id"]: one["held"] for one in shown.get("concurrency_limits", ())},
        ),
        "spooled": (truth.spooled, shown["spooled"]),
        "workers": (sorted(live), sorted(one["hostname"] for one in shown["workers"] if one["state"] == "online")),
        "tenants": (tenants, shown["tenants"]),
        "epoch": (int(truth.epoch) if truth.epoch else None, shown["epoch"]),
    }
    if "failed" in shown:
        pairs["failed"] = (truth.failed, shown["failed"])
    if "concurrency_limits" not in shown:  # the last release: it knows neither these nor all kinds of trash
        for name in ("holds", "limits", "trash"):
            del pairs[name]
    if missing := set(truth.waiting) - set(queues):
        pairs["queues left out"] = ([], sorted(missing))
    return [
        Fault(f"the figure {name} is true", expected, found)
        for name, (expected, found) in pairs.items()
        if expected != found
    ]


def _held(truth: Truth, *, limits: bool) -> dict[str, int]:
    """How many tasks each hold has set aside, or each limit lets wait."""
    return {name: truth.held[name] for name, one in truth.holds.items() if (one["kind"] == "limit") == limits}


SHOWN_AS = {"queue": "waiting", "held": "held", "trash": "cleared", "failed": "failed"}


def found_task(answer: Mapping[str, Any], places: Collection[str]) -> list[Fault]:
    """The console finds a task where it lies."""
    states = [SHOWN_AS[place.partition(":")[0]] for place in places if place != "unacked"]
    if states and answer.get("state") not in states:
        return [Fault("a task is found where it lies", list(places), answer.get("state"), repr(answer)[:600])]
    return []


@dataclass(frozen=True)
class Size:
    """What a console's process has."""

    files: int
    rss_mb: float
    threads: int


def growth(truth: Truth, before: Size | None, now: Size) -> list[Fault]:
    """Keys end by themselves or are few; the console's process stays as large as it was."""
    faults = []
    names = {name.removeprefix("opsdash:"): ttl for name, ttl in truth.keys.items()}
    held = ("held:", "trash:")
    endless = [name for name, ttl in names.items() if ttl == -1 and name not in FOR_EVER and not name.startswith(held)]
    if endless:
        faults.append(Fault("keys end by themselves", sorted(FOR_EVER), endless[:10]))
    counted = ("held:", "trash:", "failed:", "request:", "redelivered:")
    others = [name for name in names if not name.startswith(counted)]
    if len(others) > MOST_OTHER_KEYS:
        faults.append(Fault("keys do not become more", f"at most {MOST_OTHER_KEYS}", len(others), str(sorted(others))))
    if before is not None:
        for what, most, first, last in (
            ("files", MOST_MORE_FILES, before.files, now.files),
            ("rss_mb", MOST_MORE_MB, before.rss_mb, now.rss_mb),
            ("threads", MOST_MORE_THREADS, before.threads, now.threads),
        ):
            if last - first > most:
                faults.append(Fault(f"the console's {what} do not grow", f"{first} and at most {most} more", last))
    return faults


def _sorted(values: Iterable[Any]) -> list[Any]:
    return sorted(values, key=str)
