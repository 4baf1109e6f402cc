"""What measuring the time in queue costs a worker's process per task, and a sender per message."""

from __future__ import annotations

import gc
import statistics
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from zoneinfo import ZoneInfo

from celery.utils.time import maybe_iso8601, maybe_make_aware
from celery.worker.request import Request

from opsdash.keys import SENT
from opsdash.worker.celery_private import started
from opsdash.worker.message_origin import Origin
from opsdash.worker.sent_time import _stamp
from opsdash.worker.time_in_queue import QueueTimes

HOST = "bench@host"
TASKS = 200_000
ZONE = ZoneInfo("Europe/Berlin")


def measure(*, quick: bool) -> tuple[dict[str, list[float]], dict[str, tuple[str, str]], str]:
    """Microseconds each. The worker's side is Celery's own call when a pool accepts a task, with and without ours."""
    figures: dict[str, list[float]] = {}
    times = QueueTimes()
    stock = Request.on_accepted
    try:
        started.watch_starts(HOST, times.note)
        noting = Request.on_accepted
        for _ in range(3 if quick else 15):
            made, due = requests(), requests(eta=True)
            ways = {
                "accept: plug-in": (noting, made),
                "accept: stock": (stock, made),
                "accept: plug-in, ETA": (noting, due),
            }
            found = medians(ways, batches=50 if quick else 200)
            found["added per task"] = found["accept: plug-in"] - found["accept: stock"]
            found["added per task with an ETA"] = found["accept: plug-in, ETA"] - found["accept: stock"]
            found["stamp per message sent"] = stamping()
            for name, value in found.items():
                figures.setdefault(name, []).append(value)
    finally:
        Request.on_accepted = stock
        started._watched.clear()
        started._callbacks.pop(HOST, None)
    return figures, {"accept: plug-in / stock": ("accept: plug-in", "accept: stock")}, "us"


def requests(*, eta: bool = False) -> list[Any]:
    """Requests as a worker has them, sent within the last minute."""
    now = time.time()
    task = SimpleNamespace(acks_late=True)
    place = Origin("emails", "emails", b"")
    made = []
    for n in range(1_000):
        sent = now - n * 0.06
        request = Request.__new__(Request)
        request._hostname, request._eventer, request._task = HOST, None, task
        due = (datetime.fromtimestamp(sent, UTC) + timedelta(seconds=0.01)).isoformat() if eta else None
        request._eta = maybe_make_aware(maybe_iso8601(due), ZONE) if due else None  # as Celery has it
        headers = {SENT: sent, "id": "x", "task": "y", "eta": due}
        request._message = SimpleNamespace(headers=headers, opsdash_origin=place)
        request.id, request.name = str(n), "emails.send"
        made.append(request)
    return made


def medians(ways: dict[str, tuple[Any, list[Any]]], batches: int) -> dict[str, float]:
    """Microseconds of one call: batches of 1,000 of each way in turn, so that a noisy moment hits all."""
    took: dict[str, list[float]] = {name: [] for name in ways}
    at = time.monotonic()
    gc.collect()
    for _ in range(batches):
        for name, (accept, made) in ways.items():
            began = time.perf_counter()
            for request in made:
                accept(request, 1, at)
            took[name].append((time.perf_counter() - began) / len(made) * 1e6)
    return {name: statistics.median(each) for name, each in took.items()}


def stamping() -> float:
    """Microseconds of one stamp."""
    headers: dict[str, Any] = {}
    began = time.perf_counter()
    for _ in range(TASKS):
        _stamp(headers=headers)
    return (time.perf_counter() - began) / TASKS * 1e6
