"""What is kept of one failure: made beside the event loop, bounded, and without secrets in all but the message."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from opsdash.model import untrusted
from opsdash.model.failure import KILLED, UNREADABLE, UNREGISTERED, is_failure_id
from opsdash.redaction.arguments import shown_body
from opsdash.redaction.errors import hidden_values, shown_error, shown_traceback, without
from opsdash.text import as_text
from opsdash.worker import message_origin
from opsdash.worker.failures.batch import Entry, Group
from opsdash.worker.failures.ended import Ended

LARGE_MESSAGE = 256 * 1024
"""Bytes of the largest message that is kept, or looked into."""
LONG_TEXT, LONG_TRACEBACK, LONG_NAME, LONG_GROUP_TEXT = 1_000, 8_000, 200, 300
"""Characters that are kept."""
LOST = "The process that ran it ended."
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_STEP = re.compile(r"(\d{1,3})\Z")


class Noted(NamedTuple):
    """A failure that is to be kept. ``at``: by the monotonic clock; ``text``: what its error says."""

    ended: Ended
    group: Group
    queue: str
    at: float
    text: str

    @property
    def size_bytes(self) -> int:
        """About what waits in memory for it."""
        place = message_origin.of(self.ended.message)
        return 2_000 + len(self.ended.traceback) + len(self.text) + (len(place.raw) if place is not None else 0)


def text_of(error: BaseException | None) -> str:
    """What an exception says, without its type. Never fails: the text is made by the exception's own code."""
    if error is None:
        return ""
    try:
        if isinstance(error, SystemExit | KeyboardInterrupt):
            return LOST
        text = str(error)
    except Exception:  # noqa: BLE001 - an exception's __str__ is anybody's code, and must not end the worker
        return "(its text could not be made)"
    return text if isinstance(text, str) else ""


def entry_of(noted: Noted, worker: str, redact: str) -> tuple[Entry, str]:
    """The entry, and what its error says for its group. Cost: about 0.3 ms, more for large arguments."""
    ended = noted.ended
    place = message_origin.of(ended.message)
    raw = place.raw if place is not None else b""
    headers = untrusted.mapping(ended.message.headers)
    properties = untrusted.mapping(ended.message.properties)
    info = untrusted.mapping(ended.message.delivery_info)
    body = _body(ended.message, len(raw))
    hidden = _hidden(ended, body, redact)
    text = shown_error(noted.text, hidden, redact, most=LONG_TEXT)
    task_id = _name(headers.get("id") or (body.get("id") if isinstance(body, dict) else ""))
    fields: dict[str, str | bytes] = {
        "kind": noted.group.kind,
        "task_id": task_id,
        "task": _safe(noted.group.task),
        "queue": _safe(noted.queue),
        "exchange": _name(info.get("exchange")),
        "routing_key": _name(info.get("routing_key")),
        "error": _safe(noted.group.error),
        "message_text": as_text(text),
        "place": _safe(noted.group.place),
        "traceback": "" if noted.group.kind == KILLED else _traceback(ended, hidden, redact),
        "arguments": as_text(without(_arguments(ended.message, body, redact), hidden or ())),
        "worker": _safe(worker),
        "retries": _count(headers.get("retries")),
        "eta": _name(headers.get("eta")),
        "expires": _name(headers.get("expires")),
        "root_id": _name(headers.get("root_id")),
        "parent_id": _name(headers.get("parent_id")),
        "group_id": _name(headers.get("group")),
        "chord": "1" if _in_chord(body) else "",
        "traceparent": _traceparent(headers, properties),
        "redelivered": "1" if is_redelivered(ended.message) else "",
        "message_bytes": str(len(raw)),
    }
    if place is not None:
        fields["list"] = place.list.encode(errors="surrogateescape")
        fields["priority"] = _step(place)
        fields |= {"message": raw, "sendable": "1"} if len(raw) <= LARGE_MESSAGE else {"too_large": "1"}
    kept = {name: value for name, value in fields.items() if value}
    failure_id = task_id if is_failure_id(task_id) else f"unreadable-{_digest(ended.message, raw)}"
    return Entry(id=failure_id, group=noted.group, at=noted.at, fields=kept), as_text(text[:LONG_GROUP_TEXT])


def is_redelivered(message: Any) -> bool:
    """It was delivered before, as kombu has noted when it was given back."""
    for marks in (message.headers, message.delivery_info):
        if isinstance(marks, dict) and marks.get("redelivered") is True:
            return True
    return False


def _body(message: Any, size: int) -> Any:
    """The message's body where it is JSON and not too large; None otherwise."""
    if getattr(message, "content_type", "") != "application/json" or size > LARGE_MESSAGE:
        return None
    return untrusted.parsed(message.body, LARGE_MESSAGE)


def _arguments(message: Any, body: Any, redact: str) -> str:
    if body is not None:
        return shown_body(body, redact)
    json = getattr(message, "content_type", "") == "application/json"
    return "not shown (too large, or not JSON)" if json else "not shown (not JSON)"


def _hidden(ended: Ended, body: Any, redact: str) -> list[str] | None:
    """What the error must not repeat of the arguments; None where they could not be looked through."""
    if isinstance(body, dict):  # Celery's first protocol
        return hidden_values(body.get("args"), body.get("kwargs"), redact)
    if isinstance(body, list) and len(body) >= 2:
        return hidden_values(body[0], body[1], redact)
    if ended.kind in (UNREADABLE, UNREGISTERED) or ended.request is None:
        return []  # nobody has read them
    if getattr(ended.message, "content_type", "") == "application/json":
        return None
    return hidden_values(ended.request.args, ended.request.kwargs, redact)  # pickled: Celery has read them


def _traceback(ended: Ended, hidden: list[str] | None, redact: str) -> str:
    return as_text(shown_traceback(ended.traceback, hidden, redact, most=LONG_TRACEBACK))


def _in_chord(body: Any) -> bool:
    options = body if isinstance(body, dict) else body[2] if isinstance(body, list) and len(body) > 2 else None
    return bool(untrusted.mapping(options).get("chord"))


def _traceparent(headers: Mapping[str, Any], properties: Mapping[str, Any]) -> str:
    """The trace's id as W3C writes it; nothing else that is there instead."""
    inner = untrusted.mapping(headers.get("headers"))
    for value in (headers.get("traceparent"), inner.get("traceparent"), properties.get("traceparent")):
        if isinstance(value, str) and _TRACEPARENT.fullmatch(value):
            return value
    return ""


def _step(place: message_origin.Origin) -> str:
    found = _STEP.search(place.list.rpartition(place.queue)[2])
    return found[1] if found else "0"


def _digest(message: Any, raw: bytes) -> str:
    if not raw:  # a broadcast
        body = message.body
        raw = body if isinstance(body, bytes) else str(body).encode(errors="backslashreplace")
    return hashlib.sha256(raw).hexdigest()[:32]


def _name(value: Any) -> str:
    return untrusted.words(value, LONG_NAME)


def _safe(text: str) -> str:
    return untrusted.words(text, LONG_NAME)


def _count(value: Any) -> str:
    return str(untrusted.whole(value) or 0)
