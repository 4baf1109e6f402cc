"""What lies in Redis, read by plain commands and none of opsdash's code."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import redis
from chaos.storm.beat_app import ORIGIN
from chaos.storm.schedule import QUEUES

STEPS = (0, 3, 6, 9)
SEPARATOR = "\x06\x16"
FLAG = "system:pause_processing"


@dataclass
class Truth:
    """One read of everything.

    Attributes:
        places: Task id → where its messages lie: ``queue:emails``, ``held:…``, ``trash:…``, ``unacked``, ``failed``.
        flags: What is paused; None in it: everything. ``holds``: id → kind, name and more, as stored.
        not_kept: Failures that workers have counted and not kept, since there were too many at once.
        of_beat: Task ids that a beat has sent.
        held: Hold id → tasks. ``held_of``: the same by hold and queue.
        trash: Trash id → messages. ``keys``: opsdash's keys → seconds to live, -1 for ever.
        tenants: Tenant → its name. ``reports``: hostname → what it reported last. ``now``: Redis's time.
    """

    places: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    waiting: Counter[str] = field(default_factory=Counter)
    unacked: int = 0
    flags: frozenset[str | None] = frozenset()
    holds: dict[str, dict[str, Any]] = field(default_factory=dict)
    held: Counter[str] = field(default_factory=Counter)
    held_of: Counter[tuple[str, str]] = field(default_factory=Counter)
    trash: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    not_kept: int = 0
    spooled: int = 0
    tenants: dict[str, str] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    reports: dict[str, dict[str, str]] = field(default_factory=dict)
    of_beat: set[str] = field(default_factory=set)
    epoch: str | None = None
    now: float = 0.0


def queue_lists(queue: str) -> list[str]:
    return [queue if step == 0 else f"{queue}{SEPARATOR}{step}" for step in STEPS]


def task_id(message: Any) -> str:
    return str(message["headers"]["id"])


def read(client: redis.Redis) -> Truth:
    """Everything, now. Cost: some round trips for each hundred keys; the storm stands still meanwhile."""
    found = Truth()
    seconds, micros = client.time()
    found.now = seconds + micros / 1e6
    names = sorted(client.scan_iter(count=1000))
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.type(name)
            pipe.ttl(name)
        told = pipe.execute()
    lists = {key: queue for queue in QUEUES for key in queue_lists(queue)}
    for name, kind, ttl in zip(names, told[::2], told[1::2], strict=True):
        if "opsdash:" in name:
            found.keys[name] = ttl
        if kind == "list":
            _read_list(found, client, name, lists.get(name, ""))
        elif kind == "hash":
            _read_hash(found, client, name)
        elif name == FLAG or name.startswith(f"{FLAG}:"):
            found.flags |= {name[len(FLAG) + 1 :] or None}
        elif name.startswith("tenant_config:"):
            found.tenants[name.partition(":")[2]] = str(json.loads(str(client.get(name))).get("name"))
    found.spooled = client.xlen("opsdash:audit:spool") if "opsdash:audit:spool" in names else 0
    found.epoch = client.get("opsdash:pause:epoch")
    return found


def _read_list(found: Truth, client: redis.Redis, name: str, queue: str) -> None:
    if queue:
        place = f"queue:{queue}"
    elif name.startswith("opsdash:held:") and not name.endswith(":order"):
        place = f"held:{name.split(':')[3]}"
    elif name.startswith("opsdash:trash:"):
        place = f"trash:{name.split(':')[2]}"
    else:
        return
    for message in _messages(client.lrange(name, 0, -1)):
        _put(found, message, place)
        kind, _, which = place.partition(":")
        if kind == "queue":
            found.waiting[which] += 1
        elif kind == "held":
            found.held[which] += 1
            found.held_of[which, name.split(":")[2]] += 1
        elif not name.split(":")[3].startswith("kept"):
            found.trash[which] += 1


def _read_hash(found: Truth, client: redis.Redis, name: str) -> None:
    if name == "unacked":
        for text in client.hvals(name):
            _put(found, json.loads(text)[0], "unacked")
            found.unacked += 1
    elif name == "opsdash:hold":
        found.holds = {key: json.loads(text) for key, text in client.hgetall(name).items() if not key.endswith("!")}
    elif name.startswith("opsdash:failed:group:"):
        found.not_kept += int(client.hget(name, "not_kept") or 0)
    elif name.startswith("opsdash:failed:entry:"):
        found.failed += 1
        for message in _messages([text for text in client.hmget(name, "message") if text]):
            _put(found, message, "failed")
    elif name.startswith("opsdash:trash:") and not name.endswith(":info"):
        for message in _messages(client.hvals(name)):
            _put(found, message, f"trash:{name.split(':')[2]}")
            found.trash[name.split(":")[2]] += 1
    elif name.startswith("opsdash:worker:"):
        found.reports[name.removeprefix("opsdash:worker:")] = client.hgetall(name)


def _put(found: Truth, message: Any, place: str) -> None:
    found.places[task_id(message)].append(place)
    if message["headers"].get(ORIGIN):
        found.of_beat.add(task_id(message))


def _messages(texts: list[Any]) -> Iterator[dict[str, Any]]:
    for text in texts:
        try:
            message = json.loads(text)
        except ValueError:
            continue
        if isinstance(message, dict) and isinstance(message.get("headers"), dict) and "id" in message["headers"]:
            yield message
