"""Widgets in a plain Python process: fed by one poller, light to embed, gone when nobody holds them."""

from __future__ import annotations

import asyncio
import gc
import io
import subprocess
import sys
import weakref
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import panel as pn
import param
import pytest
from bokeh.document import Document
from support.deployment import Deployment
from support.errors import fails
from support.event_loops import no_event_loop_is_left  # noqa: F401 - a fixture
from support.reports import report
from support.workers import eventually

import opsdash
from opsdash.errors import Invalid
from opsdash.services.console import Console

WIDGETS = (
    "WorkerHealth",
    "QueueTable",
    "QueueChart",
    "RecentOperations",
    "OperationControls",
    "TenantDrift",
    "Console",
)
EMBEDDED_BYTES = 300_000
PAGE_BYTES = 500_000
"""Of all cards together: each brings its script along, because a saved file has no address to load it from."""


pytestmark = pytest.mark.usefixtures("no_event_loop_is_left")


@pytest.fixture
def ops(console_for: Callable[..., Console], sqlite_url: str) -> Console:
    return console_for(database_url=sqlite_url, queues=("celery", "emails"), poll_interval_s=0.1)


@pytest.mark.long
@pytest.mark.parametrize("name", WIDGETS)
def test_a_widget_shows_figures_from_its_first_moment_and_weighs_little(
    ops: Console, deployment: Deployment, name: str
) -> None:
    deployment.send(3)
    widget = getattr(opsdash, name)(ops, queue="celery")
    assert widget.status.pending_tasks == 3
    saved = {}
    for what, shown in (("widget", widget), ("nothing", pn.Row())):
        file = io.StringIO()
        pn.panel(shown).save(file, resources="cdn")
        saved[what] = len(file.getvalue().encode())
    assert saved["widget"] - saved["nothing"] <= (PAGE_BYTES if name == "Console" else EMBEDDED_BYTES)
    widget.close()


@pytest.mark.long
def test_a_single_widget_never_imports_panel_material_ui() -> None:
    code = f"import sys, opsdash; [getattr(opsdash, n) for n in {WIDGETS}]; print('panel_material_ui' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_what_an_analyst_binds_to_a_widgets_status_follows_the_deployment(ops: Console, deployment: Deployment) -> None:
    widget = opsdash.QueueTable(ops, queue="emails")
    label = pn.bind("{} wait".format, widget.status.param.pending_tasks)
    assert label() == "0 wait"
    deployment.send(2, queue="emails")
    eventually(lambda: label() == "2 wait", what="the binding follows")
    widget.close()


def test_a_status_that_is_kept_without_its_widget_stays_fed(ops: Console, deployment: Deployment) -> None:
    status = opsdash.WorkerHealth(ops).status
    gc.collect()
    deployment.pause()
    eventually(lambda: status.paused, what="the status follows")


def test_widgets_share_one_poller_and_one_thread(ops: Console) -> None:
    widgets = [getattr(opsdash, name)(ops) for name in WIDGETS]
    assert len(ops.poller._subscribers) == len(WIDGETS)
    assert ops.poller._thread is not None
    for widget in widgets:
        widget.close()
        widget.close()
    assert ops.poller._subscribers == {}


def test_a_closed_widget_shows_nothing_new(ops: Console, deployment: Deployment) -> None:
    closed, open_ = opsdash.QueueTable(ops), opsdash.QueueTable(ops)
    closed.close()
    deployment.send(1)
    eventually(lambda: open_.status.pending_tasks == 1, what="the open one follows")
    assert closed.status.pending_tasks == 0


def test_widgets_that_nobody_holds_end_their_subscriptions(ops: Console) -> None:
    sessions: weakref.WeakSet[Any] = weakref.WeakSet()
    for name in WIDGETS:
        widget = getattr(opsdash, name)(ops)
        sessions.add(widget)
        sessions.add(widget._session)
    del widget
    eventually(lambda: not gc.collect() and not sessions, what="every widget is collected")
    eventually(lambda: not ops.poller._subscribers, what="every subscription ends")


