"""A storm's steps come from its seed alone, and each of its invariants can fail."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from chaos.storm import invariants, schedule
from chaos.storm.acts import CALLS, Acts
from chaos.storm.invariants import Expected, Exposure, Ledger, Request, Sent, Size, Stopped
from chaos.storm.truth import Truth

from opsdash.operation import registry


def lines(seed: int, number: int = 200) -> list[str]:
    return [step.line() for step in itertools.islice(schedule.steps(seed), number)]


def test_a_seed_has_the_same_steps_each_time_and_another_seed_others() -> None:
    first = lines(7)
    random.seed(1)
    assert lines(7) == first
    assert lines(8) != first
    assert schedule.step(7, 150).line() == first[149]


def test_a_record_is_replayed_as_it_was_done() -> None:
    recorded = lines(7)
    assert [step.line() for step in schedule.from_lines([*recorded, '{"note": 1}', ""])] == recorded


def test_every_act_is_drawn_and_can_be_done() -> None:
    drawn = {act.kind for step in itertools.islice(schedule.steps(1), 300) for act in schedule.walk(step.acts)}
    assert drawn == set(schedule.CONSOLE_ACTS) | set(schedule.WORLD_ACTS)
    assert all(hasattr(Acts, f"_{kind}") for kind in schedule.WORLD_ACTS)
    assert set(CALLS) == set(schedule.CONSOLE_ACTS)
    assert set(CALLS.values()) <= set(registry())


def named(faults: list[invariants.Fault]) -> list[str]:
    return [fault.invariant for fault in faults]


def sent(id_: str = "a", task: str = "sample.short", tenant: str = "") -> dict[str, Sent]:
    return {id_: Sent(id_, task, "celery", tenant, 1)}


@pytest.mark.parametrize(
    ("runs", "places", "fault"),
    [
        (1, [], None),
        (0, ["queue:celery"], None),
        (0, [], "no task is lost"),
        (2, [], "no task runs or lies twice"),
        (1, ["unacked"], "no task runs or lies twice"),
        (0, ["queue:celery", "trash:1"], "no task runs or lies twice"),
    ],
)
def test_a_task_runs_once_or_lies_in_one_place(runs: int, places: list[str], fault: str | None) -> None:
    ledger, found = Ledger(sent()), Truth()
    ledger.runs["a"] = runs
    found.places["a"] = places
    assert named(ledger.tasks(found, Exposure())) == ([fault] if fault else [])


def test_what_celery_may_do_is_allowed_that_often_and_no_more() -> None:
    found = Truth()
    ledger = Ledger(sent("a") | sent("b"))
    assert named(ledger.tasks(found, Exposure(lost=1))) == ["no task is lost"]
    assert ledger.tasks(found, Exposure(lost=2)) == []
    assert set(ledger.loose) == {"a", "b"}


def test_a_deleted_task_is_gone_and_a_strange_one_is_a_fault() -> None:
    ledger, found = Ledger(sent(), deleted={"a": True}), Truth()
    assert ledger.tasks(found, Exposure()) == []
    found.places |= {"a": ["queue:celery"], "z": ["queue:celery"]}
    assert named(ledger.tasks(found, Exposure())) == ["a deleted task is gone", "no task comes from nowhere"]


@pytest.mark.parametrize(
    ("span", "at", "fault"),
    [
        (Stopped("pause", None, 10.0), 11.0, True),
        (Stopped("pause", "celery", 10.0), 11.0, True),
        (Stopped("pause", "emails", 10.0), 11.0, False),
        (Stopped("pause", "celery", 10.0), 9.0, False),
        (Stopped("pause", "celery", 10.0, 10.5), 11.0, False),
        (Stopped("task", "sample.short", 10.0), 11.0, True),
        (Stopped("tenant", "acme", 10.0), 11.0, True),
        (Stopped("tenant", "birch", 10.0), 11.0, False),
    ],
)
def test_a_start_within_a_confirmed_pause_or_hold_is_a_fault(span: Stopped, at: float, fault: bool) -> None:
    found = invariants.starts([span], [("a", at)], sent(tenant="acme"))
    assert named(found) == (["nothing starts while it is paused or held"] if fault else [])


def test_pauses_and_holds_are_what_the_answers_said() -> None:
    found = Truth(flags=frozenset({"celery"}), holds={"1": {"kind": "task", "name": "sample.late"}})
    expected = Expected()
    assert named(expected.check(found)) == ["pauses are what the answers said", "holds are what the answers said"]
    expected = Expected()
    expected.apply("flags", "celery", add=True, sure=False)
    expected.apply("holds", ("task", "sample.late"), add=True, sure=True)
    assert expected.check(found) == []
    assert expected.flags == {frozenset({"celery"})}
    assert named(expected.check(Truth(holds=found.holds))) == ["pauses are what the answers said"]


def test_what_was_cleared_is_kept_and_nothing_else_is() -> None:
    kept = Truth(keys={"opsdash:trash:1:info": 60})
    assert named(Expected(trash={"1"}, known={"1"}).check(Truth())) == ["what was cleared is kept"]
    assert named(Expected().check(kept)) == ["an act that changed nothing has cleared nothing"]
    assert Expected(more=True).check(kept) == []


def test_tenants_are_as_they_were_synced() -> None:
    found = Truth(tenants={"acme": "Acme", "orphan": "Orphan"})
    assert Expected(tenants={"acme": "Acme"}).check(found) == []
    assert named(Expected(tenants={"acme": "New"}).check(found)) == ["the tenants are as they were synced"]


ROW = ("1", "clear_queue", "success", 3)


@pytest.mark.parametrize(
    ("request_", "rows", "fault"),
    [
        (Request("1", "clear_queue", "ok", 0.0, affected=3), [ROW], None),
        (Request("1", "clear_queue", "ok", 0.0, affected=3), [], "the entry says what happened"),
        (Request("1", "clear_queue", "nothing", 0.0), [ROW], "the entry says what happened"),
        (Request("1", "clear_queue", "nothing", 0.0), [], None),
        (Request("1", "clear_queue", "nothing", 0.0, kind="refused"), [], "the entry says what happened"),
        (Request("1", "clear_queue", "ok", 0.0, affected=4), [ROW], "the entry has the number of the answer"),
        (Request("1", "clear_queue", "ok", 0.0, affected=3), [ROW, ROW], "one entry for each act"),
        (
            Request("1", "clear_queue", "none", 0.0),
            [("1", "clear_queue", "in_progress", None)],
            "no entry stays in progress",
        ),
    ],
)
def test_each_act_has_one_true_entry(request_: Request, rows: list[Any], fault: str | None) -> None:
    assert named(invariants.audit({"1": request_}, rows, invariants.REAPED_S + 1)) == ([fault] if fault else [])


def test_an_entry_without_an_act_is_a_fault() -> None:
    assert named(invariants.audit({}, [ROW], 0.0)) == ["no entry without an act"]
    assert named(invariants.audit({}, [ROW], 0.0, ended=1)) == ["no entry without an act"]
    assert invariants.audit({}, [("1", "resume_processing", "success", None)], 0.0, ended=1) == []


SHOWN: dict[str, Any] = {
    "redis_error": "", "database_error": "", "queues": [{"name": "celery", "waiting": 0}], "unacked": 0,
    "processing": "RUNNING", "paused_queues": {}, "trash": [], "holds": [], "spooled": 0, "workers": [], "tenants": 0,
    "epoch": None, "failed": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"redis_error": "no answer"},
        {"database_error": "no answer"},
        {"queues": [{"name": "celery", "waiting": 1}]},
        {"unacked": 1},
        {"processing": "PAUSED"},
        {"paused_queues": {"emails": {}}},
        {"trash": [{"id": "1", "count": 1}]},
        {"holds": [{"hold": {"id": "1"}, "held": 1}]},
        {"spooled": 1},
        {"workers": [{"hostname": "w", "state": "online"}]},
        {"tenants": 1},
        {"epoch": 3},
        {"failed": 1},
    ],
)
def test_a_figure_that_is_not_the_servers_own_is_a_fault(wrong: dict[str, Any]) -> None:
    assert invariants.figures(SHOWN, Truth(), [], 0) == []
    assert named(invariants.figures(SHOWN | wrong, Truth(), [], 0)) == [f"the figure {next(iter(wrong))} is true"]


def test_a_task_that_is_shown_elsewhere_is_a_fault() -> None:
    assert invariants.found_task({"state": "held"}, ["held:1"]) == []
    assert named(invariants.found_task({"state": "waiting"}, ["held:1"])) == ["a task is found where it lies"]


def test_a_key_for_ever_many_keys_and_a_larger_process_are_faults() -> None:
    size = Size(files=20, rss_mb=100.0, threads=10)
    found = Truth(keys={"opsdash:strange": -1, "opsdash:hold": -1, "opsdash:request:1": 60})
    assert named(invariants.growth(found, size, size)) == ["keys end by themselves"]
    many = Truth(keys={f"opsdash:mark:{n}": 60 for n in range(invariants.MOST_OTHER_KEYS + 1)})
    assert named(invariants.growth(many, size, size)) == ["keys do not become more"]
    larger = Size(files=200, rss_mb=400.0, threads=100)
    assert len(invariants.growth(Truth(), size, larger)) == 3
