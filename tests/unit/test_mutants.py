"""Mutants: what is put in place, what is drawn, and how results are counted."""

from __future__ import annotations

import marshal
from pathlib import Path

import pytest
from mutants import swap
from mutants.swap import apply

from opsdash.worker import gate


def test_a_mutants_code_runs_wherever_the_function_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    function = gate.PauseState.holds
    code = function.__code__
    monkeypatch.setattr(function, "__code__", code)  # as it was, at the end
    monkeypatch.setattr(swap, "KNOWN", {swap.place_of(function): [function]})
    held_before = gate.PauseState(everything=True).holds("emails")
    mutated = function.__code__.replace(co_consts=code.co_consts, co_code=(lambda self, queue: None).__code__.co_code)
    path = tmp_path / "mutant"
    path.write_bytes(marshal.dumps((gate.__name__, *swap.place_of(function), mutated)))
    assert held_before
    assert apply(str(path)) == 1
    assert gate.PauseState(everything=True).holds("emails") is not True


def test_mutants_of_a_file_have_lasting_keys_and_none_is_about_what_a_log_says(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("libcst")
    pytest.importorskip("mutmut")
    from mutants import operators

    made, texts = operators.mutants("opsdash/worker/slots.py")
    again, _ = operators.mutants("opsdash/worker/slots.py")
    assert [one.key for one in made] == [one.key for one in again]
    assert len({one.key for one in made}) == len(made)
    assert texts >= 0
    one = next(one for one in made if one.function == "Slots._free")
    old, new = operators.compiled(one)
    assert (old.co_qualname, new.co_qualname) == ("Slots._free", "Slots._free")
    assert old.co_code != new.co_code or old.co_consts != new.co_consts
    assert one.before != one.after


def test_a_share_has_its_interval_and_a_change_its_place() -> None:
    pytest.importorskip("libcst")
    pytest.importorskip("mutmut")
    from mutants import results

    low, high = results.interval(90, 100)
    assert (round(low, 3), round(high, 3)) == (0.826, 0.945)
    assert results.interval(0, 0) == (0.0, 1.0)
    assert results.change("if a < b: ...", "if a <= b: ...") == "if a < b: ... ⇒ if a <= b: ..."
    assert results.change("x" * 50 + "1" + "y" * 50, "x" * 50 + "2" + "y" * 50) == (
        f"…{'x' * 30}1{'y' * 30}… ⇒ …{'x' * 30}2{'y' * 30}…"
    )


def test_results_are_counted_by_file(tmp_path: Path) -> None:
    pytest.importorskip("libcst")
    pytest.importorskip("mutmut")
    from mutants.results import Result, Store, survivors, table

    store = Store(tmp_path / "results.jsonl")
    for number, state in enumerate(("killed", "survived", "timeout", "untested", "same", "crash")):
        store.add(Result(f"k{number}", "opsdash/a.py", "f", number, "a", "b", state))
    again = Store(tmp_path / "results.jsonl")
    assert again.found == store.found
    text = table(again.found.values(), {"k1": "equivalent: the same"}, {"opsdash/a.py": 9})
    assert "| `a.py` | 9 | 5 | 2 | 1 | 1 | 1 | 75 |" in text
    lines = survivors(again.found.values(), {"k1": "the same"}).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| k3", "| k1"]