def test_in_a_kernel_a_widget_changes_between_the_cells_in_the_kernels_own_thread(
    ops: Console, deployment: Deployment
) -> None:
    async def kernel() -> None:
        widget = opsdash.QueueTable(ops)
        deployment.send(4)
        ops.poller.refresh()
        assert widget.status.pending_tasks == 0  # a cell is still running
        for _ in range(100):
            await asyncio.sleep(0.05)
            if widget.status.pending_tasks == 4:
                break
        assert widget.status.pending_tasks == 4
        widget.close()

    asyncio.run(kernel())


def asked(widget: Any, name: str, args: dict[str, str] | None = None) -> Any:
    """Opens a dialog as a click does; returns what shows it."""
    asyncio.run(widget._dialog.ask(name, args or {}))
    return widget._dialog


def typed(dialog: Any, text: str) -> None:
    """Types into the last field, as its browser does."""
    dialog._dialog.objects[-1].value_input = text


def confirmed(dialog: Any) -> None:
    """Presses Confirm."""
    asyncio.run(dialog._confirm(None))


def test_an_operation_from_a_notebook_needs_its_typed_yes_and_is_audited_with_its_surface(
    ops: Console, deployment: Deployment
) -> None:
    widget, effects = opsdash.OperationControls(ops, actor="maria"), []
    widget.on_action(effects.append)
    dialog = asked(widget, "pause_processing")
    assert dialog._dialog.open
    typed(dialog, "yes")
    assert "capital letters" in dialog._dialog.problem
    confirmed(dialog)
    assert not ops.is_processing_paused()
    typed(dialog, "YES")
    assert dialog.ready
    confirmed(dialog)
    assert not dialog._dialog.open
    assert ops.is_processing_paused()
    assert [effect.ok for effect in effects] == [True]
    (entry,) = ops.get_recent_operations()
    assert (entry.user, entry.operation, entry.details["surface"]) == ("maria", "pause_processing", "notebook")
    widget.close()


def test_what_waits_in_one_widget_is_unknown_to_another(ops: Console) -> None:
    one, other = opsdash.OperationControls(ops), opsdash.OperationControls(ops)
    typed(asked(one, "pause_processing"), "YES")
    assert not other._dialog.ready
    confirmed(other._dialog)
    assert not ops.is_processing_paused()


def test_a_user_without_a_role_sees_figures_and_may_do_nothing(
    console_for: Callable[..., Console], sqlite_url: str
) -> None:
    ops = console_for(database_url=sqlite_url, operators=("maria",))
    widget = opsdash.OperationControls(ops, actor="mallory")
    dialog = asked(widget, "pause_processing")
    typed(dialog, "YES")
    confirmed(dialog)
    assert not ops.is_processing_paused()
    assert ops.get_recent_operations()[0].status == "refused"
    widget.close()


def test_a_queue_that_is_chosen_anywhere_is_chosen_everywhere(ops: Console, deployment: Deployment) -> None:
    deployment.send(2, queue="emails")
    widget = opsdash.QueueTable(ops)
    widget.get_root()
    for choose in (
        lambda: setattr(widget, "queue", "emails"),
        lambda: setattr(widget.status, "selected_queue", "emails"),
        lambda: setattr(widget._table, "selected", "emails"),
    ):
        widget.queue = "celery"
        choose()
        chosen = (widget.queue, widget.status.selected_queue, widget._table.selected, widget.status.pending_tasks)
        assert chosen == ("emails", "emails", "emails", 2)
    widget._table.selected = "nobody's"  # what a browser says is not trusted
    assert widget.status.selected_queue == "emails"
    widget.close()


