"""Which tasks a hold matches, as a worker asks: names, globs, queues; and what a gate does with them."""

from __future__ import annotations

from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.model.hold import Hold, hold_id
from opsdash.worker import hold_rules
from opsdash.worker.gate import Gate, PauseState
from opsdash.worker.hold_rules import HoldRules
from opsdash.worker.message_origin import Origin
from opsdash.worker.requeue import PutBack
from opsdash.worker.set_aside import Held

NAMES = st.text("ab.*?[", min_size=1, max_size=6)


def a_hold(name: str, queue: str = "") -> Hold:
    return Hold(id=hold_id("task", name, queue), kind="task", name=name, queue=queue)


def a_request(name: str, queue: str | None = "celery") -> Any:
    home = None if queue is None else Origin(queue, queue, b"{}")
    return SimpleNamespace(name=name, acknowledged=False, message=SimpleNamespace(opsdash_origin=home))


@given(names=st.lists(NAMES, max_size=4, unique=True), task=st.text("ab.", max_size=6))
def test_names_match_as_they_do_in_every_filter_of_opsdash_the_oldest_hold_first(names: list[str], task: str) -> None:
    holds = tuple(a_hold(name) for name in names)
    expected = tuple(
        hold.id for hold in holds if hold.name == task or (set(hold.name) & set("*?[") and fnmatchcase(task, hold.name))
    )
    rules = HoldRules(holds)
    assert rules.of(a_request(task), "celery") == expected
    assert rules.of(a_request(task), "celery") == expected, "and as it was remembered"


def test_a_hold_of_one_queue_leaves_the_others_alone() -> None:
    rules = HoldRules((a_hold("shop.*", "emails"),))
    assert rules.of(a_request("shop.mail"), "emails")
    assert not rules.of(a_request("shop.mail"), "celery")


def of_a_tenant(headers: dict[str, Any] | None, body: str, kind: str = "application/json") -> Any:
    request = a_request("shop.mail")
    request.message.headers, request.message.body, request.message.content_type = headers, body, kind
    return request


@pytest.mark.parametrize(
    ("headers", "body", "kind", "held"),
    [
        ({"tenant_id": "acme"}, "[[], {}, {}]", "application/json", True),
        ({"tenant_id": 7}, "[[], {}, {}]", "application/json", False),
        ({}, '[[], {"tenant_id": "acme"}, {}]', "application/json", True),
        (None, '[[], {"tenant_id": "acme"}, {}]', "application/json", True),
        ({}, '{"kwargs": {"tenant_id": "acme"}}', "application/json", True),
        ({"tenant_id": "other"}, '[[], {"tenant_id": "acme"}, {}]', "application/json", False),
        ({"compression": "gzip"}, '[[], {"tenant_id": "acme"}, {}]', "application/json", False),
        ({}, '[[], {"tenant_id": "acme"}, {}]', "application/x-python-serialize", False),
        ({}, "no JSON", "application/json", False),
        ({}, '[[], {"tenant_id": ["acme"]}, {}]', "application/json", False),
        ({}, '[[], {"tenant_id": "acme", "more": "' + "x" * 300_000 + '"}, {}]', "application/json", False),
    ],
)
def test_a_tenant_is_known_by_its_header_else_by_the_keyword_argument(
    headers: dict[str, Any] | None, body: str, kind: str, held: bool
) -> None:
    tenant = Hold(id=hold_id("tenant", "acme"), kind="tenant", name="acme", key="tenant_id")
    rules = HoldRules((a_hold("shop.charge"), tenant))
    request = of_a_tenant(headers, body, kind)
    assert rules.of(request, "celery") == ((tenant.id,) if held else ())
    assert rules.of(request, "celery") == ((tenant.id,) if held else ()), "and as it was remembered"


def test_a_body_is_not_read_while_no_tenant_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold_rules, "tenant_of", lambda *_: pytest.fail("it was looked into"))
    assert HoldRules((a_hold("shop.*"),)).of(of_a_tenant({}, "[]"), "celery")


def test_names_that_a_sender_invents_are_not_remembered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hold_rules, "MOST_NAMES", 10)
    rules = HoldRules((a_hold("shop.*"),))
    for number in range(100):
        rules.of(a_request(f"x{number}"), "celery")
    assert len(rules._known) <= 10


