"""The components without a browser: what travels, what is told apart by identity, and what their files may hold."""

from __future__ import annotations

import json
import math
import re
import weakref
from pathlib import Path
from typing import Any

import panel as pn
import param
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsdash.text import visible
from opsdash.views import components
from opsdash.views.components import Card, Figures, KeyedTable, Rows, StatusStrip, changes, panel_private
from opsdash.views.components.shared import as_json

FOLDER = Path(components.__file__).parent
SCRIPTS = sorted(FOLDER.glob("*.js"))
SEVEN = [
    f"{name}.js" for name in ("base", "card", "dialog", "keyed_table", "masthead", "messages", "status_strip", "tabs")
]
VALUES = st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3) | st.lists(st.integers(0, 3), max_size=2)
ROW = st.dictionaries(st.sampled_from(["a", "b", "__proto__", "é"]), VALUES, max_size=4)
TABLES = st.dictionaries(st.text(max_size=2), ROW, max_size=5).map(
    lambda all_: [{**row, "key": key} for key, row in all_.items()]
)


def followed(rows: list[dict[str, Any]], told: dict[str, Any]) -> list[dict[str, Any]]:
    """As the browser does it; a field that is None is one that is not there."""
    known = {row["key"]: row for row in rows}
    for row in told["changed"]:
        known[row["key"]] = {**known.get(row["key"], {}), **row}
    if told["order"] is not None:
        known = {key: known[key] for key in told["order"]}
    return known_fields(known.values())


def known_fields(rows: Any) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


@given(TABLES, TABLES)
def test_changes_lead_from_the_old_rows_to_the_new(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> None:
    assert followed(old, json.loads(as_json(changes(old, new)))) == known_fields(new)


@given(TABLES)
def test_rows_that_are_the_same_need_no_change(rows: list[dict[str, Any]]) -> None:
    assert changes(rows, [dict(row) for row in rows]) == {"changed": [], "order": None}


def test_a_change_is_worked_out_once_for_all_pages() -> None:
    old, new = Rows([{"key": "a", "n": 1}]), Rows([{"key": "a", "n": 2}])
    assert new.change(old) is new.change(old)
    assert json.loads(new.change(old)) == {
        "from": old.version, "version": new.version, "changed": [{"key": "a", "n": 2}], "order": None,
    }  # fmt: skip
    assert new.text() is new.text()


def test_rows_keep_none_of_those_before_them() -> None:
    """A page has new ones every two seconds: each would keep all that any page has shown since the process began."""

    class Watched(Rows):
        """As `Rows` has slots, it takes no weak reference."""

    first, second, third = (Watched([{"key": "a", "n": n}]) for n in range(3))
    second.change(first)
    third.change(second)
    gone = weakref.ref(first)
    del first
    assert gone() is None


def test_shared_rows_and_figures_are_told_apart_by_identity() -> None:
    rows = Rows([{"key": "a"}])
    assert param.parameterized.Comparator.is_equal(rows, rows)
    assert not param.parameterized.Comparator.is_equal(rows, Rows(rows))
    table, strip = KeyedTable(rows=[{"key": "a"}]), StatusStrip(figures={"waiting": [1, ""]})
    assert isinstance(table.rows, Rows)
    assert isinstance(strip.figures, Figures)
    seen: list[Any] = []
    table.param.watch(seen.append, "rows")
    table.rows = rows
    table.rows = rows
    assert len(seen) == 1


@pytest.mark.parametrize("row", [{}, {"key": None}, {"key": 3}])
def test_a_row_without_a_key_is_refused_where_it_is_given(row: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="each row needs a text as its key"):
        KeyedTable(rows=[row])


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, "\ud800", {"deep": [math.nan, "\udfff"]}, Path("x"), {1: 2}, 10**30]
)
def test_what_has_no_json_is_text_or_nothing_and_never_an_error(value: Any) -> None:
    json.loads(as_json({"key": "a", "v": value}), parse_constant=pytest.fail)