def test_a_select_that_is_linked_chooses_what_the_buttons_act_on(ops: Console, deployment: Deployment) -> None:
    select = pn.widgets.Select(options=["celery", "emails"], value="celery")
    widget = opsdash.OperationControls(ops, queue="celery")
    select.link(widget, value="queue", bidirectional=True)
    widget.get_root()
    select.value = "emails"
    clear = next(one for kind, one in widget._buttons.items() if kind.name == "clear_queue")
    asyncio.run(widget._asks(opsdash.ClearQueue)(clear))
    assert widget._session.pending.operation.queue == "emails"
    widget.status.selected_queue = "celery"
    assert select.value == "celery"
    widget.close()


@pytest.mark.parametrize(
    "given", [lambda select: select, lambda select: select.param.value], ids=["widget", "parameter"]
)
def test_a_select_that_is_given_as_the_queue_follows_and_is_followed_however_often_either_changes(
    ops: Console, given: Callable[[Any], Any]
) -> None:
    select = pn.widgets.Select(options=["celery", "emails"], value="emails")
    table, controls = opsdash.QueueTable(ops, queue=given(select)), opsdash.OperationControls(ops, queue=given(select))
    table.get_root()
    controls.get_root()
    assert (table.queue, table.status.selected_queue, select.value) == ("emails", "emails", "emails")
    for choose, name in (
        (lambda: setattr(select, "value", "celery"), "celery"),
        (lambda: setattr(table._table, "selected", "emails"), "emails"),  # as its browser does
        (lambda: setattr(select, "value", "celery"), "celery"),
        (lambda: setattr(controls.status, "selected_queue", "emails"), "emails"),
    ):
        choose()
        assert {table.queue, table.status.selected_queue, table._table.selected, controls.queue, select.value} == {name}
    select.options = ["celery", "emails", "emailz"]
    with pytest.raises(ValueError, match="emailz"):
        select.value = "emailz"
    table.close()
    controls.close()


def test_the_clear_button_of_the_controls_names_its_target(ops: Console, deployment: Deployment) -> None:
    deployment.send(1, queue="emails")
    widget = opsdash.OperationControls(ops)
    widget.get_root()
    clear = next(one for kind, one in widget._buttons.items() if kind.name == "clear_queue")
    for queue in ("celery", "emails"):
        widget.queue = queue
        assert (clear.label, clear.disabled) == (f"Clear Queue {queue}", False)
    widget.close()


def test_before_any_queue_is_known_there_is_nothing_to_clear_and_it_says_so(ops: Console, valkey: Any) -> None:
    valkey.stop()
    widget = opsdash.OperationControls(ops)
    widget.get_root()
    clear = next(one for kind, one in widget._buttons.items() if kind.name == "clear_queue")
    assert (clear.label, clear.disabled) == ("Clear Queue", True)
    assert ["mute", "Clear Queue needs a queue, and none is known yet."] in widget._card.lines
    widget.close()
    valkey.start()


def test_a_queue_that_nobody_knows_is_an_error_and_not_another_queue(ops: Console) -> None:
    with pytest.raises(Invalid, match="there is no queue 'emailz'"):
        opsdash.QueueTable(ops, queue="emailz")
    widget = opsdash.QueueTable(ops, queue="emails")
    with pytest.raises(ValueError, match="emailz"):
        widget.queue = "emailz"
    assert widget.status.selected_queue == "emails"
    widget.close()


def test_an_opened_row_of_a_widget_says_what_its_worker_runs(ops: Console, deployment: Deployment) -> None:
    report(deployment.redis, "w1@test", running='[["1a2b", "shop.charge", "emails", 65.0]]')
    widget = opsdash.WorkerHealth(ops)
    widget.get_root()
    widget.selection = ["w1@test"]
    assert [row["key"] for row in widget._contents["w1@test"].table.rows] == ["1a2b"]
    (worker,) = widget._table.rows
    assert [act["name"] for act in worker["acts"] if act["usual"]] == ["quiet_worker"]
    dialog = asked(widget, "revoke_task", {"task_id": "1a2b"})
    assert (dialog._dialog.title, dialog._dialog.about) == ("Revoke task 1a2b", [])
    widget.close()


