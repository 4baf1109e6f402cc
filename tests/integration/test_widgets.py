"""Widgets in a plain Python process: fed by one poller, light to embed, gone when nobody holds them."""

from __future__ import annotations

import asyncio
import gc
import io
import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any

import panel as pn
import pytest
from bokeh.document import Document
from support.deployment import Deployment
from support.errors import fails
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


@pytest.fixture
def ops(console_for: Callable[..., Console], sqlite_url: str) -> Console:
    return console_for(database_url=sqlite_url, queues=("celery", "emails"), poll_interval_s=0.1)


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
    assert saved["widget"] - saved["nothing"] <= EMBEDDED_BYTES
    widget.close()


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


def answers(widget: Any) -> Callable[..., list[dict[str, Any]]]:
    """Says something to a widget as its browser does; returns what the widget tells the browser."""
    told: list[dict[str, Any]] = []
    widget._shown._send_msg = told.append

    def say(**message: Any) -> list[dict[str, Any]]:
        told.clear()
        asyncio.run(widget._shown._handle_msg(message))
        return list(told)

    return say


def test_an_operation_from_a_notebook_needs_its_typed_yes_and_is_audited_with_its_surface(
    ops: Console, deployment: Deployment
) -> None:
    widget = opsdash.OperationControls(ops, actor="maria")
    say = answers(widget)
    (dialog,) = [told for told in say(type="ask", name="pause_processing", args={}) if told["type"] == "dialog"]
    say(type="typed", id=dialog["id"], text="yes", phrase="")
    say(type="confirm", id=dialog["id"], values={})
    assert not ops.is_processing_paused()
    (armed,) = [told for told in say(type="typed", id=dialog["id"], text="YES", phrase="") if told["type"] == "armed"]
    assert armed == {"type": "armed", "id": dialog["id"], "armed": True}
    say(type="confirm", id=dialog["id"], values={})
    assert ops.is_processing_paused()
    (entry,) = ops.get_recent_operations()
    assert (entry.user, entry.operation, entry.details["surface"]) == ("maria", "pause_processing", "notebook")
    widget.close()


def test_what_waits_in_one_widget_is_unknown_to_another(ops: Console) -> None:
    one, other = opsdash.OperationControls(ops), opsdash.OperationControls(ops)
    say, reply = answers(one), answers(other)
    (dialog,) = [told for told in say(type="ask", name="pause_processing", args={}) if told["type"] == "dialog"]
    reply(type="typed", id=dialog["id"], text="YES", phrase="")
    reply(type="confirm", id=dialog["id"], values={})
    assert not ops.is_processing_paused()


def test_a_user_without_a_role_sees_figures_and_may_do_nothing(
    console_for: Callable[..., Console], sqlite_url: str
) -> None:
    ops = console_for(database_url=sqlite_url, operators=("maria",))
    widget = opsdash.OperationControls(ops, actor="mallory")
    say = answers(widget)
    (dialog,) = [told for told in say(type="ask", name="pause_processing", args={}) if told["type"] == "dialog"]
    say(type="typed", id=dialog["id"], text="YES", phrase="")
    say(type="confirm", id=dialog["id"], values={})
    assert not ops.is_processing_paused()
    assert ops.get_recent_operations()[0].status == "refused"
    widget.close()


def test_the_queue_that_is_chosen_in_a_widget_is_the_one_its_status_counts(
    ops: Console, deployment: Deployment
) -> None:
    deployment.send(2, queue="emails")
    widget = opsdash.QueueTable(ops)
    say = answers(widget)
    say(type="choose", queue="emails")
    assert widget.status.pending_tasks == 2
    say(type="choose", queue="nobody's")
    assert widget.status.selected_queue == "emails"
    widget.close()


def test_an_opened_row_of_a_widget_says_what_its_worker_runs(ops: Console, deployment: Deployment) -> None:
    report(deployment.redis, "w1@test", running='[["1a2b", "shop.charge", "emails", 65.0]]')
    widget = opsdash.WorkerHealth(ops)
    say = answers(widget)
    (told,) = [told for told in say(type="open", workers=["w1@test"]) if told["type"] == "running"]
    assert (told["worker"], list(told["rows"])) == ("w1@test", ["1a2b"])
    assert '"quiet_worker"' in widget._shown.state
    (dialog,) = [told for told in say(type="ask", name="revoke_task", args={"task_id": "1a2b"}) if "title" in told]
    assert dialog["about"] == [("Task", "1a2b")]
    widget.close()


def test_a_widget_made_outside_a_browser_session_shows_a_servers_visitor_nothing(ops: Console) -> None:
    widget = opsdash.OperationControls(ops)

    class Visit:
        session_context = object()

    doc = Document()
    doc._session_context = lambda: Visit.session_context  # as a server sets it
    model = pn.panel(widget)._get_model(doc)
    assert "created before your visit" in str(model.data.properties_with_values())
    widget.close()


@pytest.mark.parametrize("theme", ["auto", "light", "dark"])
def test_the_page_takes_a_theme(ops: Console, theme: str) -> None:
    page = opsdash.Console(ops, theme=theme)
    assert page._shown.theme == theme
    page.close()


def test_a_theme_that_does_not_exist_is_named(ops: Console) -> None:
    with fails(Invalid, field="theme"):
        opsdash.WorkerHealth(ops, theme="pink")


def test_a_broker_that_is_away_is_a_sentence_on_the_widget(ops: Console, valkey: Any) -> None:
    valkey.stop()
    widget = opsdash.WorkerHealth(ops)
    assert "Redis did not answer" in widget._shown.state
    valkey.start()
    eventually(lambda: widget.status.known and not widget.status.redis_error, what="it finds back by itself")
    widget.close()
