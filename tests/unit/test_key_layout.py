"""Who decides the broker's layout, and what is said where two disagree."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.model.key_layout import APP, ASSUMED, BROKER, SETTING, WORKERS, Claim, Layout, disagreements, resolve
from opsdash.services.broker.layout_reports import exchanges, facts

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def test_the_first_who_knows_a_fact_decides_it_and_is_named():
    layout = resolve(
        (
            Claim(source=SETTING, facts={"prefix": "shop:"}),
            Claim(source=APP, facts={"prefix": "", "separator": ":"}),
            Claim(source=BROKER, facts={"separator": "|"}),
        )
    )
    assert (layout.prefix, layout.separator, layout.priority_steps) == ("shop:", ":", (0, 3, 6, 9))
    assert [layout.source_of(fact) for fact in ("prefix", "separator", "priority_steps")] == [SETTING, APP, ASSUMED]


def test_nothing_told_is_kombus_own_layout_and_proves_no_separator():
    assert resolve(()) == Layout()
    assert not Layout().proven


def test_a_separator_that_others_doubt_is_not_proven():
    assert Layout(sources={"separator": APP}).proven
    assert not Layout(sources={"separator": APP}, doubted=True).proven


def test_a_disagreement_names_both_sides_and_the_setting_that_decides():
    (found,) = disagreements(
        (
            Claim(source=APP, facts={"separator": "\x06\x16"}),
            *(Claim(source=WORKERS, name=f"w{n}@x", facts={"separator": ":"}) for n in range(5)),
        )
    )
    assert found.message == (
        "The separator differs: '\\x06\\x16' by the Celery app; ':' by w0@x, w1@x, w2@x and 2 more."
        " Make them agree, or say it by OPSDASH_SEPARATOR."
    )


def test_the_same_steps_in_another_order_are_the_same_steps():
    claims = (
        Claim(source=APP, facts={"priority_steps": (0, 4)}),
        Claim(source=WORKERS, facts={"priority_steps": (4, 0)}),
    )
    assert disagreements(claims) == ()


def test_another_database_than_the_apps_is_told_as_such():
    (found,) = disagreements((Claim(source=SETTING, facts={"db": 0}), Claim(source=APP, facts={"db": 1})))
    assert found.message == (
        "The database differs: 0 by OPSDASH_REDIS_URL; 1 by the Celery app."
        " OPSDASH_REDIS_URL must name the one that the app uses."
    )


@pytest.mark.long
@given(st.text() | JSON.map(lambda value: __import__("json").dumps(value)))
def test_nonsense_in_a_report_is_left_out(text: str):
    Layout(**facts(text))
    assert all(isinstance(name, str) for name in exchanges(text))


def test_facts_of_another_type_are_left_out_and_the_others_believed():
    report = '{"separator": ":", "steps": [0, true], "unacked": 5, "visibility_timeout_s": 1e400, "transport": "redis"}'
    assert facts(report) == {"separator": ":", "transport": "redis"}