def test_a_widget_without_actions_is_to_look_at_only(ops: Console, deployment: Deployment) -> None:
    deployment.send(1)
    table = opsdash.QueueTable(ops, actions=False)
    table.get_root()
    assert "acts" not in [column["field"] for column in table._table.columns]
    log = opsdash.RecentOperations(ops, actions=False)
    log.get_root()
    assert log._table.actions == []


def test_a_widget_takes_panels_layout_keywords_and_its_own_columns(ops: Console) -> None:
    widget = opsdash.QueueTable(ops, width=400, sizing_mode="fixed", margin=3, columns=["name", "waiting"])
    root = widget.get_root()
    assert (root.width, root.sizing_mode, root.margin) == (400, "fixed", 3)
    assert [column["field"] for column in widget._table.columns] == ["name", "waiting", "acts"]
    with pytest.raises(Invalid, match="columns: has no 'nmae'"):
        opsdash.QueueTable(ops, columns=["nmae"]).get_root()


def test_columns_and_actions_can_be_changed_while_a_widget_is_shown(ops: Console, deployment: Deployment) -> None:
    for name in ("QueueTable", "WorkerHealth", "RecentOperations"):
        widget = getattr(opsdash, name)(ops)
        widget.get_root()
        fields = [column["field"] for column in widget._table.columns]
        widget.columns = fields[:2]
        assert [column["field"] for column in widget._table.columns] == [*fields[:2], "acts"]
        widget.actions = False
        assert [column["field"] for column in widget._table.columns] == fields[:2]
        assert not [one for one in widget._table.actions if isinstance(one, pn.widgets.Button)]
        widget.close()


def test_the_newest_operations_are_as_many_as_a_page_has(ops: Console, deployment: Deployment) -> None:
    for _ in range(2):
        ops.run(opsdash.PauseProcessing(), actor="maria", confirm="YES")
        ops.run(opsdash.ResumeProcessing(), actor="maria", confirm="YES")
    widget = opsdash.RecentOperations(ops, page_size=3)
    widget.get_root()
    assert len(widget._table.rows) == 3
    widget.page_size = 2
    assert len(widget._table.rows) == 2
    widget.close()


LAYOUT: dict[str, Any] = {
    "width": 420,
    "height": 300,
    "min_width": 200,
    "max_width": 800,
    "min_height": 100,
    "max_height": 900,
    "margin": (1, 2),
    "sizing_mode": "fixed",
    "align": "center",
    "visible": False,
    "css_classes": ["mine"],
    "styles": {"opacity": "0.9"},
}


@pytest.mark.long
@pytest.mark.parametrize("name", WIDGETS)
def test_a_widget_takes_every_layout_keyword_of_panels_also_later(ops: Console, name: str) -> None:
    widget = getattr(opsdash, name)(ops, **LAYOUT)
    root = widget.get_root()
    assert {key: getattr(root, key) for key in LAYOUT if key not in ("css_classes", "align")} == {
        key: value for key, value in LAYOUT.items() if key not in ("css_classes", "align")
    }
    assert "mine" in root.css_classes
    widget.param.update(width=500, visible=True)
    assert (root.width, root.visible) == (500, True)
    widget.close()


def test_what_a_widget_was_told_can_not_be_set_by_hand_and_comes_as_one_event(
    ops: Console, deployment: Deployment
) -> None:
    widget, seen = opsdash.QueueTable(ops), []
    forged = {"paused": True, "known": False, "condition": "PAUSED", "queues": [], "pending_tasks": 7, "queue_rows": []}
    for name, value in forged.items():
        with pytest.raises(TypeError, match="cannot be modified"):
            setattr(widget.status, name, value)
    status = widget.status

    def watch(*events: Any) -> None:
        consistent = status.pending_tasks == status.queue("celery").waiting and status.can_resume == status.paused
        seen.append((consistent, {event.name for event in events}))

    status.param.watch(watch, ["queues", "pending_tasks", "paused", "processing_status", "can_resume", "queue_rows"])
    deployment.send(2)
    deployment.pause()
    eventually(lambda: status.paused and status.pending_tasks == 2, what="the status follows")
    assert all(consistent for consistent, _ in seen)
    assert any({"paused", "can_resume", "processing_status"} <= names for _, names in seen)
    widget.close()


