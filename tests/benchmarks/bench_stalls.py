"""Every operation that goes through long lists, and the longest command or script that others wait for meanwhile.

All of one list of 0.9 kB messages, which is the dearest: what lies in its middle is far from either end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from bench_hold import TASKS, prepare
from bench_preview import fill
from stage import server
from stall import timed
from support import services
from support.holders import Nobody
from support.messages import message

import opsdash
from opsdash.bootstrap import assemble
from opsdash.config.settings import Settings
from opsdash.services.database import migrations
from opsdash.services.queues.browse import browse
from opsdash.services.queues.find_task import TaskFinder
from opsdash.services.queues.read import Queues
from opsdash.services.queues.release_held import HeldTasksMover
from opsdash.services.queues.remove_task import remove, remove_held
from opsdash.services.queues.remove_tasks import Bin, take
from opsdash.services.queues.results import Results
from opsdash.services.queues.search_tasks import TaskQuery, TaskSearch
from opsdash.services.queues.trash import Trash
from opsdash.services.queues.workflow_trash import WorkflowTrash

ROOT = "root-of-the-workflow"
Act = Callable[[], object]


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], str | dict[str, str]]:
    """Milliseconds of each, of its longest command, and of what a PING waited; how many commands took above 2 ms."""
    messages, moved, rounds = (200_000, 40_000, 1) if quick else (1_000_000, 200_000, 3)
    figures: dict[str, list[float]] = {}
    with server() as made, services.folder() as home:
        database = f"sqlite:///{home / 'bench.sqlite3'}"
        migrations.upgrade(database)
        settings = Settings.from_env({}, redis_url=made.url, database_url=database, secret_key="k" * 32)
        console = assemble(settings)
        console.broker.client.config_set("save", "")
        acts = Acts(console, settings)

        def note(what: str, act: Act) -> None:
            took = timed(act, made.url)
            figures.setdefault(what, []).append(took.ms)
            figures.setdefault(f"{what}, longest command", []).append(took.command_ms)
            figures.setdefault(f"{what}, commands above 2 ms", []).append(took.slow)
            figures.setdefault(f"{what}, longest stall", []).append(took.stall_ms)

        for round_ in range(rounds):
            for number, ways in ((messages, acts.looks), (moved, acts.moves)):
                acts.prepare(number)
                for what, act in ways(round_):
                    note(f"{what}, {number:,}", act)
            for waiting in (moved // 4 // 10_000 * 10_000, 2 * moved):
                for what, held in acts.of_held(waiting):
                    note(f"{what}, {waiting:,} waiting", held)
        console.close()
    units = {what: "" if what.endswith("above 2 ms") else "ms" for what in figures}
    return figures, {}, units


class Acts:
    """What is done with one queue."""

    def __init__(self, console: Any, settings: Settings) -> None:
        self.console, self.broker = console, console.broker
        holders: Any = Nobody()
        self.finder = TaskFinder(self.broker, holders, Trash(self.broker), Results(settings), lambda: ("celery",))
        self.search = TaskSearch(self.broker, holders, lambda: ("celery",))

    def prepare(self, number: int) -> None:
        """So many wait, of four kinds; one in the middle, and every hundredth is of a workflow."""
        self.broker.client.flushall()
        fill(self.broker, number)
        key, self.number = self.broker.lists("celery")[0], number
        for at in range(0, number, number // 500):
            self.broker.client.lset(key, at, message(root_id=ROOT, pad="x" * 300))
        self.broker.client.lset(key, number // 2, message("the-one-in-the-middle", pad="x" * 300))

    def looks(self, _round: int) -> list[tuple[str, Act]]:
        """What moves nothing, or hardly anything."""
        clear, some = opsdash.ClearQueue(queue="celery"), opsdash.ClearTasks(queue="celery", task="shop.pay.*")
        middle = partial(browse, self.broker, "celery", self.number // 2, 100)
        return [
            ("preview of a clear", lambda: self.console.preview(clear)),
            ("preview of a selective clear", lambda: self.console.preview(some)),
            ("a page in the middle", middle),
            ("find-task in the middle", lambda: self.finder.find("the-one-in-the-middle")),
            ("find-task of none", lambda: self.finder.find("no-task-has-this-id")),
            ("a search by text", self.go_through),
            ("status", self.console.snapshot),
            ("a clear", lambda: self.console.run(clear, actor="bench", confirm="YES", phrase="celery")),
            ("trash deleted", self.delete_trash),
        ]

    def moves(self, round_: int) -> list[tuple[str, Act]]:
        """What moves many."""
        until_s = int(time.time()) + 600
        into = Bin(id=f"w{round_}", root=ROOT, by="bench", at="", until_s=until_s, keep_s=600)

        def cleared() -> None:
            Queues(self.broker).clear("celery", by="bench", keep_s=600, trash_id="one")
            fill(self.broker, self.number // 2 // 10_000 * 10_000)

        def workflow() -> None:
            take(self.broker, "celery", [ROOT], lambda raw: ROOT.encode() in raw, into)

        some = opsdash.ClearTasks(queue="celery", task="shop.stock.*")
        trash = Trash(self.broker)
        return [
            (
                "one removed from the middle",
                partial(remove, self.broker, "celery", "the-one-in-the-middle", by="x", keep_s=9, trash_id="r"),
            ),
            ("one put back", partial(trash.restore, "r", by="x")),
            ("a workflow taken out", workflow),
            ("a workflow put back", lambda: WorkflowTrash(self.broker).restore(into.id, by="x")),
            ("selective clear of 9 %", lambda: self.console.run(some, actor="bench", confirm="YES", phrase="celery")),
            ("its restore", lambda: trash.restore(trash.list()[0].id, by="x")),
            ("a clear, and half as many again", cleared),
            ("a restore before newer ones", lambda: trash.restore("one", by="x")),
        ]

    def of_held(self, waiting: int) -> list[tuple[str, Act]]:
        """What a hold has set aside: 200,000."""
        hold = prepare(self.broker, waiting)
        mover = HeldTasksMover(self.broker)
        key = self.broker.keys.held(hold.id, "0", "celery")
        self.broker.client.lset(key, TASKS // 2, message("held-in-the-middle", pad="x" * 300))
        one = partial(remove_held, self.broker, "celery", "held-in-the-middle", by="x", keep_s=60, trash_id="h")
        return [
            ("find-task among held ones", lambda: self.finder.find("held-in-the-middle")),
            ("a held one removed from the middle", one),
            ("a held one put back", lambda: Trash(self.broker).restore("h", by="x")),
            ("held tasks released", lambda: mover.release(hold, by="x")),
        ]

    def go_through(self) -> None:
        """All pages of a search that finds nothing."""
        after = ""
        while True:
            page = self.search.page(TaskQuery(text="a text that nothing has"), after=after)
            if not (after := page.after):
                return

    def delete_trash(self) -> None:
        """What was cleared."""
        trash = Trash(self.broker)
        for entry in trash.list():
            trash.delete(entry.id, by="x")
