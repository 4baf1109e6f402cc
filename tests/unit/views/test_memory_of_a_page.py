"""What keeps a page small: nothing is made before it is looked at, and what is the same is one object for all."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bokeh.document import Document
from bokeh.models import ColumnDataSource, Plot
from bokeh.models.widgets import Div

from opsdash.bootstrap import assemble
from opsdash.config.settings import Settings
from opsdash.model import Actor, Role, Snapshot
from opsdash.services.console import Console as Service
from opsdash.state import SystemStatus
from opsdash.views.approvals import PendingApprovals
from opsdash.views.components import Card, Dialog, KeyedTable, Masthead, Messages, Rows, StatusStrip, Tabs
from opsdash.views.components.panel_private import forget_defaults
from opsdash.views.console_page import Console
from opsdash.views.dialog import ConfirmationDialog
from opsdash.views.operations_log import RecentOperations
from opsdash.views.queues import ClearedTasks
from opsdash.views.readings import Reading, shown
from opsdash.views.session import Session
from opsdash.views.view import View
from opsdash.views.workers import WorkerHealth

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    made = assemble(Settings.from_env({}, database_url=f"sqlite:///{tmp_path}/x.sqlite3"))
    yield made
    made.close()


def opened(service: Service) -> tuple[Session, Any]:
    """A page's session, and what the page is made of."""
    session = Session(service, Actor(name="maria", role=Role.ADMIN))
    session.dialog = ConfirmationDialog(session)
    return session, Console(session=session)._build()


def made(page: Any) -> Counter[type]:
    return Counter(type(one) for one in page.select(lambda one: isinstance(one, View | KeyedTable)))


def test_a_card_that_most_pages_never_need_is_made_once_there_is_a_row_and_in_its_place(service: Service) -> None:
    session, page = opened(service)
    before = made(page)
    assert before[KeyedTable] == 3  # queues, workers and the log: not approvals, the trash, or tenants that differ
    assert not {PendingApprovals, ClearedTasks} & before.keys()
    asked: dict[str, Any] = {"key": "a", "by": "paul", "at": 1.0, "name": "Clear Queue"}
    rows = {"trash_rows": Rows([{"key": "t"}]), "approval_rows": Rows([asked])}
    session.status.take(Reading(Snapshot.example(taken_at=NOW), rows))
    order = [type(one) for one in page.select(View)]
    assert order[1:2] == [PendingApprovals]  # below the state, above all else
    assert order[order.index(ClearedTasks) + 1 :] == [WorkerHealth, RecentOperations]
    session.status.take(Reading(Snapshot.example(taken_at=NOW), {"trash_rows": Rows()}))
    session.status.take(Reading(Snapshot.example(taken_at=NOW), {"trash_rows": Rows([{"key": "u"}])}))
    assert made(page)[ClearedTasks] == 1


def test_two_pages_show_the_same_rows_and_figures_not_copies(service: Service) -> None:
    status = SystemStatus()
    status.update(Snapshot.example(taken_at=NOW))
    reading = Reading(Snapshot.example(taken_at=NOW), shown(status, (), Role.ADMIN))
    (one, first), (other, second) = opened(service), opened(service)
    for session in (one, other):
        session.status.take(reading)
    for name in reading.shown:
        assert getattr(one.status, name) is getattr(other.status, name)
    tables = [{table.title: table.rows for table in page.select(KeyedTable)} for page in (first, second)]
    assert tables[0].keys() == tables[1].keys()
    assert all(tables[0][title] is tables[1][title] for title in tables[0])


@pytest.mark.parametrize("kind", [Card, Dialog, KeyedTable, Masthead, Messages, StatusStrip, Tabs])
def test_what_a_script_sets_is_followed_and_nothing_else(kind: Any) -> None:
    script = kind._bundle.read_text(encoding="utf-8")
    assert set(kind._written) == set(re.findall(r"\bmodel\.(\w+) = ", script))
    assert set(kind()._linked_properties) == set(kind._written)


def test_a_component_has_no_copies_of_its_parameters() -> None:
    table, strip = KeyedTable(title="Queues"), StatusStrip()
    table.rows, strip.labels = [{"key": "a"}], {"waiting": "Waiting"}
    assert table.param["rows"] is KeyedTable.param["rows"]
    assert strip.param["labels"] is StatusStrip.param["labels"]


def test_empty_defaults_that_bokeh_has_looked_at_are_let_go_and_nothing_else() -> None:
    source, plot, text = ColumnDataSource(), Plot(), Div(text="x", css_classes=["a"])
    selected, bounds = source.selected, plot.x_range
    doc = Document()
    for model in (source, plot, text):
        doc.add_root(model)
    held = text.styles  # an empty default
    forget_defaults(doc)
    assert text.styles == {}
    assert text.styles is not held
    assert text.css_classes == ["a"]
    assert source.selected is selected  # a default with an identity: the browser knows it by that
    assert plot.x_range is bounds
    text.styles["color"] = "red"
    forget_defaults(doc)
    assert text.styles == {"color": "red"}