def test_an_exception_in_a_callback_of_on_action_is_logged_and_the_next_is_called(
    ops: Console, deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    widget, effects = opsdash.OperationControls(ops, actor="maria"), []

    def broken(_effect: Any) -> None:
        raise ZeroDivisionError

    async def awaited(effect: Any) -> None:
        effects.append(effect)

    for callback in (broken, awaited):
        widget.on_action(callback)
    typed(asked(widget, "pause_processing"), "YES")
    confirmed(widget._dialog)
    assert ops.is_processing_paused()
    eventually(lambda: len(effects) == 1, what="the second callback is awaited")
    assert "ZeroDivisionError" in caplog.text
    widget.close()


def test_an_exception_in_somebody_elses_watcher_is_logged_and_the_widget_goes_on(
    ops: Console, deployment: Deployment, caplog: pytest.LogCaptureFixture
) -> None:
    widget, seen = opsdash.QueueTable(ops, queue="celery"), []
    widget.get_root()

    def broken(_event: object) -> None:
        raise ZeroDivisionError

    widget.status.param.watch(broken, "queues")
    widget.status.param.watch(lambda *events: seen.append(len(events)), ["queues", "updated_at"])
    deployment.send(2)
    eventually(lambda: widget._table.rows[0]["waiting"] == 2, what="the table follows")
    deployment.send(1)
    eventually(lambda: widget._table.rows[0]["waiting"] == 3, what="and goes on")
    assert "ZeroDivisionError" in caplog.text
    widget.close()


def test_a_widget_made_outside_a_browser_session_shows_a_servers_visitor_nothing(ops: Console) -> None:
    widget = opsdash.OperationControls(ops)

    visit = SimpleNamespace(server_context=None, destroyed=False)
    doc = Document()
    doc._session_context = lambda: visit  # as a server sets it
    model = pn.panel(widget)._get_model(doc)
    assert "created before your visit" in str(model.data.properties_with_values())
    widget.close()


@pytest.mark.parametrize("theme", ["auto", "light", "dark"])
def test_the_page_takes_a_theme(ops: Console, theme: str) -> None:
    page = opsdash.Console(ops, theme=theme)
    assert page.theme == theme
    page.close()


def test_a_theme_that_does_not_exist_is_named(ops: Console) -> None:
    with fails(Invalid, field="theme"):
        opsdash.WorkerHealth(ops, theme="pink")


def test_a_broker_that_is_away_is_a_sentence_on_the_widget(ops: Console, valkey: Any) -> None:
    valkey.stop()
    widget = opsdash.WorkerHealth(ops)
    assert widget.status.redis_error
    assert widget.status.condition == "UNKNOWN"
    (notice,) = widget.status.hero["notices"]
    assert notice.startswith("Redis did not answer")
    valkey.start()
    eventually(lambda: widget.status.known and not widget.status.redis_error, what="it finds back by itself")
    widget.close()


def test_a_browser_that_asks_for_fifty_charts_at_once_is_drawn_the_first_and_the_newest(ops: Console) -> None:
    chart = opsdash.QueueChart(ops)
    chart._build()
    drawn: list[bool] = []
    read = chart._read

    def noted(charts: Any, span_s: float) -> Any:
        drawn.append(charts.dark)
        return read(charts, span_s)

    chart._read = noted  # type: ignore[method-assign] # counts the reads

    async def flood() -> None:
        asks = []
        for number in range(50):
            with param.parameterized.discard_events(chart):
                chart.dark = number % 2 == 0
            asks.append(asyncio.ensure_future(chart._draw()))
            await asyncio.sleep(0)
        await asyncio.gather(*asks)

    asyncio.run(flood())
    assert drawn == [True, False]
    chart.close()
