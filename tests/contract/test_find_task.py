"""Finding a task by its id: in queues, among what was fetched, in the trash; whatever else is there."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
import redis
from support.errors import fails
from support.failed_tasks import CHARGE, failed, keep
from support.holders import Nobody
from support.messages import fetched, first_protocol, hostile, message

from opsdash.config.settings import Settings
from opsdash.errors import Invalid
from opsdash.model import FoundTask, Progress
from opsdash.operations import RetryFailed
from opsdash.operations.remove_task import act_on
from opsdash.services.broker.client import Broker
from opsdash.services.failures.reading import FailedTasks
from opsdash.services.queues import find_in_lists, scan
from opsdash.services.queues.find_task import TaskFinder
from opsdash.services.queues.found_text import looked_at, looked_at_line, summary
from opsdash.services.queues.read import Queues
from opsdash.services.queues.results import Results
from opsdash.services.queues.trash import Trash
from opsdash.services.workers.task_holders import Answers, HeldTask


def finder(broker: Broker, *tasks: HeldTask, silent: Sequence[str] = ()) -> TaskFinder:
    holders = Nobody(*tasks, silent=silent)
    results = Results(Settings.from_env({}))
    failed = FailedTasks(broker).find
    return TaskFinder(broker, holders, Trash(broker), results, lambda: broker.queues, failed=failed)  # type: ignore[arg-type]


def find(broker: Broker, task_id: str) -> FoundTask:
    return finder(broker).find(task_id)


def push(broker: Broker, *messages: str | bytes, queue: str = "celery", step: int = 0) -> None:
    broker.client.lpush(broker.lists(queue)[step], *messages)


def test_a_waiting_task_is_found_with_its_place_over_all_priorities(broker: Broker) -> None:
    push(broker, *(message() for _ in range(3)))
    push(broker, *(message() for _ in range(4)), message("wanted-1", "shop.mail", ["to whom"]), message(), step=3)
    push(broker, message(), step=9)
    push(broker, message(), queue="emails")
    found = find(broker, "wanted-1")
    assert (found.id, found.state, found.queue, found.position, found.waiting) == (
        "wanted-1",
        "waiting",
        "celery",
        8,
        10,
    )
    (place,) = found.places
    assert (place.name, place.arguments, place.priority) == ("shop.mail", '"to whom"', 3)
    assert found.complete
    assert summary(found) == "Task wanted-1 is waiting in queue celery, place 8 of 10 (priority 3)."
    assert looked_at_line(found) == "2 queues, 11 messages, 0 fetched messages, 1 of 1 worker answered"
    assert all(0 <= one.age_s < 60 for one in found.looked_at)


@pytest.mark.parametrize("window", [1, 2, 7])
def test_each_place_of_a_queue_is_found_in_whatever_steps_it_is_gone_through(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    monkeypatch.setattr(scan, "FIRST", window)
    monkeypatch.setattr(scan, "LARGEST_WINDOW", window)
    ids = [str(uuid.uuid4()) for _ in range(10)]
    push(broker, *map(message, ids))
    assert [find(broker, one).position for one in ids] == list(range(1, 11))
    assert find(broker, str(uuid.uuid4())).state == "not_found"


def test_the_beginning_of_an_id_finds_all_that_begin_so_and_a_short_one_is_a_whole_id(broker: Broker) -> None:
    ids = [f"order-2026-{n}" for n in range(30)]
    push(broker, *map(message, ids), message("order"))
    found = find(broker, "order-2026-1")
    assert sorted(found.ids) == sorted(one for one in ids if one.startswith("order-2026-1"))
    assert (found.id, found.state, found.queue) == ("order-2026-1", None, "")
    assert summary(found) == "11 tasks found whose id begins with order-2026-1."
    many = find(broker, "order-2026")
    assert len(many.places) == find_in_lists.MOST_PLACES
    assert many.more
    assert not many.complete
    assert summary(many) == "More than 20 tasks found whose id begins with order-2026."
    assert find(broker, "order").ids == ("order",)
    assert find(broker, "orde").state == "not_found"
    assert find(broker, "order-2026-29").ids == ("order-2026-29",)
    assert finder(broker).find("order-2026-2", whole=True).ids == ("order-2026-2",)


def test_a_task_that_others_name_is_not_found_in_their_place(broker: Broker) -> None:
    task_id = str(uuid.uuid4())
    push(broker, *hostile(task_id))
    found = find(broker, task_id)
    assert found.state == "not_found"
    assert found.complete, "none of them can be it"
    push(broker, message(task_id), *hostile(task_id))
    found = find(broker, task_id)
    assert (found.state, found.position, len(found.places)) == ("waiting", 12, 1)


@pytest.mark.parametrize(
    "text",
    [
        first_protocol("the-id-1"),
        '{"headers":{"id":"the-id-1","task":"js.task"},"properties":{}}',
        '{"headers": {"id"  :\n "the-id-1"}}',
        '{"body": "{\\"id\\": \\"the-id-1\\", \\"task\\": \\"x\\"}", "content-type": "application/json"}',
    ],
    ids=["protocol 1", "no blanks", "many blanks", "plain body"],
)
def test_a_message_of_another_producer_is_found_as_well(broker: Broker, text: str) -> None:
    push(broker, message(), text, message())
    assert find(broker, "the-id-1").position == 2
    assert find(broker, "the-id-").ids == (), "seven characters are a whole id"
    assert find(broker, "the-id-1").complete


def test_ids_that_json_escapes_are_found(broker: Broker) -> None:
    for task_id in ("zahlung-äöü-1", "shop/mail/42", "a\\b\\c\\d\\e"):
        push(broker, message(task_id))
        push(broker, f'{{"headers": {{"id": "{task_id}"}}}}'.replace("\\", "\\\\").encode())
        assert len(find(broker, task_id).places) == 2, task_id
        assert find(broker, task_id).ids == (task_id,)


def test_a_huge_task_is_found_without_being_fetched_and_says_so(broker: Broker) -> None:
    push(broker, message(), message("huge-task-1", args=["x" * 2_000_000]), message())
    found = find(broker, "huge-task-1")
    assert (found.state, found.position) == ("waiting", 2)
    assert found.places[0].unreadable == "not looked into: larger than 262.1 kB"
    assert not found.places[0].arguments


def test_one_that_is_nested_too_deep_to_be_read_is_found_by_its_text(broker: Broker) -> None:
    text = message("deep-task-1", stamps=0).replace('"stamps": 0', '"stamps": ' + "[" * 200 + "]" * 200)
    push(broker, text)
    assert find(broker, "deep-task-1").state == "waiting"


def test_a_task_that_waits_twice_is_found_twice(broker: Broker) -> None:
    push(broker, message("twice-1"), message())
    push(broker, message("twice-1"), queue="emails")
    found = find(broker, "twice-1")
    assert [(place.queue, place.position) for place in found.places] == [("celery", 1), ("emails", 1)]
    assert summary(found) == "Task twice-1 is waiting in queue celery, place 1 of 2. It is in 1 other place as well."


def test_a_fetched_task_is_reserved_or_scheduled_and_its_worker_says_so(broker: Broker) -> None:
    eta = datetime.now(UTC) + timedelta(hours=1)
    for tag, text in (("1", message("fetched-1")), ("2", message("later-1", eta=eta.isoformat()))):
        broker.client.hset(broker.unacked, tag, fetched(text, "emails"))
    broker.client.hset(broker.unacked, "3", "x" * 2_000_000)
    broker.client.hset(broker.unacked, "4", "fetched-1")
    found = find(broker, "fetched-1")
    assert (found.state, found.queue, found.worker) == ("reserved", "emails", "")
    assert found.complete
    assert find(broker, "later-1").places[0].eta == eta
    assert find(broker, "later-1").state == "scheduled"
    held = HeldTask(id="later-1", worker="w1@host", state="scheduled", name="shop.charge", queue="emails")
    found = finder(broker, held, silent=["w2@host"]).find("later-1")
    assert (found.state, found.worker, len(found.places)) == ("scheduled", "w1@host", 1)
    assert found.places[0].eta == eta
    assert not found.complete
    assert found.look("workers").problem == "no answer from w2@host"  # type: ignore[union-attr]
    assert "1 of 2 workers answered, read just now: no answer from w2@host" in looked_at(found)


def test_a_running_task_is_found_by_the_beginning_of_its_id(broker: Broker) -> None:
    since = datetime.now(UTC)
    held = HeldTask(id="running-task-1", worker="w1@host", state="active", name="shop.charge", since=since)
    found = finder(broker, held).find("running-")
    assert (found.id, found.state, found.worker, found.places[0].since) == (
        "running-task-1",
        "active",
        "w1@host",
        since,
    )
    assert f"running in w1@host, since {since:%Y-%m-%d %H:%M:%S} UTC" in summary(found)


def test_a_task_that_was_taken_while_it_was_looked_for_is_with_its_worker_alone(broker: Broker) -> None:
    push(broker, message("taken-1"), message())
    key = broker.lists("celery")[0]
    holder = finder(broker, HeldTask(id="taken-1", worker="w1@host", state="active"))

    class Takes(Nobody):
        def have(self, ids: Sequence[str]) -> Answers:
            broker.client.rpop(key)
            return super().have(ids)

    takes = dataclasses.replace(holder, holders=Takes(*holder.holders.tasks))  # type: ignore[arg-type, attr-defined]
    found = takes.find("taken-1")
    assert [(place.state, place.worker) for place in found.places] == [("active", "w1@host")]


def test_a_task_that_a_worker_gives_back_while_it_is_looked_for_is_found(broker: Broker) -> None:
    push(broker, *(message() for _ in range(5)))
    key, back = broker.lists("celery")[0], message("given-back-1")

    class GivesBack(Nobody):
        def have(self, ids: Sequence[str]) -> Answers:
            broker.client.rpush(key, back)
            return super().have(ids)

    gives = dataclasses.replace(finder(broker), holders=GivesBack())  # type: ignore[arg-type]
    assert gives.find("given-back-1").position == 1


def test_a_cleared_task_is_found_in_the_trash(broker: Broker) -> None:
    push(broker, message(), message("cleared-1"))
    push(broker, message(), step=9)
    Queues(broker).clear("celery", by="maria", keep_s=60, trash_id="t1")
    found = find(broker, "cleared-1")
    assert (found.state, found.queue, found.places[0].trash_id, found.position) == ("cleared", "celery", "t1", None)
    assert summary(found) == "Task cleared-1 is cleared from queue celery, in trash t1."
    Trash(broker).restore("t1", by="maria")
    assert find(broker, "cleared-1").state == "waiting"


def test_what_could_not_be_looked_at_is_said_and_the_answer_is_not_complete(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.client.set(broker.lists("emails")[0], "no list")
    found = find(broker, "nowhere-1")
    assert (found.state, found.complete) == ("not_found", False)
    assert found.look("queues").problem == "a key of emails is not a list"  # type: ignore[union-attr]
    broker.client.flushall()
    push(broker, *(message() for _ in range(300)))
    monkeypatch.setattr(find_in_lists, "LOOK_S", 0)
    assert find(broker, "nowhere-1").look("queues").problem == "the search ended after 0 s"  # type: ignore[union-attr]
    monkeypatch.undo()
    broker.client.set(broker.keys.busy("celery"), "{}")
    found = find(broker, "nowhere-1")
    assert not found.complete
    assert "an operation moves tasks of celery" in found.look("queues").problem  # type: ignore[union-attr]


def test_many_messages_that_only_mention_it_end_the_search_of_their_queue(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find_in_lists, "MOST_FALSE", 20)
    mention = json_mention("wanted-1")
    push(broker, *[mention] * 300)
    found = find(broker, "wanted-1")
    assert not found.complete
    monkeypatch.undo()
    push(broker, message("wanted-1"))
    client: redis.Redis = broker.client
    client.rpoplpush(broker.lists("celery")[0], broker.lists("celery")[0])
    assert find(broker, "wanted-1").position == 300, "more than one step returns at once are gone through"


def json_mention(task_id: str) -> str:
    """A message whose arguments hold another message."""
    return f'{{"headers": {{"id": "other", "argsrepr": "{{\\"id\\": \\"{task_id}\\"}}"}}, "properties": {{}}}}'


def test_progress_is_said_in_messages(broker: Broker) -> None:
    push(broker, *(message() for _ in range(500)))
    told: list[Progress] = []
    finder(broker).find("nowhere-1", told.append)
    assert (told[-1].at, told[-1].of) == (500, 500)
    assert told[0].message == "2 queues: 100 of 500 messages"


def test_what_is_no_id_is_refused(broker: Broker) -> None:
    for wrong in ("", "two ids", "an\x1bid", "*", "a" * 300, "<id>"):
        with fails(Invalid, field="task_id"):
            find(broker, wrong)


def test_a_failed_task_is_found_with_its_error_and_can_be_retried(broker: Broker) -> None:
    keep(broker, [failed("failing-1", queue="emails"), failed("failing-2", too_large="1", message=b"")])
    found = find(broker, "failing-1")
    assert (found.id, found.state, found.queue) == ("failing-1", "failed", "emails")
    assert summary(found).startswith(f"Task failing-1 is failed with {CHARGE.error}, at ")
    assert "2 failed tasks" in looked_at_line(found)
    assert act_on(found.places[0]) == RetryFailed(ids="failing-1")
    assert act_on(find(broker, "failing-2").places[0]) is None, "there is no message to send"
    both = find(broker, "failing-")
    assert (both.state, set(both.ids)) == (None, {"failing-1", "failing-2"})


def test_a_failed_task_that_waits_again_is_waiting(broker: Broker) -> None:
    keep(broker, [failed("failing-1")])
    push(broker, message("failing-1"))
    found = find(broker, "failing-1")
    assert (found.state, [place.state for place in found.places]) == ("waiting", ["waiting"])
