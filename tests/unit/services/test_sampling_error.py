"""The error that an estimate tells is true: it holds the truth nearly always, in whatever order the messages are."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from opsdash.services.queues import sampling, scan

MESSAGES = 200_000
KINDS = {"mail": 60, "pay": 30, "stock": 9, "report": 1}


def drawn(chance: random.Random, run: int) -> list[str]:
    names = chance.choices(list(KINDS), list(KINDS.values()), k=MESSAGES // run)
    return [name for name in names for _ in range(run)]


ORDERS = {
    "well mixed": lambda chance: drawn(chance, 1),
    "runs of ten": lambda chance: drawn(chance, 10),
    "blocks of two thousand": lambda chance: drawn(chance, 2_000),
    "one block in front": lambda chance: ["night"] * (MESSAGES // 7) + drawn(chance, 1)[MESSAGES // 7 :],
    "all alike": lambda _chance: ["mail"] * MESSAGES,
}


def names_of(monkeypatch: pytest.MonkeyPatch, names: list[str]) -> Any:
    """A broker whose one list has tasks of these names, in this order."""
    pipe = SimpleNamespace(llen=lambda _key: None, execute=lambda **_options: [len(names)])

    def found(_broker: Any, _key: str, start: int, number: int) -> scan.Names:
        part = Counter(name.encode() for name in names[start : start + number])
        return scan.Names(looked_at=part.total(), by_name=dict(part))

    monkeypatch.setattr(sampling.scan, "names", found)
    monkeypatch.setattr(sampling.scan, "window", lambda *_arguments: [b"x" * 900] * 10)
    client = SimpleNamespace(pipeline=lambda **_options: contextlib.nullcontext(pipe))
    return SimpleNamespace(reading=contextlib.nullcontext, client=client, lists=lambda _queue: {0: "celery"})


@pytest.mark.parametrize("look_s", [0.0, 0.012])
@pytest.mark.parametrize("order", ORDERS)
def test_nineteen_of_twenty_told_errors_hold_the_truth(
    monkeypatch: pytest.MonkeyPatch, order: str, look_s: float
) -> None:
    monkeypatch.setattr(sampling, "LOOK_S", look_s)
    truth = ORDERS[order](random.Random(7))
    counts, broker, held, off = Counter(truth), names_of(monkeypatch, truth), list[bool](), list[float]()
    for seed in range(100):
        found = sampling.sample_tasks(broker, "celery", chance=random.Random(seed))
        assert found.number == MESSAGES
        common = [name for name, number in counts.items() if number > MESSAGES / 20]
        held += [abs(found.by_task.get(n, 0) - counts[n]) <= found.error.get(n, found.unseen) for n in common]
        off.append(max(abs(found.by_task.get(n, 0) - counts[n]) for n in common))
    # In eight places, each of one kind, a share of a tenth is seen once or not at all: Student's t is not quite right.
    assert sum(held) / len(held) >= (0.9 if order == "blocks of two thousand" else 0.93)
    if order == "well mixed":
        assert sorted(off)[50] <= 0.02 * MESSAGES, "two points"
