"""Your own page from opsdash's widgets: ``panel serve apps/own_page.py``, then open ``/own_page``.

``--args material`` lays it out with panel-material-ui (``pip install panel-material-ui``), else Panel's own layouts do.
The environment configures opsdash (``OPSDASH_REDIS_URL`` …); ``OPSDASH_AUTH=dev`` opens it to this machine. The script
runs once per visitor; all of them share one console, which reads Redis as often for fifty as for one.
"""

from __future__ import annotations

import sys
from typing import Any

import panel as pn

import opsdash

THEME = "light"


def advice(condition: str, pending: int, safe: bool) -> str:
    """What this team does in which state."""
    if safe:
        return "Every worker has stopped. Deploy now."
    if condition == "PAUSED":
        return "Paused. Wait for the workers that still run a task."
    if condition in {"DEGRADED", "UNKNOWN"}:
        return "Don't deploy: look at the workers first."
    return f"{pending:,} tasks wait. Pause before you deploy."


def page(ops: Any) -> pn.viewable.Viewable:
    """Three widgets, and one sentence that follows the status of the first."""
    queues = opsdash.QueueTable(ops, theme=THEME)
    workers = opsdash.WorkerHealth(ops, theme=THEME)
    controls = opsdash.OperationControls(ops, theme=THEME)
    status = controls.status.param
    words = pn.bind(advice, status.condition, status.pending_tasks, status.safe)
    # Panes show HTML as HTML: put only your own words into them, never a queue's name or a reason.
    sentence = pn.pane.Markdown(words)
    if "material" not in sys.argv:
        parts = ("# Before a deploy", sentence, pn.Row(controls, queues), workers)
        return pn.Column(*parts, sizing_mode="stretch_width", margin=20)
    import panel_material_ui as pmui

    return pmui.Page(title="Before a deploy", main=[pmui.Paper(sentence), pmui.Row(controls, queues), workers])


page(pn.state.as_cached("opsdash", opsdash.connect)).servable()
