"""Messages as Celery writes them, and some that nobody should."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any


def message(
    task_id: str = "", task: str = "shop.charge", args: Any = (), kwargs: Any = None, embed: Any = None, **headers: Any
) -> str:
    """One message of Celery's second protocol, body in base64, with a delivery tag."""
    task_id = task_id or str(uuid.uuid4())
    body = json.dumps([list(args), kwargs or {}, embed or {}])
    return json.dumps(
        {
            "body": base64.b64encode(body.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {
                "lang": "py",
                "task": task,
                "id": task_id,
                "root_id": task_id,
                "argsrepr": repr(args),
                **headers,
            },
            "properties": {
                "correlation_id": task_id,
                "delivery_tag": str(uuid.uuid4()),
                "body_encoding": "base64",
            },
        }
    )


def first_protocol(task_id: str, task: str = "shop.charge") -> str:
    """One message of Celery's first protocol, whose body names the task."""
    body = json.dumps({"id": task_id, "task": task, "args": [1], "kwargs": {}})
    return json.dumps(
        {
            "body": base64.b64encode(body.encode()).decode(),
            "content-type": "application/json",
            "headers": {},
            "properties": {"correlation_id": task_id, "delivery_tag": str(uuid.uuid4()), "body_encoding": "base64"},
        }
    )


def fetched(text: str, queue: str = "celery") -> str:
    """Kombu's entry for a message that a worker has fetched."""
    return json.dumps([json.loads(text), "", queue])


def hostile(task_id: str) -> list[str | bytes]:
    """Messages that hold an id and are not its task, or nothing that can be read."""
    named = message(args=[task_id], parent_id=task_id, root_id=task_id, group=task_id)
    return [
        named,
        json.dumps({"headers": {"id": {"id": [task_id]}}}),
        json.dumps([task_id] * 500),
        "[" * 50_000 + task_id,
        '"id": "' + task_id,
        f'{{"headers": {{"id": "{task_id}"',
        b"\xff\xfe\x00" + task_id.encode() + b"\x80",
        b"\0large:" + task_id.encode(),
        json.dumps({"body": f'\\"id\\": \\"{task_id}\\"' * 400, "headers": {"id": "another"}, "properties": None}),
        "x" * 2_000_000,
        "",
    ]
