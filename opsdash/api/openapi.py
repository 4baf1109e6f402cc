"""The OpenAPI 3.1 document: made from the registry and the very types that requests are decoded into."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from opsdash import __version__, model
from opsdash.api.handler import MAX_BODY_BYTES, Handler
from opsdash.api.peers import PeersRead
from opsdash.api.problems import CONTENT_TYPE, Problem
from opsdash.api.requests import AuditQuery, FailuresQuery, NoQuery, RunQuery, TasksQuery, request_of
from opsdash.api.runs import RunsRead
from opsdash.api.schedules import SchedulesRead
from opsdash.api.schemas import (
    AuditRead,
    FailureRead,
    FailuresRead,
    FoundTaskRead,
    OperationsRead,
    Outcome,
    QueuesRead,
    Ready,
    StatusRead,
    WorkerDetailRead,
    WorkersRead,
    WorkflowRead,
)
from opsdash.model import Preview, TaskPage, TenantsRead
from opsdash.operation import registry

V1 = "/api/v1"
REF = "#/components/schemas/{name}"
PART = r"^(?!\.\.?$)[^\u0000-\u001f\u007f\\/]+$"
"""A part of an address, as the gate before the page lets it pass."""
READS: tuple[tuple[str, type, type, str], ...] = (
    ("status", StatusRead, NoQuery, "Everything at once: pause, queues, workers, recent operations."),
    ("queues", QueuesRead, NoQuery, "Pending tasks of each queue, by priority."),
    ("workers", WorkersRead, NoQuery, "The last report of each worker."),
    ("schedules", SchedulesRead, NoQuery, "The entries of beat's schedule: last and next run, and which are paused."),
    ("tenants", TenantsRead, NoQuery, "Tasks of each tenant: waiting, running, failed and held; estimates say so."),
    ("tasks", TaskPage, TasksQuery, "Tasks by name and argument text: running, fetched and waiting, in pages."),
    ("failures", FailuresRead, FailuresQuery, "Failed tasks by task and error, with the tasks of one group in pages."),
    ("runs", RunsRead, NoQuery, "Runs of runbooks: the state of each, and how one that was left behind is continued."),
    ("peers", PeersRead, NoQuery, "Other deployments, as their own consoles say."),
    ("audit", AuditRead, AuditQuery, "The audit log, newest first, filtered, in pages."),
    ("operations", OperationsRead, NoQuery, "Every operation, with the schema of its request."),
)
MODELS = {"WorkerRead": "WorkerStats", "StatusRead": "Snapshot", "FailureRead": "Failure", "ScheduleRead": "Schedule"}
"""An answer → the values of the model that it is made of."""
ERRORS = {
    401: "No token, or an unknown one.",
    403: "The token's role is too low, or the request came from a page of another site.",
    404: "It does not exist.",
    405: "Not with this method; Allow says which.",
    413: f"The body has more than {MAX_BODY_BYTES:,} bytes.",
    422: "A parameter is unknown, missing, or not what the schema says. Nothing was changed.",
    500: "A bug.",
    503: "Redis or the database does not answer. Nothing was changed; try again.",
}
OF_ACTS = {
    400: "The body is not JSON. Nothing was changed.",
    409: "Refused: not confirmed, a rule of the operation, or a request id used before. Nothing was changed.",
    415: "The body is not application/json.",
    502: "Started, and partly done or unknown: look before trying again.",
}


class Document(Handler):
    """The document itself."""

    def get(self) -> None:
        """With the address it was asked at as the server, so that a prefix is in it."""
        self.query(NoQuery)
        prefix = self.request.path.removesuffix(f"{V1}/openapi.json")
        self.set_header("Cache-Control", "private, no-cache")
        self.send({**document(), "servers": [{"url": prefix or "/"}]})


@functools.cache
def document() -> dict[str, Any]:
    """The whole document, without the server's address."""
    requests = {name: request_of(kind) for name, kind in registry().items()}
    answers = [
        *(read[1] for read in READS),
        WorkerDetailRead,
        FoundTaskRead,
        WorkflowRead,
        FailureRead,
        Outcome,
        Preview,
        Problem,
        Ready,
    ]
    schemas, components = msgspec.json.schema_components([*requests.values(), *answers], ref_template=REF)
    refs = dict(zip([*requests.values(), *answers], schemas, strict=True))
    paths: dict[str, Any] = {f"{V1}/{read[0]}": {"get": _read(refs, *read)} for read in READS}
    paths[f"{V1}/workers/{{hostname}}"] = {"get": _worker(refs)}
    paths[f"{V1}/tasks/{{task_id}}"] = {"get": _task(refs)}
    paths[f"{V1}/workflows/{{task_id}}"] = {"get": _workflow(refs)}
    paths[f"{V1}/failures/{{failure_id}}"] = {"get": _failure(refs)}
    paths[f"{V1}/events"] = {"get": _events()}
    paths[f"{V1}/openapi.json"] = {"get": _own()}
    for name, kind in registry().items():
        paths[f"{V1}/operations/{name}"] = {"post": _act(kind, refs[requests[name]], refs)}
    made = {
        "openapi": "3.1.0",
        "info": {
            "title": "opsdash",
            "version": __version__,
            "description": "The operations console for Celery on Redis, for programs.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "One of OPSDASH_API_TOKENS."}
            },
            "schemas": {name: _described(name, schema) for name, schema in components.items()},
        },
    }
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(made))  # a tuple's default is an array's
    return plain


