"""A cancel of a workflow that is refused in its middle says what it has done; one that is refused at once, nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from opsdash.errors import Refused, Uncertain
from opsdash.services.workflows import cancel
from opsdash.services.workflows.cancel import Cancelled


def taken(monkeypatch: pytest.MonkeyPatch, done: Cancelled, queues: list[str], refuses: str = "") -> list[str]:
    """Takes from these queues, two tasks each; one of them is refused. Gives what was said meanwhile."""
    said: list[str] = []

    def take(_broker: Any, queue: str, _texts: Any, _meant: Any, _into: Any, *, on_step: Any, cancelled: Any) -> None:
        if queue == refuses:
            raise Refused(f"{queue} is busy.")
        on_step(2)

    monkeypatch.setattr(cancel, "take", take)
    seen: Any = SimpleNamespace(keys=["key-1"])
    plan: Any = SimpleNamespace(queues=queues)
    cancel._take(None, seen, plan, None, done, said.append, lambda: False)  # type: ignore[arg-type]
    return said


def test_each_queue_is_counted_as_its_tasks_go(monkeypatch: pytest.MonkeyPatch) -> None:
    done = Cancelled()
    assert taken(monkeypatch, done, ["a", "b"]) == ["2 tasks taken out", "4 tasks taken out"]
    assert (done.removed, done.queues_left) == ({"a": 2, "b": 2}, 0)


def test_a_refusal_before_anything_was_done_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Refused) as refused:
        taken(monkeypatch, Cancelled(), ["a", "b"], refuses="a")
    assert not isinstance(refused.value, Uncertain)


@pytest.mark.parametrize(
    ("done", "refuses", "says"),
    [
        (Cancelled(), "b", "2 tasks taken out, 0 revoked. Then: b is busy."),
        (Cancelled(revoked={"t1": None}), "a", "0 tasks taken out, 1 revoked. Then: a is busy."),
    ],
)
def test_a_refusal_after_something_was_done_says_what(
    done: Cancelled, refuses: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Uncertain) as uncertain:
        taken(monkeypatch, done, ["a", "b"], refuses=refuses)
    assert says in str(uncertain.value)


def test_queues_beyond_what_one_trash_has_room_for_stay_and_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    done = Cancelled()
    queues = [f"q{number}" for number in range(cancel.MOST_QUEUES + 3)]
    taken(monkeypatch, done, queues)
    assert (len(done.removed), done.queues_left) == (cancel.MOST_QUEUES, 3)
    taken(monkeypatch, done, ["one-more", "q0"])
    assert done.removed["q0"] == 4, "one that has a place in it"
    assert (len(done.removed), done.queues_left) == (cancel.MOST_QUEUES, 1)
