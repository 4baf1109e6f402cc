"""Names of people: a second person must not be the first one in other letters."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.model.usernames import os_user, same


@pytest.mark.parametrize(
    "other",
    [
        "Maria",
        "MARIA ",
        ".maria.",
        " . maria",
        "maria\u3002".replace("\u3002", "\uff0e"),
        "\uff2d\uff41\uff52\uff49\uff41",
        "ma\u200bria",
        "maria\u2060",
        "\ufeffmaria",
        "ma\u00adria",
        "ma\u202eria",
        "maria\ufe0f",
        "maria\u3164",
        "maria\u2800",
        "maria\u2065",
        "maria\ufff0",
        "maria\x80",
        "\x7fmaria",
        "\U000e0080maria",
        "maria\U000e0061",
        "\u00a0maria\t",
    ],
    ids=ascii,
)
def test_an_eye_that_may_take_two_names_for_one_is_not_asked(other: str) -> None:
    assert same("maria", other)
    assert same(other, "maria")


def test_letters_that_have_two_spellings_are_the_same() -> None:
    assert same("Ren\u00e9", "Rene\u0301")
    assert same("Stra\u00dfe", "STRASSE")


@pytest.mark.parametrize("other", ["mario", "maria2", "maria@example.com", "ma.ria", "m aria"])
def test_two_people_are_two_people(other: str) -> None:
    assert not same("maria", other)


@given(
    st.text(max_size=12),
    st.text(alphabet="\u200b\u200d\u2060\ufeff\u00ad\u3164. \t", max_size=4),
    st.text(alphabet="\u200b\u200d\u2060\ufeff\u00ad\u3164", max_size=2),
)
def test_what_is_put_around_or_into_a_name_makes_no_second_person(name: str, around: str, within: str) -> None:
    assert same(name, around + name + around)
    half = len(name) // 2
    assert same(name, name[:half] + within + name[half:])


def test_an_id_without_a_name_is_told_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 987_654)
    monkeypatch.setenv("LOGNAME", "root")
    assert os_user() == "uid-987654"
