"""For programs, beside the page: the JSON API, its OpenAPI document, ``/readyz`` and ``/metrics``.

Tornado routes, so that one server and one prefix hold them all. Nothing here knows a particular operation: paths,
schemas and validation come from the registry.
"""

from __future__ import annotations

from typing import Any

import opsdash.operations  # noqa: F401 - registers the operations
from opsdash.api.events import Events
from opsdash.api.failures import Failures, OneFailure
from opsdash.api.handler import NotFound
from opsdash.api.health import Probe, Readiness
from opsdash.api.metrics import Meter, Metrics
from opsdash.api.openapi import V1, Document
from opsdash.api.operations import Run
from opsdash.api.peers import Peers
from opsdash.api.reads import LOOKS, Audit, Look, OneTask, OneWorker, OneWorkflow, Operations, Tasks, View
from opsdash.api.runs import Runs
from opsdash.api.schedules import Schedules
from opsdash.api.tenants import Tenants
from opsdash.capacity import Capacity
from opsdash.services.console import Console

__all__ = ["routes"]


def routes(console: Console) -> list[tuple[str, Any, dict[str, Any]]]:
    """For the ``extra_patterns`` of a Bokeh server: pattern, handler and its arguments."""
    own = {"console": console}
    settings = console.settings
    streams = Capacity(settings.max_streams, settings.max_streams_each)
    views = {name: View(part) for name, part in LOOKS.items()}
    return [
        *((f"{V1}/{name}", Look, {**own, "view": view}) for name, view in views.items()),
        (rf"{V1}/workers/([^/]+)", OneWorker, own),
        (f"{V1}/schedules", Schedules, own),
        (f"{V1}/tenants", Tenants, own),
        (f"{V1}/tasks", Tasks, own),
        (rf"{V1}/tasks/([^/]+)", OneTask, own),
        (rf"{V1}/workflows/([^/]+)", OneWorkflow, own),
        (f"{V1}/failures", Failures, own),
        (rf"{V1}/failures/([^/]+)", OneFailure, own),
        (f"{V1}/runs", Runs, own),
        (f"{V1}/peers", Peers, own),
        (f"{V1}/audit", Audit, own),
        (f"{V1}/operations", Operations, own),
        (rf"{V1}/operations/([^/]+)", Run, own),
        (f"{V1}/events", Events, {**own, "view": views["status"], "streams": streams}),
        (rf"{V1}/openapi\.json", Document, own),
        (r"/api(?:/.*)?", NotFound, own),
        ("/readyz", Readiness, {"probe": Probe(console)}),
        ("/metrics", Metrics, {**own, "meter": Meter(console)}),
    ]