def _read(refs: Mapping[type, Any], name: str, answer: type, query: type, summary: str) -> dict[str, Any]:
    tagged = {"ETag": {"description": "Send it as If-None-Match.", "schema": {"type": "string"}}}
    return {
        "operationId": f"read_{name}",
        "summary": summary,
        "parameters": _parameters(query),
        "responses": {
            "200": {"description": "The current data.", "headers": tagged, "content": _json(refs[answer])},
            "304": {"description": "Not changed since the ETag of If-None-Match."},
            **_errors(ERRORS),
        },
    }


def _worker(refs: Mapping[type, Any]) -> dict[str, Any]:
    read = _read(refs, "worker", WorkerDetailRead, NoQuery, "One worker and its running tasks.")
    return _one(read, "hostname", "The hostname from /api/v1/workers.")


def _task(refs: Mapping[type, Any]) -> dict[str, Any]:
    text = "Where a task is: in a queue, a worker, the trash, failed or finished."
    read = _read(refs, "task", FoundTaskRead, NoQuery, text)
    return _one(read, "task_id", "The task's id, or 8 characters or more of its beginning.")


def _workflow(refs: Mapping[type, Any]) -> dict[str, Any]:
    text = "The workflow of a task, as a tree: what waits, runs, failed or was cleared, and what is not sent yet."
    read = _read(refs, "workflow", WorkflowRead, NoQuery, text)
    return _one(read, "task_id", "The id of any task of it, or of a group.")


def _failure(refs: Mapping[type, Any]) -> dict[str, Any]:
    read = _read(refs, "failure", FailureRead, NoQuery, "One failed task: arguments, traceback, and where it is shown.")
    return _one(read, "failure_id", "The id from /api/v1/failures: as a rule the task's own.")


def _one(read: dict[str, Any], name: str, text: str) -> dict[str, Any]:
    """A read of one thing that the address names."""
    named = {"name": name, "in": "path", "required": True, "description": text}
    return {
        **read,
        "parameters": [{**named, "schema": {"type": "string", "pattern": PART}}],
        "responses": {**read["responses"], **_errors({400: "The address can't be read."})},
    }


def _act(kind: Any, request: Any, refs: Mapping[type, Any]) -> dict[str, Any]:
    done = {"anyOf": [refs[Outcome], refs[Preview]]}
    return {
        "operationId": kind.name,
        "summary": kind.help,
        "description": f"{kind.warning} Needs the role {kind.minimum_role.name.lower()}.",
        "parameters": _parameters(RunQuery),
        "requestBody": {"required": True, "content": _json(request)},
        "responses": {
            "200": {"description": "The result; with dry_run, the preview.", "content": _json(done)},
            **_errors(ERRORS | OF_ACTS),
        },
    }


def _events() -> dict[str, Any]:
    return {
        "operationId": "stream_events",
        "summary": "Every snapshot as a server-sent event named snapshot, with the body of /api/v1/status.",
        "responses": {
            "200": {"description": "A stream.", "content": {"text/event-stream": {"schema": {"type": "string"}}}},
            **_errors(ERRORS | {429: "This token, or its address, has too many streams open; Retry-After says when."}),
        },
    }


def _own() -> dict[str, Any]:
    return {
        "operationId": "read_openapi",
        "summary": "This document.",
        "responses": {
            "200": {"description": "OpenAPI 3.1.", "content": _json({"type": "object"})},
            "304": {"description": "Not changed since the ETag of If-None-Match."},
            **_errors(ERRORS),
        },
    }


def _parameters(query: type) -> list[dict[str, Any]]:
    schema = msgspec.json.schema(query)
    found = next(iter(schema["$defs"].values()))["properties"]
    return [
        {
            "name": name,
            "in": "query",
            "required": False,
            "description": one.get("description", ""),
            "schema": _plain(one),
        }
        for name, one in found.items()
    ]


def _plain(schema: dict[str, Any]) -> dict[str, Any]:
    """One parameter's schema, without what is said beside it."""
    if "$ref" in schema or "anyOf" in schema:  # the only type of a query that has a name
        return {"enum": [status.value for status in model.Status]}
    return {key: value for key, value in schema.items() if key not in {"default", "description"}}


def _errors(known: Mapping[int, str]) -> dict[str, Any]:
    content = {CONTENT_TYPE: {"schema": {"$ref": REF.format(name=Problem.__name__)}}}
    return {str(status): {"description": text, "content": content} for status, text in sorted(known.items())}


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _described(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """One component with a sentence instead of a docstring, and with its times marked as times."""
    text = inspect.cleandoc(schema.get("description", "")).partition("\n\n")[0]
    described = {**schema, "description": text} if text else dict(schema)
    source = getattr(model, MODELS.get(name, name), None)
    if dataclasses.is_dataclass(source):
        hints = typing.get_type_hints(source)
        times = [field for field, hint in hints.items() if datetime in (hint, *typing.get_args(hint))]
        described["properties"] = {**schema["properties"], **_as_times(schema["properties"], times)}
    return described


def _as_times(properties: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    def marked(schema: Any) -> Any:
        if schema.get("type") == "string":
            return {**schema, "format": "date-time"}
        return {**schema, "anyOf": [marked(part) for part in schema["anyOf"]]} if "anyOf" in schema else schema

    return {name: marked(properties[name]) for name in names if name in properties}
