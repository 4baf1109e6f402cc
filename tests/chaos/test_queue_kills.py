"""``kill -9`` of the console at every step of what it does to a queue: nothing is lost, doubled or out of order."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import redis
from support import programs, services
from support.services import until

import opsdash
from opsdash.bootstrap import assemble
from opsdash.config.settings import Settings
from opsdash.errors import Refused
from opsdash.model.hold import Hold
from opsdash.model.key_layout import Layout
from opsdash.services.broker.client import Broker, connect
from opsdash.services.broker.key_layout import Layouts
from opsdash.services.pause.holds import Holds
from opsdash.services.queues import lock, read
from opsdash.services.queues.read import Queues
from opsdash.services.queues.reclaim import PAUSE_S
from opsdash.services.queues.release_held import HeldTasksMover
from opsdash.services.queues.remove_task import remove
from opsdash.services.queues.selective_clear import SelectiveClear
from opsdash.services.queues.task_filter import TaskFilter
from opsdash.services.queues.trash import Trash
from opsdash.services.queues.watermark import take_watermark
from opsdash.services.queues.workflow_trash import WorkflowTrash

HERE = Path(__file__).parent
PRIORITIES = (0, 9)
"""Priority steps that have messages."""
MATCHING = "shop.odd"
Messages = dict[int, list[str]]


def message(number: int) -> str:
    name = MATCHING if number % 2 else "shop.even"
    properties = {"delivery_tag": str(uuid4())}
    return json.dumps({"headers": {"task": name, "id": f"{number}"}, "properties": properties, "body": ""})


def some(first: int, number: int) -> Messages:
    """So many messages of each priority."""
    return {step: [message(first + 100 * step + n) for n in range(number)] for step in PRIORITIES}


def send(broker: Broker, messages: Messages) -> None:
    for step, texts in messages.items():
        broker.client.lpush(broker.lists("celery")[step], *texts)


def waiting(broker: Broker) -> Messages:
    """What workers would take, the next one first."""
    lists = broker.lists("celery")
    return {step: broker.client.lrange(lists[step], 0, -1)[::-1] for step in PRIORITIES}


def undo(broker: Broker) -> int:
    """Restores what there is in the trash, as an operator would who looks at the list."""
    return sum(Trash(broker).restore(entry.id, by="otto").tasks for entry in Trash(broker).list())


class Stage:
    """A broker with one queue, and consoles that die on it."""

    def __init__(self, url: str, database: str) -> None:
        self.url, self.database = url, database
        self.broker = connect(Settings.from_env({}, redis_url=url, queues=("celery",)))
        self._consoles = programs.Popen(
            [sys.executable, str(HERE / "dying_console.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def begin(self, messages: Messages) -> None:
        """Nothing but these messages."""
        self.broker.client.flushall()
        self.send(messages)

    def send(self, messages: Messages) -> None:
        send(self.broker, messages)

    def console(self, act: str, step: int, newer: Messages | None = None, **more: Any) -> bool:
        """Whether a console that does this was killed in place of its command of this number; False: it had fewer."""
        lists = self.broker.lists("celery")
        more["newer"] = {lists[step]: texts for step, texts in (newer or {}).items()}
        job = {"act": act, "step": step, "url": self.url, "database": self.database, **more}
        assert self._consoles.stdin
        assert self._consoles.stdout
        self._consoles.stdin.write(json.dumps(job) + "\n")
        self._consoles.stdin.flush()
        answer = self._consoles.stdout.readline().strip()
        assert answer in {"killed", "0"}, answer
        return answer == "killed"

    def ten_seconds_later(self) -> None:
        """The lease of who was killed has ended."""
        self.broker.client.delete(self.broker.keys.busy("celery"))

    def waiting(self) -> Messages:
        return waiting(self.broker)

    def undo(self) -> int:
        return undo(self.broker)

    def nothing_left(self) -> bool:
        keys = [key for key in self.broker.client.scan_iter() if ":kept:" in key or ":busy:" in key]
        trash = [key for key in self.broker.client.scan_iter("opsdash:trash:*") if not key.endswith(":info")]
        return not keys and not trash and Trash(self.broker).list() == ()

    def close(self) -> None:
        assert self._consoles.stdin
        assert self._consoles.stdout
        self._consoles.stdin.close()
        self._consoles.wait(10)
        self._consoles.stdout.close()
        self.broker.client.close()


@pytest.fixture
def stage(valkey_url: str, sqlite_url: str) -> Iterator[Stage]:
    with contextlib.closing(Stage(valkey_url, sqlite_url)) as made:
        yield made


def joined(*parts: Messages) -> Messages:
    return {step: [text for part in parts for text in part.get(step, ())] for step in PRIORITIES}


def only(messages: Messages, *, matching: bool) -> Messages:
    return {step: [text for text in texts if (MATCHING in text) is matching] for step, texts in messages.items()}


def finish_broken(stage: Stage) -> None:
    """Whoever works on the queue next brings to its end what was begun."""
    stage.ten_seconds_later()
    Queues(stage.broker)._finish_broken("celery", "otto")


@pytest.mark.parametrize(
    "act", ["clear", *(pytest.param(act, marks=pytest.mark.slow) for act in ("big clear", "clear everything"))]
)
def test_a_clear_killed_at_any_step_has_cleared_a_priority_or_not_and_can_be_undone(stage: Stage, act: str) -> None:
    for step in range(1, 1_000):
        old, newer = some(0, 5), some(50, 4)
        stage.begin(old)
        killed = stage.console(act, step, newer)
        finish_broken(stage)
        for priority, texts in stage.waiting().items():
            assert texts in (newer[priority], old[priority] + newer[priority]), (step, priority)
        left_s = stage.broker.client.ttl(stage.broker.keys.pause("celery"))
        assert left_s == -2 or (act == "clear everything" and 0 < left_s <= PAUSE_S), "a pause it set ends by itself"
        stage.undo()
        assert stage.waiting() == joined(old, newer), step
        assert stage.nothing_left(), step
        if not killed:
            break
    assert step > 5, "it was killed at least so often"


@pytest.mark.slow
def test_a_selective_clear_killed_at_any_step_loses_nothing_and_keeps_the_order(stage: Stage) -> None:
    for step in range(1, 1_000):
        old, newer = some(0, 7), some(50, 3)
        stage.begin(old)
        killed = stage.console("selective clear", step, newer)
        finish_broken(stage)
        left = stage.waiting()
        for priority, texts in joined(old, newer).items():
            assert left[priority] == [text for text in texts if text in left[priority]], "in their order"
            assert set(only(old, matching=False)[priority] + newer[priority]) <= set(left[priority])
        kept = {p: [text for text in old[p] if text not in left[p]] for p in PRIORITIES}
        assert stage.undo() == sum(map(len, kept.values()))
        assert stage.waiting() == joined(kept, left), step
        assert stage.nothing_left(), step
        if not killed:
            break
    assert step > 30, "it was killed at least so often"


@pytest.mark.long
@pytest.mark.parametrize("newer", [1, pytest.param(9, marks=pytest.mark.slow)])
def test_a_restore_killed_at_any_step_is_run_again_and_done_once(stage: Stage, newer: int) -> None:
    for step in range(1, 1_000):
        old, new = some(0, 5), some(50, newer)
        stage.begin(old)
        trash_id = Queues(stage.broker).clear("celery", by="maria", keep_s=600).trash_id
        stage.send(new)
        killed = stage.console("restore", step, trash_id=trash_id)
        stage.ten_seconds_later()
        Trash(stage.broker).restore(trash_id or "", by="otto")
        Trash(stage.broker).restore(trash_id or "", by="otto")
        assert stage.waiting() == joined(old, new), step
        assert all(stage.broker.client.ttl(key) == -1 for key in (stage.broker.lists("celery")[p] for p in PRIORITIES))
        assert stage.nothing_left(), step
        if not killed:
            break
    assert step > 8, "it was killed at least so often"


@pytest.mark.long
@pytest.mark.parametrize("near", [20_000, -1], ids=["near an end", "far from both ends"])
def test_removing_a_task_killed_at_any_step_has_removed_it_or_not_and_can_be_undone(stage: Stage, near: int) -> None:
    for step in range(1, 1_000):
        old, new = some(0, 5), some(50, 1)
        stage.begin(old)
        killed = stage.console("remove task", step, new, task_id="2", near=near)
        finish_broken(stage)
        both = joined(old, new)
        without = {p: [text for text in texts if '"id": "2"' not in text] for p, texts in both.items()}
        left = stage.waiting()
        assert left in (both, without), step
        assert stage.undo() == (1 if left == without else 0), step
        assert stage.waiting() == both, step
        assert stage.nothing_left(), step
        if not killed:
            break
    assert step > 8, "it was killed at least so often"


@pytest.mark.long
def test_a_removed_task_whose_return_is_killed_at_any_step_is_back_once_and_in_its_place(stage: Stage) -> None:
    for step in range(1, 1_000):
        old, new = some(0, 5), some(50, 3)
        stage.begin(old)
        remove(stage.broker, "celery", "2", by="maria", keep_s=600, trash_id="one")
        stage.send(new)
        killed = stage.console("restore", step, trash_id="one")
        stage.ten_seconds_later()
        Trash(stage.broker).restore("one", by="otto")
        assert stage.waiting() == joined(old, new), step
        assert stage.nothing_left(), step
        if not killed:
            break
    assert step > 8, "it was killed at least so often"


def in_a_workflow(first: int) -> Messages:
    """Three of five belong to it."""
    return {
        step: [
            text.replace('"task"', '"root_id": "root-1", "task"') if n in (0, 1, 3) else text
            for n, text in enumerate(of)
        ]
        for step, of in some(first, 5).items()
    }


def cancel_rest(stage: Stage) -> None:
    """Another console does it again."""
    settings = Settings.from_env({}, redis_url=stage.url, database_url=stage.database, queues=("celery",))
    with contextlib.closing(assemble(settings)) as console, contextlib.suppress(Refused):
        console.run(opsdash.CancelWorkflow(root="root-1"), actor="otto", confirm="YES")


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("near", [20_000, -1], ids=["near an end", "far from both ends"])
def test_a_cancel_of_a_workflow_killed_at_any_step_goes_on_and_each_task_comes_back_once_to_its_place(
    stage: Stage, near: int
) -> None:
    for step in range(1, 1_000):
        old = in_a_workflow(0)
        stage.begin(old)
        killed = stage.console("cancel workflow", step, near=near)
        stage.ten_seconds_later()
        others = {p: [text for text in texts if "root-1" not in text] for p, texts in old.items()}
        left = stage.waiting()
        kept = sum(entry.count for entry in Trash(stage.broker).list())
        aside = sum(stage.broker.client.llen(key) for key in stage.broker.client.scan_iter("*:kept:*"))
        assert sum(map(len, left.values())) + kept + aside == 10, step
        assert aside == 0 or near < 0
        cancel_rest(stage)
        finish_broken(stage)  # all of it was in the trash already, and something of others aside
        assert stage.waiting() == others, step
        assert sum(entry.count for entry in Trash(stage.broker).list()) == 6, step
        for entry in Trash(stage.broker).list():  # the last one first
            WorkflowTrash(stage.broker).restore(entry.id, by="otto")
        assert stage.waiting() == old, step
        assert stage.nothing_left(), step
        if not killed:
            break
    assert step > 20, "it was killed at least so often"


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("last", [1_000, pytest.param(1, marks=pytest.mark.slow)], ids=["at once", "in steps"])
def test_the_return_of_a_workflow_killed_at_any_step_is_completed_with_each_task_once_in_its_place(
    stage: Stage, last: int
) -> None:
    for step in range(1, 1_000):
        old, new = in_a_workflow(0), some(50, 3)
        stage.begin(old)
        cancel_rest(stage)
        (entry,) = Trash(stage.broker).list()
        stage.send(new)
        killed = stage.console("restore", step, trash_id=entry.id, last=last)
        stage.ten_seconds_later()
        with contextlib.suppress(Refused):
            WorkflowTrash(stage.broker).restore(entry.id, by="otto")
        assert stage.waiting() == joined(old, new), step
        assert stage.nothing_left(), step
        if not killed:
            break
    assert step > 20, "it was killed at least so often"


def hold_some(stage: Stage) -> tuple[Hold, Messages]:
    """A hold, and what it holds of each priority."""
    hold = Holds(stage.broker).set("task", "shop.*", by="maria", reason="", ttl_s=600)
    messages, keys, client = some(0, 5), stage.broker.keys, stage.broker.client
    for step, texts in messages.items():
        client.hset(keys.held_lists, f"{hold.id}:{step}:celery", stage.broker.lists("celery")[step])
        client.lpush(keys.held(hold.id, str(step), "celery"), *texts)
        client.lpush(f"{keys.held(hold.id, str(step), 'celery')}:order", *(f"{n} {n}" for n in range(len(texts))))
    return hold, messages


def held(stage: Stage, hold: Hold) -> Messages:
    """What a hold has, the next to run first."""
    keys = {step: stage.broker.keys.held(hold.id, str(step), "celery") for step in PRIORITIES}
    return {step: stage.broker.client.lrange(key, 0, -1)[::-1] for step, key in keys.items()}


def nothing_held(stage: Stage) -> bool:
    return not list(stage.broker.client.scan_iter("opsdash:hel*")) + list(
        stage.broker.client.scan_iter("opsdash:hold*")
    )


@pytest.mark.slow
@pytest.mark.parametrize("newer", [1, 9])
def test_a_release_killed_at_any_step_goes_on_and_each_task_is_back_once_in_front(stage: Stage, newer: int) -> None:
    for step in range(1, 1_000):
        new = some(50, newer)
        stage.begin({})
        hold, old = hold_some(stage)
        stage.send(new)
        killed = stage.console("release", step)
        assert joined(held(stage, hold), stage.waiting()) == joined(old, new), step
        stage.ten_seconds_later()
        HeldTasksMover(stage.broker).release(hold, by="otto")
        assert stage.waiting() == joined(old, new), step
        assert stage.nothing_left(), step
        assert nothing_held(stage), step
        if not killed:
            break
    assert step > 12, "it was killed at least so often"


@pytest.mark.slow
def test_a_clear_of_held_tasks_killed_at_any_step_has_cleared_them_or_not_and_can_be_undone(stage: Stage) -> None:
    for step in range(1, 1_000):
        new = some(50, 3)
        stage.begin({})
        hold, old = hold_some(stage)
        stage.send(new)
        killed = stage.console("clear held", step)
        stage.ten_seconds_later()
        left = held(stage, hold)
        assert left in (old, some(0, 0)), step
        assert stage.waiting() == new, step
        assert stage.undo() == (0 if left == old else 10), step
        HeldTasksMover(stage.broker).release(hold, by="otto")
        assert stage.waiting() == joined(old, new), step
        assert stage.nothing_left(), step
        assert nothing_held(stage), step
        if not killed:
            break
    assert step > 8, "it was killed at least so often"


@pytest.mark.slow
def test_deleting_for_good_killed_at_any_step_has_deleted_all_of_it_or_nothing(stage: Stage) -> None:
    for step in range(1, 1_000):
        old = some(0, 3)
        stage.begin(old)
        trash_id = Queues(stage.broker).clear("celery", by="maria", keep_s=600).trash_id
        killed = stage.console("delete", step, trash_id=trash_id)
        stage.ten_seconds_later()
        if Trash(stage.broker).list():
            stage.undo()
            assert stage.waiting() == old, step
        assert stage.nothing_left(), step
        if not killed:
            break
    assert step > 5, "it was killed at least so often"


@pytest.mark.slow
def test_after_a_kill_the_queue_is_free_again_within_ten_seconds(stage: Stage) -> None:
    """Without any help: the lease of who died ends by itself."""
    old, new = some(0, 5), some(50, 9)
    stage.begin(old)
    trash_id = Queues(stage.broker).clear("celery", by="maria", keep_s=600).trash_id
    stage.send(new)
    step = next(s for s in range(1, 100) if stage.console("restore", s, trash_id=trash_id) and _is_locked(stage))
    assert step
    with pytest.raises(Refused, match=r"is being worked on by maria \(restore"):
        stage.undo()
    assert until(lambda: not _is_locked(stage), timeout_s=lock.LEASE_S + 1)
    stage.undo()
    assert stage.waiting() == joined(old, new)


def _is_locked(stage: Stage) -> bool:
    return bool(stage.broker.client.exists(stage.broker.keys.busy("celery")))


@pytest.fixture
def durable() -> Iterator[tuple[services.Valkey, Broker]]:
    """A broker that keeps what it has said yes to, whatever it dies of."""
    with services.folder() as home:
        server = services.Valkey(home)
        server.start_with("--appendonly", "yes")
        client = redis.Redis.from_url(server.url, decode_responses=True)
        yield server, Broker(client, Layouts.fixed(client, Layout()), "test", ("celery",))
        client.close()
        server.kill()


@pytest.mark.slow
@pytest.mark.parametrize("act", ["big clear", "selective clear", "restore"])
def test_the_broker_restarted_in_the_middle_loses_and_doubles_nothing(
    durable: tuple[services.Valkey, Broker], monkeypatch: pytest.MonkeyPatch, act: str
) -> None:
    server, broker = durable
    monkeypatch.setattr(lock, "FIRST_STEP", 2)
    monkeypatch.setattr(lock, "LARGEST_STEP", 2)
    monkeypatch.setattr(read, "FEW", 1)
    for after in range(1, 100):
        old, new = some(0, 6), some(50, 6)
        broker.client.flushall()
        send(broker, old)
        reviewed = take_watermark(broker, "celery")
        if act == "restore":
            Queues(broker).clear("celery", by="maria", keep_s=600, trash_id="one")
        send(broker, new)
        calls = iter(range(1, 1_000))

        def on_progress(*_: int, after: int = after, calls: Iterator[int] = calls) -> None:
            if next(calls) == after:
                server.kill()

        common: Any = {"by": "maria", "keep_s": 600, "trash_id": "one", "on_progress": on_progress}
        died = True
        try:
            if act == "restore":
                Trash(broker).restore("one", by="maria", on_progress=on_progress)
            elif act == "big clear":
                Queues(broker).clear("celery", watermark=reviewed, **common)
            else:
                SelectiveClear(broker).clear("celery", TaskFilter(task=MATCHING), **common)
            died = False
        except redis.RedisError:
            server.start_with("--appendonly", "yes")
        broker.client.delete(broker.keys.busy("celery"))  # ten seconds later
        if act != "restore":  # beside an interrupted restore a clear is refused
            Queues(broker)._finish_broken("celery", "otto")
        left = waiting(broker)
        undo(broker)
        if act == "selective clear":
            both = joined(old, new)
            kept = {p: [text for text in both[p] if text not in left[p]] for p in PRIORITIES}
            assert only(kept, matching=False) == some(0, 0), "what did not match is in the queue"
            assert waiting(broker) == joined(kept, left), after
        else:
            assert waiting(broker) == joined(old, new), after
        if not died:
            break
    assert after > 3, "it died at least so often"
