"""One task among many that wait: found, removed, put back, searched by text; and how long others wait meanwhile.

Messages are as Celery writes them, some 1 kB, half of a queue's in each of two priorities.
"""

from __future__ import annotations

import json
import tracemalloc
import uuid
from collections.abc import Callable

from stage import server
from stall import timed
from support.holders import Nobody
from support.messages import message

from opsdash.config.settings import Settings
from opsdash.services.broker.client import Broker, connect
from opsdash.services.queues.find_task import TaskFinder
from opsdash.services.queues.remove_task import remove
from opsdash.services.queues.results import Results
from opsdash.services.queues.search_tasks import TaskQuery, TaskSearch
from opsdash.services.queues.trash import Trash

CHUNK = 2_000


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], dict[str, str]]:
    """Milliseconds of each, the longest PING of another client meanwhile, and megabytes that a search needed."""
    messages, searched, rounds = (100_000, 20_000, 2) if quick else (1_000_000, 200_000, 5)
    figures: dict[str, list[float]] = {}
    with server() as made:
        settings = Settings.from_env({}, redis_url=made.url, queues=("celery", "emails"))
        broker = connect(settings)
        middle = fill(broker, "celery", messages)
        fill(broker, "emails", searched)
        broker.client.config_set("save", "")
        holders = Nobody()
        finder = TaskFinder(broker, holders, Trash(broker), Results(settings), lambda: ("celery",))  # type: ignore[arg-type]
        search = TaskSearch(broker, holders, lambda: ("emails",))  # type: ignore[arg-type]

        def find(task_id: str, state: str) -> None:
            found = finder.find(task_id)
            if found.state != state or not found.complete:
                raise RuntimeError(f"{task_id} is {found.state}, expected {state}")

        def fetch_all() -> None:
            wanted = str(uuid.uuid4()).encode()
            raw = Broker(connect(settings).client, broker.layouts, "bench")
            for key in raw.lists("celery").values():
                at = 0
                while found := raw.client.execute_command("LRANGE", key, at, at + CHUNK - 1, NEVER_DECODE=True):
                    if any(wanted in one for one in found):
                        raise RuntimeError("it is not there")
                    at += len(found)

        ways: dict[str, Callable[[], object]] = {
            f"opsdash finds one of {messages:,}": lambda: find(middle, "waiting"),
            "opsdash finds by 8 characters": lambda: find(middle[:8], "waiting"),
            "opsdash says that it is not there": lambda: find(str(uuid.uuid4()), "not_found"),
            "LRANGE and a look at each": fetch_all,
        }
        for round_ in range(rounds):
            for name, way in ways.items():
                took = timed(way, made.url)
                figures.setdefault(name, []).append(took.ms)
                figures.setdefault(f"{name}, longest stall", []).append(took.stall_ms)
            trash_id = f"bench-{round_}"
            acts: dict[str, Callable[[], object]] = {
                "opsdash removes it from the middle": lambda trash_id=trash_id: remove(
                    broker, "celery", middle, by="bench", keep_s=600, trash_id=trash_id
                ),
                "opsdash puts it back": lambda trash_id=trash_id: Trash(broker).restore(trash_id, by="bench"),
            }
            for name, act in acts.items():
                took = timed(act, made.url)
                figures.setdefault(name, []).append(took.ms)
                figures.setdefault(f"{name}, longest stall", []).append(took.stall_ms)

            def go_through() -> None:
                after = ""
                while True:
                    page = search.page(TaskQuery(text="a text that nothing has"), after=after)
                    if not (after := page.after):
                        return

            took = timed(go_through, made.url)
            figures.setdefault(f"a search through {searched:,}", []).append(took.ms)
            figures.setdefault("a search, longest stall", []).append(took.stall_ms)
            tracemalloc.start()
            go_through()
            figures.setdefault("a search, memory more", []).append(tracemalloc.get_traced_memory()[1] / 1e6)
            tracemalloc.stop()
        broker.client.close()
    pairs = {"LRANGE / opsdash": ("LRANGE and a look at each", "opsdash says that it is not there")}
    unit = {name: "MB" if name.endswith("memory more") else "ms" for name in figures}
    return figures, pairs, unit


def fill(broker: Broker, queue: str, number: int) -> str:
    """So many messages, half of them in the second priority; the id of the one in the middle of the first."""
    model, middle = message(args=["x" * 120, {"order": 1}], pad="x" * 300), str(uuid.uuid4())
    told = json.loads(model)
    task_id, tag = told["headers"]["id"], told["properties"]["delivery_tag"]
    first, second, *_ = broker.lists(queue).values()
    for key, part in ((first, 1), (second, 2)):
        for at in range(0, number // 2, CHUNK):
            numbers = [f"{part}{at + n:07d}-{queue[:4]}-4000-8000-000000000000" for n in range(CHUNK)]
            texts = [model.replace(task_id, one).replace(tag, one) for one in numbers]
            if part == 1 and at == number // 4 // CHUNK * CHUNK:
                texts[CHUNK // 2] = message(middle)
            broker.client.lpush(key, *texts)
    return middle
