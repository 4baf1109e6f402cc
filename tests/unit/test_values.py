"""A class that is made by ``frozen`` behaves as one that is made by ``dataclasses`` itself."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from dataclasses import KW_ONLY, FrozenInstanceError, dataclass, field
from typing import Any, ClassVar

import pytest

from opsdash.values import frozen


@frozen
class Place:
    """With all that a class may have."""

    kinds: ClassVar[int] = 3
    name: str
    at: int = 7
    seen: list[int] = field(default_factory=list, compare=False, repr=False)
    _: KW_ONLY
    text: str = "x"
    size: int = field(init=False)
    mark: int = field(default=5, init=False)
    made: dict[str, int] = field(default_factory=dict, init=False, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", len(self.name))


@dataclass(frozen=True, slots=True)
class Usual:
    """The same, by the library."""

    kinds: ClassVar[int] = 3
    name: str
    at: int = 7
    seen: list[int] = field(default_factory=list, compare=False, repr=False)
    _: KW_ONLY
    text: str = "x"
    size: int = field(init=False)
    mark: int = field(default=5, init=False)
    made: dict[str, int] = field(default_factory=dict, init=False, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", len(self.name))


@frozen(kw_only=True)
class Farther(Place):
    more: int


@frozen
class Empty:
    pass


@frozen
class Own:
    x: int

    def __repr__(self) -> str:
        return "own"

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1


def told(call: Callable[[], Any]) -> str:
    with pytest.raises(Exception) as caught:
        call()
    return f"{type(caught.value).__name__}: {caught.value}".replace("Usual", "Place")


@pytest.mark.parametrize(
    ("given", "named"), [(("a",), {}), (("a", 8, [1]), {"text": "y"}), ((), {"name": "é", "at": 0, "seen": [2]})]
)
def test_it_is_made_shown_compared_and_replaced_alike(given: tuple[Any, ...], named: dict[str, Any]) -> None:
    ours, usual = Place(*given, **named), Usual(*given, **named)
    assert repr(ours) == repr(usual).replace("Usual", "Place")
    assert [getattr(ours, one.name) for one in dataclasses.fields(ours)] == list(dataclasses.astuple(usual))
    assert dataclasses.asdict(ours) == dataclasses.asdict(usual)
    assert ours == Place(*given, **named)
    assert ours == dataclasses.replace(ours, seen=[9])
    assert ours != dataclasses.replace(ours, at=9)
    assert ours != usual
    assert hash(ours) == hash(usual)
    assert Place.__match_args__ == Usual.__match_args__
    assert not hasattr(ours, "__dict__")


@pytest.mark.parametrize("call", [lambda cls: cls(), lambda cls: cls("a", 1, [], "y"), lambda cls: cls("a", other=1)])
def test_a_wrong_call_is_answered_alike(call: Callable[[Any], Any]) -> None:
    assert told(lambda: call(Place)) == told(lambda: call(Usual))


def test_nothing_can_be_changed() -> None:
    for kind in (Place, Usual):
        made: Any = kind("a")
        for name in ("at", "unknown")[: 2 if kind is Place else 1]:  # the library stumbles over the second
            with pytest.raises(FrozenInstanceError, match=f"cannot assign to field '{name}'"):
                setattr(made, name, 1)
        with pytest.raises(FrozenInstanceError, match="cannot delete field 'at'"):
            del made.at
    assert Place("a").seen is not Place("a").seen


def test_it_can_be_copied_and_pickled() -> None:
    made = Place("a", 8, [1], text="y")
    for again in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert again == made
        assert again.seen == [1]


def test_a_class_may_follow_from_another_and_have_its_own_methods() -> None:
    made = Farther("a", text="y", more=3)
    assert (made.size, made.more, repr(made)[:16]) == (1, 3, "Farther(name='a'")
    assert made != Place("a", text="y")
    assert Empty() == Empty()
    assert hash(Empty()) == hash(())
    assert (repr(Own(1)), Own(1) == 3, hash(Own(1))) == ("own", True, 1)
