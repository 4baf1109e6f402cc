"""An operator's desk: what each operation says before and after it is done, as plain text.

The texts that are expected stand in a file beside the test. ``OPSDASH_TEST_SAID=write pytest tests/integration/said``
writes them again: read the difference before you commit it.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
import redis
from support import held, reports
from support.holders import Nobody
from support.messages import message

from opsdash.errors import OpsdashError
from opsdash.model import Act, Actor, AuditEntry, Effect, OtherWorker, Preview, Progress, Role, Status, to_plain
from opsdash.model.hold import Hold, Kind
from opsdash.operation import Operation, command_line
from opsdash.services.console import Console
from opsdash.services.workers.task_holders import HeldTask

TIMES = (
    (re.compile(r"20\d\d-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d+)?)?(\+00:00)?"), "DATE"),
    (re.compile(r"\d\d:\d\d(:\d\d)? UTC"), "CLOCK UTC"),
    (re.compile(r"(\dm) \d+s"), r"\1"),
    (re.compile(r"in [0-9.]+ ms"), "in N ms"),
    (re.compile(r"≥ \ds"), "≥ 0s"),
    (re.compile(r"--for 14m59s"), "--for 15m"),
    (re.compile(r"--for 59m59s"), "--for 1h"),
    (re.compile(r"--for 1h59m59s"), "--for 2h"),
    (re.compile(r"Redis was started [^:]* ago"), "Redis was started SO LONG ago"),
    (re.compile(r"(The oldest has been held for) [^.]*"), r"\1 SO LONG"),
)
"""What differs from one run to the next."""
MARIA = Actor(name="maria", role=Role.ADMIN, surface="python")


class Fleet:
    """Workers that answer Celery's remote control as they are told to.

    Attributes:
        answers: Command or question → hostname → answer; ``None`` in place of an answer: silent.
        sent: Commands in their order, with what went with them.
    """

    def __init__(self) -> None:
        self.others: tuple[OtherWorker, ...] | None = ()
        self.answers: dict[str, Mapping[str, Any]] = {}
        self.sent: list[str] = []

    @contextmanager
    def control(self) -> Iterator[tuple[Any, Any]]:
        """In place of Celery's."""
        yield self, None

    def broadcast(self, command: str, *, arguments: Any = None, destination: Any = None, **options: Any) -> Any:
        """A command to these workers."""
        words = " ".join(f"{name}={value}" for name, value in sorted((arguments or {}).items()))
        self.sent.append(f"{command} {words} to {' '.join(destination or ['all'])}".replace("  ", " "))
        return self._said(command, destination) if options.get("reply") else None

    def inspect(self, hosts: Collection[str] | None, **_options: Any) -> Any:
        """A question to these workers."""

        def ask(question: str) -> Any:
            return lambda *_words: {host: said for one in self._said(question, hosts) for host, said in one.items()}

        return SimpleNamespace(
            **{name: ask(name) for name in ("active_queues", "active", "stats", "ping", "registered")}
        )

    def revoke(self, task_ids: list[str], *, terminate: bool, **_options: Any) -> Any:
        """To all."""
        self.sent.append(f"revoke {' '.join(task_ids)} terminate={terminate}")
        return self._said("revoke", None)

    def cancel_consumer(self, queue: str, *, destination: list[str], **_options: Any) -> Any:
        """To these workers."""
        self.sent.append(f"cancel_consumer {queue} to {' '.join(destination)}")
        return self._said("cancel_consumer", destination)

    def add_consumer(self, queue: str, *, destination: list[str], **_options: Any) -> Any:
        """To these workers."""
        self.sent.append(f"add_consumer {queue} to {' '.join(destination)}")
        return self._said("add_consumer", destination)

    def _said(self, question: str, hosts: Collection[str] | None) -> list[dict[str, Any]]:
        known = self.answers.get(question, {})
        return [{host: said} for host, said in known.items() if said is not None and (hosts is None or host in hosts)]


