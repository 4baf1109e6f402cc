"""A selective clear, as an operator sees it: what it will do, and that it does just that."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any
from uuid import uuid4

import pytest
from support.previews import texts

import opsdash
from opsdash.errors import Refused
from opsdash.model import Progress
from opsdash.services.console import Console
from opsdash.services.queues import sampling
from opsdash.services.queues.clear_preview import arriving
from opsdash.services.queues.lock import locked


@pytest.fixture
def ops(console_for: Any) -> Console:
    return console_for(queues=("celery", "emails"))


def message(name: str, *args: Any, sent: float | None = None) -> str:
    properties: dict[str, Any] = {"delivery_tag": str(uuid4())} | ({} if sent is None else {"timestamp": sent})
    headers = {"task": name, "id": str(uuid4())}
    body = json.dumps([args, {}, {}])
    return json.dumps({"headers": headers, "properties": properties, "content-type": "application/json", "body": body})


def send(ops: Console, *messages: str, step: int = 0) -> None:
    ops.broker.client.lpush(ops.broker.lists("emails")[step], *messages)


def test_the_preview_says_how_many_match_of_which_kind_how_old_and_what_stays(ops: Console) -> None:
    now = time.time()
    send(ops, message("shop.mail", sent=now - 7_200), message("shop.bill", sent=now - 9_000), message("shop.mail"))
    send(ops, message("shop.mend"), step=9)
    preview = ops.preview(opsdash.ClearTasks(queue="emails", task="shop.m*"))
    assert texts(preview) == (
        "3 of 4 pending tasks of queue emails, those named shop.m*, will be removed; the others keep their order.",
        "By task: 2 shop.mail, 1 shop.mend.",
        "Age of the oldest: 2h 0m 0s.",
        arriving(None).text,
    )
    figures = preview.values()
    assert (figures["matching"], figures["matching_error"], figures["waiting"]) == (3, 0, 4)
    assert figures["by_task"] == {"shop.mail": 2, "shop.mend": 1}


def test_of_more_than_ten_thousand_the_preview_is_an_estimate_and_says_so(
    ops: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "LOOK_S", 60.0)
    send(ops, *[message("shop.mail", n) for n in range(8_000)], *[message("shop.bill", n) for n in range(4_000)])
    preview = ops.preview(opsdash.ClearTasks(queue="emails", task="shop.bill"))
    number, error = preview.values()["matching"], preview.values()["matching_error"]
    assert texts(preview)[0].startswith(f"About {number:,} (± {error:,}) of 12,000 pending tasks of queue emails,")
    assert texts(preview)[1] == "Estimated from 1,000 of them; the clear checks each one."
    assert abs(number - 4_000) <= 2 * error
    effect = ops.run(
        opsdash.ClearTasks(queue="emails", task="shop.bill"), actor="maria", confirm="YES", reviewed=preview
    )
    assert effect.affected == 4_000


def test_what_has_grown_old_enough_since_the_preview_stays(ops: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    young = message("shop.mail", sent=now - 3_500)
    send(ops, message("shop.mail", sent=now - 4_000), young)
    clear = opsdash.ClearTasks(queue="emails", older_than_s=3_600)
    preview = ops.preview(clear)
    assert preview.values()["matching"] == 1
    monkeypatch.setattr("opsdash.services.queues.task_filter.time.time", lambda: now + 300)
    effect = ops.run(clear, actor="maria", confirm="YES", reviewed=preview)
    assert effect.affected == 1
    assert ops.broker.client.lrange(ops.broker.lists("emails")[0], 0, -1) == [young]


def test_while_somebody_else_works_on_the_queue_it_is_refused_politely(ops: Console) -> None:
    send(ops, message("shop.mail"))
    with (
        locked(ops.broker, "emails", by="otto", what="selective clear"),
        pytest.raises(Refused, match=r"is being worked on by otto \(selective clear, since "),
    ):
        ops.run(opsdash.ClearTasks(queue="emails", task="*"), actor="maria", confirm="YES")
    assert ops.get_recent_operations()[0].status == "refused"


def test_it_tells_how_far_it_has_come_and_ends_where_it_is_told(ops: Console) -> None:
    send(ops, *[message("shop.mail", n) for n in range(3_000)])
    progress: list[Progress] = []
    effect = ops.run(
        opsdash.ClearTasks(queue="emails", task="shop.mail"),
        actor="maria",
        confirm="YES",
        on_progress=progress.append,
        cancelled=lambda: len(progress) >= 2,
    )
    assert (progress[0].of, progress[1].at) == (3_000, effect.affected)
    assert 0 < effect.affected < 3_000
    assert (
        effect.message
        == f"Cancelled. Cleared {effect.affected:,} tasks named shop.mail from emails. The rest was not checked."
    )
    assert ops.get_queue_length("emails") == 3_000 - effect.affected
    assert ops.get_recent_operations()[0].status == "failure"


GROWTH = """
import resource, sys
from pathlib import Path

import opsdash
from opsdash.bootstrap import assemble
from opsdash.services.console import Console
from opsdash.config.settings import Settings

url, database = sys.argv[1:]
settings = Settings.from_env({}, redis_url=url, database_url=database, queues=("emails",), secret_key="k" * 32)
console = assemble(settings)
clear = opsdash.ClearTasks(queue="emails", task="shop.mail")
preview = console.preview(clear)

def most_kb():
    status = Path("/proc/self/status")
    if status.exists():  # what rusage says on Linux includes the process that started this one
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1_000

before = most_kb()
effect = console.run(clear, actor="maria", confirm="YES", reviewed=preview)
print(effect.affected, most_kb() - before)
"""


@pytest.mark.slow
def test_two_hundred_thousand_tasks_are_looked_at_in_bounded_memory(ops: Console) -> None:
    """200 MB of messages, half of which match: the process grows by a few steps' worth of them."""
    for start in range(0, 200_000, 2_000):
        names = ("shop.mail", "shop.bill") * 1_000
        send(ops, *(message(name, start + n, "x" * 800) for n, name in enumerate(names)))
    command = [sys.executable, "-c", GROWTH, ops.settings.redis_url, ops.settings.database_url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    affected, grown = map(int, done.stdout.split())
    assert affected == 100_000
    assert grown < 30_000, f"{grown:,} kB"