def test_an_act_is_heard_only_of_a_row_that_offers_it() -> None:
    heard: list[Any] = []
    table = KeyedTable(
        columns=[{"field": "acts", "kind": "acts"}],
        rows=[{"key": "a", "acts": [["peek", "Peek"], {"name": "clear", "label": "Clear"}]}],
    )
    table.on_action(heard.append)
    for message in (
        {"key": "a", "name": "peek"},
        {"key": "a", "name": "clear"},
        {"key": "b", "name": "peek"},
        {"key": "a", "name": "drop"},
        3,
    ):
        table._handle_msg(message)
    assert heard == [("a", "peek"), ("a", "clear")]


def test_what_an_open_row_shows_is_made_once() -> None:
    made: list[str] = []
    table = KeyedTable(
        rows=[{"key": "a"}, {"key": "b"}], row_content=lambda key: (made.append(key), pn.pane.Str(key))[1]
    )
    table.expanded = ["b"]
    table.expanded = ["b", "a"]
    assert (made, table.opened) == (["b", "a"], ["b", "a"])


def test_a_browser_that_opens_rows_that_do_not_exist_or_all_of_them_makes_the_server_build_little() -> None:
    made: list[str] = []
    table = KeyedTable(rows=[{"key": f"w{i}"} for i in range(100)], row_content=lambda key: made.append(key) or key)
    table.expanded = [f"nobody{i}" for i in range(5)]
    assert (made, table.opened) == ([], [])
    table.expanded = [*(f"nobody{i}" for i in range(500)), *(f"w{i}" for i in range(100))]
    assert made == table.opened == table.expanded == [f"w{i}" for i in range(80, 100)]


def test_a_browser_that_asks_for_all_rows_again_and_again_is_sent_them_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    table = KeyedTable(rows=[{"key": "a"}])
    monkeypatch.setattr(table, "_send_msg", sent.append)
    for rows in ([{"key": "a"}], [{"key": "b"}]):
        table.rows = rows
        for _ in range(100):
            table._handle_msg({"all": True})
    assert [json.loads(one["rows"])["rows"] for one in sent] == [[{"key": "a"}], [{"key": "b"}]]


def test_a_row_that_a_link_opens_is_opened_when_it_comes_and_stays_open_while_it_is_away() -> None:
    made: list[str] = []
    table = KeyedTable(row_content=lambda key: made.append(key) or key, expanded=["a"])
    for rows in ([], [{"key": "a"}], [], [{"key": "a"}]):
        table.rows = rows
    assert (made, table.opened) == (["a"], ["a"])


def test_a_component_in_a_notebook_brings_script_and_style_with_it() -> None:
    root = Card(title="Tenants").get_root()
    assert "await import" not in root.esm
    assert "const begin =" in root.esm
    assert "--paper" in root.css_bundle
    assert ".lines" in root.css_bundle


def test_a_panel_without_a_name_that_is_needed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(panel_private._NEEDED, panel_private.ReactiveESM, ("_gone_in_2_0",))
    with pytest.raises(ImportError, match=r"opsdash needs ReactiveESM\._gone_in_2_0"):
        panel_private.check()


def test_scripts_and_python_hide_the_same_characters() -> None:
    (named,) = re.findall(
        r"^const HIDDEN = /(\[.*\])/g$", (FOLDER / "base.js").read_text(encoding="utf-8"), re.MULTILINE
    )
    every = "".join(map(chr, range(0x3000)))
    assert re.sub(named, "", every) == "".join(one for one in every if visible(one) == one)
    assert visible("a\u202eb\n") == "a\\u202eb\n"


def test_the_scripts_are_short_and_none_parses_html_or_text() -> None:
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in SCRIPTS}
    assert max(lengths.values()) <= 300, lengths
    assert sum(lengths[name] for name in SEVEN) <= 900, lengths
    for path in SCRIPTS:
        text = path.read_text(encoding="utf-8")
        assert max(map(len, text.splitlines())) <= 130, path.name
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|new Function|\beval\(|document\.write|setAttribute\('style'", text
        )


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_every_script_has_its_style_and_its_component(path: Path) -> None:
    assert path.with_suffix(".css").is_file()
    assert path.with_suffix(".py").is_file()
