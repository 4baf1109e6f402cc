from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from opsdash.capacity import Capacity, Full
from opsdash.model import Role

ROLES = [None, *Role]


def test_places_are_kept_for_whoever_may_act() -> None:
    places = Capacity(10, 10)
    found = {role: [places.take(role, f"{role} {number}") for number in range(10)].count(None) for role in ROLES}
    assert found == {None: 1, Role.VIEWER: 5, Role.OPERATOR: 2, Role.ADMIN: 2}
    assert places.taken == 10


def test_one_holder_has_one_share_and_the_others_theirs() -> None:
    places = Capacity(100, 3)
    assert [places.take(Role.VIEWER, "eve", "at home") for _ in range(4)] == [None, None, None, Full.OWN]
    assert places.take(Role.VIEWER, "joe", "at home") is Full.OWN
    assert places.take(Role.VIEWER, "joe", "abroad") is None
    places.leave("eve", "at home")
    assert places.take(Role.VIEWER, "eve", "at home") is None


@given(st.lists(st.tuples(st.sampled_from(ROLES), st.integers(0, 5)), max_size=200), st.integers(10, 60))
def test_whatever_comes_and_goes_nothing_is_left_behind(visits: list[tuple[Role | None, int]], total: int) -> None:
    places, inside = Capacity(total, 7), []
    for role, number in visits:
        if places.take(role, str(number)) is None:
            inside.append(str(number))
        elif inside:
            places.leave(inside.pop(0))
        assert places.taken == len(inside) <= total
    for holder in inside:
        places.leave(holder)
    assert (places.taken, +places._by_holder) == (0, {})