class Desk:
    """One console, what is known to it, and what it said so far.

    Attributes:
        said: Lines of text, in their order.
    """

    def __init__(self, console: Console, patch: pytest.MonkeyPatch) -> None:
        self.console, self.services, self.broker = console, console.services, console.broker
        self.fleet = Fleet()
        self.said: list[str] = []
        self._acts = 0
        patch.setattr(self.services.unmanaged, "known", lambda: self.fleet.others)
        patch.setattr(self.services.unmanaged, "look", lambda: self.fleet.others)
        patch.setattr(self.services.unmanaged, "askable", lambda: self.broker.layout)
        patch.setattr(self.services.unmanaged, "control", self.fleet.control)
        self.has = Nobody()
        vars(self.services)["holders"] = self.has  # asked by id: who has a task

    @property
    def client(self) -> redis.Redis:
        """The broker's."""
        return self.broker.client

    # What there is

    def has_task(self, *tasks: HeldTask, silent: Collection[str] = ()) -> None:
        """Who has which task, and who does not answer."""
        self.has.tasks, self.has.silent = tasks, tuple(silent)

    def wait(
        self, number: int, *, queue: str = "celery", step: int = 0, task: str = "shop.charge", **more: Any
    ) -> None:
        """So many tasks wait, ``1``, ``2`` …: the first one is the next to run."""
        known = self.client.llen(self.broker.lists(queue)[step])
        for at in range(known + 1, known + number + 1):
            self.client.lpush(self.broker.lists(queue)[step], message(f"{queue}-{step}-{at}", task, **more))

    def worker(self, hostname: str, *, silent_s: float = 0.0, **told: Any) -> None:
        """One with the plug-in that reports; or did, so long ago."""
        given = {"concurrency": "4", "active": "0", "reserved": "0", "holding": "ready", "version": "1.0"}
        given |= {name: str(value) for name, value in told.items()}
        reports.report(self.client, hostname, lasts_s=-silent_s if silent_s else 60, keys=self.broker.keys, **given)

    def unmanaged(self, *hostnames: str, queues: tuple[str, ...] = ("celery",), active: int = 0) -> None:
        """Workers without the plug-in."""
        self.fleet.others = tuple(OtherWorker(hostname=one, queues=queues, active=active) for one in hostnames)

    def pools(self, **stats: Mapping[str, Any] | None) -> None:
        """What workers answer to ``stats``: ``a`` is the worker ``a@h``; those are known, and take tasks of celery."""
        for name in stats:
            self.worker(f"{name}@h")
        self.fleet.answers["stats"] = {f"{name}@h": answer for name, answer in stats.items()}
        self.fleet.answers["ping"] = {}

    def hold(
        self, kind: Kind, name: str, queue: str = "", *, by: str = "otto", held_tasks: int = 0, **more: Any
    ) -> Hold:
        """One, with so many tasks of celery."""
        hold = self.services.holds.set(kind, name, queue, by=by, reason="slow", **{"ttl_s": 7_200, **more})
        if held_tasks:
            held.put_aside(self.broker, hold, *(message(f"held-{at}", name) for at in range(1, held_tasks + 1)))
        return hold

    # What is done

    def preview(self, operation: Operation) -> Preview | None:
        """What it says before."""
        self.said.append(f"$ {command_line(operation)}")
        try:
            found = self.console.preview(operation)
        except OpsdashError as error:
            self._error(error)
            return None
        self.said += told_preview(found)
        return found

    def act(
        self, operation: Operation, reviewed: Preview | None = None, *, phrase: str = "", after: int = 1_000_000
    ) -> Effect | None:
        """Does it, and what it says then.

        Args:
            after: It is cancelled once it was asked so many times.
        """
        self._acts += 1
        asked = iter(range(1_000_000))

        def on_progress(found: Progress) -> None:
            self.said.append(f"  {told_progress(found)}")

        act = Act(
            actor=MARIA,
            audit_id=UUID(int=self._acts),
            reviewed=reviewed,
            phrase=phrase,
            on_progress=on_progress,
            cancelled=lambda: next(asked) >= after,
        )
        self.said.append(f"$ {command_line(operation)} --confirm YES")
        try:
            done = operation.execute(self.services, act)
        except OpsdashError as error:
            self._error(error)
            return None
        self.said += told_effect(done)
        return done

    def both(self, operation: Operation, **how: Any) -> Effect | None:
        """A preview, and the act that was reviewed so."""
        return self.act(operation, self.preview(operation), **how)

    def evidence(self, operation: Operation) -> None:
        """What is said of an act of it whose end nobody saw: that of the last one here."""
        entry = AuditEntry(
            id=UUID(int=self._acts),
            request_id=UUID(int=self._acts),
            timestamp=datetime.fromisoformat("2026-01-01T00:00:00+00:00"),
            user="maria",
            operation=operation.name,
            status=Status.IN_PROGRESS,
            details={"params": operation.logged_params()},
        )
        for name, value in operation.evidence(self.services, entry).items():
            self.said.append(f"  evidence {name}: {plain(value)}")

    def suggest(self, operation: Operation) -> None:
        """What a dialog offers."""
        try:
            offered = operation.suggest(self.services)
        except OpsdashError as error:
            self._error(error)
            return
        self.said += [f"  offers {name}: {', '.join(words)}" for name, words in offered.items()] or ["  offers nothing"]

    def note(self, text: str) -> None:
        """A heading within the text."""
        self.said += ["", f"-- {text}"]

    def waits(self, *queues: str) -> None:
        """What waits now, the next to run first."""
        for queue in queues or self.broker.queues:
            for step, key in self.broker.lists(queue).items():
                if number := self.client.llen(key):
                    self.said.append(f"  waiting in {queue} at {step}: {number}")

    def _error(self, error: OpsdashError) -> None:
        field = getattr(error, "field", "")
        self.said.append(f"  {type(error).__name__}{f' ({field})' if field else ''}: {error}")


