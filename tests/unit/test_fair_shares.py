"""How workers share slots: whole ones, never more than there are, none unused that somebody needs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.model.fair_shares import fair_shares

NEEDS = st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(0, 12), max_size=8)


@given(most=st.integers(0, 40), needs=NEEDS, turn=st.integers(0, 1_000))
def test_nobody_has_more_than_it_needs_nor_less_than_one_that_needs_no_more(
    most: int, needs: dict[str, int], turn: int
) -> None:
    shares = fair_shares(most, needs, turn)
    assert shares.keys() == needs.keys()
    assert all(0 <= shares[name] <= needs[name] for name in needs)
    assert sum(shares.values()) == min(most, sum(needs.values()))
    for one in needs:
        for other in needs:
            assert shares[one] >= min(needs[one], shares[other]) - 1


@pytest.mark.parametrize("most", [1, 2, 4])
def test_where_there_are_fewer_slots_than_workers_each_has_its_turn(most: int) -> None:
    needs = dict.fromkeys("abcde", 3)
    had = [{name for name, share in fair_shares(most, needs, turn).items() if share} for turn in range(5)]
    assert all(len(one) == most for one in had)
    assert set.union(*had) == set(needs)
