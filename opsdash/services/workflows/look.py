"""Looks for the tasks of a workflow: in queues, workers, the trash and among failed tasks, by what their messages say.

Redis sends only messages that hold an id of the workflow. It begins with the one that was asked for; roots and groups
that are found by it are looked for in the next round, a few rounds at most.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from opsdash.errors import Unavailable
from opsdash.model import Failure, Progress, Workflow
from opsdash.services.broker import bounded_reads
from opsdash.services.broker.client import Broker
from opsdash.services.failures.find_failed import discarded
from opsdash.services.failures.store import FailureStore
from opsdash.services.pause.holds import Holds
from opsdash.services.queues import scan
from opsdash.services.queues.find_in_lists import Looked, Looks, OnProgress
from opsdash.services.queues.find_task import checked_id
from opsdash.services.queues.task_message import entry_of, is_later, written
from opsdash.services.queues.trash import Trash
from opsdash.services.queues.watermark import digest
from opsdash.services.workers.task_holders import HeldTask, TaskHolders
from opsdash.services.workflows.draw import drawn
from opsdash.services.workflows.links import Links, links_of
from opsdash.services.workflows.sightings import Seen, Sighting
from opsdash.text import count

ROUNDS = 4
"""A task, its root, a group of that: each round looks for what the one before has named."""
MOST_SIGHTINGS = 50_000
"""Tasks of one workflow that are counted."""
MOST_BYTES = 32 * 1024 * 1024
"""Of messages that are kept at hand."""
MOST_ASKED = 1_000
"""Ids that workers are asked for: an answer has each with its arguments."""
MOST_FAILED = 1_000
"""Failed tasks whose messages are read for what they would send, those that failed last."""
LOOK_S = 30.0
"""The longest that all is gone through: about ten million messages."""


@dataclass(frozen=True, slots=True)
class WorkflowReader:
    """Reads workflows; changes nothing.

    Attributes:
        queue_names: Every queue that is known now.
        redact: Regular expression: arguments that it finds are hidden as well; empty: none.
    """

    broker: Broker
    holders: TaskHolders
    trash: Trash
    failed: FailureStore
    queue_names: Callable[[], Sequence[str]]
    redact: str = ""

    def look(self, asked: str, on_progress: OnProgress = lambda _progress: None, *, before: Seen | None = None) -> Seen:
        """Everything that belongs to the workflow of a task, or of a group.

        Args:
            before: An earlier look: workers are asked for its tasks too.

        Cost: as `TaskFinder.find` for each round, two as a rule; some 50 µs for each task of it, and 10,000 failed
        tasks are another 0.3 s. Workers have a second to answer.

        Raises:
            Invalid: It is no id. Unavailable: Redis did not answer.
        """
        return _Look(self, Seen(checked_id(asked)), on_progress, before).go()

    def read(self, asked: str, on_progress: OnProgress = lambda _progress: None) -> Workflow:
        """The same as a tree, with what an operator may see of each task; see `look`."""
        return drawn(self.look(asked, on_progress), self.failed, self.redact)


class _Look:
    """One look under way."""

    def __init__(self, reader: WorkflowReader, seen: Seen, on_progress: OnProgress, before: Seen | None) -> None:
        self._before = before.best() if before is not None else {}
        self._reader, self._broker, self._seen, self._on_progress = reader, reader.broker, seen, on_progress
        self._until_s = time.monotonic() + LOOK_S
        self._known = set[tuple[str, str]]()
        self._looks = Looks()
        self._bytes = 0
        self._failures: list[tuple[FailureStore, list[Failure]]] | None = None
        self._running: tuple[HeldTask, ...] = ()

    def go(self) -> Seen:
        """All rounds, and who has what was found."""
        seen, new = self._seen, {self._seen.asked}
        seen.keys.add(seen.asked)
        self._looks.at("workers", self._reports)
        for turn in range(ROUNDS):
            self._round([text for key in sorted(new) for text in written(key)])
            if turn == 0 and not seen.sightings:  # it may be one that another task sends when it ends
                self._round(_in_base64(seen.asked), deep=True)
            if not (new := seen.grow()):
                break
        else:
            seen.lacks("it names further roots, which are not looked for")
        self._looks.at("workers", self._workers)
        seen.looked_at = self._looks.told()
        seen.complete &= all(one.complete for one in seen.looked_at)
        return seen

    def _round(self, texts: Sequence[str], *, deep: bool = False) -> None:
        self._looks.at("queues", lambda looked: self._queues(looked, texts))
        self._looks.at("fetched", lambda looked: self._fetched(looked, texts))
        self._looks.at("queues", lambda looked: self._set_aside(looked, texts))
        self._looks.at("trash", lambda looked: self._trash(looked, texts))
        self._looks.at("failed", lambda looked: self._failed(looked, deep))
        for task in self._running:
            self._add("active", "", _held(task, _of_running(task)))

    def _add(self, where: str, mark: str, one: Sighting) -> None:
        """One more, where it belongs to the workflow and was not seen there before."""
        seen = self._seen
        key = (where, mark or one.id)
        if key in self._known or not one.links.names(seen.keys):
            return
        if len(seen.sightings) >= MOST_SIGHTINGS:
            seen.lacks(f"it has more than {MOST_SIGHTINGS:,} tasks: the others are not counted here")
            return
        self._known.add(key)
        self._bytes += len(one.raw)
        seen.sightings.append(one if self._bytes <= MOST_BYTES else replace(one, raw=b""))

    def _late(self, looked: Looked) -> bool:
        if time.monotonic() > self._until_s:
            looked.lacks(f"the search ended after {LOOK_S:g} s")
            return True
        return False

    def _queues(self, looked: Looked, texts: Sequence[str]) -> None:
        names = tuple(self._reader.queue_names())
        looked.number, looked.messages = len(names), 0
        for queue in names:
            for step, key in self._broker.lists(queue).items():
                for at, raw in self._list(looked, queue, key, texts, count(len(names), "queue")):
                    if links := self._links(raw):
                        one = Sighting(links=links, state="waiting", queue=queue, step=step, index=at, raw=raw)
                        self._add(key, digest(raw), one)

    def _set_aside(self, looked: Looked, texts: Sequence[str]) -> None:
        """What holds have set aside: after what was fetched, which is where it comes from."""
        holds = Holds(self._broker)
        named = {hold.id: str(hold) for hold in holds.read().holds}
        for one in holds.lists(named) if named else []:
            key = self._broker.keys.held(one.hold, one.step, one.queue)
            for at, raw in [] if one.released else self._list(looked, one.queue, key, texts, "held tasks"):
                if links := self._links(raw):
                    step, hold = int(one.step), named[one.hold]
                    seen = Sighting(links=links, state="held", queue=one.queue, step=step, index=at, hold=hold, raw=raw)
                    self._add(key, digest(raw), seen)

    def _links(self, raw: bytes) -> Links | None:
        links = links_of(raw)
        if bounded_reads.is_mark(raw) and (links is None or not links.names(self._seen.keys)):
            self._seen.lacks("a message that names it is too large to be looked into, and may be of it")
        return links

    def _list(
        self, looked: Looked, queue: str, key: str, texts: Sequence[str], where: str
    ) -> Iterable[tuple[int, bytes]]:
        for window in scan.holding(self._broker, key, texts):
            if window.length is None:
                looked.lacks(f"a key of {queue} is not a list")
            looked.messages = (looked.messages or 0) + window.looked_at
            yield from ((hit.index, hit.message) for hit in window.hits)
            text = f"{where}: {looked.messages:,} messages looked at, {count(len(self._seen.sightings), 'task')} found"
            self._on_progress(Progress(done=False, message=text))
            if self._late(looked):
                return

    def _fetched(self, looked: Looked, texts: Sequence[str]) -> None:
        cursor, looked.messages, now = 0, 0, datetime.now(UTC)
        while True:
            cursor, number, whole, entries = scan.fetched(self._broker, cursor, texts, anywhere=True)
            looked.messages += number
            if not whole:
                looked.lacks("a fetched message is too large to be looked into, and may be of it")
            for entry in entries:
                raw, queue = entry_of(entry)
                if not raw or not (links := links_of(raw)):
                    continue
                state = "scheduled" if is_later(links.eta, now) else "reserved"
                one = Sighting(links=links, state=state, queue=queue, raw=raw, eta=links.eta)  # type: ignore[arg-type] # of two words
                self._add("fetched", digest(entry), one)
            if not cursor or self._late(looked):
                return

    def _trash(self, looked: Looked, texts: Sequence[str]) -> None:
        entries, unread = self._reader.trash.look()
        looked.number, looked.messages = len(entries), 0
        for entry, lists in zip(entries, self._reader.trash.lists(entries), strict=True):
            for queue, step, key, aside in lists:
                for at, raw in self._list(looked, queue, key, texts, "the trash"):
                    if links := self._links(raw):
                        one = Sighting(
                            links=links,
                            state="held" if aside else "cleared",
                            queue=queue,
                            step=step,
                            index=at,
                            trash_id=entry.id,
                            raw=raw,
                        )
                        self._add(key, digest(raw), one)
        for what in unread:
            looked.lacks(what.message)

    def _failed(self, looked: Looked, deep: bool) -> None:
        """Failures that are kept, and those in the trash; they are read once.

        Args:
            deep: Their messages, too, are read for what they would send: those of all.
        """
        if self._failures is None:
            stores = [self._reader.failed, *discarded(self._reader.failed)]
            self._failures = [(store, list(store.links(store.ids()))) for store in stores]
        looked.number = sum(len(failures) for _, failures in self._failures)
        for store, failures in self._failures:
            self._add_failures(store, failures, deep)

    def _add_failures(self, store: FailureStore, failures: Sequence[Failure], deep: bool) -> None:
        keys, where = self._seen.keys, f"failed {store.trash_id}"
        new = [one for one in failures if (where, one.id) not in self._known]
        meant = [one.id for one in new if deep or _of_failure(one).names(keys)]
        found = list(store.brief(meant[:MOST_FAILED] if deep else meant))
        sent = {one.id: links_of(one.message) for one in store.messages([one.id for one in found[:MOST_FAILED]])}
        for failure in found:
            links, of_message = _of_failure(failure), sent.get(failure.id)
            if of_message is not None:
                links = replace(links, unsent=of_message.unsent, cut=of_message.cut)
            self._add(where, failure.id, _failed_one(failure, links, store.trash_id))

    def _reports(self, looked: Looked) -> None:
        try:
            answers = self._reader.holders.running()
        except Unavailable as error:
            looked.lacks(error.message)
            return
        self._running = tuple(task for task in answers.tasks if task.linked)
        # Of a task that was asked for it is said where it is, even by a worker that does not know what it belongs to.
        for task in answers.tasks:
            if not task.linked and task.id == self._seen.asked:
                self._add("active", "", _held(task, Links(id=task.id, name=task.name)))

    def _workers(self, looked: Looked) -> None:
        """Who has what: those that were seen with a worker, and what may have been sent or begun meanwhile."""
        seen = self._seen
        best = seen.best()
        named = {link for one in best.values() for link in (one.links.root, one.links.parent)}
        unsent = {child.id for one in best.values() for child in one.links.unsent}
        states = [one.id for one in best.values() if one.state != "failed"]
        ids = [one for one in dict.fromkeys([seen.asked, *named, *states, *unsent, *self._before]) if one]
        if len(ids) > MOST_ASKED:
            looked.lacks(f"workers were asked for {MOST_ASKED:,} of {len(ids):,} tasks")
        try:
            answers = self._reader.holders.have(ids[:MOST_ASKED])
        except Unavailable as error:
            looked.lacks(error.message)
            return
        looked.number = answers.answered
        looked.of = answers.answered + len(answers.silent)
        if answers.silent:
            looked.lacks(f"no answer from {', '.join(answers.silent[:5])}")
        # A report is up to two seconds old: what its worker does not have any more when it is asked has ended.
        held, asked = {task.id for task in answers.tasks}, set(ids[:MOST_ASKED])
        seen.sightings = [
            one
            for one in seen.sightings
            if one.state != "active" or one.id in held or one.id not in asked or one.worker in answers.silent
        ]
        for task in answers.tasks:
            known = best.get(task.id)
            if known is None and task.id in self._before:
                seen.sightings.append(_held(task, self._before[task.id].links, linked=True))
            elif known is None:
                links = _named(task, best.values())
                seen.sightings.append(_held(task, links, linked=bool(links.root)))
            elif known.state != "active" or not known.worker:
                told = _held(task, known.links, linked=known.linked)
                state = "scheduled" if (task.state, known.state) == ("reserved", "scheduled") else task.state
                self._seen.sightings.append(
                    replace(told, state=state, raw=known.raw, eta=known.eta, queue=known.queue or told.queue)
                )
        if any(one.state == "active" and not one.linked for one in seen.sightings):
            seen.problems.append("of a running task it is not known what it belongs to: its worker has not reported it")


def _held(task: HeldTask, links: Links, *, linked: bool | None = None) -> Sighting:
    return Sighting(
        links=links,
        state=task.state,
        name=task.name,
        queue=task.queue,
        worker=task.worker,
        arguments=task.arguments,
        since=task.since,
        linked=task.linked if linked is None else linked,
    )


def _of_running(task: HeldTask) -> Links:
    return Links(
        id=task.id,
        name=task.name,
        root=task.root,
        parent=task.parent,
        group=task.group,
        chord=task.chord,
        unsent=task.unsent,
        cut=task.cut,
    )


def _named(task: HeldTask, known: Iterable[Sighting]) -> Links:
    """What others say of a running task whose worker does not say what it belongs to."""
    for one in known:
        links = one.links
        if links.parent == task.id:
            return Links(id=task.id, name=task.name, root=links.root)
        for unsent in links.unsent:
            if unsent.id == task.id:
                before = links.unsent[unsent.after].id if unsent.after >= 0 else links.id
                return Links(id=task.id, name=task.name, root=links.root or links.id, parent=before)
    return Links(id=task.id, name=task.name)


def _of_failure(failure: Failure) -> Links:
    return Links(
        id=failure.task_id or failure.id,
        name=failure.task,
        root=failure.root_id,
        parent=failure.parent_id,
        group=failure.group_id,
        chord=failure.chord,
        retries=failure.retries,
    )


def _failed_one(failure: Failure, links: Links, trash_id: str) -> Sighting:
    seen = Sighting(links=links, state="failed", name=failure.task, queue=failure.queue)
    if trash_id:
        return replace(seen, state="cleared", trash_id=trash_id)
    return replace(seen, failure_id=failure.id, error=failure.error or failure.kind.replace("_", " "))


def _in_base64(text: str) -> list[str]:
    """How a text looks within a body in base64, at each of the three places where it may begin."""
    found = []
    for before in range(3):
        raw = b"\0" * before + text.encode()
        whole = base64.b64encode(raw[: len(raw) // 3 * 3]).decode()
        found.append(whole[4 if before else 0 :])
    return [one for one in found if len(one) >= 8]
