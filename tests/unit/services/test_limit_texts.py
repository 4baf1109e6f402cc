"""What is limited and held, in one sentence each."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from opsdash.model import HeldTasks, RateLimit
from opsdash.model.hold import Hold
from opsdash.model.verdict import Verdict
from opsdash.services.pause.hold_text import held
from opsdash.services.pause.limit_text import limited
from opsdash.services.pause.verdict_text import as_plain


def limits(rates: int, most: int, waiting: int = 0) -> Any:
    hold = Hold(id="a", kind="limit", name="shop.*", most=1_234)
    return SimpleNamespace(
        rate_limits=[RateLimit(task=f"t{number}", rate="10/s", per_s=10.0, until=0.0) for number in range(rates)],
        concurrency_limits=[HeldTasks(hold=hold, held=waiting if number == 0 else 0) for number in range(most)],
    )


@pytest.mark.parametrize(
    ("rates", "most", "waiting", "commands", "sentences"),
    [
        (0, 0, 0, True, []),
        (1, 0, 0, False, ["Rate limits: t0 10/s"]),
        (1, 0, 0, True, ["Rate limits: t0 10/s: opsdash rate-limits"]),
        (5, 0, 0, False, ["Rate limits: t0 10/s, t1 10/s, t2 10/s, t3 10/s, t4 10/s"]),
        (7, 0, 0, False, ["Rate limits: t0 10/s, t1 10/s, t2 10/s, t3 10/s, t4 10/s and 2 more"]),
        (0, 1, 0, False, ["Concurrency limits: shop.* 1,234 at once"]),
        (0, 1, 1, False, ["Concurrency limits: shop.* 1,234 at once, 1 task waits"]),
        (0, 1, 2, True, ["Concurrency limits: shop.* 1,234 at once, 2 tasks wait: opsdash concurrency-limits"]),
        (1, 1, 0, False, ["Rate limits: t0 10/s", "Concurrency limits: shop.* 1,234 at once"]),
    ],
)
def test_limits_are_named_with_what_waits(
    rates: int, most: int, waiting: int, commands: bool, sentences: list[str]
) -> None:
    assert list(limited(limits(rates, most, waiting), commands=commands)) == sentences


def test_three_holds_are_named_and_further_ones_counted() -> None:
    holds = [HeldTasks(hold=Hold(id=str(n), kind="task", name=f"t{n}"), held=n) for n in range(5)]
    assert held([], None) == ""
    assert held(holds[1:2], None) == "Held: t1: 1 task"
    assert held(holds[:3], None) == "Held: t0, t1, t2: 3 tasks"
    assert held(holds, None) == "Held: t0, t1, t2 and 2 more: 10 tasks"
    tenant = HeldTasks(hold=Hold(id="a", kind="tenant", name="acme"), held=0)
    assert held([tenant], None) == "Held: tenant acme: 0 tasks"


def test_a_verdict_for_programs_has_all_its_fields() -> None:
    found = as_plain(Verdict())
    assert {*found} == {
        *("queue", "state", "safe", "message", "reasons", "notes", "remedies", "workers", "stopped", "running", "held"),
        *("scheduled", "age_s"),
    }