def told_preview(found: Preview) -> list[str]:
    """All that it has."""
    said = [
        f"  {name}: {getattr(found, name)}" for name in ("title", "warning", "button", "phrase") if getattr(found, name)
    ]
    for line in found.lines:
        more = f" (repeats {', '.join(line.repeats)})" if line.repeats else ""
        more += f" (choice {line.choice})" if line.choice else ""
        said.append(f"  {line.kind}: {line.text}{more}")
    for one in found.figures:
        label = f" “{one.label}”" if one.label else ""
        sure = "" if one.exactness == "exact" else f", {one.exactness}"
        sure += "" if one.error is None else f" ± {one.error}"
        sure += "" if one.age_s is None else ", from before"
        said.append(f"  figure {one.name}{label} = {plain(one.value)}{f' {one.unit}' if one.unit else ''}{sure}")
    for made_of in found.breakdowns:
        rows = ", ".join(
            f"{part.name} {part.value}{f' ± {part.error}' if part.error else ''}" for part in made_of.parts
        )
        more = f" and others {made_of.others.value}" if made_of.others else ""
        label = f" “{made_of.label}”" if made_of.label else ""
        said.append(f"  parts {made_of.name}{label} in {made_of.unit}, {made_of.exactness}: {rows or 'none'}{more}")
    if found.choices:
        said.append(f"  choices: {', '.join(found.choices)}")
    if found.boundary:
        said.append(f"  boundary: {', '.join(found.boundary)}")
    return said


def told_effect(done: Effect) -> list[str]:
    """All that it has."""
    state = ", ".join(
        word for word, said in (("not whole", not done.ok), ("nobody follows", not done.followed)) if said
    )
    said = [f"  done {done.affected}{f' ({state})' if state else ''}: {done.message}"]
    said += [f"  {name} = {plain(value)}" for name, value in done.details.items()]
    if done.undo is not None:
        left = "" if done.undo_s is None else f" within {done.undo_s:.0f} s"
        said.append(f"  undo{left}: {command_line(done.undo)}")
    return said


def told_progress(found: Progress) -> str:
    """In one line."""
    words = [f"progress: {found.message}"]
    words += [f"at {found.at} of {found.of}"] if found.of else []
    words += [word for word in ("done", "final") if getattr(found, word)]
    words += [f"stage {found.stage}"] if found.stage else []
    words += [f"todo: {' '.join(found.todo)}"] if found.todo else []
    return "; ".join(words)


def plain(value: Any) -> str:
    """As in JSON, sorted."""
    found = to_plain(value)
    if isinstance(found, dict):
        return "{" + ", ".join(f"{name}: {plain(one)}" for name, one in sorted(found.items(), key=str)) + "}"
    if isinstance(found, list | tuple):
        return "[" + ", ".join(map(plain, found)) + "]"
    if isinstance(found, float) and found != round(found, 2):  # measured just now
        return f"{found // 10 * 10:.0f} or so"
    return str(found)


def check(name: str, said: list[str], file: Path) -> None:
    """Compares with what is expected under this name, or writes it."""
    text = "\n".join(line.rstrip() for line in said).strip()
    for pattern, instead in TIMES:
        text = pattern.sub(instead, text)
    known = sections(file)
    if os.environ.get("OPSDASH_TEST_SAID") == "write":
        known[name] = text
        file.write_text("\n\n\n".join(f"# {one}\n\n{known[one]}" for one in known) + "\n")
        return
    expected = known.get(name, "")
    if text != expected:
        lines = difflib.unified_diff(expected.splitlines(), text.splitlines(), "expected", "said", lineterm="", n=1)
        raise AssertionError("\n".join(["it says something else", *lines]))


def sections(file: Path) -> dict[str, str]:
    """Name → text."""
    text = file.read_text() if file.exists() else ""
    found = (part.partition("\n") for part in re.split(r"^# ", text, flags=re.MULTILINE)[1:])
    return {name.strip(): rest.strip() for name, _, rest in found}


def sentence(test: str) -> str:
    """A test's name as a heading."""
    return test.removeprefix("test_").replace("_", " ")