@pytest.fixture
def went(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """What was put back, and set aside."""
    found: dict[str, list[Any]] = {"back": [], "aside": [], "left": []}

    def back(_channel: Any, requests: Any) -> PutBack:
        found["back"] += requests
        return PutBack(moved=len(requests))

    def aside(_channel: Any, held: list[Held]) -> tuple[dict[str, int], list[Any]]:
        found["aside"] += [one.request for one in held]
        return {"held": len(held), "refused": 0}, found["left"]

    monkeypatch.setattr("opsdash.worker.gate.put_back", back)
    monkeypatch.setattr("opsdash.worker.gate.set_aside", aside)
    return found


def gate_with(passed: list[Any], **state: Any) -> Gate:
    made = Gate(passed.append, (ConnectionError,))
    with made.lock:
        made.set(PauseState(epoch=1, known=frozenset({"celery"}), rules=HoldRules((a_hold("shop.charge"),)), **state))
    return made


def test_what_is_held_is_set_aside_while_others_and_broadcasts_pass(went: dict[str, list[Any]]) -> None:
    passed: list[Any] = []
    gate = gate_with(passed)
    held, other, broadcast = a_request("shop.charge"), a_request("shop.mail"), a_request("shop.charge", None)
    for request in (held, other, broadcast):
        gate.on_task_request(request)
    assert (went["aside"], passed, went["back"]) == ([held], [other, broadcast], [])


def test_a_pause_comes_before_a_hold(went: dict[str, list[Any]]) -> None:
    gate = gate_with([], queues=frozenset({"celery"}))
    held = a_request("shop.charge")
    gate.on_task_request(held)
    assert (went["aside"], went["back"]) == ([], [held])


def test_what_was_fetched_together_is_set_aside_the_oldest_first_and_the_rest_goes_back(
    went: dict[str, list[Any]],
) -> None:
    gate = gate_with([])
    one, two, other = a_request("shop.charge"), a_request("shop.charge"), a_request("shop.mail")
    gate.put_back(two, other, one)  # the newest first
    assert (went["aside"], went["back"]) == ([one, two], [other])


def test_what_redis_will_not_hold_runs_rather_than_gets_lost(went: dict[str, list[Any]]) -> None:
    passed: list[Any] = []
    gate = gate_with(passed)
    held = a_request("shop.charge")
    went["left"].append(held)
    gate.on_task_request(held)
    assert passed == [held]


def test_a_task_whose_hold_is_over_passes_the_later_looks_until_the_holds_are_read_anew(
    went: dict[str, list[Any]],
) -> None:
    gate = gate_with([])
    held = a_request("shop.charge")
    went["left"].append(held)
    gate.on_task_request(held)
    assert not gate.holds(held), "a thread that sent it back to the loop would let later ones overtake it"
    assert gate.sets_aside(held) == ()
    with gate.lock:
        gate.set(PauseState(epoch=1, known=frozenset({"celery"}), rules=HoldRules((a_hold("shop.*"),))))
    assert gate.holds(held)


def test_a_worker_that_can_not_read_the_holds_runs_everything_and_says_so() -> None:
    rules = hold_rules.answer(ValueError("no right"))
    assert (bool(rules), rules.error) == (False, "ValueError: no right")
    gate = Gate(lambda _request: None, ())
    with gate.lock:
        gate.set(PauseState(epoch=1, rules=rules))
    assert (gate.closed, gate.holding(), gate.health()) == (False, "ValueError: no right", "ready")


def test_a_concurrency_limit_holds_nothing_by_itself_and_closes_no_gate() -> None:
    limit = Hold(id="l", kind="limit", name="shop.*", most=3)
    rules = HoldRules((limit, a_hold("x")))
    assert rules.of(a_request("shop.mail"), "celery") == ()
    assert (rules.limits, rules.strict, rules.ids) == ((limit,), True, ["l", a_hold("x").id])
    alone = PauseState(rules=HoldRules((limit,)))
    assert (alone.closed, alone.rules.strict, bool(alone.rules)) == (False, False, True)
    assert HoldRules((limit,)) != HoldRules((Hold(id="l", kind="limit", name="shop.*", most=4),))


def test_for_the_log_holds_are_named_and_limits_are_not() -> None:
    task, tenant = Hold(id="a", kind="task", name="shop.*", queue="emails"), Hold(id="b", kind="tenant", name="acme")
    limit = Hold(id="c", kind="limit", name="shop.charge", most=2)
    assert str(HoldRules((task, limit, tenant))) == "task shop.* of queue emails, tenant acme"
    assert str(HoldRules((limit,))) == "nothing"
